"""Whose face it is: everything that stays the same over pose, light and expression.

Lengths are in widths of an aligned face (112 pixels), in the face's own frame: x to the right of
the picture, y up, (0, 0) the middle of the head, 0.155 below the eyes.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.palette import (
    CLOTHES,
    HAIR,
    SKIN,
    Colour,
    Stream,
    make_rng,
    mix,
    pick,
    vary,
)

HAIR_STYLES = {
    "short": 0.2, "side parting": 0.16, "fringe": 0.14, "long": 0.14, "middle parting": 0.1,
    "slick": 0.08, "curly": 0.08, "buzz": 0.06, "receding": 0.06, "bald": 0.05,
}  # fmt: skip
BEARDS = {"none": 0.62, "stubble": 0.12, "full": 0.1, "moustache": 0.08, "goatee": 0.08}
GLASSES = {"none": 0.72, "round": 0.1, "square": 0.11, "half": 0.07}
_HAIR_WEIGHTS = {"black": 3.0, "dark brown": 2.5, "brown": 1.8, "auburn": 0.8, "blond": 1.3}
_IRISES: dict[str, Colour] = {
    "brown": (82, 52, 32), "dark": (44, 32, 26), "hazel": (120, 92, 50), "green": (88, 118, 84),
    "blue": (88, 128, 168), "gray": (122, 134, 142),
}  # fmt: skip
_IRIS_WEIGHTS = {"brown": 3.0, "dark": 2.5, "hazel": 1.0, "green": 0.8, "blue": 1.4, "gray": 0.7}


@dataclass(frozen=True)
class FaceShape:
    """The measures of a face; what near-duplicates mix."""

    width: float
    """Half width at the cheeks."""
    jaw: float
    """Width at the corners of the jaw, relative to the cheeks."""
    chin: float
    """Width just above the chin, relative to the cheeks."""
    chin_y: float
    forehead: float
    """Width at the temples, relative to the cheeks."""
    hairline: float
    """y where the hair begins in the middle."""
    eye_x: float
    """Half the distance of the eyes."""
    eye_width: float
    """Half the width of an eye."""
    eye_height: float
    """Of the upper lid above the line of the corners; the lower one has 0.55 of it."""
    eye_tilt: float
    """y of the outer corner above the inner one."""
    brow_y: float
    """Height of the brows above the eyes."""
    brow_arch: float
    brow_tilt: float
    brow_weight: float
    """Thickness of the brows."""
    nose_y: float
    """y of the tip."""
    nose_width: float
    """Half the width at the wings."""
    nose_length: float
    """How far the tip stands out."""
    mouth_y: float
    mouth_width: float
    """Half the width."""
    upper_lip: float
    lower_lip: float
    mouth_bow: float
    """Depth of the dent of the upper lip, relative to the lip."""
    ear: float
    """How far the ears stand off."""
    cheek: float
    """How much the cheekbones show, 0..1."""


_MEANS_AND_SPREADS = {
    "width": (0.335, 0.022), "jaw": (0.82, 0.06), "chin": (0.44, 0.08), "chin_y": (-0.405, 0.025),
    "forehead": (0.92, 0.04), "hairline": (0.395, 0.03), "eye_x": (0.157, 0.009),
    "eye_width": (0.066, 0.006), "eye_height": (0.030, 0.007), "eye_tilt": (0.004, 0.009),
    "brow_y": (0.080, 0.012), "brow_arch": (0.020, 0.010), "brow_tilt": (0.004, 0.012),
    "brow_weight": (0.022, 0.007), "nose_y": (-0.025, 0.020), "nose_width": (0.072, 0.012),
    "nose_length": (0.125, 0.025), "mouth_y": (-0.205, 0.016), "mouth_width": (0.128, 0.015),
    "upper_lip": (0.027, 0.008), "lower_lip": (0.038, 0.010), "mouth_bow": (0.35, 0.18),
    "ear": (0.035, 0.014), "cheek": (0.5, 0.25),
}  # fmt: skip


@dataclass(frozen=True)
class FaceIdentity:
    """One person's face, with every attribute named; colours are RGB 0..255."""

    shape: FaceShape
    skin: str
    skin_colour: Colour
    age: float
    """0 young .. 1 old: lines, grey hair."""
    lip_colour: Colour
    iris: str
    iris_colour: Colour
    hair_style: str
    hair_name: str
    hair_colour: Colour
    parting: float
    """Side of the parting, -1 or 1."""
    beard: str
    glasses: str
    glasses_colour: Colour
    moles: tuple[tuple[float, float], ...]
    """(x, y) of each."""
    freckles: int


