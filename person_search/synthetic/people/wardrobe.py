"""Which clothes people of a styled world wear, and how strong their colours are."""

import dataclasses
from typing import Any

import numpy as np

from person_search.synthetic.palette import Colour, Stream, make_rng
from person_search.synthetic.people.identity import Identity, alter, sample_identity

Weights = dict[str, dict[str, float]]

WARDROBES: dict[str, Weights] = {
    "any": {},
    "summer": {
        "upper_type": {"shirt": 0.5, "jacket": 0.06, "hoodie": 0.06, "coat": 0.0},
        "lower_type": {"trousers": 0.45, "wide trousers": 0.5},
        "hat": {"none": 0.7, "beanie": 0.0},
    },
    "winter": {
        "upper_type": {"t-shirt": 0.03, "tank top": 0.0, "dress": 0.1, "shirt": 0.2},
        "lower_type": {"shorts": 0.03, "skirt": 0.4},
        "hat": {"none": 0.5, "brimmed hat": 0.3, "cap": 0.4},
    },
}
"""For each wardrobe and attribute how readily a value is accepted, 0..1; 1 where nothing is
said."""

_COLOURED = (
    "hat_colour", "upper_colour", "upper_pattern_colour", "inner_colour", "lower_colour",
    "lower_pattern_colour", "shoe_colour", "bag_colour",
)  # fmt: skip


def sample_dressed(rng: np.random.Generator, wardrobe: str) -> Identity:
    """Draw an identity that a wardrobe accepts."""
    while True:
        person = sample_identity(rng)
        chance = 1.0
        for attribute, readiness in WARDROBES[wardrobe].items():
            chance *= readiness.get(getattr(person, attribute), 1.0)
        if rng.random() < chance:
            return person


def make_dressed(
    seed: int, index: int, near_duplicate_share: float, group_start: int, wardrobe: str
) -> Identity:
    """Return identity ``index`` of a world of that wardrobe, as ``identity.make_identity`` does.

    What a near-duplicate takes from somebody else need not be of the wardrobe.
    """
    rng = make_rng(seed, Stream.WARDROBE, index)
    own = sample_dressed(rng, wardrobe)
    if index > group_start and rng.random() < near_duplicate_share:
        model = int(rng.integers(group_start, index))
        return alter(sample_dressed(make_rng(seed, Stream.WARDROBE, model), wardrobe), rng)
    return own


def tone(identity: Identity, saturation: float, levels: tuple[int, int]) -> Identity:
    """Return the same person in clothes of stronger or weaker colours; skin and hair stay.

    Args:
        identity: Who.
        saturation: Factor on the distance of a colour from its grey.
        levels: What black and white become, grey levels.
    """
    changed: dict[str, Any] = {
        n: _toned(getattr(identity, n), saturation, levels) for n in _COLOURED
    }
    return dataclasses.replace(identity, **changed)


def _toned(colour: Colour, saturation: float, levels: tuple[int, int]) -> Colour:
    low, high = levels
    grey = luma(colour)
    strong = (grey + saturation * (c - grey) for c in colour)
    r, g, b = (round(low + (high - low) * max(0.0, min(255.0, c)) / 255) for c in strong)
    return r, g, b


def luma(colour: Colour) -> int:
    """Return the brightness of a colour, 0..255."""
    return (77 * colour[0] + 150 * colour[1] + 29 * colour[2]) >> 8
