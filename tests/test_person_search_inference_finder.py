import logging
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CONFIGS, TINY_FPN, draw_scene, overrides_of
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from helpers_shipped import CHECKPOINT
from PIL import Image

from person_search.config import load_config
from person_search.data.mapper import PersonSearchMapper
from person_search.inference.finder import PersonFinder
from person_search.inference.fingerprint import _deciding_settings, fingerprint_of
from person_search.inference.network import InputSettings
from person_search.inference.threshold_file import Calibration, threshold_path
from person_search.inference.torch_network import TorchNetwork, load_trained_model
from person_search.people import People
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

BASE = CONFIGS / "Base-Slim-FPN.yaml"
TINY = [
    *overrides_of(TINY_FPN),
    *("INPUT.MIN_SIZE_TEST", "80", "INPUT.MAX_SIZE_TEST", "150"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of the tiny model, untrained, whose detector sees people everywhere."""
    cfg = load_tiny_cfg()
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"model": build_model(cfg).state_dict()}, path)
    return path


def load_tiny_cfg(*overrides):
    return load_config(str(BASE), [*TINY, *overrides])


def load_tiny(weights, *overrides, **options):
    finder = PersonFinder.from_config(BASE, weights, overrides=[*TINY, *overrides], **options)
    # Untrained, it sees a crowd everywhere, and one of the pictures is a panorama.
    finder.parts = False
    return finder


@pytest.fixture(scope="module")
def finder(weights):
    return load_tiny(weights, device="cpu", min_score=0.0)


def run_evaluation_pipeline(weights, frames, *overrides):
    """What the benchmark's own mapper and model give for dataset dicts."""
    cfg, model = load_trained_model(BASE, weights, [*TINY, *overrides])
    mapper = PersonSearchMapper(cfg, False)
    with torch.no_grad():
        return [model([mapper(frame)])[0] for frame in frames]


def assert_same_people(people, instances):
    np.testing.assert_allclose(people.boxes, instances.pred_boxes.tensor.numpy(), atol=1e-3)
    np.testing.assert_allclose(people.scores, instances.scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(people.embeddings, instances.embeddings.numpy(), atol=1e-5)


@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_people_are_those_of_the_evaluation_pipeline(weights, write_frames, image_format):
    """Also where a batch mixes pictures: wider, narrower, smaller and upright ones."""
    sizes = [(96, 160), (160, 96), (60, 81), (96, 160), (50, 300)]
    frames = write_frames([[0, 1], [2], [3], [1, 2, 3], [0]], size=sizes)
    overrides = ("INPUT.FORMAT", image_format)
    expected = run_evaluation_pipeline(weights, frames, *overrides)
    finder = load_tiny(weights, *overrides, device="cpu", min_score=0.0)
    found = finder.find([frame["file_name"] for frame in frames], batch_size=4)
    assert len(found) == len(frames)
    for people, output in zip(found, expected, strict=True):
        assert len(people) > 0
        assert people.boxes.dtype == people.scores.dtype == people.embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(people.embeddings, axis=1), 1, atol=1e-6)
        assert_same_people(people, output["instances"])


def test_an_embedding_is_that_of_a_query_of_the_protocol(weights, finder, write_frames):
    (frame,) = write_frames([[0, 1, 2]])
    boxes = [a["bbox"] for a in frame["annotations"]]
    frame["queries"] = [{"bbox": box, "query_id": 7 - k} for k, box in enumerate(boxes)]
    ((output),) = run_evaluation_pipeline(weights, [frame])
    got = finder.embed(frame["file_name"], boxes)
    np.testing.assert_allclose(got, output["queries"].embeddings.numpy(), atol=1e-5)
    np.testing.assert_allclose(finder.embed(frame["file_name"], boxes[1]), got[1:2], atol=1e-5)


def test_embedding_what_was_found_gives_what_was_found(finder):
    image, _ = draw_scene([0, 1, 2])
    (people,) = finder.find([image])
    np.testing.assert_allclose(finder.embed(image, people.boxes), people.embeddings, atol=1e-3)


def test_a_file_an_array_and_a_pillow_image_give_the_same(finder, tmp_path):
    image, _ = draw_scene([0, 1])
    Image.fromarray(image).save(tmp_path / "frame.png")
    sources = [str(tmp_path / "frame.png"), tmp_path / "frame.png", image, Image.fromarray(image)]
    first, *others = finder.find(sources, batch_size=1)
    for people in others:
        np.testing.assert_array_equal(people.boxes, first.boxes)
        np.testing.assert_array_equal(people.embeddings, first.embeddings)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (900, 2, 3)])
