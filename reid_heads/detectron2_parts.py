"""What this project uses of detectron2 beyond its public interface.

Methods that subclasses are meant to override are no matter of this file.
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import DefaultTrainer, SimpleTrainer
from torch import Tensor

from reid_heads.library_parts import Library

DETECTRON2 = Library(
    "detectron2",
    known="0.6",
    adapter="reid_heads/detectron2_parts.py",
    install="install it as CONTRIBUTING.md says",
)


def next_batch(loop: SimpleTrainer) -> Any:
    """Return the next batch of a training loop's loader."""
    return next(DETECTRON2.part(loop, "_data_loader_iter"))


def replace_loop(trainer: DefaultTrainer, loop: SimpleTrainer) -> None:
    """Train by another loop; hooks and checkpoints reach it through the trainer."""
    DETECTRON2.part(trainer, "_trainer")
    trainer._trainer = loop


def keep_results(trainer: DefaultTrainer, results: OrderedDict) -> None:
    """Make results of an evaluation those that the trainer checks when it has trained."""
    trainer._last_eval_results = results


def last_results(trainer: DefaultTrainer) -> OrderedDict | None:
    """Return the results of a trainer's last evaluation; None where it has not evaluated."""
    return getattr(trainer, "_last_eval_results", None)


def arrays_to_tensors(
    checkpointer: DetectionCheckpointer, weights: dict[str, np.ndarray | Tensor]
) -> None:
    """Turn the arrays among loaded weights into tensors, in place.

    Raises:
        ValueError: for a weight that is neither.
    """
    DETECTRON2.part(checkpointer, "_convert_ndarray_to_tensor")(weights)


def traced_len(modules: Sequence[str]) -> AbstractContextManager[None]:
    """Let ``len`` keep sizes variable while a trace is made, in modules of detectron2 and these.

    Args:
        modules: names of more modules.
    """
    patch = DETECTRON2.part("detectron2.export.torchscript_patch", "patch_builtin_len")
    return patch(modules)
