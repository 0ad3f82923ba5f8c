"""The losses of this package, a line each.

Their order is that of ``MODEL.REID_HEAD.LOSSES``, in which a model makes them: another one would
draw other initial weights from the same seed.
"""

from reid_heads.losses.attributes import ATTRIBUTES
from reid_heads.losses.center import CENTER
from reid_heads.losses.cosine_softmax import COSINE_SOFTMAX
from reid_heads.losses.domains import DOMAIN_SOFTMAX, DOMAIN_TRIPLET
from reid_heads.losses.hetero_center import HETERO_CENTER_TRIPLET
from reid_heads.losses.identity_memory import OIM
from reid_heads.losses.mmd import MMD, MMD_ID
from reid_heads.losses.named_ensemble import ENSEMBLE
from reid_heads.losses.pair_kinds import PAIR_LOSSES
from reid_heads.losses.registry import register_loss
from reid_heads.losses.softmax import SOFTMAX
from reid_heads.losses.triplet import TRIPLET

for _kind in (
    OIM,
    SOFTMAX,
    COSINE_SOFTMAX,
    TRIPLET,
    CENTER,
    ATTRIBUTES,
    HETERO_CENTER_TRIPLET,
    MMD_ID,
    MMD,
    DOMAIN_SOFTMAX,
    DOMAIN_TRIPLET,
    *PAIR_LOSSES,
    ENSEMBLE,
):
    register_loss(_kind)
