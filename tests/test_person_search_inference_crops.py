import numpy as np
import pytest

from person_search.inference.crops import (
    MAX_HEIGHT,
    embed_person,
    fills_picture,
    find_filling,
    surround,
)
from person_search.inference.finder import PersonFinder
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS


def test_a_picture_lies_unchanged_in_the_middle_of_its_edge_s_colour():
    image = np.random.default_rng(0).integers(0, 255, (120, 60, 3), dtype=np.uint8)
    image[[0, -1]] = image[:, [0, -1]] = (10, 200, 30)
    found = surround(image)
    assert found.image.shape == (360, 640, 3) and (found.left, found.top) == (290, 120)
    np.testing.assert_array_equal(found.image[120:240, 290:350], image)
    outside = np.ones((360, 640), bool)
    outside[120:240, 290:350] = False
    assert (found.image[outside] == (10, 200, 30)).all()


@pytest.mark.parametrize("size", [(120, 60), (60, 500), (4000, 3000), (90, 9000), (1, 1)])
def test_boxes_go_there_and_back_and_large_pictures_are_reduced(size):
    height, width = size
    found = surround(np.zeros((height, width, 3), np.uint8))
    assert found.image.shape[0] <= MAX_HEIGHT and found.image.shape[1] <= 16 / 9 * MAX_HEIGHT + 1
    boxes = np.float32([[0, 0, width, height], [0.25 * width, 0, 0.5 * width, 0.75 * height]])
    inside = found.to_inside(boxes)
    assert inside.min() >= 0 and (inside[:, 2:] <= found.image.shape[1::-1]).all()
    np.testing.assert_allclose(found.to_picture(inside), boxes, rtol=1e-4, atol=1e-3)


def test_half_of_the_picture_fills_it():
    assert fills_picture((0, 0, 50, 100), 100, 100)
    assert not fills_picture((0, 0, 49, 100), 100, 100)
    assert not fills_picture((-60, 0, 40, 100), 100, 100)


def test_a_crop_is_recognised_by_the_shipped_model():
    """Taken as it is a tight crop looked like somebody else: similarity 0.2 to 0.5."""
    finder = PersonFinder.load()
    frame = World(PRESETS["drawn-cuhk"]).draw(2099).image[..., ::-1].copy()
    (people,) = finder.find([frame])
    tall = (people.boxes[:, 3] - people.boxes[:, 1] > 100) & (people.scores > 0.95)
    rows = np.flatnonzero(tall)[:2]
    assert len(rows) == 2
    for row in rows:
        x1, y1, x2, y2 = people.boxes[row].round().astype(int)
        crop = frame[y1:y2, x1:x2].copy()
        whole = (0.0, 0.0, float(crop.shape[1]), float(crop.shape[0]))
        alone = finder.embed(crop, [whole])[0] @ people.embeddings[row]
        with_room = embed_person(finder, crop, whole) @ people.embeddings[row]
        assert with_room > 0.8 and with_room > alone + 0.2
        found = find_filling(finder, crop)
        assert len(found) == 1 and fills_picture(found.boxes[0], *crop.shape[1::-1])
        assert (found.boxes >= 0).all() and (found.boxes[0, 2:] <= crop.shape[1::-1]).all()
        assert found.embeddings[0] @ people.embeddings[row] > 0.8
        # In its frame the person is taken as the finder takes it.
        box = tuple(people.boxes[row].tolist())
        np.testing.assert_array_equal(
            embed_person(finder, frame, box), finder.embed(frame, [box])[0]
        )
    assert find_filling(finder, frame) is None, "nobody fills a panorama"
