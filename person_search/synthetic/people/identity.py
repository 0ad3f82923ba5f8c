"""Who a drawn person is: everything that stays the same over views, cameras and light."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from person_search.synthetic.palette import (
    CLOTHES,
    HAIR,
    SKIN,
    Colour,
    Stream,
    make_rng,
    pick,
    vary,
)

UPPER_TYPES = {
    "t-shirt": 0.24, "shirt": 0.18, "jacket": 0.17, "hoodie": 0.15, "coat": 0.12, "tank top": 0.05,
    "dress": 0.09,
}  # fmt: skip
LOWER_TYPES = {
    "trousers": 0.48,
    "wide trousers": 0.1,
    "shorts": 0.2,
    "skirt": 0.16,
    "leggings": 0.06,
}
PATTERNS = {"plain": 0.5, "stripes": 0.14, "checks": 0.09, "dots": 0.07, "block": 0.1, "logo": 0.1}
BAGS = {"none": 0.5, "backpack": 0.2, "shoulder bag": 0.16, "handbag": 0.14}
HATS = {"none": 0.72, "cap": 0.13, "beanie": 0.09, "brimmed hat": 0.06}
COLOUR_WEIGHTS = {
    "black": 1.5, "white": 1.3, "gray": 1.2, "red": 1.0, "orange": 0.6, "yellow": 0.8, "green": 0.9,
    "teal": 0.6, "blue": 1.2, "navy": 1.0, "purple": 0.6, "pink": 0.7, "brown": 0.6, "beige": 0.8,
}  # fmt: skip
LOWER_COLOUR_WEIGHTS = {
    "black": 2.0, "navy": 1.8, "blue": 1.4, "gray": 1.4, "beige": 1.2, "brown": 0.9, "white": 0.7,
    "green": 0.5, "red": 0.4, "pink": 0.3, "purple": 0.3, "yellow": 0.2, "teal": 0.2, "orange": 0.2,
}  # fmt: skip
SHORT_HAIR = {"short": 0.5, "buzz": 0.2, "curly": 0.15, "bald": 0.15}
LONG_HAIR = {"long": 0.35, "ponytail": 0.25, "bob": 0.22, "bun": 0.18}


@dataclass(frozen=True)
class Identity:
    """One person of the drawn world, with every attribute named.

    Lengths of the body are shares of body height; ``height_m`` is in metres; colours are RGB
    0..255, each with the name of the
    colour family that it was varied from.
    """

    age_group: str
    """child, adult or senior."""
    height_m: float
    shoulder_width: float
    """Half the distance between the shoulder joints."""
    hip_width: float
    girth: float
    """Thickness of torso and limbs; 1 is average."""
    leg_length: float
    """Height of the hip joints above the ground."""
    head_size: float
    skin: str
    skin_colour: Colour
    hair_style: str
    """short, buzz, curly, bald (short hair); long, ponytail, bob, bun (long hair)."""
    hair_name: str
    hair_colour: Colour
    has_long_hair: bool
    hat: str
    hat_name: str
    hat_colour: Colour
    has_glasses: bool
    upper_type: str
    upper_name: str
    upper_colour: Colour
    upper_pattern: str
    upper_pattern_name: str
    upper_pattern_colour: Colour
    pattern_scale: float
    """Size of stripes, checks, dots and logo; 1 is average."""
    sleeve_length: str
    """none, short or long."""
    inner_colour: Colour
    """Shirt that shows where a jacket or a coat is open."""
    lower_type: str
    """trousers, wide trousers, leggings, shorts or skirt; a dress makes it ``dress``."""
    lower_length: str
    """short (to the knee) or long."""
    lower_name: str
    lower_colour: Colour
    lower_pattern: str
    """plain, side stripe or checks."""
    lower_pattern_colour: Colour
    shoe_name: str
    shoe_colour: Colour
    bag: str
    """none, backpack, shoulder bag or handbag."""
    bag_name: str
    bag_colour: Colour


def _coloured(
    rng: np.random.Generator, weights: dict[str, float], *, but: str = ""
) -> tuple[str, Colour]:
    name = pick(rng, {k: v for k, v in weights.items() if k != but})
    return name, vary(rng, CLOTHES[name], 14)


def _sample_body(rng: np.random.Generator) -> dict[str, Any]:
    age = pick(rng, {"adult": 0.76, "child": 0.1, "senior": 0.14})
    slim_shoulders = rng.random() < 0.5
    height = {"adult": 1.72, "child": 1.28, "senior": 1.66}[age] + 0.08 * rng.standard_normal()
    shoulder = (0.098 if slim_shoulders else 0.113) + 0.006 * rng.standard_normal()
    hip = (0.086 if slim_shoulders else 0.079) + 0.004 * rng.standard_normal()
    girth = 0.86 + 0.5 * rng.random() * rng.random() + 0.08 * rng.random()
    return {
        "age_group": age,
        "height_m": float(min(2.0, max(1.05, height))),
        "shoulder_width": float(max(0.085, shoulder)),
        "hip_width": float(hip),
        "girth": float(girth),
        "leg_length": float(0.50 + 0.03 * rng.random() - (0.03 if age == "child" else 0)),
        "head_size": float((1.22 if age == "child" else 1.0) * (0.97 + 0.1 * rng.random())),
    }


def _sample_head(rng: np.random.Generator, age: str) -> dict[str, Any]:
    skin = pick(rng, {k: 1.0 for k in SKIN})
    has_long_hair = bool(rng.random() < 0.5)
    style = pick(rng, LONG_HAIR if has_long_hair else SHORT_HAIR)
    if age == "senior":
        hair = pick(rng, {"gray": 0.55, "white": 0.45})
    else:
        hair = pick(rng, {"black": 3, "dark brown": 2.5, "brown": 1.8, "auburn": 0.8, "blond": 1.3})
    hat_name, hat_colour = _coloured(rng, COLOUR_WEIGHTS)
    return {
        "skin": skin,
        "skin_colour": vary(rng, SKIN[skin], 6),
        "hair_style": "short" if age == "child" and style == "bald" else style,
        "hair_name": hair,
        "hair_colour": vary(rng, HAIR[hair], 8),
        "has_long_hair": has_long_hair,
        "hat": pick(rng, HATS),
        "hat_name": hat_name,
        "hat_colour": hat_colour,
        "has_glasses": bool(rng.random() < (0.4 if age == "senior" else 0.16)),
    }


def _sample_clothes(rng: np.random.Generator, has_long_hair: bool) -> dict[str, Any]:
    upper_types = {k: v for k, v in UPPER_TYPES.items() if has_long_hair or k != "dress"}
    upper = pick(rng, upper_types)
    upper_name, upper_colour = _coloured(rng, COLOUR_WEIGHTS)
    pattern_name, pattern_colour = _coloured(rng, COLOUR_WEIGHTS, but=upper_name)
    lower_types = {
        k: v for k, v in LOWER_TYPES.items() if has_long_hair or k not in ("skirt", "leggings")
    }
    lower = "dress" if upper == "dress" else pick(rng, lower_types)
    lower_name, lower_colour = _coloured(rng, LOWER_COLOUR_WEIGHTS)
    if upper == "dress":
        lower_name, lower_colour = upper_name, upper_colour
    sleeves = {
        "t-shirt": "short",
        "tank top": "none",
        "dress": pick(rng, {"none": 1, "short": 2, "long": 1}),
    }
    return {
        "upper_type": upper,
        "upper_name": upper_name,
        "upper_colour": upper_colour,
        "upper_pattern": pick(rng, PATTERNS),
        "upper_pattern_name": pattern_name,
        "upper_pattern_colour": pattern_colour,
        "pattern_scale": float(0.75 + 0.6 * rng.random()),
        "sleeve_length": sleeves.get(upper, "long"),
        "inner_colour": _coloured(rng, COLOUR_WEIGHTS, but=upper_name)[1],
        "lower_type": lower,
        "lower_length": "short"
        if lower in ("shorts", "skirt", "dress") and rng.random() < 0.8
        else "long",
        "lower_name": lower_name,
        "lower_colour": lower_colour,
        "lower_pattern": pick(rng, {"plain": 0.8, "side stripe": 0.12, "checks": 0.08}),
        "lower_pattern_colour": _coloured(rng, COLOUR_WEIGHTS, but=lower_name)[1],
    }


def _sample_extras(rng: np.random.Generator) -> dict[str, Any]:
    shoe_name, shoe_colour = _coloured(
        rng,
        {"black": 3, "white": 2.5, "brown": 2, "gray": 1, "red": 0.6, "blue": 0.5, "green": 0.3},
    )
    bag_name, bag_colour = _coloured(rng, COLOUR_WEIGHTS)
    return {
        "shoe_name": shoe_name,
        "shoe_colour": shoe_colour,
        "bag": pick(rng, BAGS),
        "bag_name": bag_name,
        "bag_colour": bag_colour,
    }


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw one identity at random."""
    body = _sample_body(rng)
    head = _sample_head(rng, body["age_group"])
    clothes = _sample_clothes(rng, head["has_long_hair"])
    if clothes["lower_type"] == "shorts":
        clothes["lower_length"] = "short"
    return Identity(**body, **head, **clothes, **_sample_extras(rng))


