"""What every detectron2-style entry point of this project does before and around training."""

import difflib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger


def read_config(
    config_file: str, overrides: list[str] | None, add_keys: Callable[[CfgNode], None]
) -> CfgNode:
    """Read a config with keys on top of detectron2's.

    Args:
        config_file: a YAML file, or "" for the defaults.
        overrides: alternating keys and values, as on the command line.
        add_keys: adds this project's keys to a detectron2 config.

    Returns:
        The config, not frozen.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: for an unknown key; the message suggests the nearest known ones.
        ValueError: if the file is not YAML, or a value is of a wrong type.
    """
    if config_file and not os.path.isfile(config_file):
        raise FileNotFoundError(f"there is no config file {config_file}; check --config-file")
    cfg = get_cfg()
    add_keys(cfg)
    known = list(_flat_keys(cfg))
    try:
        if config_file:
            cfg.merge_from_file(config_file)
        cfg.merge_from_list(overrides or [])
    except (KeyError, AssertionError) as error:
        name = str(error).rsplit(" ", 1)[-1].strip("'\"")
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        where = config_file or "the command line"
        raise KeyError(f"in {where} or its overrides: {error.args[0]}{hint}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{config_file} is no config file in YAML: {error}") from error
    return cfg


def _flat_keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, CfgNode):
            yield from _flat_keys(value, f"{prefix}{key}.")


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
    """Parse detectron2's command line and launch ``main`` in a process for each GPU."""
    args = default_argument_parser().parse_args()
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )
