"""Config keys of person search, on top of detectron2's and ``reid_heads``'."""

from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import ROI_BOX_HEAD_REGISTRY, ROI_HEADS_REGISTRY

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.data.loaders import CONFIG_READERS as SAMPLER_READERS
from person_search.modeling.identity_branch import CONFIG_READERS as BRANCH_READERS
from person_search.modeling.roi_heads import CONFIG_READERS as ROI_HEADS_READERS
from person_search.resizing import DEFAULT_RULE
from reid_heads.config import (
    add_crop_backbone_config,
    add_reid_head_config,
    add_trainer_config,
    shared_readers,
)
from reid_heads.config_file import read_config
from reid_heads.config_readers import Reader, readers_of


def add_person_search_config(cfg: CfgNode) -> None:
    """Add every key of this project to a detectron2 config."""
    add_reid_head_config(cfg)
    add_crop_backbone_config(cfg)
    add_trainer_config(cfg)
    _add_model_keys(cfg)
    _add_training_keys(cfg)
    _add_test_keys(cfg)


def _add_model_keys(cfg: CfgNode) -> None:
    node = cfg.MODEL.PERSON_SEARCH = CfgNode()

    branch = node.IDENTITY_BRANCH = CfgNode()
    # Feature maps the identity features are pooled from, one or more: stages (res2, ...) or FPN
    # levels (p2, ...). The first is the base: what the branch's own layers would read alone.
    branch.IN_FEATURES = ("res4",)
    # Rows and columns of the pooled grid. People are upright: (16, 8) keeps their shape.
    branch.POOLER_RESOLUTION = (14, 14)
    # RoIAlign samples per grid cell and axis; 0 chooses by box size.
    branch.POOLER_SAMPLING_RATIO = 2
    # "ROIAlignV2" has the half-pixel correction (aligned), "ROIAlign" has not, as torchvision's
    # detectors; detectron2's names, as of MODEL.ROI_BOX_HEAD.POOLER_TYPE.
    branch.POOLER_TYPE = "ROIAlignV2"
    # How several maps become one: "sum", "concat" or "attention" (a weight for each map and cell).
    branch.FUSION = "sum"
    # Factor, 0..1, that the levels beside the base start with; training changes it channel by
    # channel. 0 starts as the base alone, which fits layers trained on that (STL).
    branch.FUSION_GATE = 0.0
    # Layers between pooling and head: own copies of the backbone's last stages ("res5",
    # "res4+res5", "res3+res4+res5"), "basic_blocks" or "none". With own stages the base is the
    # stage before them.
    branch.BODY = "res5"
    # Stride of an own res5: 2 is ResNet's own, 1 keeps a finer map (Bag of Tricks).
    branch.LAST_STRIDE = 2
    # For "basic_blocks": output channels, number of residual blocks and stride of the first one.
    branch.BASIC_BLOCKS = CfgNode({"CHANNELS": 128, "NUM_BLOCKS": 2, "STRIDE": 2, "NORM": "BN"})
    # Training: at most so many boxes of a person are embedded, its ground-truth box first, then
    # sampled proposals; 0 is all.
    branch.BOXES_PER_PERSON = 0

    # Images are padded to a multiple of so many pixels; 0: of what the backbone needs. 32 is what
    # torchvision's detectors take.
    node.SIZE_DIVISIBILITY = 0

    # Res5BoxHead: what its last layer's map is pooled to a vector by: "avg", or "max" as in SeqNet.
    node.RES5_BOX_HEAD = CfgNode({"POOLING": "avg"})

    norm_aware = node.NORM_AWARE = CfgNode()
    # Heads that say whether a box shows a person (NormAwareHead): weight of that score's binary
    # cross-entropy over people and background.
    norm_aware.LOSS_WEIGHT = 1.0
    # NormAwareROIHeads: the score of a detection: "norm", the probability from the embedding's
    # norm, or "detector", the classifier's. Either way the classifier chooses the detections.
    norm_aware.SCORE = "norm"

    sequential = node.SEQUENTIAL = CfgNode()
    # SequentialROIHeads: weight of the second box regression's loss.
    sequential.BBOX_REG_LOSS_WEIGHT = 1.0
    # Largest overlap (IoU) of two detections after the second box regression.
    sequential.NMS_THRESH_TEST = 0.5

    stl = node.STL = CfgNode()
    # Subtask-dominated transfer learning: stage 1 trains a crop net, whose stem and stages start
    # stage 2. CONFIG_FILE is a config of reid_heads.train_net, looked for beside this config; ""
    # is no stage 1. WEIGHTS is a finished stage 1 instead, a checkpoint.
    stl.CONFIG_FILE = ""
    stl.WEIGHTS = ""
    # Alternating keys and values on top of CONFIG_FILE.
    stl.OPTS = ()
    # Training sets of crops beside those of CONFIG_FILE, such as "market1501_train".
    stl.EXTRA_DATASETS = ()
    # Whether the branch's head starts from the crop net's too (BNNeck).
    stl.TRANSFER_NECK = False
    # Whether the backbone's stages behind the shared ones, which serve detection, start from the
    # crop net's too; otherwise they start from MODEL.WEIGHTS as usual.
    stl.TRANSFER_DETECTOR = False


