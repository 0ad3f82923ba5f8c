"""predictions.npz: written whole or not at all, and each mistake in it named."""

import os

import numpy as np
import pytest

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import check_against_protocol, select_queries
from person_search.evaluation.predictions import (
    CONTEXT_FIELDS,
    Predictions,
    load_predictions,
    save_predictions,
)


def arrays(**changes):
    unit = np.eye(3, dtype=np.float32)
    boxes = np.array([[0, 0, 10, 20], [5, 5, 50, 90], [1, 2, 3, 4]], dtype=np.float32)
    return {
        "image_names": np.array(["a.jpg", "b.jpg"]),
        "image_index": np.array([0, 1, 1]),
        "boxes": boxes,
        "scores": np.array([0.5, 0.75, 1.0], dtype=np.float32),
        "embeddings": unit,
        "query_names": np.array(["b.jpg", "a.jpg"]),
        "query_boxes": boxes[[1, 0]],
        "query_embeddings": unit[[1, 0]],
        "context_query_index": np.array([0, 0, 1]),
        "context_boxes": boxes[[1, 2, 0]],
        "context_scores": np.array([1.0, 0.5, 1.0], dtype=np.float32),
        "context_embeddings": unit[[1, 2, 0]],
    } | changes


def protocol_of(given):
    boxes = given["query_boxes"]
    return SearchProtocol(
        name="two frames",
        frame_names=("a.jpg", "b.jpg", "c.jpg"),
        frame_boxes=(boxes[1:], boxes[:1], boxes[:0]),
        frame_pids=(np.array([1]), np.array([0]), np.zeros(0, np.int64)),
        query_frames=np.array([1, 0]),
        query_boxes=boxes,
        query_pids=np.array([0, 1]),
        gallery_mask=np.ones((2, 3), dtype=bool),
        true_queries=np.array([0]),
        true_frames=np.array([0]),
        true_boxes=boxes[:1],
    )


def without(given, *names):
    return {name: array for name, array in given.items() if name not in names}


@pytest.mark.parametrize("context", [True, False])
def test_reads_what_it_wrote(tmp_path, context):
    given = arrays() if context else without(arrays(), *CONTEXT_FIELDS)
    path = tmp_path / "new folder" / "predictions.npz"
    save_predictions(path, Predictions(**given))
    read = load_predictions(path)
    assert read.has_context is context
    for name, array in given.items():
        assert np.array_equal(getattr(read, name), array)
    assert os.listdir(path.parent) == ["predictions.npz"]
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(given)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "predictions.npz"
    save_predictions(path, Predictions(**arrays()))
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_predictions(path, Predictions(**arrays()))
    assert os.listdir(tmp_path) == ["predictions.npz"]
    assert path.read_bytes() == before


NAN, LONG = np.float32("nan"), np.float32([0.5, 0.5, 0.5, 0.5])

