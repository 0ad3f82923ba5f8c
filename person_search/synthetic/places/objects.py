"""Things that stand in the scenes, hide people, or look a little like people."""

import numpy as np

from person_search.synthetic.canvas import Canvas, Light, Sprite, capsule, ellipse
from person_search.synthetic.palette import Colour, scale, vary

OBJECTS_OF_SCENE: dict[str, tuple[str, ...]] = {
    "street": ("lamp", "bin", "bollard", "sign", "planter", "hydrant"),
    "park": ("tree", "bench", "lamp", "bush", "statue", "bin"),
    "hall": ("pillar", "planter", "bin", "sign", "mannequin", "bench"),
    "campus": ("lamp", "bench", "tree", "bollard", "statue", "sign"),
    "corridor": ("planter", "bin", "sign", "bench"),
    "car park": ("car", "bollard", "lamp", "sign", "car"),
    "plaza": ("planter", "bench", "lamp", "bollard", "statue", "tree"),
    "night street": ("lamp", "bin", "bollard", "sign", "car"),
    "night park": ("tree", "bench", "lamp", "bush", "bin"),
    "atrium": ("planter", "pillar", "mannequin", "bench"),
    "shop floor": ("mannequin", "bin", "sign", "pillar"),
}


def _box(u: float, v0: float, v1: float, half: float) -> list[tuple[float, float]]:
    return [(u - half, v0), (u + half, v0), (u + half, v1), (u - half, v1)]


def _shaded_box(
    canvas: Canvas, u: float, v0: float, v1: float, half: float, colour: Colour
) -> None:
    canvas.polygon(_box(u, v0, v1, half), colour)
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    canvas.shade(
        [
            (u + sign * half * 0.2, v0),
            (u + sign * half, v0),
            (u + sign * half, v1),
            (u + sign * half * 0.2, v1),
        ],
        canvas.dark,
    )
    canvas.shade(
        [
            (u - sign * half * 0.4, v0),
            (u - sign * half * 0.8, v0),
            (u - sign * half * 0.8, v1),
            (u - sign * half * 0.4, v1),
        ],
        canvas.bright,
    )


def _lamp(canvas: Canvas, rng: np.random.Generator) -> None:
    colour = vary(rng, (70, 76, 80), 14)
    _shaded_box(canvas, 0.0, 0.0, 2.1, 0.024, colour)
    _shaded_box(canvas, 0.0, 0.0, 0.12, 0.055, colour)
    canvas.polygon(ellipse((0.0, 2.14), 0.10, 0.09), (246, 236, 196))
    canvas.polygon([(-0.12, 2.2), (0.12, 2.2), (0.05, 2.27), (-0.05, 2.27)], colour)


def _bin(canvas: Canvas, rng: np.random.Generator) -> None:
    colour = vary(
        rng, [(60, 96, 70), (70, 74, 84), (150, 64, 50), (60, 90, 140)][int(rng.integers(0, 4))], 14
    )
    _shaded_box(canvas, 0.0, 0.0, 0.46, 0.15, colour)
    canvas.polygon(ellipse((0.0, 0.46), 0.165, 0.045), scale(colour, 0.75))
    canvas.polygon(ellipse((0.0, 0.465), 0.11, 0.025), (30, 30, 32))
    for v in (0.12, 0.24, 0.36):
        canvas.line([(-0.15, v), (0.15, v)], 0.008, scale(colour, 0.8))


def _bollard(canvas: Canvas, rng: np.random.Generator) -> None:
    # Head and shoulders of a small person, at a glance.
    colour = vary(rng, [(84, 88, 94), (150, 60, 52), (196, 190, 176)][int(rng.integers(0, 3))], 12)
    _shaded_box(canvas, 0.0, 0.0, 0.5, 0.07, colour)
    canvas.polygon(ellipse((0.0, 0.53), 0.075, 0.07), scale(colour, 1.05))
    canvas.tint(_box(0.0, 0.36, 0.42, 0.07), (232, 228, 214))