def test_slivers_of_pictures_do_not_fail(finder, shape):
    (people,) = finder.find([np.full(shape, 128, np.uint8)])
    assert people.embeddings.shape == (len(people), finder.embedding_dim)


def test_boxes_lie_in_the_picture(finder):
    image, _ = draw_scene([0, 1, 2, 3], size=(70, 133))
    (people,) = finder.find([image])
    assert (people.boxes >= 0).all()
    assert (people.boxes[:, 2:] > people.boxes[:, :2]).all()
    assert (people.boxes[:, [0, 2]] <= 133).all() and (people.boxes[:, [1, 3]] <= 70).all()


def test_only_people_of_the_least_score_are_returned(weights, finder):
    image, _ = draw_scene([0, 1, 2])
    (everybody,) = finder.find([image])
    least = float(np.median(everybody.scores))
    (some,) = load_tiny(weights, device="cpu", min_score=least).find([image])
    assert 0 < len(some) < len(everybody)
    np.testing.assert_array_equal(some.boxes, everybody.boxes[everybody.scores >= least])


def test_the_least_score_is_the_protocols_unless_given(weights):
    assert load_tiny(weights, "TEST.SEARCH.SCORE_THRESHOLD", "0.25", device="cpu").min_score == 0.25
    with pytest.raises(ValueError, match=r"min_score is 1\.5; expected 0\.\.1"):
        load_tiny(weights, device="cpu", min_score=1.5)


@pytest.mark.parametrize("where", ["model", "finder"])
def test_an_image_with_nobody_has_no_rows(weights, where):
    overrides = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.999") if where == "model" else ()
    finder = load_tiny(weights, *overrides, device="cpu", min_score=1.0)
    (people,) = finder.find([np.zeros((40, 60, 3), np.uint8)])
    assert len(people) == 0
    assert people.boxes.shape == (0, 4) and people.scores.shape == (0,)
    assert people.embeddings.shape == (0, 16) and people.embeddings.dtype == np.float32


def test_nothing_asked_is_nothing_found(finder):
    assert finder.find([]) == []
    assert finder.embed(np.zeros((40, 60, 3), np.uint8), np.zeros((0, 4))).shape == (0, 16)


def test_a_box_partly_outside_is_clipped(finder):
    image, _ = draw_scene([0, 1])
    got = finder.embed(image, (-20, 10, 30, 500))
    np.testing.assert_array_equal(got, finder.embed(image, (0, 10, 30, 96)))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((200, 10, 250, 60), "outside the picture.*160 x 96 pixels"),
        ((-40, 10, -5, 60), "outside the picture"),
        ((10, -90, 40, 0.5), "less than a pixel of it is inside"),
        ((30, 10, 30, 60), "has no area; expected .* x1 < x2"),
        ((30, 60, 50, 10), "has no area"),
        ((10, 10, float("nan"), 60), "nan.* as a box; expected four numbers"),
        ((1, 2, 3), r"shape \(3,\); expected \(N, 4\)"),
        ([[1, 2, 3, 4, 5]], r"shape \(1, 5\)"),
    ],
)
def test_boxes_that_cannot_be_embedded_are_refused(finder, box, message):
    with pytest.raises(ValueError, match=message):
        finder.embed(np.zeros((96, 160, 3), np.uint8), box)


