"""Two steps behind the interface of one, with a detector and a crop net that see colours."""

import dataclasses
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers_demo import COLORS, draw_colors
from helpers_onnx import make_constant_detector, make_mean_crop_net

from person_search.inference.crops import embed_person, find_filling
from person_search.inference.detectors import load
from person_search.inference.finder import PersonFinder
from person_search.inference.queries import choose_person
from person_search.inference.sight import Sight
from person_search.inference.two_step import TwoStepNetwork, cut_out, load_two_step

REAL_DATA = Path(os.environ.get("PERSON_SEARCH_REAL_DATA", "nowhere"))
NAMES = ["red", "green", "blue"]


class ColorDetector:
    """Finds upright rectangles of strong colour, in pictures as they are."""

    fingerprint, min_score, sight = "colours", 0.3, None

    def __init__(self, beyond=0.0):
        self.beyond, self.seen = beyond, []

    def detect(self, image):
        self.seen.append(image.shape[:2])
        boxes = []
        for color in COLORS.values():
            rows, columns = np.nonzero((image == color).all(axis=2))
            if len(rows):
                left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
                boxes.append([left - self.beyond, top, right + 1 + self.beyond, bottom + 1])
        boxes = np.array(boxes, np.float32).reshape(-1, 4)
        return boxes, np.linspace(0.9, 0.4, len(boxes), dtype=np.float32)


class MeanCropNet:
    """Embeds the mean colour."""

    fingerprint, embedding_dim = "means", 3

    def __init__(self):
        self.batches = []

    def embed(self, crops):
        self.batches.append([crop.shape[:2] for crop in crops])
        rows = np.array([crop.mean(axis=(0, 1)) for crop in crops], np.float32).reshape(-1, 3)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unit(name):
    return np.array(COLORS[name]) / np.linalg.norm(COLORS[name])


@pytest.fixture
def network():
    return TwoStepNetwork(ColorDetector(), MeanCropNet())


def test_people_of_all_pictures_are_embedded_together(network):
    """Also of pictures of other sizes, and of one without anybody."""
    images = [draw_colors(NAMES), draw_colors([], (40, 50)), draw_colors(["cyan"], (130, 90))]
    found = network.run(images)
    assert [len(people) for people in found] == [3, 0, 1]
    assert len(network.crop_net.batches) == 1
    np.testing.assert_allclose(found[0].embeddings, [unit(n) for n in NAMES], atol=1e-5)
    np.testing.assert_allclose(found[2].embeddings, [unit("cyan")], atol=1e-5)
    assert found[1].boxes.shape == (0, 4) and found[1].embeddings.shape == (0, 3)


def test_given_boxes_are_embedded_as_they_are(network):
    image = draw_colors(NAMES)
    (people,) = network.run([image])
    asked = people.boxes[[2, 0]]
    given, nobody = network.run([image, image], [asked, np.zeros((0, 4), np.float32)])
    np.testing.assert_array_equal(given.boxes, asked)
    np.testing.assert_array_equal(given.scores, [1, 1])
    np.testing.assert_array_equal(given.embeddings, people.embeddings[[2, 0]])
    assert len(nobody) == 0 and nobody.embeddings.shape == (0, 3)
    assert network.detector.seen == [image.shape[:2]], "the detector ran for given boxes"


def test_boxes_beyond_the_picture_are_cut_at_its_border():
    network = TwoStepNetwork(ColorDetector(beyond=70), MeanCropNet())
    (people,) = network.run([draw_colors(["red"], (120, 100))])
    # The rectangle is 24 pixels wide, from 30 on.
    np.testing.assert_array_equal(people.boxes[0, ::2], [0, 100])
    assert network.crop_net.batches[0][0][1] == 100
    finder = PersonFinder(network)
    assert finder.embed(draw_colors(["red"], (120, 100)), [(-50, 10, 54, 300)]).shape == (1, 3)


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((0, 0, 10, 20), (20, 10)),
        ((2.4, 3.6, 7.6, 9.4), (5, 6)),
        ((9.7, 19.9, 10, 20), (1, 1)),
        ((4.2, 4.2, 4.4, 4.4), (1, 1)),
        ((-5, -5, 30, 2.6), (3, 10)),
    ],
)
def test_boxes_are_cut_out_at_the_nearest_pixels(box, shape):
    assert cut_out(np.zeros((20, 10, 3), np.uint8), np.array(box, np.float32)).shape == (*shape, 3)


def test_a_finder_searches_with_two_steps_as_with_one(network):
    finder = PersonFinder(network)
    assert (finder.min_score, finder.threshold) == (0.3, None)
    image = draw_colors(NAMES)
    (people,) = finder.find([image])
    np.testing.assert_allclose(people.embeddings, [unit(n) for n in NAMES], atol=1e-5)
    np.testing.assert_allclose(finder.embed(image, people.boxes), people.embeddings, atol=1e-6)
    (sure,) = PersonFinder(network, min_score=0.6).find([image])
    assert len(sure) == 2