def _hydrant(canvas: Canvas, rng: np.random.Generator) -> None:
    colour = vary(rng, (196, 60, 44), 14)
    _shaded_box(canvas, 0.0, 0.0, 0.36, 0.085, colour)
    canvas.polygon(ellipse((0.0, 0.37), 0.1, 0.075), colour)
    _shaded_box(canvas, 0.0, 0.22, 0.29, 0.15, scale(colour, 0.9))
    _shaded_box(canvas, 0.0, 0.0, 0.05, 0.12, scale(colour, 0.8))


def _sign(canvas: Canvas, rng: np.random.Generator) -> None:
    post = (120, 124, 128)
    face = [(52, 96, 170), (190, 52, 48), (58, 130, 84), (226, 184, 60)][int(rng.integers(0, 4))]
    if rng.random() < 0.5:
        _shaded_box(canvas, 0.0, 0.0, 1.3, 0.02, post)
        canvas.polygon(ellipse((0.0, 1.3), 0.17, 0.17), (236, 236, 232))
        canvas.polygon(ellipse((0.0, 1.3), 0.15, 0.15), face)
        canvas.tint(_box(0.0, 1.27, 1.33, 0.1), (236, 236, 232))
        return
    _shaded_box(canvas, 0.0, 0.02, 0.72, 0.2, (232, 228, 220))
    canvas.tint(_box(0.0, 0.46, 0.66, 0.16), face)
    for v in (0.14, 0.22, 0.30, 0.38):
        canvas.line([(-0.15, v), (0.12, v)], 0.012, (110, 110, 112))


def _planter(canvas: Canvas, rng: np.random.Generator) -> None:
    green = vary(rng, (74, 128, 66), 20)
    for _ in range(14):
        u, v = 0.36 * float(rng.random()) - 0.18, 0.34 + 0.5 * float(rng.random())
        leaf = scale(green, 0.8 + 0.4 * float(rng.random()))
        canvas.polygon(capsule((u * 0.4, 0.3), (u, v), 0.016, 0.05), leaf)
    pot = vary(rng, [(176, 104, 70), (206, 202, 194), (84, 86, 92)][int(rng.integers(0, 3))], 12)
    outline = [(-0.13, 0.0), (0.13, 0.0), (0.19, 0.34), (-0.19, 0.34)]
    canvas.polygon(outline, pot)
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    canvas.shade(
        [(sign * 0.03, 0.0), (sign * 0.13, 0.0), (sign * 0.19, 0.34), (sign * 0.05, 0.34)],
        canvas.dark,
    )
    canvas.tint(_box(0.0, 0.31, 0.36, 0.2), scale(pot, 1.1))


def _bush(canvas: Canvas, rng: np.random.Generator) -> None:
    green = vary(rng, (70, 120, 60), 18)
    for row, count in ((0.1, 6), (0.26, 5), (0.4, 3)):
        for k in range(count):
            u = (k - (count - 1) / 2) * 0.15 + 0.05 * float(rng.random())
            r = 0.11 + 0.05 * float(rng.random())
            canvas.polygon(
                ellipse((u, row), r, r * 0.95),
                scale(green, 0.82 + row * 0.6 + 0.1 * float(rng.random())),
            )


def _tree(canvas: Canvas, rng: np.random.Generator) -> None:
    bark = vary(rng, (98, 74, 54), 12)
    canvas.polygon([(-0.11, 0.0), (0.11, 0.0), (0.065, 1.1), (-0.065, 1.1)], bark)
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    canvas.shade(
        [(sign * 0.02, 0.0), (sign * 0.11, 0.0), (sign * 0.065, 1.1), (sign * 0.01, 1.1)],
        canvas.dark,
    )
    green = vary(rng, [(82, 134, 66), (110, 140, 60), (60, 112, 70)][int(rng.integers(0, 3))], 14)
    for k in range(22):
        u = 1.1 * float(rng.random()) - 0.55
        v = 1.05 + 0.95 * float(rng.random()) * (1 - abs(u))
        r = 0.17 + 0.10 * float(rng.random())
        bright = (
            0.72
            + 0.18 * (v - 1.0)
            + 0.12 * float(rng.random())
            + 0.10 * canvas.light.side * u
            + 0.008 * k
        )
        canvas.polygon(ellipse((u, v), r, r * 0.9), scale(green, bright))


