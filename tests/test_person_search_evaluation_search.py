"""The scorer against a slow oracle written from the protocol text, and against sums by hand."""

import numpy as np
import pytest
from helpers_average_precision import average_precision

from person_search.data.protocol import SearchProtocol
from person_search.evaluation import similarity
from person_search.evaluation.context import ContextMatching
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.search import evaluate_search, search_each_query


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = width * height
    return area / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - area)


def oracle_query(protocol, predictions, query, score_threshold, weighting):
    """One query, one frame at a time: (AP, whether each detection of the ranking is true)."""
    image_of = {str(name): row for row, name in enumerate(predictions.image_names)}
    true_in_frame, count_gt = {}, 0
    for row in range(len(protocol.true_queries)):
        if protocol.true_queries[row] == query:
            count_gt += 1
            true_in_frame.setdefault(int(protocol.true_frames[row]), protocol.true_boxes[row])
    labels, values, count_tp = [], [], 0
    for frame, name in enumerate(protocol.frame_names):
        if not protocol.gallery_mask[query, frame] or name not in image_of:
            continue
        found = []
        for row in range(len(predictions.scores)):
            if predictions.image_index[row] != image_of[name]:
                continue
            if predictions.scores[row] >= score_threshold:
                cosine = float(predictions.embeddings[row] @ predictions.query_embeddings[query])
                if weighting:
                    cosine *= float(predictions.scores[row])
                found.append((cosine, predictions.boxes[row].astype(float)))
        is_true = [False] * len(found)
        if frame in true_in_frame:
            box = true_in_frame[frame].astype(float)
            w, h = box[2] - box[0], box[3] - box[1]
            needed = min(0.5, w * h / ((w + 10) * (h + 10)))
            for i in sorted(range(len(found)), key=lambda i, found=found: -found[i][0]):
                if iou(found[i][1], box) >= needed:
                    is_true[i] = True
                    count_tp += 1
                    break
        labels += is_true
        values += [f[0] for f in found]
    order = sorted(range(len(values)), key=lambda i: -values[i])
    ap = 0.0
    if count_tp:
        ap = average_precision(labels, values) * count_tp / count_gt
    return ap, [labels[i] for i in order]


def oracle(protocol, predictions, score_threshold=0.5, weighting=False):
    results = [
        oracle_query(protocol, predictions, q, score_threshold, weighting)
        for q in range(len(protocol.query_frames))
    ]
    numbers = {"mAP": 100 * np.mean([ap for ap, _ in results])}
    for k in (1, 5, 10):
        numbers[f"top{k}"] = 100 * np.mean([any(labels[:k]) for _, labels in results])
    return numbers


