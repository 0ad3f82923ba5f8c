"""1:N identification: who is it among the enrolled, or nobody of them.

Each probe is compared with every enrolled image; the person of the most similar one is the answer,
the first of equally similar ones, and accepted where that similarity is at least a threshold.
Probes of enrolled persons are mated, all others must be rejected.

TPIR: share of mated probes that are accepted with the right person (rank 1). FPIR: share of the
others that are accepted at all (ISO/IEC 19795-1).

Letters: Q probes, G enrolled images, B probes of a block.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reid_heads.evaluation.ranking import iterate_blocks

FALSE_POSITIVE_RATES = (0.1, 0.01, 0.001)


@dataclass(frozen=True)
class IdentificationResult:
    """Hold the best enrolled image of each probe."""

    similarities: np.ndarray
    """(Q,) of the most similar enrolled image."""

    is_right: np.ndarray
    """(Q,) bool: whether it shows the probe's person; False of every probe that is not mated."""

    is_mated: np.ndarray
    """(Q,) bool: whether the probe's person is enrolled."""

    def rank1(self) -> float:
        """Return the share of mated probes, 0..1, whose most similar image is of their person."""
        return float(self.is_right[self.is_mated].mean())

    def at_false_positive_rate(self, rate: float) -> tuple[float, float]:
        """Return the TPIR, 0..1, and the threshold with an FPIR of at most ``rate``.

        Of all thresholds that keep to the rate it is the least strict one; probes of equal
        similarity are accepted or rejected together.

        Raises:
            ValueError: If the rate is not within 0..1, or every probe is mated.
        """
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"rate: got {rate}, expected a false positive rate within 0..1")
        others = np.sort(self.similarities[~self.is_mated])[::-1]
        if not len(others):
            raise ValueError(
                "every probe is of an enrolled person; an FPIR needs some that are not"
            )
        # As quotients: 0.01 * 300 is a little below 3.
        allowed = np.count_nonzero(np.arange(1, len(others) + 1) / len(others) <= rate)
        values = np.unique(self.similarities)
        if allowed < len(others):
            values = values[values > others[allowed]]
        threshold = float(values[0]) if len(values) else np.inf
        accepted = self.is_right[self.is_mated] & (self.similarities[self.is_mated] >= threshold)
        return float(accepted.mean()), threshold

    def metrics(self) -> dict[str, float]:
        """Return ``rank1`` and ``TPIR@FPIR0.1`` .. in percent.

        A rate that is less than one of the probes that must be rejected is left out.
        """
        metrics = {"rank1": 100 * self.rank1()}
        number = int(np.count_nonzero(~self.is_mated))
        for rate in FALSE_POSITIVE_RATES:
            if number and 1 / number <= rate:
                metrics[f"TPIR@FPIR{rate:g}"] = 100 * self.at_false_positive_rate(rate)[0]
        return metrics


def evaluate_identification(
    similarities: Iterable[np.ndarray], probe_pids: np.ndarray, enrolled_pids: np.ndarray
) -> IdentificationResult:
    """Find the most similar enrolled image of each probe.

    Args:
        similarities: Blocks (B, G) of consecutive probes, together Q rows; unchanged.
        probe_pids: (Q,) integer.
        enrolled_pids: (G,) integer; several images of a person may be enrolled.

    Raises:
        ValueError: If no probe's person is enrolled, a similarity is NaN, or the blocks do not fit.

    Examples:
        >>> result = evaluate_identification(
        ...     [np.array([[0.9, 0.1], [0.2, 0.3]])],
        ...     probe_pids=np.array([7, 9]),
        ...     enrolled_pids=np.array([7, 8]),
        ... )
        >>> result.is_right, result.is_mated, result.rank1()
        (array([ True, False]), array([ True, False]), 1.0)
    """
    best = np.empty(len(probe_pids))
    answers = np.empty(len(probe_pids), dtype=enrolled_pids.dtype)
    for start, block in iterate_blocks(similarities, len(probe_pids), len(enrolled_pids)):
        # The first of equal ones.
        columns = block.argmax(axis=1)
        rows = slice(start, start + len(block))
        best[rows] = block[np.arange(len(block)), columns]
        answers[rows] = enrolled_pids[columns]
    is_mated = np.isin(probe_pids, enrolled_pids)
    if not is_mated.any():
        raise ValueError(
            f"none of the {len(probe_pids)} probes is of an enrolled person. Are the pids of "
            "probes and enrolled images numbered alike?"
        )
    return IdentificationResult(best, answers == probe_pids, is_mated)
