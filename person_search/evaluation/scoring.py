"""Score saved predictions by every search that is asked for."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import select_queries
from person_search.evaluation.detection import coco_box_ap, evaluate_detection
from person_search.evaluation.frequency import summarize_by_frequency
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.rules import ProtocolLoader, SearchRules
from person_search.evaluation.search import score_queries

logger = logging.getLogger(__name__)


def check_searches(searches: Sequence[SearchRules]) -> None:
    """Raise a ValueError if there is no search, or two of them have one name."""
    if not searches:
        raise ValueError("searches: got none, expected at least one, such as SearchRules()")
    names = [rules.name for rules in searches]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"searches: got two named {twice[0]!r}, one of which would hide the other's results; "
            "score them one after the other"
        )


def score_predictions(
    load_protocol: ProtocolLoader, searches: Sequence[SearchRules], predictions: Predictions
) -> OrderedDict[str, dict[str, float]]:
    """Score one set of predictions by several searches.

    Args:
        load_protocol: Gives the protocol of each gallery when its turn comes.
        searches: What to score, see ``list_searches``. Detection is scored on the frames of the
            first. One with other queries than were predicted picks its own among them.
        predictions: What was found; unchanged.

    Returns:
        ``detection``, one group a search under the name of its rules, each followed by those of
        ``summarize_by_frequency`` where asked for, and COCO's ``bbox``; in percent.

    Raises:
        ValueError: If there is no search, two have one name, or a protocol does not fit the
            predictions.
    """
    check_searches(searches)
    # Neighbours mostly share a gallery, and the largest takes a minute to read.
    load_protocol = lru_cache(maxsize=1)(load_protocol)
    first = searches[0]
    protocol = first.load_protocol(load_protocol)
    detection = evaluate_detection(protocol, predictions, first.score_threshold)
    bbox = coco_box_ap(protocol, predictions)
    results = OrderedDict({first.detection_name: detection})
    for rules in searches:
        results.update(_score_search(rules, rules.load_protocol(load_protocol), predictions))
    results["bbox"] = bbox
    logger.info("%s: %s", first.detection_name, format_metrics(detection))
    logger.info("COCO box AP: %s", format_metrics(bbox))
    return results


def _score_search(
    rules: SearchRules, protocol: SearchProtocol, predictions: Predictions
) -> dict[str, dict[str, float]]:
    """Return the group of one search, and those of its frequencies where asked for."""
    scores = score_queries(protocol, pick_queries(predictions, protocol), rules)
    results = {rules.name: scores.summarize()}
    logger.info("%s, %s: %s", rules.name, protocol.name, format_metrics(results[rules.name]))
    if rules.by_frequency:
        groups = summarize_by_frequency(protocol, scores, rules.name)
        results.update(groups)
        for group, metrics in groups.items():
            logger.info("%s: %s", group, format_metrics(metrics))
    return results


def pick_queries(predictions: Predictions, protocol: SearchProtocol) -> Predictions:
    """Return the predictions with the protocol's queries; unchanged if they are as many."""
    if len(predictions.query_names) == len(protocol.query_frames):
        return predictions
    return select_queries(predictions, protocol)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Write metrics in one line."""
    return ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
