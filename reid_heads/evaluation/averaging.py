"""Mean and spread of the results of several test sets, as of the ten splits of a small one.

Letters: N results.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np

DEVIATION_SUFFIX = "_std"

Results = Mapping[str, Mapping[str, float]]
"""What an evaluator returns: task, such as ``reid``, to metric to number."""


def average_results(results: Sequence[Results]) -> OrderedDict[str, dict[str, float]]:
    """Average the results of several test sets, each of which counts the same.

    Args:
        results: N results with the same tasks and metrics, at least one; unchanged.

    Returns:
        For each task its means under its own name and the standard deviations under the name with
        ``_std`` (``reid`` and ``reid_std``), tasks and metrics in the order of the first result.
        The deviation is the sample's, with N - 1 below the line, and 0 of a single result. A number
        that is NaN in one result is NaN in both.

    Raises:
        ValueError: there are no results, or their tasks or metrics differ.
    """
    if not results:
        raise ValueError("got no results to average; expected one test set at least")
    first = results[0]
    for number, other in enumerate(results[1:], start=1):
        _check_names(first, other, number, "tasks")
        for task in first:
            _check_names(first[task], other[task], number, f"metrics of {task!r}")
    averaged: OrderedDict[str, dict[str, float]] = OrderedDict()
    for task, metrics in first.items():
        columns = {name: np.array([result[task][name] for result in results]) for name in metrics}
        averaged[task] = {name: float(np.mean(column)) for name, column in columns.items()}
        averaged[f"{task}{DEVIATION_SUFFIX}"] = {
            name: float(np.std(column, ddof=1)) if len(column) > 1 else float(0 * column[0])
            for name, column in columns.items()
        }
    return averaged


def _check_names(
    first: Mapping[str, object], other: Mapping[str, object], number: int, what: str
) -> None:
    if first.keys() != other.keys():
        raise ValueError(
            f"result 0 has the {what} {sorted(first)}, but result {number} has {sorted(other)}; "
            "only results of one kind can be averaged"
        )