MISTAKES = {
    "scores: 4 rows, but image_index has 3": {"scores": LONG},
    "boxes: got shape": {"boxes": np.zeros((3, 5), np.float32)},
    "boxes: NaN or infinity, first in row 2": {
        "boxes": np.float32([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, np.inf]])
    },
    "scores: NaN or infinity, first in row 0": {"scores": np.float32([NAN, 1, 1])},
    "embeddings: NaN": {"embeddings": np.full((3, 3), NAN)},
    "boxes: row 1 is .* with x2 < x1": {
        "boxes": np.float32([[0, 0, 1, 1], [50, 50, 20, 90], [0, 0, 1, 1]])
    },
    "embeddings: row 0 has norm 2, 3 of 3 rows": {"embeddings": 2 * np.eye(3, dtype=np.float32)},
    "query_embeddings: row 1 has norm 0.5": {
        "query_embeddings": np.float32([[0, 1, 0], [0.5, 0, 0]])
    },
    "scores: values 0.5..7, expected 0..1": {"scores": np.float32([0.5, 7, 1])},
    "scores: values 0.5..1.001, expected 0..1": {"scores": np.float32([0.5, 1.001, 1])},
    "image_names: 'a.jpg' appears 2 times": {"image_names": np.array(["a.jpg", "a.jpg"])},
    "image_index: values 0..2, expected 0..1": {"image_index": np.array([0, 1, 2])},
    "image_index: got float64, expected a NumPy array of integers": {
        "image_index": np.array([0.0, 1.0, 1.0])
    },
    "image_names: got object": {"image_names": np.array(["a.jpg", "b.jpg"], dtype=object)},
    "scores: got shape": {"scores": np.zeros((3, 1), np.float32)},
    "scores: got list": {"scores": [0.5, 0.5, 0.5]},
    "query_boxes: 1 rows, but query_names has 2": {"query_boxes": arrays()["query_boxes"][:1]},
    "query_embeddings: 2 values a row, but embeddings has 3": {
        "query_embeddings": np.eye(2, dtype=np.float32)
    },
    "no array named context_scores, though": {"context_scores": None},
    "context_query_index: values 0..2, expected 0..1": {"context_query_index": np.array([0, 1, 2])},
    "context_query_index: no row for query 1": {"context_query_index": np.array([0, 0, 0])},
    "context_boxes: the first row of query 0": {"context_boxes": arrays()["context_boxes"][::-1]},
    "context_scores: 2 rows, but context_query_index has 3": {
        "context_scores": np.ones(2, np.float32)
    },
}


def test_a_score_may_round_beyond_one():
    scores = np.float32([0.5, 1.000005, 1])
    assert scores[1] > 1
    assert np.array_equal(Predictions(**arrays(scores=scores)).scores, scores)


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named(message):
    with pytest.raises(ValueError, match=message):
        Predictions(**arrays(**MISTAKES[message]))


def test_mistakes_in_a_file_name_it(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, **arrays(scores=LONG))
    with pytest.raises(ValueError, match=r"other\.npz: scores: 4 rows"):
        load_predictions(path)
    np.savez(path, **without(arrays(), "boxes", "scores"))
    with pytest.raises(ValueError, match=r"other\.npz: no array named boxes, scores; expected"):
        load_predictions(path)
    np.savez(path, **arrays(scores=np.array([{}, {}, {}], dtype=object)))
    with pytest.raises(ValueError, match=r"other\.npz: Object arrays cannot be loaded"):
        load_predictions(path)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.npz: no .npz archive"):
        load_predictions(path)


def test_a_bare_array_is_no_archive(tmp_path):
    path = tmp_path / "bare.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"bare\.npz: no .npz archive"):
        load_predictions(path)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such predictions file.*eval-only"):
        load_predictions(tmp_path / "none.npz")


def test_nothing_found_is_valid():
    empty = without(arrays(), *CONTEXT_FIELDS) | {
        "image_index": np.zeros(0, np.int64),
        "boxes": np.zeros((0, 4), np.float32),
        "scores": np.zeros(0, np.float32),
        "embeddings": np.zeros((0, 3), np.float32),
    }
    predictions = Predictions(**empty)
    check_against_protocol(predictions, protocol_of(arrays()))
    assert len(predictions.scores) == 0


def shifted(boxes, *by):
    return (boxes + np.float32(by)).astype(np.float32)


QUERIES = arrays()["query_boxes"]

DISAGREEMENTS = {
    "image_names: 1 of 2 frames are not in two frames, the first is 'z.jpg'": {
        "image_names": np.array(["a.jpg", "z.jpg"])
    },
    "query_names: 1 rows, but two frames has 2 queries": {
        "query_names": np.array(["b.jpg"]),
        "query_boxes": QUERIES[:1],
        "query_embeddings": np.eye(3, dtype=np.float32)[:1],
    },
    "query_names: row 1 is 'c.jpg', but query 1 of two frames is cut from 'a.jpg'": {
        "query_names": np.array(["b.jpg", "c.jpg"])
    },
    "query_boxes: row 0 is .*but query 0": {"query_boxes": shifted(QUERIES, 3, 0, 0, 0)},
    "query_boxes: row 1 is .*but query 1": {
        "query_boxes": shifted(QUERIES, *[[0, 0, 0, 0], [0, 0, 0, 3]])
    },
}


