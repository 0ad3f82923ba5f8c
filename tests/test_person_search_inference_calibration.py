import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import CONFIGS, TINY_FPN, overrides_of
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from helpers_layouts import make_cuhk_sysu

from person_search.cli import main
from person_search.config import load_config
from person_search.data.builtin import register_all
from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions
from person_search.inference import calibration
from person_search.inference.calibration import calibrate, calibrate_on_dataset, choose_threshold
from person_search.inference.finder import PersonFinder
from person_search.inference.threshold_file import Calibration, threshold_path
from reid_heads.labels import UNLABELED_PID

BOX = np.array([10, 10, 30, 60], np.float32)
FAR_BOX = np.array([100, 10, 120, 60], np.float32)


def at(similarities):
    """Embeddings of these similarities to the query embedding (1, 0)."""
    x = np.array(similarities, np.float32)
    return np.stack([x, np.sqrt(1 - x**2)], axis=1)


def make_world(frames, num_queries=1, hidden=()):
    """Each query stands in a frame of its own and has a gallery of its own.

    frames: rows of (query, frame has the person, [(box, score, similarity)]). hidden: frames, by
    row, which show the person to the annotators but are not asked for.
    """
    names = [f"q{q}.jpg" for q in range(num_queries)] + [f"g{k}.jpg" for k in range(len(frames))]
    mask = np.zeros((num_queries, len(names)), bool)
    pids = [np.array([q]) for q in range(num_queries)]
    true, rows = [], []
    for k, (query, has_person, found) in enumerate(frames):
        mask[query, num_queries + k] = True
        pids.append(np.array([query if has_person or k in hidden else UNLABELED_PID]))
        if has_person:
            true.append((query, num_queries + k))
        rows += [(k, *detection) for detection in found]
    # The scorer wants true rows by rising query.
    true = np.array(sorted(true), np.int64).reshape(-1, 2)
    boxes = np.tile(BOX, (num_queries, 1))
    protocol = SearchProtocol(
        name="toy",
        frame_names=tuple(names),
        frame_boxes=tuple(BOX[None] for _ in names),
        frame_pids=tuple(pids),
        query_frames=np.arange(num_queries),
        query_boxes=boxes,
        query_pids=np.arange(num_queries),
        gallery_mask=mask,
        true_queries=true[:, 0],
        true_frames=true[:, 1],
        true_boxes=np.tile(BOX, (len(true), 1)),
    )
    predictions = Predictions(
        image_names=np.array(names[num_queries:]),
        image_index=np.array([row[0] for row in rows], np.int64),
        boxes=np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row[2] for row in rows], np.float32),
        embeddings=at([row[3] for row in rows]),
        query_names=np.array(names[:num_queries]),
        query_boxes=boxes,
        query_embeddings=at([1.0] * num_queries),
    )
    return protocol, predictions


def hand_computed_world():
    """Four queries with their person in the gallery, and one without.

    query   person at   others at      person at is the best of the true detections
    0       0.9         0.5
    1       0.8         0.6            (0.7 in another true frame)
    2       0.4         0.65
    3       not found   0.3
    4       -           0.7            its gallery does not show the person

    At 0.75: misses are 2 and 3, 2 of 4; nobody of the 5 raises a false alarm: sum 0.5. Between 0.4
    and 0.7 nothing fewer is missed, above 0.8 more, and below 0.4 only 3 is, 0.25, but 4 of 5 raise
    an alarm. The best gap is 0.7 to 0.8.
    """
    return make_world(
        [
            (0, True, [(BOX, 0.9, 0.9)]),
            (0, False, [(BOX, 0.9, 0.2), (FAR_BOX, 0.9, 0.5)]),
            (1, True, [(BOX, 0.9, 0.7)]),
            (1, True, [(BOX, 0.9, 0.8)]),
            (1, False, [(BOX, 0.9, 0.6)]),
            (2, True, [(BOX, 0.9, 0.4)]),
            (2, False, [(BOX, 0.9, 0.65)]),
            (3, True, []),
            (3, False, [(BOX, 0.9, 0.3)]),
            (4, False, [(BOX, 0.9, 0.7)]),
        ],
        num_queries=5,
    )


def test_threshold_and_rates_are_those_computed_by_hand():
    got = calibrate(*hand_computed_world(), dataset="toy_test", fingerprint="f")
    assert got.threshold == pytest.approx(0.75)
    assert got.false_alarm_rate == 0
    assert got.miss_rate == 0.5
    # Query 4's person is not in the gallery, so it cannot be missed.
    assert got.num_queries == 4
    # 2, 3, 2, 2 and 1 frames.
    assert got.gallery_size == 2
    assert (got.dataset, got.fingerprint, got.score_threshold) == ("toy_test", "f", 0.5)


