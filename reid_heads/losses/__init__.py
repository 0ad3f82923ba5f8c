"""Losses on embeddings and person ids."""

from reid_heads.losses.identity_memory import OIMLoss

__all__ = ["OIMLoss"]
