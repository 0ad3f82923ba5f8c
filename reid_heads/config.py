"""Config keys of the ReID heads and of the training of crop ReID."""

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY

import reid_heads.crop_reid  # noqa: F401  (registers the model and its backbones)
from reid_heads.backbones.two_stream import built_backbones
from reid_heads.config_file import read_config
from reid_heads.config_readers import Reader, readers_of
from reid_heads.heads import REID_HEADS_REGISTRY
from reid_heads.heads.pooling import CONFIG_READERS as POOLING_READERS
from reid_heads.losses.config import add_loss_keys, loss_readers


def add_reid_head_config(cfg: CfgNode) -> None:
    """Add ``MODEL.REID_HEAD`` to a detectron2 config."""
    head = cfg.MODEL.REID_HEAD = CfgNode()
    # Name in REID_HEADS_REGISTRY: "EmbeddingHead", "BNNeckHead", "MGNHead", "EnsembleHead"; of
    # aligned faces "FlattenHead", in person search "NormAwareHead" too.
    head.NAME = "EmbeddingHead"
    # EmbeddingHead, FlattenHead, NormAwareHead: length of an embedding. EnsembleHead: of each
    # loss's own.
    head.EMBEDDING_DIM = 256
    # EmbeddingHead: horizontal stripes that are pooled and concatenated: each number n adds n
    # stripes of equal height; (1,) is global.
    head.STRIPES = (1,)
    # Pooling of a region: "avg", "max" or "gem".
    head.POOLING = "avg"
    # "gem": exponent of the generalised mean at the start, and whether it is learned.
    head.GEM_POWER = 3.0
    head.GEM_LEARNED = False
    # EmbeddingHead, EnsembleHead: whether a projection is followed by BatchNorm. BNNeckHead:
    # whether there is a BNNeck; without it classifiers and metric losses see the same pooled
    # feature.
    head.BATCH_NORM = True
    # EmbeddingHead: whether a ReLU comes last, as in OSNet: all embeddings lie in one orthant.
    head.RELU = False
    # Identities of the training set; the trainer checks it against the data.
    head.NUM_IDENTITIES = 0
    # DOMAIN_SOFTMAX, DOMAIN_TRIPLET: identities of each training set, in the order of
    # DATASETS.TRAIN; their sum is NUM_IDENTITIES.
    head.DOMAIN_IDENTITIES = ()

    mgn = head.MGN = CfgNode()
    # MGNHead: length of each of the eight reduced features.
    mgn.REDUCTION_DIM = 256
    # Which feature the softmax of the three global branches classifies: "pre", the pooled one, as
    # in the paper, or "post", the reduced one, as in the public re-implementations.
    mgn.GLOBAL_SOFTMAX = "pre"

    # NormAwareHead: whether half of the embedding comes from the features as pooled from the frame,
    # before the identity branch's own layers.
    head.NORM_AWARE = CfgNode({"USE_POOLED": True})

    add_loss_keys(head)


def add_crop_reid_config(cfg: CfgNode) -> None:
    """Add every key of crop ReID to a detectron2 config, ``MODEL.REID_HEAD`` among them."""
    add_reid_head_config(cfg)
    add_crop_backbone_config(cfg)
    add_trainer_config(cfg)
    _add_model_keys(cfg)
    _add_input_keys(cfg)
    _add_solver_keys(cfg)
    _add_test_keys(cfg)


def add_crop_backbone_config(cfg: CfgNode) -> None:
    """Add what a crop net's backbone has beside detectron2's keys: person search may share it."""
    node = cfg.MODEL.CROP_REID = CfgNode()
    # Stride of the backbone's last stage: 1 keeps a finer map (Bag of Tricks), 2 is ResNet's own.
    node.LAST_STRIDE = 1
    # "none", or "a": half the channels of each block's first norm in res2-res4 are
    # instance-normalised (IBN-a, Pan et al., ECCV 2018).
    node.IBN = "none"
    # Whether a ReLU follows the stem's norm. The published Bag of Tricks numbers come from a
    # network without it, which its authors call a mistake and keep.
    node.STEM_RELU = False
    # The stem's 3x3 max pooling: "padded" by a pixel on each side, as ResNet's; "ceil", without
    # padding and up to the lower and right edge, as fast-reid's.
    node.STEM_POOL = "padded"

    slim = cfg.MODEL.SLIM_RESNET = CfgNode()
    # A small residual network for training from scratch (build_slim_resnet_backbone, and
    # build_slim_resnet_fpn_backbone of person search): channels of the stem and of the stages res2,
    # res3, ... (strides 4, 8, ...), and the residual blocks of each stage.
    slim.STEM_CHANNELS = 32
    slim.CHANNELS = (32, 64, 128, 192)
    slim.NUM_BLOCKS = (1, 2, 2, 1)


