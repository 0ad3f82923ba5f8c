"""Config keys of the losses, below ``MODEL.REID_HEAD``."""

from detectron2.config import CfgNode


def add_loss_keys(head: CfgNode) -> None:
    """Add the losses and their settings to ``MODEL.REID_HEAD``."""
    _add_weights(head)
    _add_classifier_keys(head)
    _add_margin_keys(head)
    _add_metric_keys(head)
    _add_pair_loss_keys(head)
    _add_ensemble_keys(head)


def _add_weights(head: CfgNode) -> None:
    # Weight of each loss by name; weight 0 is not computed.
    head.LOSSES = CfgNode(
        {
            "OIM": 1.0,
            "SOFTMAX": 0.0,
            "COSINE_SOFTMAX": 0.0,
            "ARCFACE": 0.0,
            "COSFACE": 0.0,
            "SUBCENTER_ARCFACE": 0.0,
            "SPHEREFACE": 0.0,
            "COMBINED_MARGIN": 0.0,
            "CURRICULARFACE": 0.0,
            "MAGFACE": 0.0,
            "ADAFACE": 0.0,
            "TRIPLET": 0.0,
            "CENTER": 0.0,
            "ATTRIBUTES": 0.0,
            "HETERO_CENTER_TRIPLET": 0.0,
            "MMD_ID": 0.0,
            "MMD": 0.0,
            # SOFTMAX and TRIPLET within each training set, the mean over the sets of the batch,
            # with the settings of SOFTMAX and TRIPLET.
            "DOMAIN_SOFTMAX": 0.0,
            "DOMAIN_TRIPLET": 0.0,
            # Over all pairs of unit-norm features, with synthetic ones where INTRA_CLASS is on.
            "CONTRASTIVE": 0.0,
            "HARDEST_NEGATIVE_TRIPLET": 0.0,
            "MULTI_SIMILARITY": 0.0,
            # Several of the others as one, their scales balanced and their weights learned.
            "ENSEMBLE": 0.0,
        }
    )


def _add_classifier_keys(head: CfgNode) -> None:
    oim = head.OIM = CfgNode()
    # Slots for unlabelled people, used as negatives. Published: 5000 for CUHK-SYSU, 500 for PRW.
    oim.QUEUE_SIZE = 5000
    # Inverse temperature of the softmax.
    oim.SCALE = 30.0
    # Share of the old table row kept at an update, 0 <= momentum < 1.
    oim.MOMENTUM = 0.5

    softmax = head.SOFTMAX = CfgNode()
    # Probability mass eps taken from the true identity, 0 <= eps < 1; 0 is plain cross-entropy.
    softmax.LABEL_SMOOTHING = 0.0
    # Who gets it: "all", eps/C to each of the C identities (Bag of Tricks, torchreid); "others",
    # eps/(C-1) to each wrong one (fast-reid).
    softmax.SMOOTHING_OVER = "all"

    cosine = head.COSINE_SOFTMAX = CfgNode()
    # Inverse temperature s and label smoothing (over all identities) of the softmax over cosines.
    cosine.SCALE = 30.0
    cosine.LABEL_SMOOTHING = 0.0

    # Long tail: tau >= 0 times the logarithm of each identity's share of the training boxes,
    # relative to an even share, is added to its logit in OIM and in every softmax loss, in training
    # (Menon et al., ICLR 2021); 0: none. A sampler that evens identities out does the same work:
    # not both.
    head.LOGIT_ADJUSTMENT = 0.0


def _add_metric_keys(head: CfgNode) -> None:
    # Margin of the batch-hard triplet loss on Euclidean distances.
    head.TRIPLET = CfgNode({"MARGIN": 0.3})
    # Rate of the centers' own SGD, which the loss's weight does not scale.
    head.CENTER = CfgNode({"LEARNING_RATE": 0.5})
    # Number of classes of each attribute group; the trainer checks it against the data.
    head.ATTRIBUTES = CfgNode({"CLASSES": ()})

    # Visible-thermal: margin of the triplet loss on the centers of each identity in each modality;
    # margin on the squared discrepancy (0..10) of an identity's two modalities, below which it is
    # left alone. MMD, of the whole batch, has no setting.
    head.HETERO_CENTER_TRIPLET = CfgNode({"MARGIN": 0.3})
    head.MMD_ID = CfgNode({"MARGIN": 1.4})


def _add_ensemble_keys(head: CfgNode) -> None:
    ensemble = head.ENSEMBLE = CfgNode()
    # Names of the losses above that ENSEMBLE joins; their own weights stay 0. With NAME
    # EnsembleHead each has an embedding of its own, with other heads all see what they would alone.
    ensemble.MEMBERS = ()
    # Relative weights at the start, one each; (): equal ones.
    ensemble.PRIOR = ()
    # Factor eta of the penalty (sum of the weights - 1)^2. Published: 1e4, with Adam.
    ensemble.PENALTY = 1e4
    # EnsembleHead: weight of the term that pushes the losses' embeddings apart. Published: 0.01.
    ensemble.DIVERSITY = 0.0


