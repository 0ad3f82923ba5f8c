import math
import statistics
from collections import OrderedDict

import pytest

from reid_heads.evaluation.averaging import average_results


def test_by_hand():
    # mAP: mean 4, deviations -2, -1, 3, so the variance is (4 + 1 + 9) / 2 = 7.
    results = [{"reid": {"mAP": value, "top1": 50.0}} for value in (2.0, 3.0, 7.0)]
    averaged = average_results(results)
    assert list(averaged) == ["reid", "reid_std"]
    assert averaged["reid"] == {"mAP": 4, "top1": 50}
    assert averaged["reid_std"] == {"mAP": pytest.approx(math.sqrt(7)), "top1": 0}
    assert results[0] == {"reid": {"mAP": 2.0, "top1": 50.0}}


def test_every_number_against_the_statistics_module():
    results = [
        OrderedDict(
            (task, {name: (row + 1) * len(task) / len(name) for name in ("top10", "mAP", "mINP")})
            for task in ("reid_reranked", "reid")
        )
        for row in range(10)
    ]
    averaged = average_results(results)
    assert list(averaged) == ["reid_reranked", "reid_reranked_std", "reid", "reid_std"]
    for task, metrics in results[0].items():
        for metric in metrics:
            numbers = [result[task][metric] for result in results]
            assert averaged[task][metric] == pytest.approx(statistics.mean(numbers))
            assert averaged[f"{task}_std"][metric] == pytest.approx(statistics.stdev(numbers))
        assert list(averaged[task]) == list(averaged[f"{task}_std"]) == ["top10", "mAP", "mINP"]


def test_the_order_of_the_results_does_not_matter():
    results = [{"reid": {"mAP": value}} for value in (1.0, 2.0, 4.0)]
    assert average_results(results) == average_results(results[::-1])


def test_a_single_result_has_no_spread():
    averaged = average_results([{"reid": {"mAP": 12.5}}])
    assert averaged == {"reid": {"mAP": 12.5}, "reid_std": {"mAP": 0}}


@pytest.mark.parametrize("number", [1, 3])
def test_a_missing_number_stays_missing(number):
    results = [{"reid": {"mAP": math.nan, "top1": 1.0}}] + [{"reid": {"mAP": 1.0, "top1": 1.0}}] * 2
    averaged = average_results(results[:number])
    assert math.isnan(averaged["reid"]["mAP"]) and math.isnan(averaged["reid_std"]["mAP"])
    assert (averaged["reid"]["top1"], averaged["reid_std"]["top1"]) == (1, 0)


def test_nothing_and_unlike_results_are_refused():
    first = {"reid": {"mAP": 1.0, "top1": 2.0}}
    with pytest.raises(ValueError, match="no results to average"):
        average_results([])
    with pytest.raises(ValueError, match=r"tasks \['reid'\], but result 1 has \['detection'\]"):
        average_results([first, {"detection": {"mAP": 1.0}}])
    with pytest.raises(ValueError, match=r"metrics of 'reid' .*, but result 2 has \['mAP'\]"):
        average_results([first, first, {"reid": {"mAP": 1.0}}])
