"""Asking again with what somebody has judged: Rocchio's formula on embeddings.

Letters: R right ones, W wrong ones, D embedding size.
"""

import numpy as np

AWAY = 0.25
"""Share of the mean of the wrong ones that is taken away. Chosen on drawn sets:
``benchmarks/feedback.py``."""


def refine_query(query: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Move a query towards what is right and away from what is wrong.

    Rocchio, "Relevance feedback in information retrieval", 1971: the mean of the query and the
    right ones, less a share of the mean of the wrong ones. It is one vector, so that the search
    stays exact and as fast.

    Args:
        query: (D,) of unit norm.
        right: (R, D) of unit norm; R may be 0.
        wrong: (W, D) of unit norm; W may be 0.

    Returns:
        (D,) float32 of unit norm; the query itself where nothing else is left.

    Examples:
        >>> import numpy as np
        >>> query, coat, hat = np.eye(3)
        >>> refine_query(query, coat[None], hat[None]).round(2)
        array([ 0.69,  0.69, -0.24], dtype=float32)
    """
    towards = np.vstack([query[None], right]).astype(np.float64).mean(axis=0)
    towards /= max(float(np.linalg.norm(towards)), 1e-12)
    moved = towards - AWAY * wrong.astype(np.float64).mean(axis=0) if len(wrong) else towards
    norm = np.linalg.norm(moved)
    found = query if norm < 1e-6 else moved / norm
    return np.asarray(found, np.float32)
