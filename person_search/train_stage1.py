"""Train stage 1 of STL alone, for several stages 2 to start from.

python -m person_search.train_stage1 --config-file configs/drawn_cuhk/stl.yaml

The checkpoint, ``OUTPUT_DIR/stage1/model_final.pth``, is what ``MODEL.PERSON_SEARCH.STL.WEIGHTS``
takes. ``person_search.train_net`` trains both stages in one go.
"""

from person_search.stage1 import stage1_weights
from person_search.train_net import setup
from reid_heads.training.launch import parse_and_launch


def main(args) -> str:
    """Train stage 1 of a person search config; return its checkpoint.

    Raises:
        ValueError: if the config has no stage 1 to train.
    """
    cfg = setup(args)
    stl = cfg.MODEL.PERSON_SEARCH.STL
    if not stl.CONFIG_FILE or stl.WEIGHTS:
        raise ValueError(
            f"{args.config_file} has MODEL.PERSON_SEARCH.STL.CONFIG_FILE {stl.CONFIG_FILE!r} and "
            f"STL.WEIGHTS {stl.WEIGHTS!r}; expected a config file of stage 1 and no weights of it"
        )
    return stage1_weights(cfg, args)


if __name__ == "__main__":
    parse_and_launch(main)
