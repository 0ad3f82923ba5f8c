"""What this project uses of PyTorch beyond its public interface.

Imports nothing of PyTorch by itself: exported models run without it.
"""

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reid_heads.library_parts import Library

if TYPE_CHECKING:
    from torch import nn

TORCH = Library(
    "torch",
    known="2.11.0",
    adapter="reid_heads/torch_parts.py",
    install="pip install torch==2.11.0",
)


def hush_remarks() -> None:
    """Silence PyTorch's remarks about detectron2's code, which a user cannot act on."""
    warnings.filterwarnings("ignore", message=".*meshgrid")
    # No error where another version logs under another name: its remarks are seen, that is all.
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def leave_to_each_process(model: "nn.Module", names: Sequence[str]) -> None:
    """Tell DistributedDataParallel, before it wraps a model, to leave some parameters alone.

    It would broadcast the first process's and average the gradients.

    Args:
        model: not wrapped yet.
        names: of the parameters, as in ``model.named_parameters()``.

    Raises:
        MissingPartError: for a version of PyTorch without that.
    """
    from torch.nn.parallel import DistributedDataParallel

    ignore = "_set_params_and_buffers_to_ignore_for_model"
    TORCH.part(DistributedDataParallel, ignore)(model, list(names))
