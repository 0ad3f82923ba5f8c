"""What every detectron2-style entry point of this project does before and around training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from reid_heads.training.told_errors import run_and_tell


def use_available_device(cfg: CfgNode, is_training: bool) -> None:
    """Fall back to the CPU where there is no GPU.

    Raises:
        ValueError: if training is to be in mixed precision without a GPU.
    """
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE == "cpu" and is_training:
        raise ValueError(
            "SOLVER.AMP.ENABLED is True, but detectron2's mixed precision needs a GPU and none is "
            "in use; add SOLVER.AMP.ENABLED False"
        )


def set_up_output(cfg: CfgNode, args: Any) -> None:
    """Make the output folder with its log and the config; log this project's modules too."""
    default_setup(cfg, args)
    for name in ("person_search", "reid_heads"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name, abbrev_name=name)


def parse_and_launch(main: Callable[[Any], Any]) -> None:
    """Parse detectron2's command line and launch ``main`` in a process for each GPU.

    An error of what was given is told in a line, and ends with status 2.
    """
    args = default_argument_parser().parse_args()
    launch(
        partial(run_and_tell, main),
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )
