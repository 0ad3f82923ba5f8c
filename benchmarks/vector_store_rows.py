"""Made-up gallery rows and questions for the vector stores: pure functions of their number.

Row `i` is the same in every process, so that any of them can check what a store returns. Numpy is
all that is needed: the stores are measured in environments of their own.
"""

from dataclasses import dataclass

import numpy as np

DIM = 256
SEED = 20261123
CLUSTERS = 2000
CAMERAS = 50
# Rows are drawn in blocks, so that a process that needs the last ones need not draw all others.
BLOCK = 1000
FIRST_SECOND = 1_760_000_000.0
SECONDS_PER_FRAME = 2.0
PEOPLE_PER_FRAME = 4
TOP = 100
# Some more than are asked for, so that rows that tie with the last one are known.
MARGIN = 10
TIE = 1e-6
KINDS = ("no filter", "camera", "time", "camera and time")
WINDOW_SHARE = 0.25


@dataclass(frozen=True)
class Rows:
    """Columns of N rows.

    Attributes:
        ids: (N,) int64.
        vectors: (N, DIM) float32, unit length.
        frames: name of the frame, a path.
        cameras: name of the camera.
        timestamps: (N,) float64, UNIX seconds.
        boxes: (N, 4) float32, xyxy in pixels.
        scores: (N,) float32 in 0..1.
    """

    ids: np.ndarray
    vectors: np.ndarray
    frames: list[str]
    cameras: list[str]
    timestamps: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Question:
    """A vector to rank by (DIM,), and the filters: a camera, a time window, both or none."""

    vector: np.ndarray
    camera: str | None = None
    window: tuple[float, float] | None = None


def make_rows(first: int, count: int) -> Rows:
    """Make rows `first` to `first + count`; `first` is a multiple of BLOCK."""
    ids = np.arange(first, first + count)
    blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
    vectors = np.concatenate([_draw_block(block) for block in blocks])[:count]
    corner = np.stack([ids % 900, ids % 400], axis=1)
    boxes = np.concatenate([corner, corner + np.array([40, 110])], axis=1).astype(np.float32)
    return Rows(
        ids=ids,
        vectors=vectors,
        frames=[frame_of(i) for i in ids.tolist()],
        cameras=[camera_of(i) for i in ids.tolist()],
        timestamps=timestamps_of(ids),
        boxes=boxes,
        scores=((ids % 997) / 997).astype(np.float32),
    )


def camera_numbers(ids: np.ndarray) -> np.ndarray:
    """Return the cameras' numbers (N,): scattered, as frames of a moment come from all cameras."""
    return (ids // PEOPLE_PER_FRAME * 2_654_435_761 % 2**32) * CAMERAS // 2**32


def camera_of(row: int) -> str:
    """Return the camera's name."""
    return f"camera {int(camera_numbers(np.array([row]))[0]):02d}"


def frame_of(row: int) -> str:
    """Return the frame's path."""
    return f"/footage/{camera_of(row)}/2026-10-09/frame_{row // PEOPLE_PER_FRAME:08d}.jpg"


def timestamps_of(ids: np.ndarray) -> np.ndarray:
    """Return UNIX seconds (N,)."""
    return FIRST_SECOND + SECONDS_PER_FRAME * (ids // PEOPLE_PER_FRAME)


def make_questions(kind: str, count: int, size: int) -> list[Question]:
    """Make questions on a gallery of `size` rows: blurred rows of it, with filters of a kind."""
    rng = np.random.default_rng([SEED, 1, size])
    numbers = rng.integers(0, CAMERAS, count)
    starts = rng.uniform(0, 1 - WINDOW_SHARE, count)
    near = rng.integers(0, size // BLOCK, count)
    duration = SECONDS_PER_FRAME * size / PEOPLE_PER_FRAME
    questions = []
    for number, start, block in zip(numbers, starts, near, strict=True):
        source = _draw_block(int(block))[int(rng.integers(BLOCK))]
        vector = normalise(source + 0.5 * rng.standard_normal(DIM, np.float32) / np.sqrt(DIM))
        begin = FIRST_SECOND + duration * start
        window = (float(begin), float(begin + duration * WINDOW_SHARE))
        camera = f"camera {number:02d}"
        questions.append(
            Question(
                vector,
                camera if "camera" in kind else None,
                window if "time" in kind else None,
            )
        )
    return questions


def true_answers(size: int, count: int) -> dict[str, list[dict[int, float]]]:
    """Rank the whole gallery by brute force: of each kind and question, similarity by row.

    Holds the best TOP + MARGIN rows, best first. Similarities are summed in float32, block by
    block, with the same order of summation for all of them.
    """
    questions = {kind: make_questions(kind, count, size) for kind in KINDS}
    vectors = np.stack([question.vector for question in questions[KINDS[0]]])
    similarities = np.concatenate(
        [_draw_block(block) @ vectors.T for block in range(size // BLOCK)], axis=0
    )
    ids = np.arange(size)
    cameras, timestamps = camera_numbers(ids), timestamps_of(ids)
    answers: dict[str, list[dict[int, float]]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for column, question in enumerate(questions[kind]):
            allowed = np.ones(size, bool)
            if question.camera is not None:
                allowed &= cameras == int(question.camera.split()[1])
            if question.window is not None:
                allowed &= (timestamps >= question.window[0]) & (timestamps < question.window[1])
            rows = np.flatnonzero(allowed)
            order = np.argsort(-similarities[rows, column], kind="stable")[: TOP + MARGIN]
            best = rows[order]
            answers[kind].append(
                dict(zip(best.tolist(), similarities[best, column].tolist(), strict=True))
            )
    return answers


def recall(found: list[int], truth: dict[int, float]) -> float:
    """Return the share of the TOP true rows that were found.

    Rows that tie with the last of them (within TIE) count as true ones.
    """
    values = list(truth.values())
    wanted = min(TOP, len(values))
    if wanted == 0:
        return float(not found)
    enough = values[wanted - 1] - TIE
    right = sum(truth.get(row, -2.0) >= enough for row in set(found))
    return min(right, wanted) / wanted


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of unit length, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


_CENTRES: list[np.ndarray] = []


def _draw_block(block: int) -> np.ndarray:
    if not _CENTRES:
        rng = np.random.default_rng([SEED, 2])
        _CENTRES.append(normalise(rng.standard_normal((CLUSTERS, DIM), np.float32)))
    rng = np.random.default_rng([SEED, 3, block])
    centres = _CENTRES[0][rng.integers(0, CLUSTERS, BLOCK)]
    noise = rng.standard_normal((BLOCK, DIM), np.float32) / np.sqrt(DIM)
    return normalise(centres + 0.7 * noise)