def _add_pair_loss_keys(head: CfgNode) -> None:
    # Euclidean distances of unit vectors, 0..2, that positives should stay below and negatives
    # above: cosines of 0.8 and 0.5, those of IAA's code.
    head.CONTRASTIVE = CfgNode({"POSITIVE_MARGIN": 0.63, "NEGATIVE_MARGIN": 1.0})
    # Margin of each positive's distance to the nearest negative's, of unit vectors; our choice.
    head.HARDEST_NEGATIVE_TRIPLET = CfgNode({"MARGIN": 0.3})
    # Scales of positives and negatives, cosine from which both count, and how far (cosine) beyond
    # the hardest opposite a pair is still taken.
    head.MULTI_SIMILARITY = CfgNode({"ALPHA": 2.0, "BETA": 40.0, "THRESHOLD": 0.5, "MINING": 0.1})

    iaa = head.INTRA_CLASS = CfgNode()
    # Intra-class adaptive augmentation (arXiv 2211.16264) of the three: synthetic features around
    # each one, as wide as its identity varies in the training set. Crop ReID only. M, synthetic
    # features of each; 0: none. Published: 3.
    iaa.COPIES = 0
    # Factor of the variances, published 0.6 to 0.8 by data set.
    iaa.STRENGTH = 0.7
    # "corrected": the variances of identities with few crops are mended by those of similar ones;
    # "global": one set of variances for all; "own": each identity's as they are.
    iaa.COVARIANCE = "corrected"
    # Correction: similar identities K; beta, how fast it fades with the crops of an identity;
    # gamma, share of the global variances in it; identities with more crops than FEW have none;
    # widths of the Gaussians by which similar ones are weighed, in means and in variances.
    iaa.NEIGHBOURS = 25
    iaa.BETA = 0.1
    iaa.GAMMA = 0.1
    iaa.FEW = 40
    iaa.MEAN_SCALE = 1.0
    iaa.VARIANCE_SCALE = 1.0
    # Epochs (of SOLVER.REID.ITERATIONS_PER_EPOCH, or the sampler's) without augmentation at the
    # start, and between estimates: each is a pass over the training set.
    iaa.START_EPOCH = 0
    iaa.UPDATE_EPOCHS = 4


def _add_margin_keys(head: CfgNode) -> None:
    # COSINE_SOFTMAX with a margin. Every node has SCALE and LABEL_SMOOTHING as there; GRADIENT of
    # the true identity's logit: "exact", as in the papers, or "straight_through", as if there were
    # no margin; SUB_CENTERS: weight vectors an identity, of which the nearest counts, 1 or more.
    common = {"SCALE": 30.0, "LABEL_SMOOTHING": 0.0, "GRADIENT": "exact"}
    # An additive angular margin m in radians, 0 <= m < pi/2 (ArcFace), without and with sub-centers
    # (sub-center ArcFace).
    head.ARCFACE = CfgNode({**common, "MARGIN": 0.3})
    head.SUBCENTER_ARCFACE = CfgNode({**common, "MARGIN": 0.3, "SUB_CENTERS": 3})
    # A margin m on the cosine itself, 0 <= m < 2 (CosFace); both gradients are the same.
    head.COSFACE = CfgNode({"SCALE": 30.0, "LABEL_SMOOTHING": 0.0, "MARGIN": 0.25})

    common["SUB_CENTERS"] = 1
    # A factor m >= 1 of the angle (SphereFace).
    head.SPHEREFACE = CfgNode({**common, "MARGIN": 1.35})
    # All three, cos(M1 theta + M2) - M3, and the weights of two penalties: the angle to the true
    # identity (INTRA), less the mean angle between its weight vector and the others' (INTER).
    head.COMBINED_MARGIN = CfgNode(
        {**common, "M1": 1.0, "M2": 0.3, "M3": 0.2, "INTRA": 0.0, "INTER": 0.0}
    )
    # ArcFace with hard negatives that count more as training goes on; MOMENTUM is the share of the
    # old moving average t that is kept, 0 <= MOMENTUM < 1.
    head.CURRICULARFACE = CfgNode({**common, "MARGIN": 0.3, "MOMENTUM": 0.99})
    # An angular margin, radians, that grows from the first to the second of MARGIN_RANGE with the
    # feature's length over NORM_RANGE, and the weight of the pull towards long features. The values
    # are the paper's, for faces and SCALE 64: choose NORM_RANGE for the head (a BNNeck on 128
    # channels gives lengths around sqrt(128) = 11), and a smaller weight with a smaller SCALE.
    head.MAGFACE = CfgNode(
        {**common, "NORM_RANGE": (10.0, 110.0), "MARGIN_RANGE": (0.45, 0.8), "REGULARIZER": 35.0}
    )
    # A margin m, 0 <= m < 1, between an angular one and twice CosFace's as the feature's length
    # stands in the moving statistics of lengths: 1 / CONCENTRATION standard deviations from the
    # mean give either end; MOMENTUM is the share of the old statistics that is kept.
    head.ADAFACE = CfgNode({**common, "MARGIN": 0.4, "CONCENTRATION": 0.333, "MOMENTUM": 0.99})

    partial_fc = head.PARTIAL_FC = CfgNode()
    # COSINE_SOFTMAX and every margin, for very many identities (Partial FC). Share, 0 < share <= 1,
    # of the identities that a batch lacks which it is compared with in training, drawn anew each
    # time; 1.0: all.
    partial_fc.SAMPLE_SHARE = 1.0
    # Whether the identities are divided over the processes (GPUs). The result is the same; each
    # process saves its own beside the checkpoints, and training resumes on as many processes.
    partial_fc.SHARDED = False