def test_one_picture_instead_of_a_list_is_refused(finder):
    for single in ("frame.jpg", Path("frame.jpg"), np.zeros((9, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match=re.escape("find([picture])")):
            finder.find(single)
    with pytest.raises(ValueError, match="batch_size is 0"):
        finder.find([np.zeros((9, 9, 3), np.uint8)], batch_size=0)


def test_half_precision_needs_a_gpu(weights):
    with pytest.raises(ValueError, match="half precision was asked for on cpu; it needs a GPU"):
        load_tiny(weights, device="cpu", half=True)
    assert not load_tiny(weights, device="cpu").network.half


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_in_full_and_nearly_in_half_precision(weights, finder):
    image, boxes = draw_scene([0, 1, 2])
    expected = finder.embed(image, boxes)
    full, half = (load_tiny(weights, device="cuda", half=half) for half in (False, None))
    assert half.network.half and half.fingerprint == full.fingerprint == finder.fingerprint
    assert ((full.embed(image, boxes) * expected).sum(axis=1) > 0.9999).all()
    assert ((half.embed(image, boxes) * expected).sum(axis=1) > 0.99).all()


@pytest.mark.parametrize("device", ["abacus", "cuda:99", "meta"])
def test_unknown_devices_are_refused(weights, device):
    with pytest.raises(ValueError, match=device):
        load_tiny(weights, device=device)


def test_models_that_do_not_fit_are_refused(weights, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint of another model.*that it was trained with"):
        load_tiny(weights, "MODEL.REID_HEAD.EMBEDDING_DIM", "8")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*gone\.pth"):
        load_tiny(tmp_path / "gone.pth")
    with pytest.raises(FileNotFoundError, match=r"no config file gone\.yaml"):
        PersonFinder.from_config("gone.yaml", weights)
    with pytest.raises(ValueError, match="describes a GeneralizedRCNN"):
        load_tiny(weights, "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
    with pytest.raises(ValueError, match=r"INPUT\.FORMAT is 'L'"):
        load_tiny(weights, "INPUT.FORMAT", "L", device="cpu")


def test_embeddings_that_are_not_numbers_are_an_error(weights, tmp_path):
    state = torch.load(weights, weights_only=True)["model"]
    name = next(k for k in state if k.startswith("roi_heads.identity_branch.head"))
    state[name] = torch.full_like(state[name], float("nan"))
    torch.save({"model": state}, tmp_path / "nan.pth")
    finder = load_tiny(tmp_path / "nan.pth", device="cpu", min_score=0.0)
    image, boxes = draw_scene([0, 1])
    with pytest.raises(ValueError, match=r"norm nan.*training has diverged"):
        finder.find([image])
    with pytest.raises(ValueError, match="norm nan"):
        finder.embed(image, boxes)


# The fingerprint.


def test_the_fingerprint_is_of_the_model_and_not_of_where_it_lies(weights, finder, tmp_path):
    assert re.fullmatch("[0-9a-f]{64}", finder.fingerprint)
    checkpoint = torch.load(weights, weights_only=True)
    # Trained on, the table of identities differs, and it embeds nobody.
    table = next(k for k in checkpoint["model"] if k.startswith("roi_heads.identity_losses."))
    checkpoint["model"][table] += 1
    torch.save({**checkpoint, "iteration": 5}, tmp_path / "copy.pth")
    elsewhere = ["OUTPUT_DIR", "/x", "MODEL.DEVICE", "cuda", "MODEL.WEIGHTS", "y.pth", "SEED", "9"]
    elsewhere += ["MODEL.PERSON_SEARCH.STL.WEIGHTS", "z.pth", "DATALOADER.NUM_WORKERS", "3"]
    copied = load_tiny(tmp_path / "copy.pth", *elsewhere, device="cpu")
    assert copied.fingerprint == finder.fingerprint


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.MIN_SIZE_TEST", 81),
        ("INPUT.FORMAT", "BGR"),
        ("INPUT.RESIZE", "GeneralizedRCNNTransform"),
        ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 1),
        ("MODEL.PIXEL_STD", [1.0, 1.0, 1.0]),
    ],
)
def test_another_config_has_another_fingerprint(key, value):
    state = {"w": torch.ones(2)}
    assert fingerprint_of(load_tiny_cfg(), state) != fingerprint_of(
        load_tiny_cfg(key, value), state
    )


def test_other_weights_have_another_fingerprint():
    cfg = load_tiny_cfg()
    states = [
        {"w": torch.ones(2)},
        {"w": torch.tensor([1.0, 1.0000001])},
        {"w": torch.ones(2, dtype=torch.float64)},
        {"w": torch.ones(1, 2)},
        {"v": torch.ones(2)},
    ]
    assert len({fingerprint_of(cfg, state) for state in states}) == len(states)
    assert fingerprint_of(cfg, {"a": states[0]["w"], "b": states[2]["w"]}) == fingerprint_of(
        cfg, {"b": states[2]["w"], "a": states[0]["w"]}
    )


def test_a_new_key_leaves_old_fingerprints_as_they_are():
    """A later version's key, at its default, must not make every gallery unreadable."""
    cfg, old = load_tiny_cfg(), load_tiny_cfg()
    del old.MODEL.PERSON_SEARCH["SEQUENTIAL"]
    assert _deciding_settings(cfg) == _deciding_settings(old)


# Resizing.


def test_resizing_is_detectron2s():
    rng = np.random.default_rng(0)
    for min_size, max_size in [(270, 480), (80, 150), (500, 700), (0, 100)]:
        settings = InputSettings(min_size, max_size, "RGB")
        reference = ResizeShortestEdge([min_size, min_size], max_size, "choice")
        for height, width in rng.integers(8, 200, (8, 2)).tolist():
            image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            expected = reference.get_transform(image).apply_image(image)
            np.testing.assert_array_equal(settings.prepare(image), expected)


def test_resizing_orders_channels_and_leaves_the_picture_alone():
    image = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    kept = image.copy()
    prepared = InputSettings(0, 100, "BGR").prepare(image)
    np.testing.assert_array_equal(prepared, image[:, :, ::-1])
    np.testing.assert_array_equal(image, kept)


# Threads, the threshold, the model that comes with the code.


class SlowNetwork:
    """Notices a second caller; finds one person whose embedding says how bright the picture is."""

    fingerprint, embedding_dim, min_score, max_callers = "f", 2, 0.5, 1
    settings = InputSettings(0, 100, "RGB")

    def __init__(self):
        self.callers, self.most_callers, self.batches = 0, 0, []

    def run(self, images, boxes=None):
        self.callers += 1
        self.most_callers = max(self.most_callers, self.callers)
        time.sleep(0.005)
        self.batches.append([image.shape[:2] for image in images])
        self.callers -= 1
        angle = [float(image[0, 0, 0]) / 100 for image in images]
        one = np.ones((1, 4), np.float32) * np.array([0, 0, 1, 1], np.float32)
        return [People(one, np.ones(1), np.array([[np.cos(a), np.sin(a)]])) for a in angle]


def test_threads_take_turns_and_get_their_own_people():
    network = SlowNetwork()
    finder = PersonFinder(network)
    wrong = []

    def ask(number):
        image = np.full((4, 4, 3), number, np.uint8)
        (people,) = finder.find([image])
        row = finder.embed(image, (0, 0, 2, 2))[0]
        for embedding in (people.embeddings[0], row):
            if abs(np.arctan2(embedding[1], embedding[0]) - number / 100) > 1e-5:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert network.most_callers == 1


def test_as_many_threads_as_the_network_allows_are_inside_it_at_once():
    network = SlowNetwork()
    network.max_callers = 2
    finder = PersonFinder(network)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(finder.find, [[np.zeros((4, 4, 3), np.uint8)]] * 12))
    assert network.most_callers == 2