def make_face(seed: int, index: int, near_duplicate_share: float, group_start: int) -> FaceIdentity:
    """Return the face of identity ``index``, whatever else was drawn before.

    Args:
        seed: Of the set.
        index: Which identity; training and test identities have separate ranges of indices.
        near_duplicate_share: Probability that it resembles another one of its range.
        group_start: First index of its range; models are taken from [group_start, index).
    """
    rng = make_rng(seed, Stream.FACE, index)
    own = sample_face(rng)
    if index > group_start and rng.random() < near_duplicate_share:
        # Drawn afresh from its own stream: a copy of a copy copies the first draw.
        model = sample_face(make_rng(seed, Stream.FACE, int(rng.integers(group_start, index))))
        return resemble(own, model)
    return own


def resemble(face: FaceIdentity, model: FaceIdentity) -> FaceIdentity:
    """Return a face that is hard to tell from the model: alike in colours, half-way in shape."""
    shape = FaceShape(
        **{
            field.name: (getattr(face.shape, field.name) + getattr(model.shape, field.name)) / 2
            for field in dataclasses.fields(FaceShape)
        }
    )
    return dataclasses.replace(
        model, shape=shape, iris=face.iris, iris_colour=face.iris_colour, moles=face.moles
    )


def sample_face(rng: np.random.Generator) -> FaceIdentity:
    """Draw a face."""
    measures = {
        name: float(mean + spread * max(-2.2, min(2.2, rng.standard_normal())))
        for name, (mean, spread) in _MEANS_AND_SPREADS.items()
    }
    shape = dataclasses.replace(
        FaceShape(**measures),
        brow_weight=max(0.010, measures["brow_weight"]),
        upper_lip=max(0.010, measures["upper_lip"]),
    )
    skin = pick(rng, {name: 1.0 for name in SKIN})
    skin_colour = vary(rng, SKIN[skin], 8)
    age = float(rng.random())
    fair = {"blond": 3.0, "auburn": 2.0} if skin in ("porcelain", "light") else {}
    dark = {"blond": 0.0, "auburn": 0.1, "brown": 0.4} if skin in ("brown", "dark") else {}
    hair = pick(rng, _HAIR_WEIGHTS | fair | dark)
    if age > 0.8 and rng.random() < 0.8:
        hair = pick(rng, {"gray": 0.6, "white": 0.4})
    style = pick(rng, HAIR_STYLES)
    has_beard = style not in ("long", "middle parting", "fringe") or rng.random() < 0.3
    beard = pick(rng, BEARDS) if has_beard else "none"
    iris = pick(rng, {"brown": 1.0, "dark": 2.0} if dark else _IRIS_WEIGHTS)
    frame = pick(rng, {"black": 2.0, "brown": 1.0, "red": 0.3, "navy": 0.6, "gray": 0.8})
    moles = [
        (float(0.5 * rng.random() - 0.25), float(0.5 * rng.random() - 0.3))
        for _ in range(int(rng.integers(0, 3)))
    ]
    return FaceIdentity(
        shape=shape,
        skin=skin,
        skin_colour=skin_colour,
        age=age,
        lip_colour=mix(
            skin_colour, vary(rng, (176, 70, 74), 16), 0.35 + 0.35 * float(rng.random())
        ),
        iris=iris,
        iris_colour=vary(rng, _IRISES[iris], 8),
        hair_style=style,
        hair_name=hair,
        hair_colour=vary(rng, HAIR[hair], 12),
        parting=1.0 if rng.random() < 0.5 else -1.0,
        beard=beard,
        glasses=pick(rng, GLASSES),
        glasses_colour=vary(rng, CLOTHES[frame], 8),
        moles=tuple(moles),
        freckles=int(rng.integers(10, 26)) if fair and rng.random() < 0.25 else 0,
    )