def _add_training_keys(cfg: CfgNode) -> None:
    # Data of your own to register: (name, COCO JSON with person ids, folder of its images, "train"
    # or "test") each; the names can then stand in DATASETS.TRAIN and DATASETS.TEST.
    cfg.DATASETS.COCO_PERSON = ()
    # Largest relative change of brightness, contrast and saturation of training frames, each drawn
    # uniformly from 1 - x to 1 + x; 0 leaves them as they are.
    cfg.INPUT.COLOR_JITTER = 0.0
    # How frames become INPUT.MIN_SIZE_... and MAX_SIZE_..., at training and test:
    # "ResizeShortestEdge" as detectron2 (sizes rounded to the nearest pixel, antialiased uint8) or
    # "GeneralizedRCNNTransform" as torchvision (sizes rounded down, float pixels interpolated
    # linearly without antialiasing).
    cfg.INPUT.RESIZE = DEFAULT_RULE

    # The order of training frames is detectron2's DATALOADER.SAMPLER_TRAIN: "TrainingSampler", or
    # for long tails "RepeatFactorTrainingSampler" (t is REPEAT_THRESHOLD: the share of frames,
    # 0..1, below which an identity's frames are repeated), "ClassBalancedSampler" or
    # "IdentityUniformSampler".
    frames = cfg.DATALOADER.FRAMES = CfgNode()
    # "ClassBalancedSampler": an identity in n frames weighs (1 - beta) / (1 - beta^n); 0 draws all
    # frames alike, towards 1 it weighs 1 / n.
    frames.CLASS_BALANCED_BETA = 0.99
    # "ClassBalancedSampler" and "IdentityUniformSampler": share of the draws, 0..1, for frames
    # without labelled people, so that detection goes on seeing them; -1: their share of the set.
    frames.UNLABELED_SHARE = -1.0


def _add_test_keys(cfg: CfgNode) -> None:
    search = cfg.TEST.SEARCH = CfgNode()
    # Detections below this score (0..1) are not searched; the official protocols use 0.5.
    search.SCORE_THRESHOLD = 0.5
    # Also score with each gallery similarity multiplied by the detection's score (SeqNet's
    # confidence-weighted similarity): "search_weighted".
    search.CONFIDENCE_WEIGHTING = False
    # Embed the annotated boxes instead of detecting: the upper bound of a perfect detector.
    search.USE_GT_BOXES = False
    # CUHK-SYSU layouts: gallery sizes to score, the main one first; 100 gives "search", 50
    # "search_g50", -1, the full set, "search_full".
    search.GALLERY_SIZES = (100,)
    # CUHK-SYSU layouts: subsets to score as well: "occlusion", "resolution", as "search_occlusion"
    # and so on.
    search.SUBSETS = ()
    # PRW and COCO layouts: also score with the query's camera left out of the gallery:
    # "search_multi_view".
    search.MULTI_VIEW = False
    # Also score the first gallery's queries in three groups by how many boxes of the test set show
    # their identity: "search_head", "search_middle" and "search_tail".
    search.BY_FREQUENCY = False
    context = search.CONTEXT = CfgNode()
    # Context bipartite graph matching (SeqNet), scored besides as "search_cbgm": the frames of the
    # K1 best gallery detections are re-ranked by the K2 most confident people around the query. 0
    # takes what is published for the data set's layout (published_context).
    context.ENABLED = False
    context.K1 = 0
    context.K2 = 0


