"""How far from unit norm an embedding may be before it counts as a mistake."""

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE = 1e-3
"""Twice what rounding to half precision can do to a norm, 2**-11. Further away is another model, a
missing normalisation, or scores that were multiplied in."""


def is_unit_norm(norms: ArrayLike) -> np.ndarray:
    """Say of norms of embeddings whether they are 1, up to `TOLERANCE`.

    Args:
        norms: Of any shape.

    Returns:
        Booleans of the same shape; NaN and infinity are not 1.
    """
    return np.asarray(np.abs(np.asarray(norms) - 1) <= TOLERANCE)
