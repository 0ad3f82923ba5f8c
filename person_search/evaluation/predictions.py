"""What a model found in a test set: the arrays of ``predictions.npz``, read, written and checked.

Letters: G frames the model has seen, N detections, Q queries, M context people, D embedding size.
Boxes are (x1, y1, x2, y2) in original pixels, embeddings have unit norm, scores lie in 0..1.
"""

import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from reid_heads.atomic_file import save_arrays
from reid_heads.unit_norm import is_unit_norm

# Published loaders of one data set round a query box differently, by up to one pixel a side.
QUERY_BOX_TOLERANCE = 2.0

MODEL_FIELD = "model"
"""Array, beside those of `Predictions`, with the fingerprint of the model."""

CONTEXT_FIELDS = (
    "context_query_index",
    "context_boxes",
    "context_scores",
    "context_embeddings",
)


@dataclass(frozen=True)
class Predictions:
    """Hold one model's output on one test set; checked when built.

    Raises:
        ValueError: If an array has a wrong shape, holds NaN or infinity, or breaks a rule stated at
            its field.
    """

    image_names: np.ndarray
    """(G,) str, distinct: gallery frames the model has seen, file name without folder."""

    image_index: np.ndarray
    """(N,) int64: row of ``image_names`` for each detection."""

    boxes: np.ndarray
    """(N, 4)."""

    scores: np.ndarray
    """(N,)."""

    embeddings: np.ndarray
    """(N, D)."""

    query_names: np.ndarray
    """(Q,) str: frame each query is cut from, in the protocol's order."""

    query_boxes: np.ndarray
    """(Q, 4)."""

    query_embeddings: np.ndarray
    """(Q, D)."""

    context_query_index: np.ndarray | None = None
    """(M,) int64: query whose frame this person stands in. The four context arrays come together or
    not at all."""

    context_boxes: np.ndarray | None = None
    """(M, 4): for each query the query itself first, then by falling score."""

    context_scores: np.ndarray | None = None
    """(M,): 1 for the query itself."""

    context_embeddings: np.ndarray | None = None
    """(M, D)."""

    def __post_init__(self) -> None:
        _check_kinds(self)
        _check_detections(self)
        _check_queries(self)
        _check_context(self)

    @property
    def has_context(self) -> bool:
        """Whether the people around each query are here, as context matching needs."""
        return self.context_query_index is not None


def save_predictions(
    path: str | os.PathLike[str], predictions: Predictions, model: str = ""
) -> None:
    """Write ``predictions.npz`` whole or not at all.

    Args:
        path: File to write; its folder is made if missing.
        predictions: What to write. Arrays only, so no pickle.
        model: Fingerprint of the model whose predictions these are, where known.
    """
    arrays = {
        field.name: value
        for field in fields(Predictions)
        if (value := getattr(predictions, field.name)) is not None
    }
    save_arrays(path, arrays | {MODEL_FIELD: np.array(model)} if model else arrays)


def read_predictions_model(path: str | os.PathLike[str]) -> str:
    """Return the fingerprint of the model that a predictions file is of, "" where it does not say.

    Args:
        path: Of a file that `load_predictions` reads.
    """
    with np.load(path, allow_pickle=False) as archive:
        return str(archive[MODEL_FIELD]) if MODEL_FIELD in archive.files else ""


def load_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read ``predictions.npz``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such archive, lacks an array or an array breaks a rule; names file
            and array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such predictions file. Write one with "
            "`python -m person_search.train_net --eval-only`."
        )
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no .npz archive of named arrays; broken, or written by another tool?")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {
                field.name: archive[field.name]
                for field in fields(Predictions)
                if field.name in archive.files
            }
        _check_names(arrays)
        return Predictions(**arrays)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: {error}") from error


def _check_names(arrays: dict[str, np.ndarray]) -> None:
    required = [f.name for f in fields(Predictions) if f.name not in CONTEXT_FIELDS]
    missing = [name for name in required if name not in arrays]
    if missing:
        raise ValueError(
            f"no array named {', '.join(missing)}; expected {', '.join(required)}. "
            "Write the file with person_search.evaluation.predictions.save_predictions."
        )


def _check_kinds(predictions: Predictions) -> None:
    """Check each array's type and number of axes."""
    for field in fields(Predictions):
        array = getattr(predictions, field.name)
        if array is None:
            continue
        name = field.name
        axes = 2 if name.endswith(("boxes", "embeddings")) else 1
        kinds, expected = "f", "floating-point numbers"
        if name.endswith("names"):
            kinds, expected = "U", "strings"
        elif name.endswith("index"):
            kinds, expected = "iu", "integers"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            got = getattr(array, "dtype", type(array).__name__)
            raise ValueError(f"{name}: got {got}, expected a NumPy array of {expected}")
        if array.ndim != axes:
            raise ValueError(f"{name}: got shape {array.shape}, expected {axes} axes")
        if kinds == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise ValueError(
                f"{name}: NaN or infinity, first in row {row}. Was the training stable, and is "
                "half precision "
                "large enough for these values?"
            )


