"""Train and evaluate person search, launched the detectron2 way.

python -m person_search.train_net --config-file configs/drawn_cuhk/slim_fpn.yaml
"""

import os
from collections import OrderedDict

from detectron2.config import CfgNode

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.config import load_config
from person_search.data.own_data import register_own_data
from person_search.stage1 import stage1_weights
from person_search.trainer import PersonSearchTrainer
from reid_heads.training.launch import parse_and_launch, set_up_output, use_available_device


def setup(args) -> CfgNode:
    """Read the config, choose the device, set logging up, write the config to the output."""
    cfg = load_config(args.config_file, args.opts)
    use_available_device(cfg, is_training=not args.eval_only)
    cfg.freeze()
    register_own_data(cfg)
    set_up_output(cfg, args)
    return cfg


def main(args) -> OrderedDict | None:
    """Train, or evaluate with ``--eval-only``; return the results on the main process.

    With ``MODEL.PERSON_SEARCH.STL`` stage 1 comes first, unless stage 2 has begun already.
    """
    cfg = setup(args)
    has_begun = args.resume and os.path.isfile(os.path.join(cfg.OUTPUT_DIR, "last_checkpoint"))
    if not args.eval_only and not has_begun:
        cfg.defrost()
        cfg.MODEL.PERSON_SEARCH.STL.WEIGHTS = stage1_weights(cfg, args)
        cfg.freeze()
    return PersonSearchTrainer.run(cfg, args)


if __name__ == "__main__":
    parse_and_launch(main)
