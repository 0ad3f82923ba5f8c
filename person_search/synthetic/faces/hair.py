"""Paint hair, beards, glasses, and what gets in front of a face."""

import math

import numpy as np

from person_search.synthetic.canvas import NEUTRAL, Point, ellipse, smooth
from person_search.synthetic.faces.painter import FacePainter
from person_search.synthetic.faces.view import mouth_corner
from person_search.synthetic.palette import CLOTHES, Colour, contrast_of, mix, scale

_LONG = ("long", "middle parting")
_THICKNESS = {
    "buzz": 0.008, "short": 0.03, "side parting": 0.04, "fringe": 0.045, "long": 0.05,
    "middle parting": 0.05, "slick": 0.02, "curly": 0.075, "receding": 0.015,
}  # fmt: skip
_SIDEBURNS = {
    "buzz": 0.16, "short": 0.12, "side parting": 0.12, "fringe": 0.06, "long": -0.1,
    "middle parting": -0.1, "slick": 0.16, "curly": 0.06, "receding": 0.14,
}  # fmt: skip


def paint_back_hair(painter: FacePainter) -> None:
    """Paint the hair that hangs behind the face."""
    face, view = painter.face, painter.view
    if face.hair_style not in (*_LONG, "curly"):
        return
    width = face.shape.width + (0.10 if face.hair_style == "curly" else 0.075)
    low = -0.12 if face.hair_style == "curly" else -0.62
    sides = []
    for side in (1.0, -1.0):
        rows = [(0.66, 0.3), (0.5, 0.85), (0.25, 1.0), (0.0, 1.02), (low * 0.5, 1.04), (low, 0.9)]
        sides.append(smooth([view.edge(y, share * width, side, 0.1) for y, share in rows], 4))
    painter.canvas.polygon(sides[0] + sides[1][::-1], scale(face.hair_colour, 0.68), NEUTRAL - 14)


def _hairline(painter: FacePainter, t: float) -> float:
    """Return the height of the hairline; t goes from -1 to 1 across the forehead."""
    face = painter.face
    high, style = face.shape.hairline, face.hair_style
    if style == "fringe":
        return 0.275 + 0.02 * math.cos(9 * t) + 0.03 * t * t
    if style == "receding":
        return high + 0.09 - 0.08 * math.cos(3.2 * t)
    if style == "side parting":
        return high - 0.06 * (1.0 + face.parting * t) * (0.9 - 0.3 * face.parting * t)
    if style == "middle parting":
        return high + 0.08 - 0.22 * math.pow(abs(t), 0.8)
    if style == "curly":
        return high - 0.04 + 0.018 * math.cos(14 * t)
    return high - 0.05 * t * t


def paint_hair(painter: FacePainter) -> None:
    """Paint the hair on the head, in front of the face."""
    face, canvas, view, s = painter.face, painter.canvas, painter.view, painter.face.shape
    if face.hair_style == "bald":
        return
    style = face.hair_style
    grow, low = _THICKNESS[style], _SIDEBURNS[style]
    colour = face.hair_colour
    if style == "buzz":
        colour = mix(colour, painter.skin, 0.35)
    heights = [0.66, 0.58, 0.48, 0.36, 0.24, low]
    shares = [0.25, 0.58, 0.85, 0.96, 1.0, 1.02]
    rim = s.width * s.forehead + grow

    def outer(side: float) -> list[Point]:
        points = [
            view.edge(y + grow * 0.5, share * rim, side)
            for y, share in zip(heights, shares, strict=True)
        ]
        return smooth(points, 4)

    inner: list[Point] = []
    for k in range(25):
        t = 1.0 - k / 12
        x = t * 0.86 * s.width
        y = _hairline(painter, t)
        # At the temples the line falls to the sideburns.
        fall = max(0.0, (abs(t) - 0.72) / 0.28)
        inner.append(view.on(x * (1.0 + 0.1 * fall), y + (low - y) * fall * fall))
    outline = outer(-1.0) + inner[::-1] + outer(1.0)[::-1]
    canvas.polygon(outline, colour, NEUTRAL - 4)
    _paint_strands(painter, colour)
    if style in _LONG:
        _paint_locks(painter, rim, colour)


