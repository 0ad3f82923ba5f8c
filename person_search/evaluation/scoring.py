"""Score saved predictions by one or several protocols of a data set, and write the results."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import select_queries
from person_search.evaluation.context import ContextMatching
from person_search.evaluation.detection import coco_box_ap, evaluate_detection
from person_search.evaluation.frequency import summarize_by_frequency
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.search import score_queries

logger = logging.getLogger(__name__)

ProtocolSource = SearchProtocol | Callable[[], SearchProtocol]
"""A protocol, or what loads it when its turn comes."""


def score_predictions(
    protocols: Mapping[str, ProtocolSource],
    predictions: Predictions,
    *,
    score_threshold: float = 0.5,
    confidence_weighting: bool = False,
    context: ContextMatching | None = None,
    by_frequency: bool = False,
) -> OrderedDict[str, dict[str, float]]:
    """Score one set of predictions by several protocols.

    Args:
        protocols: By the name of their group of results. Detection is scored on the frames of the
            first. One with other queries than were predicted picks its own among them.
        predictions: What was found; unchanged.
        score_threshold: Least score, 0..1, of a detection that counts.
        confidence_weighting: Multiply similarities by the detection score.
        context: Rerank by the people around the query; None does not.
        by_frequency: Score the first protocol's queries by the frequency of their identities too.

    Returns:
        ``detection``, one group a protocol, those of ``summarize_by_frequency`` after the first
        one, and COCO's ``bbox``; in percent.

    Raises:
        ValueError: If there is no protocol, or one does not fit the predictions.
    """
    if not protocols:
        raise ValueError("protocols: got none, expected at least one, named 'search'")
    results: OrderedDict[str, dict[str, float]] = OrderedDict()
    for name, source in protocols.items():
        protocol = load_protocol(source)
        is_first = not results
        if is_first:
            results["detection"] = evaluate_detection(protocol, predictions, score_threshold)
            bbox = coco_box_ap(protocol, predictions)
        scores = score_queries(
            protocol,
            pick_queries(predictions, protocol),
            score_threshold,
            confidence_weighting,
            context,
        )
        results[name] = scores.summarize()
        logger.info("%s, %s: %s", name, protocol.name, format_metrics(results[name]))
        if by_frequency and is_first:
            groups = summarize_by_frequency(protocol, scores, name)
            results.update(groups)
            for group, metrics in groups.items():
                logger.info("%s: %s", group, format_metrics(metrics))
    results["bbox"] = bbox
    logger.info("detection: %s", format_metrics(results["detection"]))
    logger.info("COCO box AP: %s", format_metrics(bbox))
    return results


def load_protocol(source: ProtocolSource) -> SearchProtocol:
    """Return the protocol, loading it if need be."""
    return source if isinstance(source, SearchProtocol) else source()


def pick_queries(predictions: Predictions, protocol: SearchProtocol) -> Predictions:
    """Return the predictions with the protocol's queries; unchanged if they are as many."""
    if len(predictions.query_names) == len(protocol.query_frames):
        return predictions
    return select_queries(predictions, protocol)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Write metrics in one line."""
    return ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