def test_a_person_in_a_crop_is_embedded_without_room(network):
    """A crop net sees who is cut out; room is for models that see the whole picture."""
    finder = PersonFinder(network)
    crop = draw_colors(["red"], (70, 24))[:, :]
    crop[5:, 2:22] = COLORS["red"]
    whole = (0.0, 0.0, 24.0, 70.0)
    np.testing.assert_array_equal(embed_person(finder, crop, whole), finder.embed(crop, [whole])[0])
    assert network.crop_net.batches == [[(70, 24)]] * 2


def test_whom_a_query_means_is_decided_as_with_one_step(network):
    finder = PersonFinder(network)
    crop = np.full((70, 30, 3), 128, np.uint8)
    crop[2:68, 2:28] = COLORS["blue"]
    (person,) = [find_filling(finder, crop)]
    assert len(person) == 1
    np.testing.assert_array_equal(person.boxes, [[0, 0, 30, 70]])
    assert person.embeddings[0] @ unit("blue") > 0.95
    several = choose_person(finder, draw_colors(NAMES))
    assert len(several) == 3
    chosen = choose_person(finder, draw_colors(NAMES), number=2)
    np.testing.assert_allclose(chosen.embeddings, [unit("green")], atol=1e-5)


def test_its_name_is_of_both_parts_and_its_score_the_detector_s():
    class Other(ColorDetector):
        fingerprint, min_score = "others", 0.7

    networks = [TwoStepNetwork(kind(), MeanCropNet()) for kind in (ColorDetector, Other)]
    assert len({network.fingerprint for network in networks}) == 2
    assert [network.min_score for network in networks] == [0.3, 0.7]
    assert TwoStepNetwork(Other(), MeanCropNet(), threshold=0.6).threshold == 0.6


class MeetingDetector(ColorDetector):
    """Waits in `detect` until so many callers are there."""

    def __init__(self, callers):
        super().__init__()
        self.meeting = threading.Barrier(callers, timeout=5)

    def detect(self, image):
        self.meeting.wait()
        return super().detect(image)


@pytest.mark.parametrize("parts", [True, False])
def test_as_many_callers_as_asked_for_are_in_both_steps_at_once(parts):
    """max_callers was passed over for two steps: the second caller waited for the first."""
    network = TwoStepNetwork(MeetingDetector(2), MeanCropNet(), max_callers=2)
    network.settings = dataclasses.replace(network.settings, detector_sight=Sight(60, 60, 24))
    finder, image = PersonFinder(network), draw_colors(NAMES)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: finder.find([image], parts=parts)[0], range(2)))
    assert [len(people) for people in found] == [3, 3]


def test_two_files_become_a_network(tmp_path):
    boxes = {
        "boxes": np.array([[4, 4, 12, 28], [20, 4, 28, 28]], np.float32),
        "scores": np.array([0.9, 0.6], np.float32),
    }
    detector, crop_net = tmp_path / "detector.onnx", tmp_path / "net.onnx"
    detector.write_bytes(make_constant_detector(boxes))
    crop_net.write_bytes(make_mean_crop_net())
    network = load_two_step(detector, crop_net, min_score=0.7, threshold=0.5, max_callers=3)
    assert network.max_callers == 3
    assert (network.min_score, network.threshold, network.embedding_dim) == (0.7, 0.5, 4)
    assert network.settings.sight == Sight(32, 32, 24)
    (people,) = network.run([np.zeros((64, 64, 3), np.uint8)])
    np.testing.assert_array_equal(people.boxes, [[8, 8, 24, 56]])


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="there is no PERSON_SEARCH_REAL_DATA")
def test_public_files_find_real_people_again_without_cards():
    """NanoDet-m and OSNet on two frames of a street; in parts they find more people."""
    files = [REAL_DATA / "models" / x for x in ("nanodet_m.onnx", "osnet_x0_25_msmt17.onnx")]
    finder = PersonFinder(load_two_step(*files, threads=1))
    assert finder.network.detector.card.output == "nanodet"
    frames = sorted((REAL_DATA / "mot17_mini/MOT17-10-FRCNN/img1").glob("*.jpg"))[:2]
    first, second = finder.find(frames)
    (whole,) = finder.find(frames[:1], parts=False)
    assert len(first) > 1.3 * len(whole) > 5
    # 0.03 seconds later most stand where they stood.
    best = (first.embeddings @ second.embeddings.T).argmax(axis=1)
    moved = np.abs(first.boxes - second.boxes[best]).max(axis=1)
    assert (moved < 30).mean() > 0.7


def test_what_pytorch_runs_has_one_caller_and_says_so(tmp_path, monkeypatch, caplog):
    (tmp_path / "net.onnx").write_bytes(make_mean_crop_net())
    monkeypatch.setattr(load, "load_detector", lambda *_, **options: ColorDetector())
    network = load_two_step("torchvision:x", tmp_path / "net.onnx", max_callers=2)
    assert network.max_callers == 1
    assert "torchvision:x runs in PyTorch, for one caller at a time, not 2" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"json holds \[\]; expected an object"),
        ('{"detector": "d.onnx"}', "json lacks crop_net; expected detector, crop_net"),
        ('{"detector": 1, "crop_net": 2}', "expected names of files"),
    ],
)
def test_a_file_of_two_steps_that_names_no_files_is_refused(tmp_path, content, message):
    path = tmp_path / "model.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        PersonFinder.load(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"model\.json is no JSON"):
        PersonFinder.load(path)