def _paint_strands(painter: FacePainter, colour: Colour) -> None:
    """Draw strands from the hairline up: darker, and a bright one where the light falls."""
    if painter.face.hair_style in ("buzz", "receding"):
        return
    s, canvas = painter.face.shape, painter.canvas
    lean = 0.1 * painter.face.parting if painter.face.hair_style == "side parting" else 0.0
    for k in range(11):
        t = -0.9 + 0.18 * k
        y = _hairline(painter, t) + 0.012
        x = t * 0.8 * s.width
        line = [(x, y), (x * 0.95 + lean, y + 0.1), (x * 0.7 + lean, y + 0.24)]
        shade = scale(colour, 0.8 if k % 2 else 1.18)
        canvas.tint(_stripe(smooth(painter.on(line), 4), 0.006), shade)


def _stripe(points: list[Point], half: float) -> list[Point]:
    """Return a thin, tapering area along a line."""
    count = len(points) - 1
    right = [(u + half * (1 - k / count), v) for k, (u, v) in enumerate(points)]
    left = [(u - half * (1 - k / count), v) for k, (u, v) in enumerate(points)]
    return right + left[::-1]


def _paint_locks(painter: FacePainter, rim: float, colour: Colour) -> None:
    """Hang long hair down both sides of the face."""
    view, canvas = painter.view, painter.canvas
    for side in (-1.0, 1.0):
        rows = (0.42, 0.25, 0.08, -0.1, -0.3, -0.55)
        outer = [view.edge(y, rim + 0.015, side) for y in rows]
        # The far side is foreshortened to nothing where the head is turned away.
        inset = (0.03, 0.055, 0.065, 0.075, 0.07, 0.03)
        inner = [view.edge(y, rim - d, side) for y, d in zip(rows, inset, strict=True)]
        canvas.polygon(smooth(outer, 4) + smooth(inner, 4)[::-1], colour, NEUTRAL - 6)
        middle = [view.edge(y, rim - d / 2, side) for y, d in zip(rows, inset, strict=True)]
        canvas.shade_line(smooth(middle, 4), 0.012, NEUTRAL - 30)


def paint_beard(painter: FacePainter) -> None:
    """Paint the beard, before the mouth."""
    face, s, canvas = painter.face, painter.face.shape, painter.canvas
    if face.beard == "none":
        return
    x, y = mouth_corner(face, painter.shot)
    thin = {"stubble": 0.68, "full": 0.12, "moustache": 0.15, "goatee": 0.18}[face.beard]
    colour = mix(scale(face.hair_colour, 0.8), painter.skin, thin)
    if face.beard in ("stubble", "full"):
        upper = [(-0.93 * s.width, 0.06), (-0.80 * s.width, -0.10), (-0.62 * s.width, -0.15)]
        lip = [(-x, y + 0.05), (0.0, s.nose_y - 0.075), (x, y + 0.05)]
        line = upper + lip + [(-p, q) for p, q in upper[::-1]]
        # Only the part of the outline below the ears.
        limit = painter.view.on(0.0, 0.06)[1]
        jaw = [(u, min(v, limit)) for u, v in _lower_contour(painter)]
        canvas.tint(smooth(painter.on(line), 4) + jaw, colour)
    if face.beard in ("full", "moustache", "goatee"):
        top = [(-x * 1.05, y + 0.012), (-0.06, s.nose_y - 0.055), (0.0, s.nose_y - 0.065)]
        lower = [(x * 1.05, y + 0.012), (0.06, s.mouth_y + 0.022), (0.0, s.mouth_y + 0.03)]
        outline = [*top, (0.06, s.nose_y - 0.055), *lower, (-0.06, s.mouth_y + 0.022)]
        canvas.tint(painter.on(outline, 0.01), colour)
    if face.beard == "goatee":
        tuft = ellipse((0.0, (s.mouth_y + s.chin_y) / 2 - 0.02), 0.075, 0.075)
        canvas.tint(painter.on(tuft, 0.01), colour)


def _lower_contour(painter: FacePainter) -> list[Point]:
    """Return the outline of the jaw from the right ear over the chin to the left one."""
    s, view = painter.face.shape, painter.view
    rows = [
        (0.06, 1.0), (-0.10, 0.5 + 0.5 * s.jaw + 0.01), (-0.22, s.jaw),
        (0.62 * s.chin_y - 0.07, (s.jaw + s.chin) / 2 + 0.05), (s.chin_y + 0.035, s.chin),
        (s.chin_y - 0.008, 0.22 * s.chin),
    ]  # fmt: skip
    right = smooth([view.edge(y, share * s.width, 1.0) for y, share in rows], 4)
    left = smooth([view.edge(y, share * s.width, -1.0) for y, share in rows], 4)
    return right + left[::-1]


