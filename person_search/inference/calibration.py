"""Find the similarity below which a match is probably somebody else, on a labelled test set.

Letters: Q queries, F frames.
"""

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset

from person_search.data.builtin import register_all
from person_search.data.loaders import build_test_loader
from person_search.data.own_data import register_own_data
from person_search.data.protocol import SearchProtocol
from person_search.evaluation.evaluator import PREDICTIONS_FILE, PersonSearchEvaluator
from person_search.evaluation.predictions import Predictions, load_predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.search import iterate_queries
from person_search.inference.finder import PersonFinder
from person_search.inference.predict import predict
from person_search.inference.threshold_file import Calibration, threshold_path
from person_search.inference.torch_network import TorchNetwork, load_trained_model
from person_search.progress import show_progress
from reid_heads.labels import UNLABELED_PID

__all__ = [
    "Calibration",
    "calibrate",
    "calibrate_finder",
    "calibrate_on_dataset",
    "threshold_path",
]

logger = logging.getLogger(__name__)


def calibrate(
    protocol: SearchProtocol,
    predictions: Predictions,
    *,
    score_threshold: float = 0.5,
    dataset: str = "",
    fingerprint: str = "",
) -> Calibration:
    """Choose the similarity that best tells a gallery with the person from one without.

    Two numbers are taken for each query: the similarity of the best detection that is the person,
    by the protocol's rule of overlap, and the best similarity in those frames of its gallery that
    do not show the person. The first stands for a search with the person in the gallery, the second
    for one without. The threshold makes the sum of the share of the first below it (misses; a
    person that was not detected is one at any threshold) and of the second at or above it (false
    alarms) smallest. Of several as good, it lies in the middle of the widest gap.

    Args:
        protocol: what is asked.
        predictions: what the model found.
        score_threshold: least detection score, 0..1, of what is searched.
        dataset: name of the labelled set, for the record; "" takes the protocol's.
        fingerprint: of the model, for the record.

    Raises:
        ValueError: if no query's person was found in its gallery, no gallery has a detection in a
            frame without the person, or the predictions do not fit the protocol.
    """
    shows = _shown_in(protocol)
    present = np.full(len(protocol.query_frames), -np.inf)
    absent = present.copy()
    for query, similarities, frames, true_entries in iterate_queries(
        protocol, predictions, SearchRules(score_threshold=score_threshold)
    ):
        present[query] = similarities[true_entries].max(initial=-np.inf)
        absent[query] = similarities[~shows[query, frames]].max(initial=-np.inf)
    has_person = (protocol.gallery_mask & shows).any(axis=1)
    has_others = (protocol.gallery_mask & ~shows).any(axis=1)
    _check_both_kinds(protocol, present[has_person], absent[has_others])
    threshold, false_alarm_rate, miss_rate = choose_threshold(
        present[has_person], absent[has_others]
    )
    return Calibration(
        threshold=threshold,
        false_alarm_rate=false_alarm_rate,
        miss_rate=miss_rate,
        num_queries=int(has_person.sum()),
        gallery_size=int(np.median(protocol.gallery_mask.sum(axis=1))),
        dataset=dataset or protocol.name,
        fingerprint=fingerprint,
        score_threshold=score_threshold,
    )


def choose_threshold(present: np.ndarray, absent: np.ndarray) -> tuple[float, float, float]:
    """Choose the threshold with the smallest sum of both error rates.

    Args:
        present: (P,) similarities that should reach the threshold; -inf never does.
        absent: (A,) similarities that should not; P and A at least 1.

    Returns:
        The threshold, -1..1; the share of ``absent`` at or above it; the share of ``present`` below
        it.
    """
    present, absent = np.sort(present), np.sort(absent)
    values = np.concatenate([present, absent])
    values = np.unique(np.concatenate([values[np.isfinite(values)].clip(-1, 1), [-1.0, 1.0]]))
    thresholds = (values[1:] + values[:-1]) / 2
    misses = np.searchsorted(present, thresholds, side="left")
    alarms = len(absent) - np.searchsorted(absent, thresholds, side="left")
    # Whole numbers, proportional to the sum of the rates: ties are exact.
    errors = misses * len(absent) + alarms * len(present)
    best = np.flatnonzero(errors == errors.min())
    row = best[np.argmax(np.diff(values)[best])]
    return (
        float(thresholds[row]),
        float(alarms[row] / len(absent)),
        float(misses[row] / len(present)),
    )


