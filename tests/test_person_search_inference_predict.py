"""A finder's predictions of a test set, frame by frame against the finder itself."""

import numpy as np
from helpers_demo import EMBEDDING_DIM, ColorFinder, draw_colors
from PIL import Image

from person_search.data.protocol import SearchProtocol
from person_search.footage.images import read_image
from person_search.inference.predict import predict

FRAMES = {"a.png": ["red", "blue"], "b.png": ["green"], "c.png": ["red"], "d.png": ["blue"]}


def make_protocol(boxes):
    """Red in a is searched in b and c; d is no part of it."""
    names = tuple(FRAMES)
    none, one = np.zeros((0, 4), np.float32), boxes["a.png"][:1]
    return SearchProtocol(
        name="toy",
        frame_names=names,
        frame_boxes=(one, none, boxes["c.png"], none),
        frame_pids=(np.array([0]), np.zeros(0, int), np.array([0]), np.zeros(0, int)),
        query_frames=np.array([0]),
        query_boxes=one,
        query_pids=np.array([0]),
        gallery_mask=np.array([[False, True, True, False]]),
        true_queries=np.array([0]),
        true_frames=np.array([2]),
        true_boxes=boxes["c.png"],
    )


def test_frames_that_are_asked_about_are_run_once_and_queries_embedded(tmp_path):
    for name, colors in FRAMES.items():
        Image.fromarray(draw_colors(colors)).save(tmp_path / name)
    finder = ColorFinder()
    images = [read_image(tmp_path / name) for name in FRAMES]
    found = dict(zip(FRAMES, finder.find(images), strict=True))
    protocol = make_protocol({name: people.boxes for name, people in found.items()})
    followed = []
    predictions = predict(finder, protocol, tmp_path, lambda x: followed.extend(x) or x)
    assert followed == [0, 1, 2], "neither searched nor a query's: d"
    assert predictions.image_names.tolist() == ["a.png", "b.png", "c.png"]
    people = [found[name] for name in ("a.png", "b.png", "c.png")]
    assert predictions.image_index.tolist() == [0, 0, 1, 2]
    np.testing.assert_array_equal(predictions.boxes, np.concatenate([p.boxes for p in people]))
    np.testing.assert_array_equal(
        predictions.embeddings, np.concatenate([p.embeddings for p in people])
    )
    (query,) = finder.embed(images[0], protocol.query_boxes)
    np.testing.assert_array_equal(predictions.query_embeddings, [query])
    assert predictions.query_names.tolist() == ["a.png"] and len(query) == EMBEDDING_DIM
