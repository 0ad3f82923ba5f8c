"""Query expansion: a query joined with its nearest gallery crops, then searched again.

Average query expansion (Chum et al., ICCV 2007) and its alpha-weighted form (Radenović et al.,
TPAMI 2019): the new query is the normalised sum of the query and of its n most similar gallery
crops, each weighted by its similarity to the power of alpha; alpha 0 weighs all alike. Labels and
cameras are not looked at. The gallery stays as it is.

Letters: Q queries, G gallery crops, B queries of a block, D embedding size.
"""

import numpy as np

from reid_heads.evaluation.neighbors import TopColumns
from reid_heads.evaluation.rules import QueryExpansion
from reid_heads.evaluation.similarity import QUERY_BLOCK, iterate_similarities, normalize_rows


def expand_queries(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    options: QueryExpansion | None = None,
    block_size: int = QUERY_BLOCK,
) -> np.ndarray:
    """Join each query with its nearest gallery crops; among equally similar ones the earlier.

    Args:
        query_features: (Q, D) float32 of unit norm.
        gallery_features: (G, D) float32 of unit norm.
        options: None for the defaults.
        block_size: Queries a block.

    Returns:
        (Q, D) float32 of unit norm, a new array.

    Examples:
        >>> crops = np.float32([[1, 0], [0.6, 0.8], [-1, 0]])
        >>> expand_queries(crops[:1], crops[1:], QueryExpansion(neighbours=1, alpha=0)).round(3)
        array([[0.894, 0.447]], dtype=float32)
    """
    options = options or QueryExpansion()
    number = min(options.neighbours, len(gallery_features))
    expanded = np.empty_like(query_features)
    start = 0
    for block in iterate_similarities(query_features, gallery_features, block_size):
        rows = slice(start, start + len(block))
        top = TopColumns(len(block), number)
        top.update(0, 0, block)
        # A crop on the far side weighs nothing: a fractional power of its similarity has no value.
        weights = np.maximum(top.similarities, 0) ** np.float32(options.alpha)
        added = np.einsum("bk,bkd->bd", weights, gallery_features[top.columns])
        expanded[rows] = query_features[rows] + added
        start = rows.stop
    return normalize_rows(expanded, "expanded query_features")