def calibrate_on_dataset(
    config_file: str | Path,
    weights: str | Path,
    dataset: str,
    root: str | Path | None = None,
    output: str | Path | None = None,
    *,
    device: str | None = None,
    overrides: Sequence[str] = (),
) -> Calibration:
    """Run a model over a labelled test set, choose its threshold and write the file of it.

    A CUHK-SYSU layout is searched with the first of ``TEST.SEARCH.GALLERY_SIZES``. On a GPU the
    model runs in full precision, which moves a similarity by about a thousandth.

    Args:
        config_file: YAML file that the weights were trained with.
        weights: checkpoint.
        dataset: name of a registered test set, such as ``drawn_cuhk_test``, or of one that the
            config lists in ``DATASETS.COCO_PERSON``.
        root: folder that holds the data sets' folders; None for ``$DETECTRON2_DATASETS`` or
            ``datasets``.
        output: JSON file to write; None for `threshold_path`, where `PersonFinder` looks.
        device: ``cuda`` or ``cpu``; None is the GPU if there is one.
        overrides: alternating keys and values on top of the config.

    Raises:
        FileNotFoundError: if the data set, config or weights are missing.
        ValueError: if there is no such test set, or it cannot be calibrated on.
    """
    cfg, model = load_trained_model(config_file, weights, overrides)
    register_all(root)
    register_own_data(cfg)
    metadata = MetadataCatalog.get(_known_test_set(dataset))
    options = {}
    if metadata.layout == "cuhk_sysu":
        options["gallery_size"] = cfg.TEST.SEARCH.GALLERY_SIZES[0]
    protocol = metadata.load_protocol(**options)
    network = TorchNetwork(cfg, model, device=device, half=False)
    with tempfile.TemporaryDirectory() as folder:
        searches = [SearchRules(score_threshold=network.min_score)]
        evaluator = PersonSearchEvaluator(
            lambda: protocol, folder, searches=searches, distributed=False
        )
        inference_on_dataset(network.model, build_test_loader(cfg, dataset), evaluator)
        predictions = load_predictions(Path(folder) / PREDICTIONS_FILE)
    calibration = calibrate(
        protocol,
        predictions,
        score_threshold=network.min_score,
        dataset=dataset,
        fingerprint=network.fingerprint,
    )
    path = threshold_path(weights) if output is None else Path(output)
    calibration.save(path)
    logger.info("wrote %s: %s", path, calibration)
    return calibration


def calibrate_finder(
    finder: PersonFinder,
    dataset: str,
    path: str | Path,
    root: str | Path | None = None,
) -> Calibration:
    """Choose the threshold of a model of any kind, such as one of two steps, and write its file.

    Args:
        finder: the model.
        dataset: name of a registered test set; a CUHK-SYSU layout is searched in its default
            galleries.
        path: JSON file to write.
        root: folder that holds the data sets' folders; None for ``$DETECTRON2_DATASETS`` or
            ``datasets``.

    Raises:
        FileNotFoundError: if the data set is missing.
        ValueError: if there is no such test set, or it cannot be calibrated on.
    """
    register_all(root)
    protocol = MetadataCatalog.get(_known_test_set(dataset)).load_protocol()
    frames = Path(DatasetCatalog.get(dataset)[0]["file_name"]).parent
    predictions = predict(
        finder, protocol, frames, lambda asked: show_progress(asked, "finding", len(asked))
    )
    calibration = calibrate(
        protocol,
        predictions,
        score_threshold=finder.min_score,
        dataset=dataset,
        fingerprint=finder.fingerprint,
    )
    calibration.save(path)
    return calibration


def _shown_in(protocol: SearchProtocol) -> np.ndarray:
    """Return (Q, F): whether a frame shows the query's person, also one that is not asked for."""
    shows = np.zeros_like(protocol.gallery_mask, dtype=bool)
    shows[protocol.true_queries, protocol.true_frames] = True
    for frame, pids in enumerate(protocol.frame_pids):
        shows[np.isin(protocol.query_pids, pids[pids != UNLABELED_PID]), frame] = True
    return shows


def _check_both_kinds(protocol: SearchProtocol, present: np.ndarray, absent: np.ndarray) -> None:
    if not np.isfinite(present).any():
        raise ValueError(
            f"{protocol.name}: the model found the person of none of the {len(present)} queries "
            "whose person is in the gallery, so there is no threshold to choose. Do the weights "
            "fit this test set?"
        )
    if not np.isfinite(absent).any():
        raise ValueError(
            f"{protocol.name}: nobody was found in frames without the query's person, so false "
            "alarms cannot be counted; choose a test set whose galleries show other people too"
        )


def _known_test_set(name: str) -> str:
    known = sorted(n for n in DatasetCatalog.list() if "load_protocol" in _entries(n))
    if name not in known:
        raise ValueError(f"there is no test set {name!r}; expected one of {', '.join(known)}")
    return name


def _entries(dataset: str) -> dict[str, object]:
    entries: dict[str, object] = MetadataCatalog.get(dataset).as_dict()
    return entries