def test_somebody_else_in_the_persons_frame_counts_for_neither():
    """0.99 stands beside the person: no true match, and not in a frame without the person."""
    got = calibrate(
        *make_world(
            [
                (0, True, [(BOX, 0.9, 0.6), (FAR_BOX, 0.9, 0.99)]),
                (0, False, [(BOX, 0.9, 0.2)]),
            ]
        )
    )
    assert got.threshold == pytest.approx(0.4)
    assert got.false_alarm_rate == got.miss_rate == 0


def test_a_frame_that_shows_the_person_without_being_asked_for_is_no_false_alarm():
    frames = [
        (0, True, [(BOX, 0.9, 0.6)]),
        (0, False, [(BOX, 0.9, 0.9)]),
        (0, False, [(BOX, 0.9, 0.2)]),
    ]
    assert calibrate(*make_world(frames, hidden=(1,))).threshold == pytest.approx(0.4)
    assert calibrate(*make_world(frames)).threshold != pytest.approx(0.4)


def test_uncertain_detections_are_not_searched():
    frames = [
        (0, True, [(BOX, 0.9, 0.6)]),
        (0, False, [(BOX, 0.3, 0.9), (FAR_BOX, 0.9, 0.2)]),
    ]
    assert calibrate(*make_world(frames)).threshold == pytest.approx(0.4)
    everything = calibrate(*make_world(frames), score_threshold=0.1)
    assert everything.false_alarm_rate + everything.miss_rate == 1


def test_without_any_true_match_there_is_no_threshold():
    with pytest.raises(ValueError, match="toy: the model found the person of none of the 1 quer"):
        calibrate(*make_world([(0, True, []), (0, False, [(BOX, 0.9, 0.3)])]))
    with pytest.raises(ValueError, match="none of the 0 queries"):
        calibrate(*make_world([(0, False, [(BOX, 0.9, 0.3)])]))


def test_without_anybody_else_there_is_no_threshold():
    person = (0, True, [(BOX, 0.9, 0.8)])
    with pytest.raises(ValueError, match="nobody was found in frames without the query's person"):
        calibrate(*make_world([person]))
    with pytest.raises(ValueError, match="nobody was found in frames without"):
        calibrate(*make_world([person, (0, False, [])]))


def sum_of_errors(threshold, present, absent):
    return np.mean(present < threshold) + np.mean(absent >= threshold)


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_makes_fewer_errors(seed):
    rng = np.random.default_rng(seed)
    # Rounded, so that there are ties within and between both kinds.
    present = rng.normal(0.6, 0.2, rng.integers(1, 30)).clip(-1, 1).round(1)
    absent = rng.normal(0.4, 0.2, rng.integers(1, 30)).clip(-1, 1).round(1)
    present[rng.random(len(present)) < 0.1] = -np.inf
    threshold, false_alarm_rate, miss_rate = choose_threshold(present, absent)
    assert false_alarm_rate == np.mean(absent >= threshold)
    assert miss_rate == np.mean(present < threshold)
    least = min(sum_of_errors(t, present, absent) for t in np.linspace(-1, 1, 401) + 0.001)
    assert sum_of_errors(threshold, present, absent) <= least + 1e-12


def test_the_threshold_stands_in_the_widest_gap_of_the_best():
    # 0.3..0.4 and 0.5..0.9 both make no error but one: the second is wider.
    threshold, *rates = choose_threshold(np.array([0.4, 0.9]), np.array([0.3, 0.5]))
    assert threshold == pytest.approx(0.7)
    assert rates == [0, 0.5]
    threshold, *rates = choose_threshold(np.array([0.9]), np.array([-0.2]))
    assert threshold == pytest.approx(0.35) and rates == [0, 0]


def test_similarities_rounded_beyond_one_leave_a_threshold_that_can_be():
    threshold, *rates = choose_threshold(np.array([1.0000001]), np.array([0.5]))
    assert threshold == pytest.approx(0.75) and rates == [0, 0]


# The file.

GOOD = Calibration(0.7, 0.1, 0.2, 10, 100, "toy", "f")