def _add_osnet_keys(cfg: CfgNode) -> None:
    osnet = cfg.MODEL.OSNET = CfgNode()
    # MODEL.BACKBONE.NAME "build_osnet_backbone": channels of conv1, of the blocks conv2 and conv3,
    # and of conv4 and conv5. These are width x1.0's; x0.25's are (16, 64, 96, 128).
    osnet.CHANNELS = (64, 256, 384, 512)
    # Instance normalisation: "none"; "ibn", in conv1 and behind the blocks of conv2; "ain", in
    # conv1 and within four of the six blocks, as an architecture search chose them for unseen sets.
    osnet.INSTANCE_NORM = "none"


def _add_iresnet_keys(cfg: CfgNode) -> None:
    iresnet = cfg.MODEL.IRESNET = CfgNode()
    # MODEL.BACKBONE.NAME "build_iresnet_backbone": 18, 34, 50 or 100.
    iresnet.DEPTH = 50
    # Channels of the stages res2 to res5; the stem has those of res2.
    iresnet.CHANNELS = (64, 128, 256, 512)


def add_trainer_config(cfg: CfgNode) -> None:
    """Add what every training reads beside detectron2's keys."""
    # "SGD" (detectron2's), "Adam" or "AdamW".
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Share of the old value in an exponential moving average of the weights, which is then what is
    # evaluated; 0: no average.
    cfg.SOLVER.EMA_DECAY = 0.0


def _add_model_keys(cfg: CfgNode) -> None:
    _add_osnet_keys(cfg)
    _add_iresnet_keys(cfg)
    # MODEL.BACKBONE.NAME "build_two_stream_backbone": the ResNet whose stem and first stages are
    # doubled, one set for visible and one for thermal images, and how many of its last stages both
    # share: 2 is MMD-ReID's, 4 doubles the stem alone.
    cfg.MODEL.TWO_STREAM = CfgNode({"BACKBONE": "build_reid_resnet_backbone", "SHARED_STAGES": 2})
    node = cfg.MODEL.CROP_REID
    # Embed each test crop and its mirror image, and take the mean.
    node.FLIP_TEST = False

    jitter = node.STYLE_JITTER = CfgNode()
    # Stages after which feature maps take over the style of other crops of the batch, in training
    # (SVIL, arXiv 2209.05235): some of "stem", "res2", ...; (): nowhere.
    jitter.PLACES = ()
    # The mixing weight of each crop is drawn from here: 0 is its own style, 1 its donor's alone.
    # Published: (1.0, 1.0).
    jitter.MIX_RANGE = (1.0, 1.0)
    # Horizontal stripes that take the style of the donor's same stripe; 1: the whole map.
    jitter.STRIPES = 1
    # Probability that a batch is restyled at a place.
    jitter.PROBABILITY = 1.0
    # Whether gradients flow into the donor's style, as in the authors' code.
    jitter.STYLE_GRADIENT = True


