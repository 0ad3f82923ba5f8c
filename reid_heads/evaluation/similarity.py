"""Cosine similarities of queries and gallery, a block of queries at a time.

A float32 matrix product gives equal gallery rows similarities that differ in the last bit,
depending on where in the matrix they stand and on the number of threads. Rows that are equal bit by
bit (the same picture filed twice) are therefore given the similarity of the first of them: they tie
exactly, always. Similarities of rows that merely resemble each other carry float32 rounding (about
1e-7), and whichever is computed as larger ranks first; that may differ between machines, thread
counts and block sizes.

Letters: Q queries, G gallery crops, N rows, B queries of a block, D embedding size.
"""

import zlib
from collections.abc import Iterator

import numpy as np

# 512 x 82,161 similarities (MSMT17) take 168 MB. With fewer queries a block the product, which
# repacks the gallery for each, is slower: by 6 percent at 256, 18 at 128.
QUERY_BLOCK = 512
# Rows normalised at a time.
_ROW_BLOCK = 2048


def normalize_rows(features: np.ndarray, name: str = "features") -> np.ndarray:
    """Divide each row by its norm, computed in float64.

    Args:
        features: (N, D) floating point, finite; unchanged.
        name: What to call the array in an error.

    Returns:
        (N, D) float32 of unit norm, a new array.

    Raises:
        ValueError: If a row is all zeros: it has no direction.
    """
    normalized = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _ROW_BLOCK):
        rows = features[start : start + _ROW_BLOCK].astype(np.float64)
        # Scaled by the largest value first, so that no square over- or underflows.
        largest = np.abs(rows).max(axis=1, keepdims=True)
        if not largest.all():
            row = start + int(np.argmin(largest))
            raise ValueError(f"{name}: row {row} is all zeros; it is similar to nothing")
        rows /= largest
        rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
        normalized[start : start + _ROW_BLOCK] = rows
    return normalized


def find_duplicate_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find rows that are equal, bit by bit, to an earlier one.

    Args:
        rows: (N, D), C-contiguous.

    Returns:
        Rows with an equal one before them, ascending, and the first that each equals; both int64.
    """
    checksums = np.fromiter((zlib.crc32(row) for row in rows), dtype=np.uint32, count=len(rows))
    order = np.argsort(checksums, kind="stable")
    repeated = np.flatnonzero(np.diff(checksums[order]) == 0)
    suspects = np.unique(np.concatenate([order[repeated], order[repeated + 1]]))
    first_of: dict[bytes, int] = {}
    duplicates, firsts = [], []
    for row in suspects.tolist():
        first = first_of.setdefault(rows[row].tobytes(), row)
        if first != row:
            duplicates.append(row)
            firsts.append(first)
    return np.array(duplicates, dtype=np.int64), np.array(firsts, dtype=np.int64)


def iterate_similarities(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    block_size: int = QUERY_BLOCK,
    product: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield the similarities of consecutive blocks of queries with the whole gallery.

    Args:
        query_features: (Q, D) float32 of unit norm.
        gallery_features: (G, D) float32 of unit norm.
        block_size: Queries a block; it bounds the memory.
        product: (Q, G) float32, if the features are multiplied already; written into.

    Yields:
        (B, G) float32 in -1..1 but for rounding, valid until the next step; free to be changed.
    """
    if block_size < 1:
        raise ValueError(f"block_size: got {block_size}, expected at least 1")
    duplicates, firsts = find_duplicate_rows(np.ascontiguousarray(gallery_features))
    shape = (min(block_size, len(query_features)), len(gallery_features))
    buffer = np.empty(shape if product is None else (0, 0), dtype=np.float32)
    for start in range(0, len(query_features), block_size):
        block = query_features[start : start + block_size]
        if product is None:
            similarities = buffer[: len(block)]
            np.matmul(block, gallery_features.T, out=similarities)
        else:
            similarities = product[start : start + len(block)]
        if len(duplicates):
            similarities[:, duplicates] = similarities[:, firsts]
        yield similarities