def test_a_network_that_nobody_may_call_is_refused():
    """With max_callers=0 the first search waited for ever."""
    network = SlowNetwork()
    network.max_callers = 0
    with pytest.raises(ValueError, match="max_callers is 0; expected 1 or more"):
        PersonFinder(network)


def test_a_batch_holds_pictures_of_one_size_and_the_order_stays():
    network = SlowNetwork()
    images = [np.full((4, 4 + n % 2, 3), n, np.uint8) for n in range(5)]
    found = PersonFinder(network).find(images, batch_size=4)
    assert network.batches == [[(4, 4), (4, 4)], [(4, 5), (4, 5)], [(4, 4)]]
    angles = [np.arctan2(p.embeddings[0, 1], p.embeddings[0, 0]) * 100 for p in found]
    np.testing.assert_allclose(angles, range(5), atol=1e-4)


def make_calibration(fingerprint):
    return Calibration(0.7, 0.1, 0.2, 10, 100, "toy", fingerprint)


def test_the_threshold_is_read_from_beside_the_weights(weights, finder, tmp_path, caplog):
    assert finder.threshold is None
    copy = tmp_path / "tiny.pth"
    copy.write_bytes(weights.read_bytes())
    make_calibration(finder.fingerprint).save(threshold_path(copy))
    assert load_tiny(copy, device="cpu").threshold == 0.7
    make_calibration("another").save(threshold_path(copy))
    with caplog.at_level(logging.WARNING):
        assert load_tiny(copy, device="cpu").threshold is None
    assert "tiny.threshold.json was made with another model" in caplog.text
    threshold_path(copy).write_text("{")
    with pytest.raises(ValueError, match=r"tiny\.threshold\.json is no calibration"):
        load_tiny(copy, device="cpu")