@pytest.mark.parametrize("message", DISAGREEMENTS)
def test_disagreement_with_the_protocol_is_named(message):
    given = without(arrays(), *CONTEXT_FIELDS)
    with pytest.raises(ValueError, match=message):
        check_against_protocol(Predictions(**given | DISAGREEMENTS[message]), protocol_of(arrays()))


def test_query_boxes_may_be_rounded_or_clipped():
    given = without(arrays(), *CONTEXT_FIELDS)
    protocol = protocol_of({"query_boxes": np.float32([[-9, 5, 50, 90], [0, 0, 10, 20]])})
    # The first box is cut off at the image's left side, and at y = 70, its lower side.
    given["query_boxes"] = np.float32([[0, 5, 49, 70], [1, 0, 10, 19]])
    check_against_protocol(Predictions(**given), protocol)
    given["query_boxes"] = np.float32([[0, 5, 49, 40], [1, 0, 10, 19]])
    with pytest.raises(ValueError, match="query_boxes: row 0"):
        check_against_protocol(Predictions(**given), protocol)


@pytest.mark.parametrize("side", range(4))
def test_query_boxes_may_be_two_pixels_off_and_no_more(side):
    given, protocol = without(arrays(), *CONTEXT_FIELDS), protocol_of(arrays())
    # Outwards: the lower and right sides may lie further inwards, as where the image ends.
    outwards = np.float32([-1, -1, 1, 1]) * (np.arange(4) == side)
    for pixels, fits in ((2, True), (2.25, False)):
        off = Predictions(**given | {"query_boxes": shifted(QUERIES, *(pixels * outwards))})
        if fits:
            check_against_protocol(off, protocol)
        else:
            with pytest.raises(ValueError, match="query_boxes: row 0"):
                check_against_protocol(off, protocol)


def test_of_two_queries_that_fit_the_nearer_is_selected():
    """Two people stand a pixel apart in one frame; the protocol asks for the second."""
    boxes = np.float32([[4, 5, 50, 90], [5, 5, 50, 90]])
    given = arrays(query_names=np.array(["b.jpg", "b.jpg"]), query_boxes=boxes)
    predictions = Predictions(**without(given, *CONTEXT_FIELDS))
    for row in (0, 1):
        part = SearchProtocol(
            **protocol_of(arrays()).__dict__
            | {
                "query_frames": np.array([1]),
                "query_boxes": boxes[[row]],
                "query_pids": np.array([0]),
            }
        )
        chosen = select_queries(predictions, part)
        assert np.array_equal(chosen.query_embeddings, predictions.query_embeddings[[row]])


def test_select_queries_of_a_subset():
    predictions = Predictions(**arrays())
    protocol = protocol_of(arrays())
    part = SearchProtocol(
        **protocol.__dict__
        | {
            "query_frames": np.array([0]),
            "query_boxes": protocol.query_boxes[1:],
            "query_pids": np.array([1]),
            "gallery_mask": protocol.gallery_mask[1:],
        }
    )
    chosen = select_queries(predictions, part)
    assert chosen.query_names.tolist() == ["a.jpg"]
    assert np.array_equal(chosen.query_embeddings, predictions.query_embeddings[1:])
    assert chosen.context_query_index.tolist() == [0]
    assert np.array_equal(chosen.context_embeddings, predictions.context_embeddings[2:])
    check_against_protocol(chosen, part)
    # Both, in the other order
    both = SearchProtocol(
        **protocol.__dict__
        | {"query_frames": np.array([0, 1]), "query_boxes": protocol.query_boxes[::-1]}
    )
    chosen = select_queries(predictions, both)
    assert chosen.context_query_index.tolist() == [0, 1, 1]
    assert np.array_equal(chosen.context_boxes, predictions.context_boxes[[2, 0, 1]])
    with pytest.raises(ValueError, match=r"no row for query 0 of two frames, 'c.jpg'"):
        select_queries(
            predictions, SearchProtocol(**part.__dict__ | {"query_frames": np.array([2])})
        )