ALTERATIONS: dict[str, tuple[str, ...]] = {
    "upper": ("upper_name", "upper_colour"),
    "pattern": ("upper_pattern", "upper_pattern_name", "upper_pattern_colour", "pattern_scale"),
    "lower": ("lower_name", "lower_colour"),
    "hair": ("hair_style", "hair_name", "hair_colour", "has_long_hair"),
    "bag": ("bag", "bag_name", "bag_colour"),
    "hat": ("hat", "hat_name", "hat_colour"),
    "shoes": ("shoe_name", "shoe_colour"),
    "skin": ("skin", "skin_colour"),
}
"""Groups of attributes that a near-duplicate may take from somebody else."""


def alter(identity: Identity, rng: np.random.Generator) -> Identity:
    """Return somebody nearly alike: the same, but for one or two groups of attributes.

    The result differs in at least one visible attribute; draws that would change nothing visible
    are repeated.
    """
    while True:
        other = sample_identity(rng)
        groups = rng.permutation(len(ALTERATIONS))[: int(rng.integers(1, 3))]
        names = [name for g in groups for name in list(ALTERATIONS.values())[int(g)]]
        changed = dataclasses.replace(identity, **{name: getattr(other, name) for name in names})
        if changed.upper_type == "dress":
            changed = dataclasses.replace(
                changed, lower_name=changed.upper_name, lower_colour=changed.upper_colour
            )
        if visible_signature(changed) != visible_signature(identity):
            return changed