def _add_input_keys(cfg: CfgNode) -> None:
    node = cfg.INPUT.REID = CfgNode()
    # Height and width of the network's input, pixels.
    node.SIZE = (256, 128)
    # How a crop is resized to SIZE: "bilinear", or "bicubic" as in fast-reid; both by Pillow.
    node.INTERPOLATION = "bilinear"
    # Probability of a horizontal flip.
    node.FLIP_PROBABILITY = 0.5
    # Black pixels added on each side before a random crop back to SIZE; 0: no crop.
    node.PADDING = 10
    # Crops cut from frames, at training: each side of a box moves by up to this share of the box's
    # width or height, as a detector's boxes do; 0: exact boxes. Below 0.5.
    node.BOX_JITTER = 0.0
    # Crops cut from frames: the frame is resized first, by the rule of INPUT.MIN_SIZE_TEST and
    # MAX_SIZE_TEST (shorter side, limit of the longer side, pixels), so that people look as blurred
    # as to the person search model; FRAME_MIN_SIZE 0: cut from the frame as it is.
    node.FRAME_MIN_SIZE = 0
    node.FRAME_MAX_SIZE = 1333
    # Crops cut from frames, at training: mebibytes of cut pixels that each process (each worker of
    # the loader) keeps, since decoding whole frames again is slow; 0: none. Results do not change.
    node.CACHE_MB = 0
    erasing = node.ERASING = CfgNode()
    # Random erasing (Zhong et al., AAAI 2020): probability; smallest and largest share of the
    # image's area; the aspect ratio is drawn between ASPECT and 1/ASPECT.
    erasing.PROBABILITY = 0.5
    erasing.AREA = (0.02, 0.4)
    erasing.ASPECT = 0.3
    # Value in an erased region, in normalised space: "mean_norm", the ImageNet mean (0.485, 0.456,
    # 0.406) itself, as the published Bag of Tricks numbers have it; "zero", the mean pixel.
    erasing.FILL = "mean_norm"

    loader = cfg.DATALOADER.REID = CfgNode()
    # "random_identity": the classic pass over chunks of K images of an identity, where identities
    # with more images come more often; "identity_uniform": each identity equally often;
    # "cross_modality": the same, K images of each of the two modalities.
    loader.SAMPLER = "random_identity"
    # K, images of each identity in a batch; SOLVER.IMS_PER_BATCH is P x K, and P x 2K with
    # "cross_modality".
    loader.IMAGES_PER_IDENTITY = 4
    # Whether each batch holds the same number of crops of every training set, each drawn by a
    # sampler of its own; SOLVER.IMS_PER_BATCH is then sets x P x K.
    loader.DOMAIN_BALANCED = False
    # Data of your own to register: (name, folder or CSV, "train" or "test") each; the names can
    # then stand in DATASETS.TRAIN and DATASETS.TEST.
    cfg.DATASETS.CROPS = ()
    # Aligned faces of your own, a folder a person, to register likewise: (name, folder, use) each;
    # use is "train", "recall" (each face is searched for among the others) or the path of a pair
    # list in LFW's format (verification).
    cfg.DATASETS.FACES = ()
    # Numbers that "{trial}" stands for in the names of DATASETS.TRAIN (a training each) or of
    # DATASETS.TEST alone (one training, tested on each); results are averaged. () for neither.
    cfg.DATASETS.TRIALS = ()


def _add_solver_keys(cfg: CfgNode) -> None:
    node = cfg.SOLVER.REID = CfgNode()
    # Factor of the learning rate of the backbone's parameters: MMD-ReID trains it at a tenth of
    # the rate of neck and classifiers.
    node.BACKBONE_LR_FACTOR = 1.0
    # Length of training in epochs; MAX_ITER, STEPS and the periods then follow from the data. 0:
    # SOLVER and TEST are in iterations, as in detectron2.
    node.EPOCHS = 0
    # Iterations that count as an epoch; 0: as the sampler says, about a pass over the data.
    node.ITERATIONS_PER_EPOCH = 0
    # Epochs, counted from 1, at whose start the rate is multiplied by SOLVER.GAMMA.
    node.STEP_EPOCHS = (40, 70)
    # Epochs of linear warm-up from SOLVER.WARMUP_FACTOR to 1; the rate is constant within an epoch.
    # Bag of Tricks: its code starts at 0.01 of the rate (which gave the published numbers), its
    # paper says 0.1.
    node.WARMUP_EPOCHS = 10
    # Epochs between evaluations and between checkpoints; 0: only at the end.
    node.EVAL_EPOCHS = 0
    node.CHECKPOINT_EPOCHS = 10

    meta = cfg.SOLVER.META_LEARNING = CfgNode()
    # First-order meta-learning over the training sets (SVIL): in each iteration the loss on one of
    # them is taken after a step on the others.
    meta.ENABLED = False
    # Weight of the gradient of that loss. Published: 0.5.
    meta.BETA = 0.5
    # The step's optimizer, fresh each time, at the present rate: "SGD", "Adam" (published) or
    # "AdamW".
    meta.INNER_OPTIMIZER = "Adam"


