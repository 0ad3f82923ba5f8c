"""Features of a query and a gallery set: the arrays of ``features.npz``, read, written and checked.

Letters: Q queries, G gallery crops, D embedding size.
"""

import os
from dataclasses import dataclass, fields

import numpy as np

from reid_heads.atomic_file import save_arrays
from reid_heads.evaluation.named_arrays import load_named_arrays

# Rows checked at a time, so that no temporary array is as large as the features.
_CHECKED_ROWS = 4096


@dataclass(frozen=True)
class ReIDFeatures:
    """Hold one model's features of one test set; checked when built.

    Raises:
        ValueError: If an array has a wrong type or shape, holds NaN or infinity, or does not fit
            the others; names the array.
    """

    query_features: np.ndarray
    """(Q, D) floating point, of any norm but 0."""

    query_pids: np.ndarray
    """(Q,) integer."""

    query_camids: np.ndarray
    """(Q,) integer."""

    gallery_features: np.ndarray
    """(G, D)."""

    gallery_pids: np.ndarray
    """(G,) integer; distractors have an id of their own that no query has."""

    gallery_camids: np.ndarray
    """(G,) integer."""

    def __post_init__(self) -> None:
        for side in ("query", "gallery"):
            features = f"{side}_features"
            check_features(getattr(self, features), features)
            for name in (f"{side}_pids", f"{side}_camids"):
                check_labels(getattr(self, name), name, len(getattr(self, features)), features)
        size, expected = self.query_features.shape[1], self.gallery_features.shape[1]
        if size != expected:
            raise ValueError(
                f"query_features: {size} values a row, but gallery_features has {expected}; use "
                "one model for both"
            )


def save_features(path: str | os.PathLike[str], features: ReIDFeatures) -> None:
    """Write ``features.npz`` whole or not at all.

    Args:
        path: File to write; its folder is made if missing.
        features: What to write. Arrays only, so no pickle.
    """
    save_arrays(path, {field.name: getattr(features, field.name) for field in fields(ReIDFeatures)})


def load_features(path: str | os.PathLike[str]) -> ReIDFeatures:
    """Read ``features.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive, lacks an array or an array breaks a rule; names file
            and array.
    """
    return load_named_arrays(path, ReIDFeatures, "features")


def check_features(array: np.ndarray, name: str) -> None:
    """Raise ValueError unless the array is (rows, values) of finite floating-point numbers."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name}: got {got}, expected a NumPy array of floating-point numbers")
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: got shape {array.shape}, expected (rows, values), at least one of each"
        )
    for start in range(0, len(array), _CHECKED_ROWS):
        finite = np.isfinite(array[start : start + _CHECKED_ROWS]).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"{name}: NaN or infinity, first in row {start + int(np.argmin(finite))}. Was the "
                "training stable, and is half precision large enough for these values?"
            )


def check_labels(array: np.ndarray, name: str, length: int, features: str) -> None:
    """Raise ValueError unless the array is (length,) of integers, one for each row of features."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name}: got {got}, expected a NumPy array of integers")
    if array.ndim != 1:
        raise ValueError(f"{name}: got shape {array.shape}, expected one axis")
    if len(array) != length:
        raise ValueError(
            f"{name}: {len(array)} rows, but {features} has {length}; they describe the same "
            "crops, one row each"
        )