def _bench(canvas: Canvas, rng: np.random.Generator) -> None:
    wood, iron = vary(rng, (150, 104, 66), 16), (58, 60, 64)
    for u in (-0.42, 0.42):
        canvas.polygon(_box(u, 0.0, 0.5, 0.022), iron)
    for v in (0.36, 0.44, 0.52):
        canvas.polygon(_box(0.0, v, v + 0.055, 0.5), wood)
    canvas.polygon([(-0.52, 0.2), (0.52, 0.2), (0.5, 0.29), (-0.5, 0.29)], scale(wood, 1.1))
    canvas.polygon(_box(0.0, 0.17, 0.21, 0.52), scale(wood, 0.7))


def _pillar(canvas: Canvas, rng: np.random.Generator) -> None:
    colour = vary(rng, (196, 194, 188), 12)
    _shaded_box(canvas, 0.0, 0.0, 2.25, 0.16, colour)
    _shaded_box(canvas, 0.0, 0.0, 0.12, 0.2, scale(colour, 0.85))
    _shaded_box(canvas, 0.0, 2.15, 2.3, 0.2, scale(colour, 0.9))
    if rng.random() < 0.6:
        canvas.tint(_box(0.0, 0.75, 1.2, 0.11), vary(rng, (70, 120, 180), 40))


def _statue(canvas: Canvas, rng: np.random.Generator) -> None:
    stone = vary(rng, (164, 160, 150), 14)
    _shaded_box(canvas, 0.0, 0.0, 0.4, 0.2, scale(stone, 0.85))
    _shaded_box(canvas, 0.0, 0.36, 0.42, 0.23, stone)
    _dummy(canvas, 0.4, stone)


def _mannequin(canvas: Canvas, rng: np.random.Generator) -> None:
    plastic = vary(rng, (222, 212, 200), 12)
    canvas.polygon(ellipse((0.0, 0.02), 0.16, 0.035), (120, 120, 124))
    _dummy(canvas, 0.03, plastic)


def _dummy(canvas: Canvas, base: float, colour: Colour) -> None:
    for u in (-0.05, 0.05):
        canvas.limb((u, base + 0.48), (u, base + 0.02), 0.056, 0.03, colour)
    for u in (-1, 1):
        canvas.limb((u * 0.11, base + 0.78), (u * 0.15, base + 0.48), 0.034, 0.024, colour)
    torso = [
        (-0.12, 0.8),
        (-0.085, 0.62),
        (-0.1, 0.46),
        (0.1, 0.46),
        (0.085, 0.62),
        (0.12, 0.8),
        (0.04, 0.83),
        (-0.04, 0.83),
    ]
    canvas.polygon([(u, base + v) for u, v in torso], colour)
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    canvas.shade(
        [
            (sign * 0.03, base + 0.8),
            (sign * 0.11, base + 0.8),
            (sign * 0.09, base + 0.46),
            (sign * 0.03, base + 0.46),
        ],
        canvas.dark,
    )
    canvas.limb((0.0, base + 0.82), (0.0, base + 0.88), 0.03, 0.03, colour)
    canvas.polygon(ellipse((0.0, base + 0.93), 0.05, 0.066), colour)