def _check_detections(predictions: Predictions) -> None:
    names, count = np.unique(predictions.image_names, return_counts=True)
    if (count > 1).any():
        raise ValueError(
            f"image_names: {str(names[count > 1][0])!r} appears {count.max()} times; give each "
            "frame once"
        )
    index = predictions.image_index
    _check_lengths(predictions, "image_index", ("boxes", "scores", "embeddings"))
    if len(index) and (index.min() < 0 or index.max() >= len(names)):
        raise ValueError(
            f"image_index: values {index.min()}..{index.max()}, expected 0..{len(names) - 1}, the "
            "rows of image_names"
        )
    _check_rows(predictions.boxes, "boxes", predictions.embeddings, "embeddings")
    _check_scores(predictions.scores, "scores")


def _check_queries(predictions: Predictions) -> None:
    _check_lengths(predictions, "query_names", ("query_boxes", "query_embeddings"))
    _check_rows(
        predictions.query_boxes, "query_boxes", predictions.query_embeddings, "query_embeddings"
    )
    _check_embedding_size(predictions, "query_embeddings")


def _check_context(predictions: Predictions) -> None:
    given = [name for name in CONTEXT_FIELDS if getattr(predictions, name) is not None]
    if not given:
        return
    if len(given) < len(CONTEXT_FIELDS):
        missing = [name for name in CONTEXT_FIELDS if name not in given]
        raise ValueError(
            f"no array named {', '.join(missing)}, though {given[0]} is there; give all four or "
            "none"
        )
    index, scores = predictions.context_query_index, predictions.context_scores
    boxes, embeddings = predictions.context_boxes, predictions.context_embeddings
    assert index is not None and scores is not None and boxes is not None and embeddings is not None
    _check_lengths(predictions, "context_query_index", CONTEXT_FIELDS[1:])
    num_queries = len(predictions.query_names)
    if len(index) and (index.min() < 0 or index.max() >= num_queries):
        raise ValueError(
            f"context_query_index: values {index.min()}..{index.max()}, expected "
            f"0..{num_queries - 1}"
        )
    lonely = np.setdiff1d(np.arange(num_queries), index)
    if len(lonely):
        raise ValueError(
            f"context_query_index: no row for query {lonely[0]}; each query's own row comes first"
        )
    _check_rows(boxes, "context_boxes", embeddings, "context_embeddings")
    _check_scores(scores, "context_scores")
    _check_embedding_size(predictions, "context_embeddings")
    first = np.unique(index, return_index=True)[1]
    off = np.abs(boxes[first] - predictions.query_boxes).max(axis=1, initial=0.0)
    if (off > QUERY_BOX_TOLERANCE).any():
        query = int(np.argmax(off > QUERY_BOX_TOLERANCE))
        raise ValueError(
            f"context_boxes: the first row of query {query} is {boxes[first[query]].tolist()}, "
            "expected the query "
            f"itself, {predictions.query_boxes[query].tolist()}"
        )


def _check_lengths(predictions: Predictions, reference: str, names: tuple[str, ...]) -> None:
    length = len(getattr(predictions, reference))
    for name in names:
        if len(getattr(predictions, name)) != length:
            raise ValueError(
                f"{name}: {len(getattr(predictions, name))} rows, but {reference} has {length}; "
                "they describe the same things, one row each"
            )


def _check_embedding_size(predictions: Predictions, name: str) -> None:
    size, expected = getattr(predictions, name).shape[1], predictions.embeddings.shape[1]
    if size != expected:
        raise ValueError(
            f"{name}: {size} values a row, but embeddings has {expected}; use one model for both"
        )


def _check_scores(scores: np.ndarray, name: str) -> None:
    if len(scores) and (scores.min() < 0 or scores.max() > 1 + 1e-5):
        raise ValueError(
            f"{name}: values {scores.min():g}..{scores.max():g}, expected 0..1: probabilities, not "
            "logits"
        )


def _check_rows(boxes: np.ndarray, box_name: str, embeddings: np.ndarray, name: str) -> None:
    if boxes.shape[1] != 4:
        raise ValueError(f"{box_name}: got shape {boxes.shape}, expected (rows, 4)")
    bad = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{box_name}: row {row} is {boxes[row].tolist()}, with x2 < x1 or y2 < y1; expected "
            "(x1, y1, x2, y2), "
            "not (x, y, w, h)"
        )
    norms = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings))
    bad = ~is_unit_norm(norms)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"{name}: row {row} has norm {norms[row]:.4g}, {int(bad.sum())} of {len(norms)} rows "
            "are not of unit norm. "
            "Divide each row by its norm before saving; detection scores are weighted in by the "
            "scorer on request."
        )
