"""Grouping appearances by look: which of them may be the same person, whom nobody asked about.

Groups grow from the most similar pair on, as long as the mean similarity between the appearances of
one group and those of another reaches a threshold: agglomeration with average linkage. It is the
product of the groups' mean embeddings, so a group is a row of D numbers, however large it is. Two
groups each of which is the other's nearest may be joined in any order (de Rham, "La classification
hiérarchique ascendante selon la méthode des voisins réciproques", 1980): a joined group is never
nearer to a third one than the nearer of its parts was. That still holds where some pairs are kept
apart. So all such pairs are joined at once, and few rows are compared anew.

Letters: N appearances, C groups, P pairs, D embedding size.
"""

from collections.abc import Sequence

import numpy as np

SAME_SECONDS = 5.0
"""Two appearances that overlap for longer before one camera are two people. A detector that sees
somebody twice for a moment makes shorter overlaps."""
BLOCK_VALUES = 4_000_000
"""Similarities that are held at once: 16 MB."""


def group_looks(
    embeddings: np.ndarray,
    threshold: float,
    *,
    weights: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
    apart: np.ndarray | None = None,
) -> np.ndarray:
    """Group appearances; those that are in a group already stay there.

    Args:
        embeddings: (N, D) float32 of unit norm.
        threshold: Groups are joined whose mean similarity is at least this, -1..1.
        weights: (N,) above 0, how much each counts in a mean: in how many frames it was seen, as a
            glimpse says less than a long look. None for all alike.
        fixed: (N,) int64, the group that each is in already, -1 for none. Such groups grow, but are
            never joined with each other. None where there are none.
        apart: (P, 2) int64 pairs of rows that are different people, and never come into one group
            unless ``fixed`` has put them there. None where there are none.

    Returns:
        (N,) int64 labels: ``fixed`` where it is given or joined, and for new groups numbers from
        one above the highest of them, in the order of their first appearance. Ties go to the first
        rows; otherwise the order of the rows changes nothing.

    Raises:
        ValueError: Shapes do not fit each other.

    Examples:
        >>> looks = np.float32([[1, 0], [0.8, 0.6], [0, 1]])
        >>> group_looks(looks, 0.7)
        array([0, 0, 1])
        >>> group_looks(looks, 0.7, apart=np.array([[0, 1]]))
        array([0, 1, 2])
    """
    count = len(embeddings)
    fixed = np.full(count, -1, np.int64) if fixed is None else np.asarray(fixed, np.int64)
    apart = np.zeros((0, 2), np.int64) if apart is None else np.asarray(apart, np.int64)
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    shapes = embeddings.shape, weights.shape, fixed.shape, apart.shape
    if embeddings.ndim != 2 or shapes[1:3] != ((count,), (count,)) or apart.shape[1:] != (2,):
        raise ValueError(
            "embeddings, weights, fixed and apart have shapes "
            f"{', '.join(map(str, shapes))}; expected (N, D), (N,), (N,) and (P, 2)"
        )
    known, of_known = np.unique(fixed[fixed >= 0], return_inverse=True)
    start = np.empty(count, np.int64)
    start[fixed >= 0] = of_known
    start[fixed < 0] = len(known) + np.arange(int((fixed < 0).sum()))
    growing = _Groups(embeddings, weights, start, len(known), apart)
    growing.join_all(threshold)
    return _name(growing.root[start], known)


