"""Names and shapes of what a config's crop net holds, without drawing its weights."""

from collections.abc import Sequence

import torch
from detectron2.modeling import build_model
from torch import Tensor

from reid_heads.config import load_config


def crop_net_state(config_file: str, overrides: Sequence[str]) -> dict[str, Tensor]:
    """Return the state of the crop net of a config, on PyTorch's meta device: it has no values.

    Args:
        config_file: as ``find_config`` takes it.
        overrides: keys and values on top of it.
    """
    cfg = load_config(config_file, list(overrides))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return dict(build_model(cfg).state_dict())
