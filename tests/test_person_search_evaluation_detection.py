"""Detection AP and recall against naive loops and sums done by hand."""

import numpy as np
import pytest
from helpers_average_precision import average_precision

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.detection import coco_box_ap, evaluate_detection
from person_search.evaluation.predictions import Predictions

EMPTY = np.zeros((0, 4), dtype=np.float32)


def protocol_of(frame_boxes, frame_pids):
    count = len(frame_boxes)
    return SearchProtocol(
        name="frames",
        frame_names=tuple(f"{i}.jpg" for i in range(count)),
        frame_boxes=tuple(np.float32(boxes).reshape(-1, 4) for boxes in frame_boxes),
        frame_pids=tuple(np.int64(pids) for pids in frame_pids),
        query_frames=np.zeros(0, np.int64),
        query_boxes=EMPTY,
        query_pids=np.zeros(0, np.int64),
        gallery_mask=np.zeros((0, count), dtype=bool),
        true_queries=np.zeros(0, np.int64),
        true_frames=np.zeros(0, np.int64),
        true_boxes=EMPTY,
    )


def predictions_of(rows, names):
    count = len(rows)
    return Predictions(
        image_names=np.array(names, dtype=np.str_),
        image_index=np.array([row[0] for row in rows], dtype=np.int64),
        boxes=np.float32([row[1] for row in rows]).reshape(-1, 4),
        scores=np.float32([row[2] for row in rows]),
        embeddings=np.ones((count, 1), dtype=np.float32),
        query_names=np.zeros(0, dtype="U5"),
        query_boxes=EMPTY,
        query_embeddings=np.zeros((0, 1), dtype=np.float32),
    )


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def oracle(protocol, predictions, score_threshold):
    def run(labeled_only):
        labels, scores, people = [], [], 0
        for frame, name in enumerate(protocol.frame_names):
            truth = [
                box.astype(float)
                for box, pid in zip(
                    protocol.frame_boxes[frame], protocol.frame_pids[frame], strict=True
                )
                if pid != -1 or not labeled_only
            ]
            people += len(truth)
            rows = [
                row
                for row in range(len(predictions.scores))
                if predictions.image_names[predictions.image_index[row]] == name
                and predictions.scores[row] >= score_threshold
            ]
            found = [predictions.boxes[row].astype(float) for row in rows]
            for i, row in enumerate(rows):
                hit = False
                if truth:
                    best = max(range(len(truth)), key=lambda j: (iou(found[i], truth[j]), -j))
                    rival = max(
                        range(len(found)),
                        key=lambda k: (iou(found[k], truth[best]), -k),
                    )
                    hit = rival == i and iou(found[i], truth[best]) >= 0.5
                labels.append(hit)
                scores.append(predictions.scores[row])
        recall = sum(labels) / people if people else 0.0
        precision = average_precision(labels, scores) if any(labels) else 0.0
        return 100 * precision * recall, 100 * recall

    (ap, recall), (_, recall_labeled) = run(False), run(True)
    return {"ap": ap, "recall": recall, "recall_labeled": recall_labeled}


