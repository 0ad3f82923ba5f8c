"""A few drawn pictures, where a model needs something to look at and no data set is there."""

import numpy as np

from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS


def draw_sample_pictures() -> list[np.ndarray]:
    """Return drawn pictures, RGB uint8 (H, W, 3): wide, upright, and one with nobody in it."""
    world = World(PRESETS["tiny-cuhk"])
    first, second = (world.draw(number).image[:, :, ::-1] for number in (0, 1))
    upright = second[:, : second.shape[1] // 3]
    nobody = np.full((120, 200, 3), 128, np.uint8)
    return [np.ascontiguousarray(picture) for picture in (first, upright, nobody)]
