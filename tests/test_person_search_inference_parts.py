"""Pictures in parts: which are cut, how, and that everybody is found once."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from person_search.inference.finder import PersonFinder
from person_search.inference.join_parts import join_views
from person_search.inference.models import builtin_model
from person_search.inference.network import InputSettings, Limits
from person_search.inference.parts import MAX_PARTS, Parts, best_views, plan_parts
from person_search.inference.sight import Sight
from person_search.inference.suppression import suppress
from person_search.inference.two_step import TwoStepNetwork
from person_search.people import People, paired_iou
from person_search.synthetic.crowd import draw_crowd
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

PUBLISHED, DRAWN = InputSettings(900, 1500, "RGB").sight, InputSettings(270, 480, "RGB").sight
NANODET = Sight(416, 416, 24)
YOLO = Sight(640, 640, 24)


@pytest.mark.parametrize("sight", [PUBLISHED, DRAWN])
@pytest.mark.parametrize(
    "size",
    [
        *[(540, 960), (1080, 1920), (576, 720), (600, 800), (2160, 3840), (4000, 6000)],
        # Upright, cinema, small and wide, a crop.
        *[(1920, 1080), (800, 600), (1600, 3840), (40, 200), (128, 64)],
    ],
)
def test_ordinary_pictures_are_not_cut_for_models_of_one_step(sight, size):
    """The data sets' protocols are published without parts."""
    assert plan_parts(sight, *size) is None


@pytest.mark.parametrize(
    ("sight", "size", "rows", "columns"),
    [
        # Of 540 x 1080, every 810: people of a sixteenth, 34 pixels, become 15.
        (DRAWN, (540, 7680), 1, 10),
        # Of 540 x 1500, every 1125: pixels stay as they are.
        (PUBLISHED, (540, 7680), 1, 7),
        # Of 2880 x 5120, every 2160 and 3840: people of 160 pixels become 15.
        (DRAWN, (9000, 11000), 4, 3),
        # Of 780 x 780, every 585; 1080 x 1200, every 900; 416 x 416, every 312.
        (NANODET, (1080, 1920), 2, 3),
        (YOLO, (1080, 1920), 1, 2),
        (NANODET, (480, 640), 2, 2),
    ],
)
def test_pictures_whose_people_would_be_too_small_are_cut(sight, size, rows, columns):
    parts = plan_parts(sight, *size)
    assert (len(parts.tops), len(parts.lefts)) == (rows, columns)
    whole, *views = parts.boxes.tolist()
    assert whole == [0, 0, size[1], size[0]]
    # People are seen larger in the parts, or the model would enlarge pixels.
    height, width = views[0][3] - views[0][1], views[0][2] - views[0][0]
    assert sight.scale(height, width) >= min(1.3 * sight.scale(*size), 1)


def test_the_switch_goes_before():
    assert plan_parts(DRAWN, 540, 7680, wanted=False) is None
    parts = plan_parts(DRAWN, 540, 960, wanted=True)
    assert (parts.part_height, parts.part_width) == (270, 480)
    assert plan_parts(None, 540, 7680, wanted=True) is None
    # Slivers and mistakes do not take hours.
    parts = plan_parts(NANODET, 100, 1_000_000)
    assert len(parts.boxes) <= MAX_PARTS + 1


@pytest.mark.parametrize("size", [(1080, 1920), (540, 7680), (3000, 1000)])
def test_who_is_smaller_than_the_overlap_is_whole_in_a_part(size):
    parts = plan_parts(NANODET, *size)
    height, width = 0.24 * parts.part_height, 0.24 * parts.part_width
    rng = np.random.default_rng(0)
    corners = rng.random((500, 2)) * (size[1] - width, size[0] - height)
    boxes = np.concatenate([corners, corners + np.array([width, height])], axis=1)
    views = parts.boxes[best_views(parts, boxes)]
    assert (best_views(parts, boxes) > 0).all()
    assert (views[:, :2] <= boxes[:, :2]).all() and (views[:, 2:] >= boxes[:, 2:]).all()
    assert (best_views(parts, np.array([[1, 1, size[1] - 1, size[0] - 1]])) == 0).all()


