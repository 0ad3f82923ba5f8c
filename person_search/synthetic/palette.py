"""Named colours of the drawn world and the seeded random generators that pick from them.

Colours are (red, green, blue) integers 0..255 here; the canvas turns them into OpenCV's order.
"""

from enum import IntEnum

import numpy as np

Colour = tuple[int, int, int]

CLOTHES: dict[str, Colour] = {
    "black": (38, 38, 44),
    "white": (236, 236, 232),
    "gray": (140, 144, 150),
    "red": (196, 44, 48),
    "orange": (226, 122, 40),
    "yellow": (236, 200, 66),
    "green": (66, 140, 74),
    "teal": (40, 148, 150),
    "blue": (58, 108, 196),
    "navy": (38, 52, 100),
    "purple": (122, 74, 160),
    "pink": (226, 130, 166),
    "brown": (122, 82, 54),
    "beige": (206, 184, 146),
}
"""Clothing colours by the name that attribute labels use."""

SKIN: dict[str, Colour] = {
    "porcelain": (250, 219, 196),
    "light": (240, 196, 164),
    "olive": (214, 164, 122),
    "tan": (186, 132, 92),
    "brown": (140, 92, 62),
    "dark": (94, 62, 46),
}

HAIR: dict[str, Colour] = {
    "black": (34, 28, 28),
    "dark brown": (66, 44, 32),
    "brown": (110, 72, 44),
    "auburn": (144, 66, 36),
    "blond": (214, 176, 104),
    "gray": (152, 150, 148),
    "white": (226, 224, 218),
}


class Stream(IntEnum):
    """Independent random streams of one world seed."""

    IDENTITY = 1
    CAMERA = 2
    FRAME = 3
    PLAN = 4
    PROTOCOL = 5
    PREVIEW = 6
    CROP = 7
    INFRARED = 8
    SHOT = 9
    WARDROBE = 10
    FACE = 21
    FACE_SHOT = 22
    FACE_PAIRS = 23
    TOWN = 31
    TOWN_CLIP = 32


def make_rng(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of one thing of the world, whatever was drawn before it.

    PCG64 and SeedSequence are named (not ``default_rng``) because NumPy promises their output
    stays the same.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, int(stream), *index))))


def pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    """Return one key, drawn with probability proportional to its weight."""
    mark = rng.random() * sum(weights.values())
    for name, weight in weights.items():
        mark -= weight
        if mark < 0:
            return name
    return next(reversed(weights))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; ``share`` 0 gives the first, 1 the second."""
    r, g, b = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return r, g, b


def scale(colour: Colour, factor: float) -> Colour:
    """Darken (factor < 1) or brighten (> 1) a colour."""
    r, g, b = round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor)
    return max(0, min(255, r)), max(0, min(255, g)), max(0, min(255, b))


def vary(rng: np.random.Generator, colour: Colour, amount: int) -> Colour:
    """Shift each channel by up to ``amount`` and all together by up to ``amount``."""
    together = int(rng.integers(-amount, amount + 1))
    r, g, b = (
        max(0, min(255, c + together + int(rng.integers(-amount, amount + 1) // 2))) for c in colour
    )
    return r, g, b


def contrast_of(colour: Colour) -> Colour:
    """Return a light or dark colour that stands out on the given one."""
    luma = 0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2]
    return CLOTHES["black"] if luma > 140 else CLOTHES["white"]