def paint_glasses(painter: FacePainter, is_dark: bool) -> None:
    """Paint glasses; dark ones for the sun are black and larger."""
    face, s, canvas = painter.face, painter.face.shape, painter.canvas
    kind = "square" if is_dark and face.glasses == "none" else face.glasses
    frame = (24, 24, 28) if is_dark else face.glasses_colour
    wide, high = (0.112, 0.088) if is_dark else (0.098, 0.070)
    if kind == "round":
        wide, high = 0.092, 0.086
    squareness = {"round": 1.0, "square": 0.45, "half": 0.5}[kind]
    for side in (-1.0, 1.0):
        ring = []
        for k in range(28):
            turn = 2 * math.pi * k / 28
            p, q = math.cos(turn), math.sin(turn)
            p = math.copysign(abs(p) ** squareness, p)
            q = math.copysign(abs(q) ** squareness, q)
            ring.append((side * s.eye_x + wide * p, 0.145 + high * q))
        points = painter.on(ring, 0.035)
        if is_dark:
            canvas.polygon(points, (30, 30, 36), NEUTRAL - 10)
        width = 0.012 if kind == "half" else 0.015
        top = points[:15] if kind == "half" and not is_dark else [*points, points[0]]
        canvas.line(top, width, frame)
        temple = [painter.view.on(side * (s.eye_x + wide), 0.165, 0.03)]
        canvas.line([*temple, painter.view.edge(0.15, s.width, side)], 0.012, frame)
    bridge = [(-s.eye_x + wide, 0.16), (0.0, 0.172), (s.eye_x - wide, 0.16)]
    canvas.line(smooth(painter.on(bridge, 0.05), 4), 0.013, frame)


def paint_occluder(painter: FacePainter, rng: np.random.Generator) -> None:
    """Put the picture's occluder in front of the face."""
    kind = painter.shot.occluder
    if kind == "sunglasses":
        paint_glasses(painter, is_dark=True)
    elif kind == "scarf":
        _paint_scarf(painter, rng)
    elif kind == "hand":
        _paint_hand(painter, rng)


def _paint_scarf(painter: FacePainter, rng: np.random.Generator) -> None:
    colour = list(CLOTHES.values())[int(rng.integers(0, len(CLOTHES)))]
    s, canvas = painter.face.shape, painter.canvas
    y = s.nose_y - 0.02 - 0.16 * float(rng.random())
    edge = [(-1.0, y + 0.02), (-0.5, y - 0.01), (0.0, y + 0.03), (0.5, y - 0.01), (1.0, y + 0.02)]
    top = smooth(painter.on([(p * s.width, q) for p, q in edge], 0.06), 4)
    outline = [(-0.45, top[0][1]), *top, (0.45, top[-1][1]), (0.6, -0.3), (-0.6, -0.3)]
    canvas.polygon(outline, colour, NEUTRAL - 6)
    for k in range(4):
        fall = 0.05 + 0.07 * k
        fold = [(u, v - fall - 0.03 * math.cos(5 * u + k)) for u, v in top[::3]]
        canvas.shade_line(fold, 0.014, NEUTRAL - 34)
    if rng.random() < 0.5:
        stripe = [(u, v - 0.06) for u, v in top]
        canvas.line(stripe, 0.03, contrast_of(colour))


def _paint_hand(painter: FacePainter, rng: np.random.Generator) -> None:
    side = -1.0 if rng.random() < 0.5 else 1.0
    x, y = side * (0.08 + 0.2 * float(rng.random())), -0.15 + 0.3 * float(rng.random())
    u, v = painter.view.on(x, y, 0.08)
    canvas, skin = painter.canvas, scale(painter.skin, 1.03)
    palm = (u + 0.16 * side, v - 0.22)
    canvas.limb((palm[0] + 0.1 * side, palm[1] - 0.4), palm, 0.11, 0.12, skin)
    for k in range(4):
        tip = (u - side * (0.02 + 0.015 * k), v + 0.05 - 0.065 * k)
        root = (palm[0] - 0.01 * side, palm[1] + 0.09 - 0.06 * k)
        canvas.limb(root, tip, 0.036, 0.028, skin)