# Two parts of 100 x 100 pixels that share 20 of 180: views 1 (0 to 100) and 2 (80 to 180).
PAIR = Parts(100, 180, 100, 100, (0,), (0, 80))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Small enough for a part to show them whole and larger, which finds nobody there.
        ([(30, 10, 45, 60, 0.9, 0)], []),
        ([(30, 10, 45, 60, 0.9, 0), (31, 10, 45, 60, 0.5, 1)], [0]),
        # A person in the overlap, seen by all: the best is kept.
        ([(82, 10, 98, 60, 0.5, 0), (82, 10, 98, 60, 0.7, 1), (83, 10, 99, 61, 0.9, 2)], [2]),
        # Cut by the first part's border, whole in the second, even with a lower score.
        ([(88, 10, 100, 60, 0.9, 1), (88, 10, 118, 60, 0.6, 2)], [1]),
        # The second shows it, and finds nobody there.
        ([(88, 10, 100, 60, 0.9, 1)], []),
        # Wider than the overlap: a piece of who is found in the whole.
        ([(60, 10, 100, 95, 0.9, 1), (80, 10, 130, 95, 0.8, 2), (60, 8, 130, 96, 0.5, 0)], [2]),
        # Nobody else found them: better cut than lost.
        ([(60, 10, 100, 95, 0.9, 1)], [0]),
        # At the picture's own border nobody is cut.
        ([(0, 0, 12, 60, 0.6, 1), (170, 40, 180, 100, 0.7, 2)], [1, 0]),
        # Legs that a part takes for a person, of one whom it does not show whole.
        ([(60, 5, 140, 95, 0.6, 0), (65, 50, 95, 94, 0.9, 1)], [0]),
        # A child before somebody whom the part shows whole.
        ([(20, 5, 70, 95, 0.6, 0), (30, 50, 50, 94, 0.9, 1)], [1, 0]),
        # Two in one view, as near as the model's own suppression allows.
        ([(10, 10, 40, 90, 0.8, 1), (18, 10, 48, 90, 0.7, 1)], [0, 1]),
        ([], []),
    ],
)
def test_each_person_is_kept_once(found, expected):
    rows = np.array(found, np.float32).reshape(-1, 6)
    kept = join_views(PAIR, rows[:, :4], rows[:, 4], rows[:, 5].astype(int))
    assert kept.tolist() == expected


def test_suppression_is_greedy_and_leaves_groups_alone():
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10], [40, 0, 50, 10]])
    scores = np.array([0.9, 0.8, 0.7, 0.9])
    # Neighbours overlap by 6 / 14 = 0.43, the first and third by 2 / 18.
    assert suppress(boxes, scores, 0.4).tolist() == [0, 3, 2]
    assert suppress(boxes, scores, 0.5).tolist() == [0, 3, 1, 2]
    assert suppress(boxes, scores, 0.4, np.array([1, 1, 2, 2])).tolist() == [0, 3, 1]
    assert suppress(boxes[:0], scores[:0], 0.4).tolist() == []


class DotNetwork:
    """One step: finds white upright dots that are at least 5 pixels high as it sees them.

    The embedding is how high and how wide it saw the dot.
    """

    fingerprint, embedding_dim, min_score, max_callers = "dots", 2, 0.5, 1
    settings = InputSettings(54, 96, "RGB")

    def __init__(self):
        self.shapes = []

    def run(self, images, boxes=None):
        self.shapes += [image.shape[:2] for image in images]
        known = [self._find(x) for x in images] if boxes is None else boxes
        return [self._embed(x) for x in known]

    def _find(self, image):
        bright = image[:, :, 0] > 128
        columns = np.flatnonzero(bright.any(axis=0))
        runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []
        boxes = []
        for run in runs:
            rows = np.flatnonzero(bright[:, run[0] : run[-1] + 1].any(axis=1))
            if len(rows) >= 5:
                boxes.append([run[0], rows[0], run[-1] + 1, rows[-1] + 1])
        return np.array(boxes, np.float32).reshape(-1, 4)

    def _embed(self, boxes):
        sizes = boxes[:, 2:] - boxes[:, :2]
        unit = sizes / np.linalg.norm(sizes, axis=1, keepdims=True)
        return People(boxes, np.full(len(boxes), 0.9, np.float32), unit)


