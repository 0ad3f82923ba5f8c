"""Train and evaluate crop ReID, launched the detectron2 way.

python -m reid_heads.train_net --config-file configs/drawn_market/bag_of_tricks.yaml
"""

from collections import OrderedDict

from detectron2.config import CfgNode

import reid_heads.crop_reid  # noqa: F401  (registers the model)
from reid_heads.config import load_config
from reid_heads.data.builtin import check_people_are_new
from reid_heads.data.loaders import iterations_per_epoch
from reid_heads.data.own_data import register_own_data
from reid_heads.training.crop_trainer import CropReIDTrainer
from reid_heads.training.launch import parse_and_launch, set_up_output, use_available_device
from reid_heads.training.solver import set_epochs
from reid_heads.training.trial_runs import check_trials, fill_in, run_each_trial, trains_each_trial


def setup(args) -> CfgNode:
    """Read the config, choose the device, set logging up, count epochs in iterations."""
    cfg = load_config(args.config_file, args.opts)
    check_trials(cfg)
    if trains_each_trial(cfg):
        cfg.freeze()
        return cfg
    use_available_device(cfg, is_training=not args.eval_only)
    register_own_data(cfg)
    check_people_are_new(cfg.DATASETS.TRAIN, fill_in(cfg.DATASETS.TEST, cfg.DATASETS.TRIALS))
    if cfg.SOLVER.REID.EPOCHS and not args.eval_only:
        set_epochs(cfg, iterations_per_epoch(cfg))
    cfg.freeze()
    set_up_output(cfg, args)
    return cfg


def main(args) -> OrderedDict | None:
    """Train, or evaluate with ``--eval-only``; return the results on the main process."""
    cfg = setup(args)
    if trains_each_trial(cfg):
        return run_each_trial(cfg, args, main)
    return CropReIDTrainer.run(cfg, args)


if __name__ == "__main__":
    parse_and_launch(main)