def _add_test_keys(cfg: CfgNode) -> None:
    node = cfg.TEST.REID = CfgNode()
    # k-reciprocal re-ranking (Zhong et al., CVPR 2017), scored besides the plain ranking.
    node.RERANKING = CfgNode({"ENABLED": False, "K1": 20, "K2": 6, "LAMBDA": 0.3})
    # alpha-weighted query expansion, scored besides: neighbours N and exponent alpha.
    node.QUERY_EXPANSION = CfgNode({"ENABLED": False, "NEIGHBOURS": 5, "ALPHA": 3.0})
    # CUHK03 classic protocol: random single-shot galleries that are averaged.
    node.SINGLE_SHOT_REPEATS = 10
    # SYSU-MM01: drawn galleries that are averaged, and crops of each person in each camera in the
    # multi-shot ones.
    node.GALLERY_TRIALS = 10
    node.MULTI_SHOTS = 10


# What is at work in every training or test of crops, and what a key turns on.
_READERS = (
    Reader(
        "crop ReID",
        (
            "INPUT.REID",
            "INPUT.REID.ERASING.PROBABILITY",
            "DATALOADER.REID",
            "DATASETS.CROPS",
            "DATASETS.FACES",
            "DATASETS.TRIALS",
            # With EPOCHS 0, as short trainings of a recipe have it, its epochs stand unused.
            "SOLVER.REID",
            "SOLVER.META_LEARNING.ENABLED",
            "TEST.REID",
            "TEST.REID.RERANKING.ENABLED",
            "TEST.REID.QUERY_EXPANSION.ENABLED",
        ),
    ),
    Reader(
        "MODEL.CROP_REID.STYLE_JITTER.PLACES that name one",
        ("MODEL.CROP_REID.STYLE_JITTER",),
        lambda cfg: len(cfg.MODEL.CROP_REID.STYLE_JITTER.PLACES) > 0,
    ),
    Reader(
        "INPUT.REID.ERASING.PROBABILITY above 0",
        ("INPUT.REID.ERASING",),
        lambda cfg: cfg.INPUT.REID.ERASING.PROBABILITY > 0,
    ),
    Reader(
        "INPUT.REID.FRAME_MIN_SIZE above 0",
        ("INPUT.REID.FRAME_MAX_SIZE",),
        lambda cfg: cfg.INPUT.REID.FRAME_MIN_SIZE > 0,
    ),
    Reader(
        "SOLVER.META_LEARNING.ENABLED True",
        ("SOLVER.META_LEARNING",),
        lambda cfg: cfg.SOLVER.META_LEARNING.ENABLED,
    ),
    Reader(
        "TEST.REID.RERANKING.ENABLED True",
        ("TEST.REID.RERANKING",),
        lambda cfg: cfg.TEST.REID.RERANKING.ENABLED,
    ),
    Reader(
        "TEST.REID.QUERY_EXPANSION.ENABLED True",
        ("TEST.REID.QUERY_EXPANSION",),
        lambda cfg: cfg.TEST.REID.QUERY_EXPANSION.ENABLED,
    ),
)


def shared_readers() -> list[Reader]:
    """Return who reads the keys that crop ReID and person search have in common."""
    every = Reader(
        "every model and training",
        (
            "MODEL.REID_HEAD.NAME",
            "MODEL.REID_HEAD.NUM_IDENTITIES",
            "MODEL.REID_HEAD.LOSSES",
            "SOLVER.OPTIMIZER",
            "SOLVER.EMA_DECAY",
        ),
    )
    heads = readers_of(
        REID_HEADS_REGISTRY, "MODEL.REID_HEAD.NAME", lambda cfg: [cfg.MODEL.REID_HEAD.NAME]
    )
    backbones = readers_of(BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME", built_backbones)
    models = readers_of(
        META_ARCH_REGISTRY, "MODEL.META_ARCHITECTURE", lambda cfg: [cfg.MODEL.META_ARCHITECTURE]
    )
    return [every, *heads, *POOLING_READERS, *backbones, *models, *loss_readers()]


def crop_reid_readers() -> list[Reader]:
    """Return who reads the keys of ``add_crop_reid_config``."""
    return [*shared_readers(), *_READERS]


def load_config(config_file: str, overrides: list[str] | None = None) -> CfgNode:
    """Read a config of crop ReID, which sets nothing that it does not read; see ``read_config``."""
    return read_config(config_file, overrides, add_crop_reid_config, crop_reid_readers())
