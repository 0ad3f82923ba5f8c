"""Losses on embeddings and person ids."""

from reid_heads.losses.attributes import AttributeLoss
from reid_heads.losses.center import CenterLoss
from reid_heads.losses.composite import ReIDLosses
from reid_heads.losses.identity_memory import OIMLoss
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.softmax import SoftmaxLoss
from reid_heads.losses.triplet import TripletLoss, batch_hard_triplet_loss

__all__ = [
    "AttributeLoss",
    "CenterLoss",
    "CosineSoftmaxLoss",
    "OIMLoss",
    "ReIDLosses",
    "SoftmaxLoss",
    "TripletLoss",
    "batch_hard_triplet_loss",
]
