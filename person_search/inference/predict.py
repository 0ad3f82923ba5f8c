"""Run a finder over the frames of a test set, for scorers that need no model.

Letters: F frames of a protocol.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions
from person_search.footage.images import read_image
from person_search.inference.finder import PersonFinder
from person_search.people import People

FollowProgress = Callable[[Sequence[int]], Iterable[int]]


def predict(
    finder: PersonFinder,
    protocol: SearchProtocol,
    frames: Path,
    follow: FollowProgress = iter,
) -> Predictions:
    """Find everybody in the frames that a protocol asks about, and embed its queries.

    A frame that is neither searched nor holds a query is left out. People below the finder's
    ``min_score`` are left out too, so that the scorers' least score must not be lower.

    Args:
        finder: the model, of any kind.
        protocol: what is asked.
        frames: folder of its frames.
        follow: passes the numbers of the frames on while they are run, to show progress.

    Raises:
        OSError: if a frame cannot be read.
        ValueError: if a frame is no picture, or the model gives NaN.
    """
    queries: dict[int, list[int]] = {}
    for query, frame in enumerate(protocol.query_frames.tolist()):
        queries.setdefault(frame, []).append(query)
    asked = np.union1d(np.flatnonzero(protocol.gallery_mask.any(axis=0)), protocol.query_frames)

    embeddings = np.zeros((len(protocol.query_frames), finder.embedding_dim), np.float32)

    def run(frame: int) -> People:
        image = read_image(frames / protocol.frame_names[frame])
        (people,) = finder.find([image])
        if (own := queries.get(frame)) is not None:
            embeddings[own] = finder.embed(image, protocol.query_boxes[own])
        return people

    found: list[People] = []
    # One more than can be at the model at once: it reads the next frame.
    with ThreadPoolExecutor(finder.max_callers + 1) as pool:
        results = pool.map(run, asked.tolist())
        try:
            for _ in follow(asked.tolist()):
                found.append(next(results))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    names = np.array(protocol.frame_names)
    return Predictions(
        image_names=names[asked],
        image_index=np.repeat(np.arange(len(asked)), [len(people) for people in found]),
        boxes=np.concatenate([people.boxes for people in found]),
        scores=np.concatenate([people.scores for people in found]),
        embeddings=np.concatenate([people.embeddings for people in found]),
        query_names=names[protocol.query_frames],
        query_boxes=protocol.query_boxes.astype(np.float32),
        query_embeddings=embeddings,
    )
