"""What a crop net is to a model of two steps.

Letters: H, W height and width of a crop in original pixels, N crops, D embedding size.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class CropNet(Protocol):
    """Embeds crops of people, in whatever program it runs."""

    fingerprint: str
    """SHA-256 (hex) of what decides embeddings: file or weights, and how crops are prepared."""

    embedding_dim: int
    """D."""

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed crops; called by as many threads at once as the model of two steps allows.

        Args:
            crops: none or more, (H, W, 3) uint8 RGB, each of one person, sizes may differ.

        Returns:
            (N, D) float32 of unit norm, whatever crops stand beside each other.
        """
        ...