def test_the_shipped_model_equals_the_evaluation_pipeline_and_is_calibrated(tmp_path):
    shipped = CHECKPOINT[1]
    cfg, model = load_trained_model(*CHECKPOINT)
    frames = write_drawn_frames(tmp_path)
    mapper = PersonSearchMapper(cfg, False)
    with torch.no_grad():
        expected = [model([mapper(frame)])[0] for frame in frames]
    # The model is the same object: loading it twice would double the test's time.
    finder = PersonFinder(TorchNetwork(cfg, model, device="cpu"))
    found = finder.find([frame["file_name"] for frame in frames])
    assert sum(len(people) for people in found) > 0
    for frame, people, output in zip(frames, found, expected, strict=True):
        searched = output["instances"][output["instances"].scores >= 0.5]
        assert_same_people(people, searched)
        got = finder.embed(frame["file_name"], [query["bbox"] for query in frame["queries"]])
        np.testing.assert_allclose(got, output["queries"].embeddings.numpy(), atol=1e-5)
    calibration = Calibration.load(threshold_path(shipped))
    assert calibration.fingerprint == finder.fingerprint, (
        "the shipped threshold is of another model: run `person-search calibrate`"
    )


def write_drawn_frames(folder, count=2):
    """Test frames of the drawn world as dataset dicts, everybody in them a query."""
    world = World(PRESETS["drawn-cuhk"])
    frames = []
    for number in range(len(world.plans) - count, len(world.plans)):
        drawn = world.draw(number)
        height, width = drawn.image.shape[:2]
        path = folder / f"{number}.jpg"
        Image.fromarray(drawn.image[:, :, ::-1]).save(path, quality=95)
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (p.box for p in drawn.people)]
        queries = [{"bbox": box, "query_id": k} for k, box in enumerate(boxes)]
        frames.append(
            {"file_name": str(path), "height": height, "width": width, "queries": queries}
        )
    return frames


def test_asking_needs_no_model_until_one_is_loaded():
    """`person-search --help` and the galleries' own commands stay quick."""
    code = "import sys, person_search.inference.finder; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
