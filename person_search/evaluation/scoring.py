"""Score saved predictions by one or several protocols of a data set, and write the results."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import select_queries
from person_search.evaluation.context import ContextMatching
from person_search.evaluation.detection import coco_box_ap, evaluate_detection
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.search import evaluate_search

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
) -> OrderedDict[str, dict[str, float]]:
    """Score one set of predictions by several protocols.

    Args:
        protocols: By the name of their group of results. Detection is scored on the frames of the
            first. One with other queries than were predicted picks its own among them.
        predictions: What was found; unchanged.
        score_threshold: Least score, 0..1, of a detection that counts.
        confidence_weighting: Multiply similarities by the detection score.
        context: Rerank by the people around the query; None does not.

    Returns:
        ``detection``, one group a protocol, and COCO's ``bbox``; in percent.

    Raises:
        ValueError: If there is no protocol, or one does not fit the predictions.
    """
    if not protocols:
        raise ValueError("protocols: got none, expected at least one, named 'search'")
    results: OrderedDict[str, dict[str, float]] = OrderedDict()
    for name, source in protocols.items():
        protocol = load_protocol(source)
        if not results:
            results["detection"] = evaluate_detection(protocol, predictions, score_threshold)
            bbox = coco_box_ap(protocol, predictions)
        results[name] = evaluate_search(
            protocol,
            pick_queries(predictions, protocol),
            score_threshold,
            confidence_weighting,
            context,
        )
        logger.info("%s, %s: %s", name, protocol.name, format_metrics(results[name]))
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
