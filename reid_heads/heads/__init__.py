"""Embedding heads: feature maps of people in, features to compare and to train on out."""

from reid_heads.heads.bnneck import BNNeckHead
from reid_heads.heads.embedding import REID_HEADS_REGISTRY, EmbeddingHead, build_reid_head
from reid_heads.heads.ensemble import EnsembleHead
from reid_heads.heads.flatten import FlattenHead
from reid_heads.heads.mgn import MGNHead
from reid_heads.heads.norm_aware import NormAwareHead

__all__ = [
    "REID_HEADS_REGISTRY",
    "BNNeckHead",
    "EmbeddingHead",
    "EnsembleHead",
    "FlattenHead",
    "MGNHead",
    "NormAwareHead",
    "build_reid_head",
]