def find_overlaps(
    starts: np.ndarray, ends: np.ndarray, streams: np.ndarray, longer_than: float = -1.0
) -> np.ndarray:
    """Return the pairs of appearances that overlap in time in one stream: one camera on one clock.

    Args:
        starts: (N,) float64 seconds.
        ends: (N,) float64 seconds; one that ends when another begins overlaps it, as both were
            seen in that frame.
        streams: (N,) int64, the stream of each.
        longer_than: Leave out those that overlap for so many seconds or fewer; by default none.

    Returns:
        (P, 2) int64 pairs of rows, the smaller first, sorted.

    Examples:
        >>> find_overlaps(np.float64([0, 3, 9]), np.float64([5, 4, 10]), np.int64([1, 1, 1]))
        array([[0, 1]])
    """
    found: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    for stream in np.unique(streams).tolist():
        rows = np.flatnonzero(streams == stream)
        rows = rows[np.argsort(starts[rows], kind="stable")]
        # Those that begin until one ends, behind it in the order of starts.
        last = np.searchsorted(starts[rows], ends[rows], side="right")
        counts = last - np.arange(len(rows)) - 1
        first = np.repeat(np.arange(len(rows)), counts)
        steps = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        found.append(np.stack([rows[first], rows[first + 1 + steps]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    shared = ends[pairs].min(axis=1) - starts[pairs].max(axis=1)
    pairs = pairs[shared > longer_than]
    ordered: np.ndarray = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


def _name(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give known groups their numbers back, and new ones the next in order of appearance."""
    found, firsts, places = np.unique(labels, return_index=True, return_inverse=True)
    names = np.empty(len(found), np.int64)
    is_known = found < len(known)
    names[is_known] = known[found[is_known]]
    order = np.argsort(firsts[~is_known], kind="stable")
    new = np.empty(len(order), np.int64)
    new[order] = int(known.max(initial=-1)) + 1 + np.arange(len(order))
    names[~is_known] = new
    named: np.ndarray = names[places]
    return named


class _Groups:
    """Groups that grow; the first ``num_fixed`` are never joined with each other."""

    def __init__(
        self,
        embeddings: np.ndarray,
        weights: np.ndarray,
        start: np.ndarray,
        num_fixed: int,
        apart: np.ndarray,
    ) -> None:
        count = int(start.max(initial=-1)) + 1
        self.root = np.arange(count)
        """(C,) the group that each has become part of."""
        self._sizes = np.bincount(start, weights, minlength=count)
        self._sums = np.zeros((count, embeddings.shape[1]))
        np.add.at(self._sums, start, embeddings * weights[:, None])
        self._means = (self._sums / self._sizes[:, None]).astype(np.float32)
        self._is_fixed = np.arange(count) < num_fixed
        self._apart = start[apart]
        self._nearest = np.full(count, -1, np.int64)
        self._similarity = np.full(count, -np.inf, np.float32)
        self._alive = np.arange(count)

    def join_all(self, threshold: float) -> None:
        """Join what is similar enough, until nothing is."""
        todo = self._alive
        while len(self._alive):
            self._find_nearest(todo)
            # Whoever has nobody near enough never will, and is nobody's nearest.
            self._alive = self._alive[self._similarity[self._alive] >= threshold]
            todo = self._join_some()

    def _join_some(self) -> np.ndarray:
        """Join pairs that are each other's nearest; return whose nearest is to be found anew."""
        rows = self._alive
        if not len(rows):
            return rows
        first = rows[(self._nearest[self._nearest[rows]] == rows) & (rows < self._nearest[rows])]
        if not len(first):
            # Rounding may differ with the place in a block; the best pair is right all the same.
            best = rows[np.argmax(self._similarity[rows])]
            first = np.minimum(best, self._nearest[best])[None]
            second = np.maximum(best, self._nearest[best])[None]
        else:
            second = self._nearest[first]
        self._sums[first] += self._sums[second]
        self._sizes[first] += self._sizes[second]
        self._means[first] = self._sums[first] / self._sizes[first, None]
        moved = np.arange(len(self.root))
        moved[second] = first
        self.root = moved[self.root]
        pairs = moved[self._apart]
        self._apart = pairs[pairs[:, 0] != pairs[:, 1]]
        self._alive = np.setdiff1d(rows, second, assume_unique=True)
        is_joined = np.zeros(len(self.root), bool)
        is_joined[first] = is_joined[second] = True
        is_stale = is_joined[self._alive] | is_joined[self._nearest[self._alive]]
        return self._alive[is_stale]

    def _find_nearest(self, todo: np.ndarray) -> None:
        """Find the nearest group of each of some, in blocks."""
        is_fixed = self._is_fixed[todo]
        # Fixed groups are never joined with each other: they need not be compared.
        free = self._alive[~self._is_fixed[self._alive]]
        for rows, columns in ((todo[is_fixed], free), (todo[~is_fixed], self._alive)):
            self._similarity[rows] = -np.inf
            if not len(columns):
                continue
            step = max(1, BLOCK_VALUES // len(columns))
            kept_apart = self._keep_apart(rows, columns)
            for begin in range(0, len(rows), step):
                self._compare(rows[begin : begin + step], columns, kept_apart, begin)

    def _compare(
        self, rows: np.ndarray, columns: np.ndarray, apart: Sequence[np.ndarray], begin: int
    ) -> None:
        similar = self._means[rows] @ self._means[columns].T
        low, high = np.searchsorted(apart[0], (begin, begin + len(rows)))
        similar[apart[0][low:high] - begin, apart[1][low:high]] = -np.inf
        best = similar.argmax(axis=1)
        self._nearest[rows] = columns[best]
        self._similarity[rows] = similar[np.arange(len(rows)), best]

    def _keep_apart(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return places in rows, rising, and in columns that must not meet: also oneself."""
        row_of, column_of = np.full((2, len(self.root)), -1, np.int64)
        row_of[rows], column_of[columns] = np.arange(len(rows)), np.arange(len(columns))
        pairs = np.concatenate([self._apart, self._apart[:, ::-1], np.stack([rows, rows], axis=1)])
        places = np.stack([row_of[pairs[:, 0]], column_of[pairs[:, 1]]])
        places = places[:, (places >= 0).all(axis=0)]
        places = places[:, np.argsort(places[0], kind="stable")]
        return places[0], places[1]