@pytest.mark.slow
def test_average_precision_of_the_naive_loop_is_that_of_sklearn():
    """Scores are rounded, so that some are equal."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    for _ in range(50):
        labels, scores = rng.random(30) < 0.4, rng.random(30).round(1)
        expected = average_precision_score(labels, scores)
        assert average_precision(labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(15))
def test_equals_the_naive_loop(seed):
    rng = np.random.default_rng(seed)
    boxes, pids, rows = [], [], []
    for frame in range(8):
        corners = rng.integers(0, 12, (rng.integers(0, 5), 2)) * 4
        sizes = rng.integers(1, 5, (len(corners), 2)) * 8
        boxes.append(np.concatenate([corners, corners + sizes], axis=1))
        pids.append(rng.integers(-1, 2, len(corners)))
        if frame == 3:
            continue  # not seen by the model
        for box in boxes[-1]:
            for _ in range(rng.integers(0, 3)):
                moved = box + rng.integers(-1, 2, 4) * 3
                moved[2:] = np.maximum(moved[2:], moved[:2])
                # The images of the predictions are in another order than the frames.
                rows.append((7 - frame, moved, rng.choice([0.25, 0.5, 0.75, 1.0])))
    protocol = protocol_of(boxes, pids)
    predictions = predictions_of(rows, [f"{7 - i}.jpg" for i in range(8)])
    got = evaluate_detection(protocol, predictions)
    assert got == pytest.approx(oracle(protocol, predictions, 0.5), abs=1e-9)
    assert got["recall"] > 0


def test_by_hand():
    protocol = protocol_of(
        [[[0, 0, 10, 10], [50, 0, 60, 10]], [[0, 0, 10, 10]], [[0, 0, 10, 10]]],
        [[0, -1], [1], [-1]],
    )
    rows = [
        (0, [0, 0, 10, 8], 0.9),  # IoU 0.8 with the first person: true
        (0, [0, 0, 10, 6], 1.0),  # IoU 0.6, but that person's best is the other: false
        (0, [50, 0, 60, 5], 0.5),  # IoU exactly 0.5: true
        (1, [5, 0, 15, 10], 0.8),  # IoU 1/3: false
        (2, [0, 0, 10, 10], 0.4),  # below the score threshold
    ]
    result = evaluate_detection(protocol, predictions_of(rows, ["0.jpg", "1.jpg", "2.jpg"]))
    # Ranking: 1.0 false, 0.9 true (1/2), 0.8 false, 0.5 true (2/4): (1/2 + 1/2) / 2 = 1/2.
    # Recall 2 of 4, labelled: 1 of 2. AP = 1/2 * 1/2.
    assert result == pytest.approx({"ap": 25.0, "recall": 50.0, "recall_labeled": 50.0})


def test_perfect_detections():
    people = [[[0, 0, 40, 90], [100, 0, 140, 90]], [[7, 7, 60, 160]]]
    protocol = protocol_of(people, [[0, -1], [1]])
    rows = [(f, box, 1.0) for f, boxes in enumerate(people) for box in boxes]
    predictions = predictions_of(rows, ["0.jpg", "1.jpg"])
    expected = {"ap": 100.0, "recall": 100.0, "recall_labeled": 100.0}
    assert evaluate_detection(protocol, predictions) == pytest.approx(expected)
    coco = coco_box_ap(protocol, predictions)
    assert [coco[name] for name in ("AP", "AP50", "AP75")] == pytest.approx([100.0] * 3)


def test_coco_ap_by_hand(capsys):
    """One of two people found with IoU 0.8: true up to 0.80, 7 of 10 thresholds."""
    protocol = protocol_of([[[0, 0, 100, 100], [200, 0, 300, 100]]], [[0, 1]])
    predictions = predictions_of([(0, [0, 0, 100, 80], 0.1)], ["0.jpg"])
    coco = coco_box_ap(protocol, predictions)
    # Interpolated at 101 recalls: precision 1 at 0, 0.01, .., 0.50, so 51/101.
    assert coco["AP50"] == pytest.approx(100 * 51 / 101)
    assert coco["AP75"] == pytest.approx(100 * 51 / 101)
    assert coco["AP"] == pytest.approx(100 * 51 / 101 * 7 / 10)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("people", "rows"),
    [
        ([[[0, 0, 9, 9]]], []),
        ([[[0, 0, 9, 9]]], [(0, [20, 20, 30, 30], 0.9)]),
        ([[]], [(0, [20, 20, 30, 30], 0.9)]),
        ([[]], []),
    ],
)
def test_nothing_to_match_is_zero(people, rows):
    protocol = protocol_of(people, [[0] * len(people[0])])
    predictions = predictions_of(rows, ["0.jpg"])
    expected = {"ap": 0.0, "recall": 0.0, "recall_labeled": 0.0}
    assert evaluate_detection(protocol, predictions) == expected
    assert coco_box_ap(protocol, predictions)["AP50"] == (0 if people[0] else -1)


def test_boxes_without_area_match_nothing():
    protocol = protocol_of([[[5, 5, 5, 5]]], [[0]])
    predictions = predictions_of([(0, [5, 5, 5, 5], 1.0)], ["0.jpg"])
    assert evaluate_detection(protocol, predictions)["recall"] == 0


def test_unknown_frames_are_refused():
    predictions = predictions_of([(0, [0, 0, 1, 1], 1.0)], ["other.jpg"])
    for score in (evaluate_detection, coco_box_ap):
        with pytest.raises(ValueError, match=r"image_names: 1 of 1 .* 'other.jpg'"):
            score(protocol_of([[]], [[]]), predictions)
