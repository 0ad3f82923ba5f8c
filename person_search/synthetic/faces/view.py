"""How a face is seen in one picture: pose, expression, light; and where its points fall.

The face's own frame has x to the right, y up, z to the viewer, in widths of an aligned face; the
picture has u to the right of its middle and v up from its lower edge, in the same unit.
"""

import math
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.canvas import Point
from person_search.synthetic.faces.identity import FaceIdentity
from person_search.synthetic.faces.spec import FaceSpec
from reid_heads.faces.alignment import ALIGNED_SIZE, TEMPLATE, estimate_similarity

DEPTH = 0.40
"""Of the front of the face before the axis that the head turns about."""
_TURN_LIMITS = (50.0, 25.0)


@dataclass(frozen=True)
class FaceShot:
    """What is of one picture only."""

    yaw: float
    """Degrees; positive: the face looks to the right of the picture."""
    pitch: float
    """Degrees; positive: it looks up."""
    smile: float
    """-1 sad .. 1."""
    mouth_open: float
    """0..1."""
    brow_raise: float
    """-1..1."""
    eye_open: float
    """0.25..1.2 of the usual."""
    gaze: float
    """-1..1."""
    light_side: float
    """-1 from the left .. 1 from the right."""
    light_above: float
    """-0.4 from below .. 1."""
    light_strength: float
    """0 even .. 1 hard."""
    occluder: str
    """none, hand, scarf or sunglasses."""
    wears_glasses: bool
    jitter: tuple[Point, ...]
    """Error of each of the five points, pixels."""


def sample_shot(spec: FaceSpec, face: FaceIdentity, rng: np.random.Generator) -> FaceShot:
    """Draw what one picture of a face looks like."""

    def spread(deviation: float, limit: float) -> float:
        return float(max(-limit, min(limit, deviation * rng.standard_normal())))

    occluder = "none"
    if rng.random() < spec.occlusion:
        occluder = ("hand", "scarf", "sunglasses")[int(rng.integers(0, 3))]
    strength = spec.expression
    return FaceShot(
        yaw=spread(spec.yaw, _TURN_LIMITS[0]),
        pitch=spread(spec.pitch, _TURN_LIMITS[1]),
        smile=spread(0.45 * strength, 1.0),
        mouth_open=max(0.0, spread(0.4 * strength, 1.0)),
        brow_raise=spread(0.4 * strength, 1.0),
        eye_open=max(0.25, min(1.2, 1.0 + spread(0.2 * strength, 0.75))),
        gaze=spread(0.25, 0.8),
        light_side=float(2 * rng.random() - 1),
        light_above=float(1.4 * rng.random() - 0.4),
        light_strength=min(1.0, spec.light * float(rng.random())),
        occluder=occluder,
        # Those who need them put them on nearly always.
        wears_glasses=face.glasses != "none" and bool(rng.random() < 0.85),
        jitter=tuple(
            (spread(spec.misalignment, 4.0), spread(spec.misalignment, 4.0)) for _ in range(5)
        ),
    )


class FaceView:
    """Put points of the face into the aligned picture."""

    def __init__(self, face: FaceIdentity, shot: FaceShot):
        """Turn the head, find its five points, and align it by them as a detector would."""
        yaw, pitch = math.radians(shot.yaw), math.radians(shot.pitch)
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)
        self.nod_sin, self.nod_cos = math.sin(pitch), math.cos(pitch)
        self.width = face.shape.width
        self.shot = shot
        seen = np.array([self._turn(*point) for point in five_points(face, shot)])
        # Rows count downwards; a point (u, v) is half a pixel from the pixel's middle.
        pixels = np.column_stack([seen[:, 0], -seen[:, 1]]) * ALIGNED_SIZE
        matrix = estimate_similarity(pixels + np.array(shot.jitter), TEMPLATE).matrix
        self._a, self._b = float(matrix[0, 0]), float(matrix[1, 0])
        self._shift = (
            (float(matrix[0, 2]) + 0.5) / ALIGNED_SIZE - 0.5,
            1.0 - (float(matrix[1, 2]) + 0.5) / ALIGNED_SIZE,
        )

    def _turn(self, x: float, y: float, z: float) -> Point:
        across, ahead = x * self.cos + z * self.sin, z * self.cos - x * self.sin
        return across, y * self.nod_cos + ahead * self.nod_sin

    def at(self, x: float, y: float, z: float) -> Point:
        """Return (u, v) of a point of the head."""
        return self._align(*self._turn(x, y, z))

    def _align(self, across: float, up: float) -> Point:
        return (
            self._a * across + self._b * up + self._shift[0],
            self._a * up - self._b * across + self._shift[1],
        )

    def on(self, x: float, y: float, out: float = 0.0) -> Point:
        """Return (u, v) of a point of the face's surface, ``out`` before it."""
        return self.at(x, y, self.surface(x, y) + out)

    def surface(self, x: float, y: float) -> float:
        """Return z of the face at (x, y): flat in front, falling off to the sides."""
        side = min(1.2, abs(x) / self.width)
        return DEPTH * (1.0 - 0.5 * side**2 - 0.35 * max(0.0, y - 0.1) ** 2 / 0.16)

    def edge(self, y: float, half_width: float, side: float, back: float = 0.0) -> Point:
        """Return (u, v) of the silhouette at height y, on one side of the picture.

        The head's section there is an ellipse ``half_width`` wide; its middle is on the axis above,
        and moves forward towards the chin.
        """
        # Below the cheeks the section's middle comes forward: the chin turns with the face.
        forward = max(0.0, min(1.0, (0.05 - y) / 0.45)) * 0.24 - back
        deep = (DEPTH - forward) * min(1.0, half_width / self.width)
        across = math.hypot(half_width * self.cos, deep * self.sin)
        middle, up = self._turn(0.0, y, forward)
        return self._align(middle + side * across, up)


def five_points(face: FaceIdentity, shot: FaceShot) -> list[tuple[float, float, float]]:
    """Return (x, y, z) of eyes, nose and corners of the mouth, left in the picture first."""
    s = face.shape
    mouth_x, mouth_y = mouth_corner(face, shot)
    front = DEPTH * (1.0 - 0.5 * (s.eye_x / s.width) ** 2)
    corner = DEPTH * (1.0 - 0.5 * (mouth_x / s.width) ** 2)
    return [
        (-s.eye_x, 0.155, front),
        (s.eye_x, 0.155, front),
        (0.0, s.nose_y, DEPTH + s.nose_length),
        (-mouth_x, mouth_y, corner),
        (mouth_x, mouth_y, corner),
    ]


def mouth_corner(face: FaceIdentity, shot: FaceShot) -> Point:
    """Return (x, y) of the right corner of the mouth: a smile widens and lifts it."""
    s = face.shape
    narrow = 0.12 * shot.mouth_open * (1.0 - max(0.0, shot.smile))
    return (
        s.mouth_width * (1.0 + 0.16 * shot.smile - narrow),
        s.mouth_y + 0.018 * shot.smile - 0.008 * shot.mouth_open,
    )