def test_a_file_gives_back_what_was_saved(tmp_path):
    path = threshold_path(tmp_path / "model_0001.final.pth")
    assert path.name == "model_0001.final.threshold.json"
    GOOD.save(path)
    assert Calibration.load(path) == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, r"threshold: got 1\.5, expected -1\.\.1"),
        ({"threshold": float("nan")}, "threshold: got nan"),
        ({"threshold": "0.7"}, "threshold: got '0.7', expected a number"),
        ({"miss_rate": -0.1}, r"miss_rate: got -0\.1, expected 0\.\.1"),
        ({"num_queries": 0}, "num_queries: got 0, expected a whole number from 1 on"),
        ({"fingerprint": None}, "fingerprint: got None, expected text"),
        ({"color": 1}, r"has the unknown color"),
    ],
)
def test_files_that_are_no_calibration_are_refused(tmp_path, change, message):
    GOOD.save(tmp_path / "x.threshold.json")
    content = json.loads((tmp_path / "x.threshold.json").read_text())
    (tmp_path / "x.threshold.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=message) as caught:
        Calibration.load(tmp_path / "x.threshold.json")
    assert "x.threshold.json is no calibration" in str(caught.value)


def test_broken_and_missing_files_are_named(tmp_path):
    path = tmp_path / "x.threshold.json"
    with pytest.raises(FileNotFoundError, match=r"no calibration .*person-search calibrate"):
        Calibration.load(path)
    for text in ("{", "[]", '{"threshold": 0.5}', "\x80"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"x\.threshold\.json is no calibration"):
            Calibration.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"x\.threshold\.json is no calibration"):
        Calibration.load(path)


# A data set.

BASE = CONFIGS / "Base-Slim-FPN.yaml"
# Annotated boxes instead of an untrained detector's.
OVERRIDES = [*overrides_of(TINY_FPN), "TEST.SEARCH.USE_GT_BOXES", "True"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"model": build_model(load_config(str(BASE), OVERRIDES)).state_dict()}, path)
    return path


@pytest.fixture
def root(tmp_path):
    """A folder for data sets; other tests find the usual one registered again."""
    yield tmp_path
    register_all()


def test_a_data_set_is_run_and_the_file_lies_where_the_finder_looks(weights, root):
    make_cuhk_sysu(root / "drawn-cuhk")
    options = {"device": "cpu", "overrides": OVERRIDES}
    got = calibrate_on_dataset(BASE, weights, "drawn_cuhk_test", root, **options)
    assert Calibration.load(threshold_path(weights)) == got
    # Three queries with galleries of 2, 3 and 2 frames; the third one's person is in none of them
    # but in the query's own frame, which is listed.
    assert got.dataset == "drawn_cuhk_test"
    assert got.num_queries == 3 and got.gallery_size == 2
    finder = PersonFinder.from_config(BASE, weights, **options)
    assert finder.fingerprint == got.fingerprint
    assert finder.threshold == got.threshold
    elsewhere = root / "elsewhere.json"
    assert calibrate_on_dataset(
        BASE, weights, "drawn_cuhk_test", root, elsewhere, **options
    ) == Calibration.load(elsewhere)


def test_a_model_by_name_is_run_over_the_set_s_frames(tmp_path, monkeypatch, capsys):
    """As one of two steps, or an export: the finder alone is asked."""
    protocol, predictions = hand_computed_world()
    name = "toy_calibration_test"
    DatasetCatalog.register(name, lambda: [{"file_name": str(tmp_path / "frames" / "a.jpg")}])
    MetadataCatalog.get(name).set(load_protocol=lambda: protocol)
    finder = SimpleNamespace(min_score=0.5, fingerprint="two steps")
    asked = []
    monkeypatch.setattr(calibration, "predict", lambda *x: asked.append(x[:3]) or predictions)
    monkeypatch.setattr(PersonFinder, "load", lambda file, device: finder)
    model = tmp_path / "model.json"
    model.touch()
    try:
        assert main(["calibrate", "--model", str(model), "--dataset", name]) == 0
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert asked == [(finder, protocol, tmp_path / "frames")]
    written = Calibration.load(threshold_path(model))
    assert written.threshold == pytest.approx(0.75) and written.fingerprint == "two steps"
    assert "threshold 0.750" in capsys.readouterr().out
    assert main(["calibrate", "--dataset", name]) == 2
    assert "name the model: --model, or" in capsys.readouterr().err


def test_an_unknown_test_set_is_refused_with_the_known_ones(weights, root):
    with pytest.raises(ValueError, match=r"no test set 'drawn_cuhk_train'; .*drawn_cuhk_test"):
        calibrate_on_dataset(BASE, weights, "drawn_cuhk_train", root, overrides=OVERRIDES)
    with pytest.raises(FileNotFoundError, match=r"drawn-cuhk"):
        calibrate_on_dataset(BASE, weights, "drawn_cuhk_test", root, overrides=OVERRIDES)
    assert not list(root.iterdir())
