"""How a drawn person stands: a small 3-D skeleton, turned by a yaw angle and projected.

Body frame: x to the person's left, y up from the ground, z forward; unit = body height. View frame:
u to the right of the picture, v up, depth towards the viewer. Yaw 0 faces the viewer, 90 walks to
the right of the picture, 180 shows the back.
"""

import math
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.palette import pick
from person_search.synthetic.people.identity import Identity

Point3 = tuple[float, float, float]

CAMERA_TILT = 0.14
"""How much nearer points sink in the picture: cameras hang above head height and look down a
little."""
SHOULDER_HEIGHT = 0.778
UPPER_ARM, FOREARM = 0.160, 0.142


@dataclass(frozen=True)
class Pose:
    """View and gait of one appearance; angles in degrees."""

    yaw: float
    phase: float
    """Where in the stride, 0..360."""
    stride: float
    """Largest angle of the thigh; 0 is standing."""
    left_arm: float
    """Extra forward angle of the left upper arm."""
    right_arm: float
    left_bend: float
    """Extra bend of the left elbow."""
    right_bend: float
    lean: float
    head_turn: float
    """Yaw of the head relative to the body."""


def sample_pose(rng: np.random.Generator, yaw: float | None = None) -> Pose:
    """Draw a pose: mostly walking, some standing, some holding a phone or something in the arm."""
    if yaw is None:
        yaw = float(45 * rng.integers(0, 8) + rng.integers(-22, 23))
    kind = pick(rng, {"walk": 0.66, "stand": 0.22, "phone": 0.08, "hands": 0.04})
    walking = kind in ("walk", "phone") and rng.random() < 0.95
    arms = {"phone": (0, 30, 0, 100), "hands": (15, 15, 70, 70)}.get(kind, (0, 0, 0, 0))
    left_arm, right_arm, left_bend, right_bend = arms
    if rng.random() < 0.5:
        left_arm, right_arm, left_bend, right_bend = right_arm, left_arm, right_bend, left_bend
    return Pose(
        yaw=yaw % 360.0,
        phase=float(rng.integers(0, 360)),
        stride=float(rng.integers(16, 29)) if walking else 0.0,
        left_arm=float(left_arm),
        right_arm=float(right_arm),
        left_bend=float(left_bend),
        right_bend=float(right_bend),
        lean=float(rng.integers(0, 5)) if walking else 0.0,
        head_turn=float(rng.integers(-25, 26)),
    )


class View:
    """Orthographic projection after a turn by ``yaw`` degrees."""

    def __init__(self, yaw: float):
        self.yaw = yaw
        self.cos = math.cos(math.radians(yaw))
        self.sin = math.sin(math.radians(yaw))

    def depth(self, point: Point3) -> float:
        """Return how far the point is towards the viewer."""
        return point[2] * self.cos - point[0] * self.sin

    def project(self, point: Point3) -> tuple[float, float]:
        """Return (u, v) of a body point."""
        x, y, z = point
        return x * self.cos + z * self.sin, y - CAMERA_TILT * (z * self.cos - x * self.sin)

    def half_width(self, a: float, b: float) -> float:
        """Return the projected half width of an ellipse: half axes a across, b front to back."""
        return math.sqrt((a * self.cos) ** 2 + (b * self.sin) ** 2)

    def facing_angle(self, a: float, b: float) -> float:
        """Return the angle (0 front, 90 left) of that ellipse that faces the viewer most."""
        return math.degrees(math.atan2(-a * self.sin, b * self.cos))


@dataclass(frozen=True)
class Skeleton:
    """Joint positions in the body frame; index 0 is the person's left, 1 the right."""

    hips: tuple[Point3, Point3]
    knees: tuple[Point3, Point3]
    ankles: tuple[Point3, Point3]
    toes: tuple[Point3, Point3]
    shoulders: tuple[Point3, Point3]
    elbows: tuple[Point3, Point3]
    wrists: tuple[Point3, Point3]
    lift: float
    """Added to every height so that the lower foot is on the ground."""
    lean: float
    """Forward shift per unit of height above the hips."""


def _leg(
    hip: Point3, length: float, thigh_deg: float, knee_deg: float
) -> tuple[Point3, Point3, Point3]:
    thigh = shin = length / 2
    a = math.radians(thigh_deg)
    b = math.radians(thigh_deg - knee_deg)
    x, y, z = hip
    knee = (x, y - thigh * math.cos(a), z + thigh * math.sin(a))
    ankle = (x * 0.95, knee[1] - shin * math.cos(b), knee[2] + shin * math.sin(b))
    # The heel lifts with the shin at the end of a step.
    pitch = math.radians(max(0.0, knee_deg - thigh_deg) * 0.5)
    out = 0.018 if x > 0 else -0.018
    toe = (ankle[0] + out, ankle[1] - 0.085 * math.sin(pitch), ankle[2] + 0.085 * math.cos(pitch))
    return knee, ankle, toe


def _arm(shoulder: Point3, swing_deg: float, bend_deg: float) -> tuple[Point3, Point3]:
    a = math.radians(swing_deg)
    b = math.radians(swing_deg + bend_deg)
    x, y, z = shoulder
    side = 1.0 if x > 0 else -1.0
    elbow = (x + side * 0.030, y - UPPER_ARM * math.cos(a), z + UPPER_ARM * math.sin(a))
    inward = -side * 0.010 if bend_deg < 60 else -side * 0.055
    wrist = (elbow[0] + inward, elbow[1] - FOREARM * math.cos(b), elbow[2] + FOREARM * math.sin(b))
    return elbow, wrist


def build_skeleton(identity: Identity, pose: Pose) -> Skeleton:
    """Place the joints of this person in this pose."""
    swing = pose.stride * math.sin(math.radians(pose.phase))
    lift_phase = math.cos(math.radians(pose.phase))
    leg = identity.leg_length - 0.04
    joint = identity.hip_width * 0.52
    legs = []
    for side, sign in ((joint, 1.0), (-joint, -1.0)):
        # The leg that moves forward is bent at the knee; the other one carries the body.
        knee = 4.0 + pose.stride * 1.5 * max(0.0, sign * lift_phase) if pose.stride else 1.0
        legs.append(_leg((side, identity.leg_length, 0.0), leg, sign * swing, knee))
    lowest = min(min(ankle[1] - 0.04, toe[1] - 0.03) for _, ankle, toe in legs)
    lean = math.tan(math.radians(pose.lean))
    top = lean * (SHOULDER_HEIGHT - identity.leg_length)
    arms = []
    for sign, extra, bend in (
        (1.0, pose.left_arm, pose.left_bend),
        (-1.0, pose.right_arm, pose.right_bend),
    ):
        shoulder = (sign * identity.shoulder_width * 0.93, SHOULDER_HEIGHT, top)
        base = 8.0 + 0.8 * pose.stride * max(0.0, -sign * math.sin(math.radians(pose.phase)))
        arms.append((shoulder, *_arm(shoulder, -sign * swing * 0.9 + extra, base + bend)))
    hips = ((joint, identity.leg_length, 0.0), (-joint, identity.leg_length, 0.0))
    return Skeleton(
        hips=hips,
        knees=(legs[0][0], legs[1][0]),
        ankles=(legs[0][1], legs[1][1]),
        toes=(legs[0][2], legs[1][2]),
        shoulders=(arms[0][0], arms[1][0]),
        elbows=(arms[0][1], arms[1][1]),
        wrists=(arms[0][2], arms[1][2]),
        lift=-lowest,
        lean=lean,
    )