def draw_dots(size, lefts, dot=(16, 8), top=30):
    image = np.zeros((*size, 3), np.uint8)
    for left in lefts:
        image[top : top + dot[0], left : left + dot[1]] = 255
    return image


def test_people_of_a_panorama_are_found_in_its_parts():
    network = DotNetwork()
    finder = PersonFinder(network)
    lefts = [5, 200, 322, 500, 740, 1000, 1180]
    panorama = draw_dots((108, 1200), lefts)
    (nobody,) = finder.find([panorama], parts=False)
    assert len(nobody) == 0
    (people,) = finder.find([panorama])
    expected = [[left, 30, left + 8, 46] for left in lefts]
    np.testing.assert_allclose(people.from_left_to_right().boxes, expected, atol=1.5)
    # Embedded as in a part, not as in the whole, where the dot would be nothing.
    rows = finder.embed(panorama, people.boxes)
    np.testing.assert_allclose(rows, people.embeddings, atol=0.05)


def test_the_near_and_the_far_are_found_in_one_picture():
    """Who is cut by parts is found in the whole; what parts show of them is left out."""
    image = draw_dots((108, 1200), [1000, 1100], dot=(16, 8))
    image[0:108, 200:700] = 255
    (people,) = PersonFinder(DotNetwork()).find([image])
    boxes = people.from_left_to_right().boxes
    np.testing.assert_allclose(
        boxes, [[200, 0, 700, 108], [1000, 30, 1008, 46], [1100, 30, 1108, 46]], atol=13
    )


