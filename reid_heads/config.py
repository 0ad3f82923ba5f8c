"""Config keys of the ReID heads and their losses."""

from detectron2.config import CfgNode


def add_reid_head_config(cfg: CfgNode) -> None:
    """Add ``MODEL.REID_HEAD`` to a detectron2 config."""
    head = cfg.MODEL.REID_HEAD = CfgNode()
    # Name in REID_HEADS_REGISTRY.
    head.NAME = "EmbeddingHead"
    # Length of an embedding.
    head.EMBEDDING_DIM = 256
    # Horizontal stripes that are pooled and concatenated: each number n adds n stripes of equal
    # height; (1,) is global.
    head.STRIPES = (1,)
    # Pooling inside a stripe: "avg" or "max".
    head.POOLING = "avg"
    # Whether the projection is followed by BatchNorm.
    head.BATCH_NORM = True
    # Identities of the training set; the trainer checks it against the data.
    head.NUM_IDENTITIES = 0
    # Weight of each loss by name; weight 0 is not computed. Known names: "OIM".
    head.LOSSES = CfgNode({"OIM": 1.0})

    oim = head.OIM = CfgNode()
    # Slots for unlabelled people, used as negatives. Published: 5000 for CUHK-SYSU, 500 for PRW.
    oim.QUEUE_SIZE = 5000
    # Inverse temperature of the softmax.
    oim.SCALE = 30.0
    # Share of the old table row kept at an update, 0 <= momentum < 1.
    oim.MOMENTUM = 0.5
