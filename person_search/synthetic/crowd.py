"""Crowds: so many people in one picture that a model's limits cut some off."""

import dataclasses
import math

from person_search.synthetic.places.camera import make_camera
from person_search.synthetic.places.scene import Scene, build_scene
from person_search.synthetic.world import DrawnFrame, FramePlan, World
from person_search.synthetic.world_spec import WorldSpec

_FAR_END = 0.2
"""Row of the feet of the farthest people on a square, as a share of the picture's height."""


class _Square(World):
    """A world seen from above: its people are spread over most of the picture."""

    def _build_scene(self, index: int) -> Scene:
        low, high = self.spec.height_range_px
        far = _FAR_END * self.spec.height
        growth = (high - low) / (self.spec.height - far)
        camera = make_camera(self.spec, index)
        camera = dataclasses.replace(camera, growth=growth, horizon=far - low / growth)
        return build_scene(self.spec, index, camera)


def draw_crowd(
    width: int, height: int, people: int = 200, *, is_from_above: bool = False, seed: int = 12
) -> DrawnFrame:
    """Draw a picture with many people, of each of whom half the pixels are visible at least.

    Args:
        width: of the picture, pixels.
        height: likewise.
        people: how many are put into it; some may find no room.
        is_from_above: on a square, 60 to 160 pixels high; else as other drawn cameras see them, 50
            to 250 pixels high, which hides more of them in pictures that are not wide.
        seed: of everything.
    """
    heights = (60.0, 160.0) if is_from_above else (50.0, 250.0)
    spec = WorldSpec(
        name="crowd", seed=seed, width=width, height=height, train_identities=people,
        test_identities=1, median_height_px=math.sqrt(heights[0] * heights[1]),
        height_range_px=heights, height_spread=0.3, min_visible=0.5, occlusion=0.0, clutter=0.0,
    )  # fmt: skip
    kind = _Square if is_from_above else World
    return kind(spec, [FramePlan(0, "train", 0, tuple(range(people)))]).draw(0)
