"""Embedding heads: feature maps of people in, unit vectors out."""

from reid_heads.heads.embedding import REID_HEADS_REGISTRY, EmbeddingHead, build_reid_head

__all__ = ["REID_HEADS_REGISTRY", "EmbeddingHead", "build_reid_head"]
