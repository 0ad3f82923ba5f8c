import numpy as np

from reid_heads.unit_norm import is_unit_norm


def test_what_half_precision_leaves_passes_and_nothing_further_away():
    norms = np.array([[1, 0.9991, 1.0009], [0.9989, 1.0011, 1.0015], [0, np.nan, np.inf]])
    assert is_unit_norm(norms).tolist() == [[True] * 3, [False] * 3, [False] * 3]
    assert is_unit_norm(1.0) and is_unit_norm(np.zeros(0)).all()


def test_rounding_to_half_precision_is_within_it():
    rows = np.random.default_rng(0).normal(size=(200, 256))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rounded = rows.astype(np.float16).astype(float)
    assert (rounded != rows).all() and is_unit_norm(np.linalg.norm(rounded, axis=1)).all()