def visible_signature(identity: Identity) -> tuple[str, ...]:
    """Return the attribute names that an observer can tell apart, leaving out what is hidden."""
    i = identity
    return (
        i.skin, i.hair_style, i.hair_name if i.hair_style != "bald" else "", i.hat,
        i.hat_name if i.hat != "none" else "", i.upper_type, i.upper_name, i.upper_pattern,
        i.upper_pattern_name if i.upper_pattern != "plain" else "", i.lower_type, i.lower_name,
        i.shoe_name, i.bag, i.bag_name if i.bag != "none" else "",
    )  # fmt: skip


def make_identity(seed: int, index: int, near_duplicate_share: float, group_start: int) -> Identity:
    """Return identity ``index`` of a world, whatever else of it was drawn before.

    Args:
        seed: World seed.
        index: Which identity; training and test identities have separate ranges of indices.
        near_duplicate_share: Probability that it is an altered copy of another identity of its
            range.
        group_start: First index of its range; copies are made only of identities in [group_start,
            index).
    """
    rng = make_rng(seed, Stream.IDENTITY, index)
    own = sample_identity(rng)
    if index > group_start and rng.random() < near_duplicate_share:
        # The model is drawn afresh from its own stream, so a copy of a copy copies the first
        # draw: no recursion.
        model = int(rng.integers(group_start, index))
        return alter(sample_identity(make_rng(seed, Stream.IDENTITY, model)), rng)
    return own