# What is at work in every training or test of person search, and what a key turns on.
_READERS = (
    Reader(
        "person search",
        (
            "DATASETS.COCO_PERSON",
            "INPUT.COLOR_JITTER",
            "INPUT.RESIZE",
            "MODEL.PERSON_SEARCH.STL.CONFIG_FILE",
            "MODEL.PERSON_SEARCH.STL.WEIGHTS",
            "TEST.SEARCH",
            "TEST.SEARCH.CONTEXT.ENABLED",
        ),
    ),
    Reader(
        "MODEL.PERSON_SEARCH.STL.CONFIG_FILE",
        ("MODEL.PERSON_SEARCH.STL.OPTS", "MODEL.PERSON_SEARCH.STL.EXTRA_DATASETS"),
        lambda cfg: bool(cfg.MODEL.PERSON_SEARCH.STL.CONFIG_FILE),
    ),
    Reader(
        "MODEL.PERSON_SEARCH.STL.CONFIG_FILE or WEIGHTS",
        ("MODEL.PERSON_SEARCH.STL",),
        lambda cfg: bool(
            cfg.MODEL.PERSON_SEARCH.STL.CONFIG_FILE or cfg.MODEL.PERSON_SEARCH.STL.WEIGHTS
        ),
    ),
    Reader(
        "TEST.SEARCH.CONTEXT.ENABLED True",
        ("TEST.SEARCH.CONTEXT",),
        lambda cfg: cfg.TEST.SEARCH.CONTEXT.ENABLED,
    ),
)


def person_search_readers() -> list[Reader]:
    """Return who reads the keys of ``add_person_search_config``."""
    roi_heads = readers_of(
        ROI_HEADS_REGISTRY, "MODEL.ROI_HEADS.NAME", lambda cfg: [cfg.MODEL.ROI_HEADS.NAME]
    )
    box_heads = readers_of(
        ROI_BOX_HEAD_REGISTRY, "MODEL.ROI_BOX_HEAD.NAME", lambda cfg: [cfg.MODEL.ROI_BOX_HEAD.NAME]
    )
    return [
        *shared_readers(),
        *_READERS,
        *roi_heads,
        *box_heads,
        *ROI_HEADS_READERS,
        *BRANCH_READERS,
        *SAMPLER_READERS,
    ]


def load_config(config_file: str, overrides: list[str] | None = None) -> CfgNode:
    """Read a config of person search, which sets nothing that it does not read.

    See ``read_config``.
    """
    return read_config(config_file, overrides, add_person_search_config, person_search_readers())


def config_to_pass_on(cfg: CfgNode) -> CfgNode:
    """Return a model's config without what is of the machine and the run it was trained on.

    No file, folder or device is named; data sets keep their names.
    """
    passed_on, usual = cfg.clone(), get_cfg()
    add_person_search_config(usual)
    passed_on.defrost()
    passed_on.MODEL.WEIGHTS = ""
    # Where there is no GPU the CPU is taken.
    passed_on.MODEL.DEVICE = usual.MODEL.DEVICE
    passed_on.MODEL.PERSON_SEARCH.STL = usual.MODEL.PERSON_SEARCH.STL
    # Folders of the machine of the training.
    passed_on.OUTPUT_DIR = usual.OUTPUT_DIR
    passed_on.DATASETS.COCO_PERSON = usual.DATASETS.COCO_PERSON
    return passed_on