def test_ordinary_pictures_go_through_the_model_as_ever():
    """Neither beside a panorama in one call nor alone does anything change for them."""
    network = DotNetwork()
    finder = PersonFinder(network, parts=None)
    frames = [draw_dots((108, 192), [20, 60]), draw_dots((108, 192), [100])]
    alone = finder.find(frames)
    assert network.shapes == [(54, 96)] * 2
    together = finder.find([frames[0], draw_dots((108, 1200), [50]), frames[1]])
    for one, other in zip(alone, [together[0], together[2]], strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert len(together[1]) == 1
    network.shapes.clear()
    PersonFinder(network, parts=True).find(frames[:1])
    assert network.shapes == [(54, 96)] * 10, "the whole, and three rows of three parts"


class LimitedNetwork(DotNetwork):
    """Finds five at once."""

    limits = Limits(proposals=100, detections=5)

    def run(self, images, boxes=None):
        most = None if boxes is not None else self.limits.detections
        return [
            people.select(np.arange(len(people))[:most]) for people in super().run(images, boxes)
        ]


def test_a_crowd_is_searched_in_parts_and_the_limit_said_once(caplog):
    crowd = draw_dots((108, 192), range(4, 184, 18))
    few = draw_dots((108, 192), range(4, 60, 18))
    finder = PersonFinder(LimitedNetwork())
    found = finder.find([few, crowd, crowd])
    assert [len(people) for people in found] == [4, 10, 10]
    (record,) = caplog.records
    assert "5 people, as many as TEST.DETECTIONS_PER_IMAGE 5 allows; such" in record.message
    caplog.clear()
    uncut = PersonFinder(LimitedNetwork(), parts=False)
    assert [len(people) for people in uncut.find([crowd, crowd])] == [5, 5]
    (record,) = caplog.records
    assert "it was not searched in parts" in record.message


class RaisedNetwork(LimitedNetwork):
    """Finds ten at once when it is asked to."""

    def __init__(self):
        super().__init__()
        self.raised = 0

    def run_crowd(self, images):
        self.raised += len(images)
        return [
            people.select(np.arange(len(people))[:15]) for people in DotNetwork.run(self, images)
        ]


def test_a_crowd_is_looked_at_with_raised_limits(caplog):
    network = RaisedNetwork()
    finder = PersonFinder(network)
    # Each part shows more than five.
    crowd = draw_dots((108, 192), range(4, 184, 12))
    (people,) = finder.find([crowd])
    assert len(people) == 15
    assert network.raised > 1
    messages = [record.message for record in caplog.records]
    assert messages[0].endswith("searched with raised limits and in parts as well")
    assert messages[1:] == [
        "a picture shows 15 people, as many as TEST.DETECTIONS_PER_IMAGE 15 allows; the limits are "
        "raised already, so some may be missing"
    ]
    network.raised = 0
    assert len(finder.find([crowd], parts=False)[0]) == 5
    assert network.raised == 0


def test_a_quarter_of_the_proposals_is_a_limit_too():
    limits = Limits(proposals=100, detections=100)
    assert limits.reached_by(24) is None
    assert "25 people, about as many as MODEL.RPN.POST_NMS_TOPK_TEST 100" in limits.reached_by(25)
    assert Limits(300, 300).reached_by(74) is None


class DotDetector:
    """The same as a detector of an input of 96 x 96."""

    fingerprint, min_score, sight = "dots", 0.5, Sight(96, 96, 6)

    def detect(self, image):
        scale = self.sight.scale(*image.shape[:2])
        boxes = DotNetwork()._find(image)
        seen = (boxes[:, 3] - boxes[:, 1]) * scale >= 5
        return boxes[seen], np.full(int(seen.sum()), 0.9, np.float32)


class SizeCropNet:
    fingerprint, embedding_dim = "sizes", 2

    def __init__(self):
        self.crops = []

    def embed(self, crops):
        self.crops += [crop.shape[:2] for crop in crops]
        return np.tile(np.float32([0.6, 0.8]), (len(crops), 1))


def test_two_steps_find_in_parts_and_cut_each_person_once():
    crop_net = SizeCropNet()
    finder = PersonFinder(TwoStepNetwork(DotDetector(), crop_net))
    image = draw_dots((400, 1000), [10, 300, 390, 700, 990])
    (nobody,) = finder.find([image], parts=False)
    assert len(nobody) == 0
    (people,) = finder.find([image])
    expected = [[left, 30, left + 8, 46] for left in (10, 300, 390, 700)] + [[990, 30, 998, 46]]
    np.testing.assert_array_equal(people.from_left_to_right().boxes, expected)
    assert crop_net.crops == [(16, 8)] * 5
    assert len(PersonFinder(finder.network, min_score=0.95).find([image])[0]) == 0


@pytest.mark.slow
def test_the_shipped_model_finds_the_people_of_a_drawn_panorama():
    """Eight frames side by side: 7680 x 540 pixels, of which it saw 480 x 34 and found nobody."""
    world = World(PRESETS["drawn-cuhk"])
    frames = [np.ascontiguousarray(world.draw(i).image[:, :, ::-1]) for i in range(2090, 2098)]
    finder = PersonFinder.load()
    alone = finder.find(frames)
    panorama = np.concatenate(frames, axis=1)
    (whole,) = finder.find([panorama], parts=False)
    (people,) = finder.find([panorama])
    count = sum(len(x) for x in alone)
    assert len(whole) == 0
    assert 0.85 * count <= len(people) <= 1.15 * count


def count_found(boxes, frame):
    true = np.array([(x, y, x + w, y + h) for x, y, w, h in (p.box for p in frame.people)])
    overlaps = paired_iou(boxes[:, None], true[None].astype(float))
    rows, columns = linear_sum_assignment((overlaps < 0.5) - 1e-3 * overlaps)
    return int((overlaps[rows, columns] >= 0.5).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "is_from_above", "as_built", "by_default"),
    [((1920, 1080), True, 141, 161), ((7680, 540), False, 177, 182)],
)
def test_the_shipped_model_finds_a_drawn_crowd(size, is_from_above, as_built, by_default):
    """Of 200 people; the numbers are those of `benchmarks/crowds.py`."""
    frame = draw_crowd(*size, is_from_above=is_from_above)
    assert len(frame.people) == 200
    assert min(person.visible for person in frame.people) >= 0.5
    image = np.ascontiguousarray(frame.image[:, :, ::-1])
    finder = PersonFinder.load(builtin_model())
    (people,) = finder.find([image])
    assert count_found(people.boxes, frame) == pytest.approx(by_default, abs=3)
    finder.network.limits = None
    (people,) = PersonFinder(finder.network).find([image], parts=True)
    assert count_found(people.boxes, frame) == pytest.approx(as_built, abs=3)