def _kiosk(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a newsstand, as wide as three people and higher than one: it hides whoever passes."""
    paint = vary(rng, [(46, 92, 84), (150, 60, 52), (58, 78, 128)][int(rng.integers(0, 3))], 12)
    _shaded_box(canvas, 0.0, 0.0, 1.34, 0.7, paint)
    # A shutter of level slats: a shelf of papers upright would look like a row of people.
    canvas.tint(_box(0.0, 0.62, 1.1, 0.6), (120, 122, 122))
    for v in (0.70, 0.78, 0.86, 0.94, 1.02):
        canvas.line([(-0.6, v), (0.6, v)], 0.012, (98, 100, 100))
    canvas.polygon(_box(0.0, 0.54, 0.62, 0.74), scale(paint, 1.25))
    canvas.polygon(_box(0.0, 1.1, 1.34, 0.78), scale(paint, 1.15))
    canvas.tint(_box(0.0, 1.13, 1.18, 0.78), (232, 228, 218))
    canvas.polygon([(-0.8, 1.34), (0.8, 1.34), (0.66, 1.46), (-0.66, 1.46)], scale(paint, 0.8))


def _car(canvas: Canvas, rng: np.random.Generator) -> None:
    paint = vary(
        rng,
        [(180, 44, 46), (60, 90, 150), (206, 206, 204), (54, 56, 60), (120, 128, 134)][
            int(rng.integers(0, 5))
        ],
        12,
    )
    side = 1.0 if rng.random() < 0.5 else -1.0
    body = [
        (-1.2, 0.16),
        (1.2, 0.16),
        (1.22, 0.42),
        (1.1, 0.5),
        (0.72, 0.54),
        (-1.1, 0.56),
        (-1.22, 0.4),
    ]
    roof = [(0.72, 0.53), (0.36, 0.84), (-0.5, 0.86), (-1.0, 0.55)]
    canvas.polygon([(u * side, v) for u, v in body], paint)
    canvas.polygon([(u * side, v) for u, v in roof], paint)
    canvas.shade([(-1.2, 0.16), (1.2, 0.16), (1.2, 0.28), (-1.2, 0.28)], canvas.dark)
    for window in (
        [(0.6, 0.55), (0.32, 0.79), (-0.04, 0.8), (-0.04, 0.56)],
        [(-0.1, 0.56), (-0.1, 0.8), (-0.46, 0.81), (-0.86, 0.57)],
    ):
        canvas.polygon([(u * side, v) for u, v in window], (96, 124, 142))
    for u in (-0.74, 0.74):
        canvas.polygon(ellipse((u, 0.16), 0.19, 0.19), (32, 32, 36))
        canvas.polygon(ellipse((u, 0.16), 0.1, 0.1), (160, 164, 168))
    canvas.polygon(ellipse((1.14 * side, 0.42), 0.07, 0.04), (250, 240, 200))


_PAINTERS = {
    "lamp": _lamp, "bin": _bin, "bollard": _bollard, "hydrant": _hydrant, "sign": _sign,
    "planter": _planter,
    "bush": _bush, "tree": _tree, "bench": _bench, "pillar": _pillar, "statue": _statue,
    "mannequin": _mannequin, "car": _car, "kiosk": _kiosk,
}  # fmt: skip
FOOTPRINTS = {
    "car": 1.15,
    "kiosk": 0.72,
    "bench": 0.5,
    "bush": 0.4,
    "statue": 0.22,
    "pillar": 0.19,
    "planter": 0.15,
    "bin": 0.16,
    "sign": 0.08,
    "lamp": 0.05,
    "tree": 0.13,
    "mannequin": 0.14,
}
"""Half width on the ground, units of an average person's height; 0.08 for those not named."""
_REACH = {"car": 1.3, "kiosk": 0.9, "tree": 0.9, "bench": 0.6, "bush": 0.65}


def paint_object(kind: str, size: float, light: Light, rng: np.random.Generator) -> Sprite:
    """Paint an object beside which an average person would be ``size`` pixels tall."""
    tall = 2.4 if kind in ("lamp", "tree", "pillar") else 1.6
    canvas = Canvas(size, light, half_width=_REACH.get(kind, 0.5), top=tall)
    _PAINTERS[kind](canvas, rng)
    return canvas.sprite()
