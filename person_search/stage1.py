"""Stage 1 of STL: train the crop net that stage 2 starts from.

``person_search.train_net`` does so by itself, ``person_search.train_stage1`` does nothing else.
"""

import argparse
import logging
import os
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

from person_search.transfer import check_same_input
from reid_heads.config import load_config
from reid_heads.config_yaml import check_plain
from reid_heads.data.loaders import iterations_per_epoch, load_train_crops
from reid_heads.data.own_data import register_own_data
from reid_heads.training.checkpoint_files import find_damage
from reid_heads.training.crop_trainer import CropReIDTrainer
from reid_heads.training.solver import set_epochs

logger = logging.getLogger(__name__)


def stage1_weights(cfg: CfgNode, args: argparse.Namespace) -> str:
    """Return the checkpoint that stage 2 starts from, "" for none; train it where that is asked.

    ``MODEL.PERSON_SEARCH.STL.WEIGHTS`` names a finished one; else ``STL.CONFIG_FILE`` is trained
    into ``OUTPUT_DIR/stage1``, or resumed there with ``--resume``.

    Args:
        cfg: of person search.
        args: detectron2's command line.

    Raises:
        FileNotFoundError: if the config or the checkpoint does not exist.
        ValueError: if the configs of the two stages do not go together.
    """
    stl = cfg.MODEL.PERSON_SEARCH.STL
    if stl.WEIGHTS:
        _check_given(cfg, stl.WEIGHTS)
        return stl.WEIGHTS
    if not stl.CONFIG_FILE:
        return ""
    stage1_cfg = load_stage1_config(cfg, args.config_file)
    check_same_input(cfg, stage1_cfg)
    weights = os.path.join(stage1_cfg.OUTPUT_DIR, "model_final.pth")
    # A damaged one is made again, from the checkpoint before.
    if args.resume and os.path.isfile(weights) and not find_damage(Path(weights)):
        logger.info("stage 1 is finished: %s", weights)
        return weights
    logger.info("stage 1 begins, in %s", stage1_cfg.OUTPUT_DIR)
    if comm.is_main_process():
        os.makedirs(stage1_cfg.OUTPUT_DIR, exist_ok=True)
        with open(os.path.join(stage1_cfg.OUTPUT_DIR, "config.yaml"), "w") as file:
            file.write(stage1_cfg.dump())
    CropReIDTrainer.run(stage1_cfg, args)
    comm.synchronize()
    # Stage 2 begins as it does from a given checkpoint.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + comm.get_rank())
    return weights


def load_stage1_config(cfg: CfgNode, config_file: str) -> CfgNode:
    """Read stage 1's config and fit it to stage 2's: seed, device, output, data.

    Args:
        cfg: of person search; ``MODEL.PERSON_SEARCH.STL`` is read.
        config_file: of person search, beside which ``STL.CONFIG_FILE`` is looked for; else from
            the working directory.

    Returns:
        A frozen config of crop ReID. Its number of identities is that of its data.
    """
    stl = cfg.MODEL.PERSON_SEARCH.STL
    beside = os.path.join(os.path.dirname(config_file), stl.CONFIG_FILE)
    name = beside if os.path.isfile(beside) else stl.CONFIG_FILE
    stage1_cfg = load_config(name, list(stl.OPTS))
    stage1_cfg.SEED = cfg.SEED
    stage1_cfg.MODEL.DEVICE = cfg.MODEL.DEVICE
    stage1_cfg.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, "stage1")
    stage1_cfg.DATASETS.TRAIN = (*stage1_cfg.DATASETS.TRAIN, *stl.EXTRA_DATASETS)
    register_own_data(stage1_cfg)
    crops = load_train_crops(stage1_cfg)
    stage1_cfg.MODEL.REID_HEAD.NUM_IDENTITIES = max(crop["person_id"] for crop in crops) + 1
    if stage1_cfg.SOLVER.REID.EPOCHS:
        set_epochs(stage1_cfg, iterations_per_epoch(stage1_cfg))
    stage1_cfg.freeze()
    return stage1_cfg


def _check_given(cfg: CfgNode, weights: str) -> None:
    """Compare with the config that stands beside a checkpoint of our trainer."""
    config_file = os.path.join(os.path.dirname(weights), "config.yaml")
    if os.path.isfile(config_file):
        check_same_input(cfg, _read_network(config_file))
    else:
        logger.warning(
            "there is no config.yaml beside %s: pixel statistics, strides and the stem's ReLU "
            "cannot be compared with stage 2's",
            weights,
        )


def _read_network(config_file: str) -> CfgNode:
    """Return the defaults of crop ReID with what a written config says of network and input.

    Nothing else is read: keys that were renamed since then must not make a checkpoint unusable.
    """
    check_plain(config_file)
    written = CfgNode.load_yaml_with_base(config_file)
    network = load_config("")
    for name in ("BACKBONE", "RESNETS", "CROP_REID"):
        known = network.MODEL[name]
        for key, value in written.get("MODEL", {}).get(name, {}).items():
            if key in known:
                known[key] = value
    for key in ("PIXEL_MEAN", "PIXEL_STD"):
        network.MODEL[key] = written.get("MODEL", {}).get(key, network.MODEL[key])
    network.INPUT.FORMAT = written.get("INPUT", {}).get("FORMAT", network.INPUT.FORMAT)
    return network
