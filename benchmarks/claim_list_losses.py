"""What the papers on margins, faces, augmentation and ensembles claim; see claim_list.py."""

from claims import Check, Claim, Side

_MAP, _TOP1 = "results/reid/mAP", "results/reid/top1"


def _rows(file: str, first: tuple[str, str], second: tuple[str, str], metric: str = _MAP) -> Check:
    """Compare two rows, each (row, title), of a benchmark of crops."""
    one, other = (Side(title, file, {"row": row}, metric) for row, title in (first, second))
    return Check("mAP" if metric == _MAP else "top-1", one, other)


_ARCFACE = ("arcface", "ArcFace")
_SUB = ("sub_centers", "3 sub-centers")
_PURIFIED = ("purified", "ArcFace on what purification keeps")


def _inverted(kind: str, first: str, second: str, title: str) -> Check:
    metric = "rows/{}/second network/own_identity"
    one = Side("inverted", "inversion", {"kind": kind}, metric.format(first))
    other = Side(title, "inversion", {"kind": kind}, metric.format(second))
    return Check(f"{kind} set, cosine by a second network", one, other, digits=2)


_NOISE, _NO_NORMS = "noise, as at the start", "inverted without BatchNorm statistics"

ARCFACE = Claim(
    "ArcFace",
    "Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, TPAMI 2022, "
    "arXiv 1801.07698",
    "an angular margin is better than none (LFW 99.5, no margin 99.2); with noisy labels "
    "sub-centers are better (IJB-C 93.7, without 90.3), purification by them best (95.9)",
    "paper",
    (
        _rows("margins", _ARCFACE, ("cosine", "no margin")),
        _rows("margins_behind_norm", _ARCFACE, ("cosine", "no margin, both behind a BatchNorm")),
        _rows("label_noise", _SUB, _ARCFACE),
        _rows("label_noise", _PURIFIED, _ARCFACE),
        _rows("label_noise_look_alikes", _SUB, ("arcface", "ArcFace, wrong labels of look-alikes")),
        _rows(
            "label_noise_look_alikes",
            _PURIFIED,
            ("arcface", "ArcFace, wrong labels of look-alikes"),
        ),
    ),
    "without a BatchNorm before the cosines, which the published networks have, the margin gains "
    "nothing; wrong labels that are spread over everybody do not gather in a sub-center",
)
INVERSION = Claim(
    "Inversion",
    "the same paper, section 4.5",
    "pictures made from the weights alone, by the class and the statistics of BatchNorm, are the "
    "person for another network too (cosine 0.62), and worse without those statistics",
    "paper",
    (
        _inverted("closed", "inverted", _NOISE, "the noise they start from"),
        _inverted("closed", "inverted", _NO_NORMS, "without BatchNorm statistics"),
        _inverted("open", "inverted", _NOISE, "the noise they start from"),
        _inverted("open", "inverted", _NO_NORMS, "without BatchNorm statistics"),
    ),
    "with a given embedding as the target, people never seen, the statistics are not needed: "
    "the embedding says enough",
)


def _faces(experiment: str, network: str, value: float, title: str) -> Side:
    select = {"experiment": experiment, "network": network, "value": value}
    return Side(title, "face_survey", select, "results/verification/accuracy")


def _accuracy(first: Side, second: Side, expected: str = "above") -> Check:
    return Check("10-fold accuracy", first, second, expected)


SURVEY = Claim(
    "Survey of faces",
    "Wang et al., A Survey of Face Recognition, FG 2023, arXiv 2212.13038, section 5",
    "larger networks and more identities help, small networks level off; at equally many images "
    "there is a best number of identities; a tail of identities with few images changes nothing",
    "paper",
    (
        _accuracy(
            _faces("sizes", "large", 1.0, "the large network"),
            _faces("sizes", "small", 1.0, "the small one"),
        ),
        _accuracy(
            _faces("sizes", "large", 1.0, "all identities, large network"),
            _faces("sizes", "large", 0.1, "a tenth"),
        ),
        _accuracy(
            _faces("sizes", "medium", 1.0, "all identities, medium network"),
            _faces("sizes", "medium", 0.4, "two fifths"),
            "alike",
        ),
        _accuracy(
            _faces("breadth", "medium", 200, "2,000 images of 200 people"),
            _faces("breadth", "medium", 50, "of 50 people"),
        ),
        _accuracy(
            _faces("breadth", "medium", 200, "2,000 images of 200 people"),
            _faces("breadth", "medium", 400, "of 400 people"),
        ),
        _accuracy(
            _faces("long_tail", "medium", 1.0, "with the whole tail"),
            _faces("long_tail", "medium", 0.0, "without it"),
            "alike",
        ),
    ),
    "images of 50 drawn people do as well as those of 200, and the tail, half of the identities "
    "here, costs accuracy",
)

_IAA = "intra_class_augmentation"
AUGMENTATION = Claim(
    "Intra-class augmentation",
    "Fu et al., Intra-class Adaptive Augmentation With Neighbor Correction for Deep Metric "
    "Learning, TMM 2022, arXiv 2211.16264",
    "synthetic features around each one help pair losses (Recall@1 on CUB: triplet 54.4 to 58.9, "
    "multi-similarity 56.2 to 62.1), an identity's own width more than one for all",
    "paper",
    (
        _rows(_IAA, ("triplet_corrected", "triplet, IAA"), ("triplet", "triplet"), _TOP1),
        _rows(
            _IAA,
            ("multi_similarity_corrected", "multi-similarity, IAA"),
            ("multi_similarity", "multi-similarity"),
            _TOP1,
        ),
        _rows(
            _IAA,
            ("triplet_corrected", "triplet, IAA"),
            ("triplet_global", "one width for all"),
            _TOP1,
        ),
        _rows(
            _IAA,
            ("triplet_relative", "triplet, IAA by relative distances"),
            ("triplet_global", "one width for all"),
            _TOP1,
        ),
    ),
    "the triplet loss gains; multi-similarity, which looks at every pair already, does not; at "
    "the published scales the neighbours weigh alike, so that each identity's own width is nearly "
    "that of all",
)

_SUM, _SOFTMAX = ("3_sum", "the plain sum of three losses"), ("0_softmax", "softmax alone")
_UNIT_SUM = ("unit_sum", "their plain sum")
ENSEMBLE = Claim(
    "Ensemble of losses",
    "Zabihzadeh et al., Ensemble of Loss Functions to Improve Generalizability of Deep Metric "
    "Learning methods, MTAP 2023, arXiv 2107.01130",
    "losses whose scales are balanced and whose weights are learned are better than the best "
    "single one (Cars-196: +10.4 Recall@1)",
    "abstract",
    (
        _rows("loss_ensemble", ("4_ensemble", "the ensemble"), _SOFTMAX, _TOP1),
        _rows("loss_ensemble", ("4_ensemble", "the ensemble"), _SUM, _TOP1),
        _rows("loss_ensemble", ("unit_ensemble", "with a triplet of unit rows"), _SOFTMAX, _TOP1),
        _rows("loss_ensemble", ("unit_ensemble", "with a triplet of unit rows"), _UNIT_SUM, _TOP1),
        _rows("loss_ensemble", ("two_ensemble", "without the triplet"), _SOFTMAX, _TOP1),
        _rows(
            "loss_ensemble",
            ("ensemble_again", "from trained weights"),
            ("softmax_again", "softmax from them"),
            _TOP1,
        ),
    ),
    "balancing gives the batch-hard triplet loss, the weakest alone from scratch, as much weight "
    "as the strongest; the published gains are from a pretrained start with a semi-hard triplet "
    "loss",
)
