"""Walk cycles: each person is painted once for a view and a moment of the stride, then resized."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from person_search.synthetic.canvas import Light, Sprite
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import Pose

_MASTERS = (48, 96, 192, 384)
"""Body heights that are painted, pixels; each serves those down to half of it."""
_FAINT = 40
"""As in ``canvas``: fainter rims are cut off, so that boxes are tight."""
_KEPT = 6000


class WalkCycles:
    """The people of a town as one camera's light shows them."""

    def __init__(
        self, cast: Sequence[Identity], gaits: Sequence[Pose], light: Light, tones: np.ndarray,
        views: int, phases: int,
    ):  # fmt: skip
        """Paint nothing yet.

        Args:
            cast: the people.
            gaits: how each of them walks.
            light: falls on all of them.
            tones: (256, 1, 3) uint8, what the camera makes of each level of blue, green and red.
            views: how many directions people are seen from.
            phases: how many moments a stride has.
        """
        self._cast, self._gaits, self._light, self._tones = cast, gaits, light, tones
        self._views, self._phases = views, phases
        self._painted: dict[tuple[int, int, int, int], Sprite] = {}

    def sprite(self, identity: int, yaw: float, phase: float | None, height_px: float) -> Sprite:
        """Return a person as it walks or stands.

        Args:
            identity: who.
            yaw: degrees, as in ``people.pose``; the nearest of the views is shown.
            phase: degrees of the stride, whose nearest moment is shown; None for standing.
            height_px: body height without hat, pixels.
        """
        master = next((m for m in _MASTERS if m >= height_px), _MASTERS[-1])
        view = round(yaw * self._views / 360) % self._views
        moment = -1 if phase is None else round(phase * self._phases / 360) % self._phases
        key = (identity, view, moment, master)
        if key not in self._painted:
            if len(self._painted) >= _KEPT:
                self._painted.pop(next(iter(self._painted)))
            self._painted[key] = self._paint(*key)
        return resize_sprite(self._painted[key], height_px / master)

    def _paint(self, identity: int, view: int, moment: int, master: int) -> Sprite:
        gait = self._gaits[identity]
        yaw, phase = view * 360.0 / self._views, moment * 360.0 / self._phases
        pose = dataclasses.replace(gait, yaw=yaw, phase=phase)
        if moment < 0:
            pose = dataclasses.replace(pose, phase=0.0, stride=0.0, lean=0.0)
        painted = paint_person(self._cast[identity], pose, master, self._light)
        return tone_sprite(painted, self._tones)


def tone_sprite(sprite: Sprite, tones: np.ndarray) -> Sprite:
    """Return what a camera makes of a thing's colours; (256, 1, 3) uint8 by blue, green, red."""
    colours = cv2.LUT(np.ascontiguousarray(sprite.bgra[:, :, :3]), tones)
    alpha = sprite.bgra[:, :, 3:]
    bgra = np.concatenate([np.minimum(colours, alpha), alpha], axis=2)
    return dataclasses.replace(sprite, bgra=bgra)


def resize_sprite(sprite: Sprite, factor: float) -> Sprite:
    """Return a smaller copy, cut tight, by an interpolation that gives the same bytes anywhere."""
    height, width = sprite.bgra.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return sprite
    small = np.asarray(cv2.resize(sprite.bgra, size, interpolation=cv2.INTER_LINEAR_EXACT))
    x, y, w, h = cv2.boundingRect((small[:, :, 3] > _FAINT).astype(np.uint8))
    if w == 0 or h == 0:
        x, y, w, h = 0, 0, *size
    left, top = round(sprite.left * factor) + x, round(sprite.top * factor) + y
    return Sprite(np.ascontiguousarray(small[y : y + h, x : x + w]), left, top)