def make_case(seed, num_frames=14, num_queries=9, gallery_share=0.7, missing=True):
    """Random protocol and predictions: exact ties, unseen frames, tiny boxes, frames listed twice.

    Embeddings are rows of +-1/4 in 16 dimensions, so that every cosine is a multiple of 1/8, ties
    are common, and no way of summing rounds.
    """
    rng = np.random.default_rng(seed)
    names = tuple(f"f{i}.jpg" for i in range(num_frames))
    sizes = rng.choice([[60, 120], [8, 16], [30, 70]], size=(num_frames, 5))
    corners = rng.integers(0, 60, size=(num_frames, 5, 2))
    people = np.concatenate([corners, corners + sizes], axis=2).astype(np.float32)
    true_q, true_f, true_b = [], [], []
    for query in range(num_queries):
        for frame in rng.choice(num_frames, size=rng.integers(0, 5)):  # with repetition
            true_q.append(query)
            true_f.append(frame)
            true_b.append(people[frame, rng.integers(0, 5)])
    query_frames = rng.integers(0, num_frames, num_queries)
    protocol = SearchProtocol(
        name="random",
        frame_names=names,
        frame_boxes=tuple(people),
        frame_pids=tuple(np.full(5, -1, dtype=np.int64) for _ in names),
        query_frames=query_frames,
        query_boxes=people[query_frames, 0],
        query_pids=np.arange(num_queries),
        gallery_mask=rng.random((num_queries, num_frames)) < gallery_share,
        true_queries=np.array(true_q, dtype=np.int64),
        true_frames=np.array(true_f, dtype=np.int64),
        true_boxes=np.array(true_b, dtype=np.float32).reshape(-1, 4),
    )
    seen = rng.permutation(num_frames)[: num_frames - 3 * missing]
    image_index = rng.integers(0, len(seen), 60)
    frames = seen[image_index]
    boxes = people[frames, rng.integers(0, 5, 60)] + rng.integers(-2, 3, (60, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    predictions = Predictions(
        image_names=np.array(names)[seen],
        image_index=image_index,
        boxes=boxes.astype(np.float32),
        scores=rng.choice([0.25, 0.5, 0.75, 1.0], 60).astype(np.float32),
        embeddings=signs(rng, 60),
        query_names=np.array(names)[query_frames],
        query_boxes=protocol.query_boxes,
        query_embeddings=signs(rng, num_queries),
    )
    return protocol, predictions


def signs(rng, rows):
    return (rng.choice([-1, 1], size=(rows, 16)) / 4).astype(np.float32)


def replace(predictions, **arrays):
    names = Predictions.__dataclass_fields__
    return Predictions(**{n: getattr(predictions, n) for n in names} | arrays)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("weighting", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_equals_the_oracle_on_random_cases(seed, weighting, sparse, monkeypatch):
    monkeypatch.setattr(similarity, "_SPARSE_DENSITY", 2.0 if sparse else -1.0)
    monkeypatch.setattr(similarity, "_SPARSE_ENTRIES", 70)
    monkeypatch.setattr(similarity, "_DENSE_QUERIES", 4)
    protocol, predictions = make_case(seed)
    expected = oracle(protocol, predictions, 0.5, weighting)
    got = evaluate_search(protocol, predictions, SearchRules(confidence_weighting=weighting))
    assert got == pytest.approx(expected, abs=1e-9)


def test_the_random_cases_hold_what_they_should():
    """Ties that decide, boxes below the usual threshold, repeated rows and hits are all among
    them."""
    repeated, tiny, positive = 0, 0, 0
    for seed in range(12):
        protocol, predictions = make_case(seed)
        pairs = list(zip(protocol.true_queries, protocol.true_frames, strict=True))
        repeated += len(pairs) - len(set(pairs))
        tiny += int((protocol.true_boxes[:, 2] - protocol.true_boxes[:, 0] < 10).sum())
        positive += evaluate_search(protocol, predictions)["mAP"] > 0
    assert repeated > 0
    assert tiny > 0
    assert positive >= 10


def two_frames(num_true_frames=2):
    """One query; a person at (0, 0, 100, 200) in frames a and b; c holds nobody of interest."""
    box = np.array([[0, 0, 100, 200]], dtype=np.float32)
    return SearchProtocol(
        name="by hand",
        frame_names=("q", "a", "b", "c"),
        frame_boxes=(box, box, box, box),
        frame_pids=(np.zeros(1, np.int64),) * 4,
        query_frames=np.array([0]),
        query_boxes=box,
        query_pids=np.array([0]),
        gallery_mask=np.array([[False, True, True, True]]),
        true_queries=np.zeros(num_true_frames, dtype=np.int64),
        true_frames=np.arange(1, 1 + num_true_frames),
        true_boxes=np.repeat(box, num_true_frames, axis=0),
    )


def found(*rows):
    """Predictions of (frame, box, score, cosine with the query) in two dimensions."""
    cosines = np.array([row[3] for row in rows], dtype=np.float64)
    embeddings = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    return Predictions(
        image_names=np.array(["q", "a", "b", "c"]),
        image_index=np.array(["qabc".index(row[0]) for row in rows], dtype=np.int64),
        boxes=np.array([row[1] for row in rows], dtype=np.float32).reshape(-1, 4),
        scores=np.array([row[2] for row in rows], dtype=np.float32),
        embeddings=embeddings.reshape(-1, 2).astype(np.float32),
        query_names=np.array(["q"]),
        query_boxes=np.array([[0, 0, 100, 200]], dtype=np.float32),
        query_embeddings=np.array([[1, 0]], dtype=np.float32),
    )


WHOLE, SHORTER, AWAY = [0, 0, 100, 200], [0, 0, 100, 150], [300, 0, 400, 200]


def test_by_hand():
    predictions = found(
        ("c", AWAY, 0.9, 0.95),  # rank 1, false
        ("a", SHORTER, 0.9, 0.9),  # rank 2, true: IoU 0.75 and the most similar
        ("a", WHOLE, 0.9, 0.8),  # rank 3, false: the frame's person is taken
        ("b", WHOLE, 0.5, 0.7),  # rank 4, true: score at the threshold
        ("b", WHOLE, 0.49, 0.99),  # below the threshold
        ("q", WHOLE, 1.0, 1.0),  # not in the gallery
    )
    # AP = (1/2 + 2/4) / 2 = 0.5, recall 2/2
    expected = {"mAP": 50.0, "top1": 0.0, "top5": 100.0, "top10": 100.0}
    assert evaluate_search(two_frames(), predictions) == pytest.approx(expected)


def test_recall_counts_frames_that_were_missed():
    predictions = found(("a", WHOLE, 1.0, 0.9), ("b", AWAY, 1.0, 0.8))
    # The only true detection is first: precision 1, but one of two true rows: 1 * 1/2
    assert evaluate_search(two_frames(), predictions)["mAP"] == pytest.approx(50.0)


def test_ties_share_a_threshold_and_go_by_frame_order():
    predictions = found(("b", WHOLE, 1.0, 0.5), ("a", AWAY, 1.0, 0.5), ("a", WHOLE, 1.0, 0.25))
    result = evaluate_search(two_frames(), predictions)
    # At 0.5: two detections, one true: 1/2. At 0.25: 2/3. AP = (1/2 + 2/3) / 2 = 7/12
    assert result["mAP"] == pytest.approx(100 * 7 / 12)
    # Frame a stands before b in the protocol, so the false one is first.
    assert result["top1"] == 0
    assert result["top5"] == 100


def test_equally_similar_boxes_in_one_frame_take_the_first():
    predictions = found(("a", WHOLE, 1.0, 0.5), ("a", SHORTER, 1.0, 0.5))
    query = search_each_query(two_frames(), predictions)[0]
    assert query.best_rank == 1
    assert query.top_is_true.tolist() == [True, False]
    assert query.top_rows.tolist() == [0, 1]


def test_duplicate_embeddings_tie_whatever_their_place():
    """Equal embeddings in frames of different sizes got similarities that differed in the last
    bit."""
    rng = np.random.default_rng(0)
    protocol, predictions = make_case(0, missing=False)
    one = rng.standard_normal(16)
    same = np.repeat(one[None] / np.linalg.norm(one), 60, axis=0).astype(np.float32)
    asked = rng.standard_normal((9, 16))
    asked = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    for result in search_each_query(
        protocol, replace(predictions, embeddings=same, query_embeddings=asked)
    ):
        assert len(np.unique(result.top_similarities)) == 1


def test_perfect_embeddings_score_100():
    rng = np.random.default_rng(1)
    num = 20
    boxes = np.tile(np.array([[5, 5, 55, 155]], dtype=np.float32), (num, 1))
    names = tuple(f"{i}.jpg" for i in range(2 * num))
    base = np.linalg.qr(rng.standard_normal((num, num)))[0].astype(np.float32)
    mask = np.zeros((num, 2 * num), dtype=bool)
    mask[:, num:] = True
    protocol = SearchProtocol(
        name="perfect",
        frame_names=names,
        frame_boxes=(boxes[:1],) * 2 * num,
        frame_pids=(np.zeros(1, np.int64),) * 2 * num,
        query_frames=np.arange(num),
        query_boxes=boxes,
        query_pids=np.arange(num),
        gallery_mask=mask,
        true_queries=np.arange(num),
        true_frames=np.arange(num, 2 * num),
        true_boxes=boxes,
    )
    predictions = Predictions(
        image_names=np.array(names),
        image_index=np.arange(2 * num),
        boxes=np.concatenate([boxes, boxes]),
        scores=np.ones(2 * num, dtype=np.float32),
        embeddings=np.concatenate([base, base]),
        query_names=np.array(names[:num]),
        query_boxes=boxes,
        query_embeddings=base,
    )
    expected = {"mAP": 100.0, "top1": 100.0, "top5": 100.0, "top10": 100.0}
    assert evaluate_search(protocol, predictions) == pytest.approx(expected)
    shuffled = replace(predictions, query_embeddings=np.roll(base, 1, axis=0))
    assert evaluate_search(protocol, shuffled)["top1"] == 0


@pytest.mark.parametrize("rows", [[], [("a", AWAY, 1.0, 0.9)], [("a", WHOLE, 0.1, 0.9)]])
def test_nothing_found_is_zero(rows):
    predictions = found(*rows)
    expected = {"mAP": 0.0, "top1": 0.0, "top5": 0.0, "top10": 0.0}
    assert evaluate_search(two_frames(), predictions) == expected
    assert evaluate_search(two_frames(0), predictions) == expected
    assert search_each_query(two_frames(), predictions)[0].average_precision == 0


@pytest.mark.parametrize(
    ("size", "height", "is_true"),
    [
        # 10 x 20 needs 200 / (20 * 30) = 1/3; a detection 10 x h has IoU 20/h. With 60 it is just
        # that, with 61 it is 0.328: more than 200 / (21 * 30) = 0.317 or 200 / (20 * 31) = 0.323.
        ((10, 20), 60, True),
        ((10, 20), 61, False),
        # 100 x 200 would need 20000 / (110 * 210) = 0.87, but half is enough: 200/400, not 200/401.
        ((100, 200), 400, True),
        ((100, 200), 401, False),
    ],
)
def test_small_boxes_need_less_overlap(size, height, is_true):
    box = np.array([[0, 0, *size]], dtype=np.float32)
    protocol = SearchProtocol(**{**two_frames(1).__dict__, "true_boxes": box})
    predictions = found(("a", [0, 0, size[0], height], 1.0, 0.9))
    assert evaluate_search(protocol, predictions)["mAP"] == (100 if is_true else 0)


@pytest.mark.parametrize("seed", range(4))
def test_each_query_agrees_with_the_summary(seed):
    protocol, predictions = make_case(seed)
    results = search_each_query(protocol, predictions, num_top=100)
    summary = evaluate_search(protocol, predictions)
    assert 100 * np.mean([r.average_precision for r in results]) == pytest.approx(summary["mAP"])
    for k in (1, 5, 10):
        hits = [0 < r.best_rank <= k for r in results]
        assert 100 * np.mean(hits) == pytest.approx(summary[f"top{k}"])
    for result in results:
        # num_top is beyond the gallery, so that the list holds every true detection.
        assert result.best_rank == min(np.flatnonzero(result.top_is_true) + 1, default=0)
        assert (np.diff(result.top_similarities) <= 0).all()
        expected = (
            predictions.embeddings[result.top_rows] @ predictions.query_embeddings[result.query]
        )
        assert result.top_similarities == pytest.approx(expected)
        assert len(search_each_query(protocol, predictions, num_top=2)[0].top_rows) <= 2


@pytest.mark.parametrize("seed", range(4))
def test_order_of_rows_and_images_does_not_matter(seed):
    protocol, predictions = make_case(seed)
    rng = np.random.default_rng(seed)
    images = rng.permutation(len(predictions.image_names))
    # Rows move in whole frames: the order of boxes in a frame decides ties.
    rows = np.argsort(np.argsort(images)[predictions.image_index], kind="stable")
    moved = replace(
        predictions,
        image_names=predictions.image_names[images],
        image_index=np.argsort(images)[predictions.image_index][rows],
        boxes=predictions.boxes[rows],
        scores=predictions.scores[rows],
        embeddings=predictions.embeddings[rows],
    )
    assert evaluate_search(protocol, moved) == evaluate_search(protocol, predictions)


def test_inputs_are_left_as_they_were():
    protocol, predictions = make_case(3)
    before = {n: np.copy(getattr(predictions, n)) for n in ("embeddings", "scores", "boxes")}
    evaluate_search(protocol, predictions, SearchRules(confidence_weighting=True))
    for name, array in before.items():
        assert np.array_equal(array, getattr(predictions, name))


def test_context_asked_for_but_absent():
    protocol, predictions = make_case(0)
    with pytest.raises(ValueError, match="context_query_index: absent"):
        evaluate_search(protocol, predictions, SearchRules(context=ContextMatching(10, 3)))
