"""Who lives in a drawn town, who goes out with whom, and what they look like in words."""

import dataclasses

import numpy as np

from person_search.synthetic.palette import CLOTHES, Stream, make_rng
from person_search.synthetic.people.identity import Identity, make_identity, sample_identity
from person_search.synthetic.people.pose import Pose
from person_search.synthetic.town.spec import TownSpec

LEAD = 0
"""The identity whom every town has: the only woman in a yellow coat."""


def make_cast(spec: TownSpec) -> list[Identity]:
    """Return the people of a town; the same in any process."""
    cast = [_make_lead(spec.seed)]
    for index in range(1, spec.identities):
        person = make_identity(spec.seed, index, spec.near_duplicate_share, 1)
        if person.upper_name == "yellow":
            # Nobody else is to be taken for her from far away.
            name = "teal"
            is_dress = person.upper_type == "dress"
            person = dataclasses.replace(
                person,
                upper_name=name,
                upper_colour=CLOTHES[name],
                lower_name=name if is_dress else person.lower_name,
                lower_colour=CLOTHES[name] if is_dress else person.lower_colour,
            )
        cast.append(person)
    return cast


def _make_lead(seed: int) -> Identity:
    person = sample_identity(make_rng(seed, Stream.IDENTITY, LEAD))
    return dataclasses.replace(
        person, age_group="adult", height_m=1.7, leg_length=0.51, head_size=1.0, hair_style="long",
        has_long_hair=True, hair_name="black", hair_colour=(34, 28, 28), hat="none",
        upper_type="coat", upper_name="yellow", upper_colour=CLOTHES["yellow"],
        upper_pattern="plain", sleeve_length="long", lower_type="trousers", lower_length="long",
        lower_name="navy", lower_colour=CLOTHES["navy"], lower_pattern="plain",
        bag="shoulder bag", bag_name="black", bag_colour=CLOTHES["black"],
    )  # fmt: skip


def make_circles(spec: TownSpec) -> list[tuple[int, ...]]:
    """Divide the people into circles of friends; the first one is the lead's, of two at least."""
    rng = make_rng(spec.seed, Stream.TOWN, 0)
    weights = np.array(spec.circle_weights) / sum(spec.circle_weights)
    others = (rng.permutation(spec.identities - 1) + 1).tolist()
    circles: list[tuple[int, ...]] = []
    while others:
        count = 1 + int(rng.choice(len(weights), p=weights))
        if not circles:
            circles.append((LEAD, *others[: max(1, count - 1)]))
            others = others[max(1, count - 1) :]
            continue
        circles.append(tuple(others[:count]))
        others = others[count:]
    return circles


def gait_of(spec: TownSpec, index: int) -> Pose:
    """Return how an identity holds itself all day; yaw and phase are those of the moment."""
    rng = make_rng(spec.seed, Stream.TOWN, 1, index)
    arms = (0.0, 0.0, 0.0, 0.0)
    if rng.random() < 0.12:
        arms = (0.0, 30.0, 0.0, 100.0)  # a phone in the right hand
    return Pose(
        yaw=0.0, phase=0.0, stride=float(rng.integers(18, 27)), left_arm=arms[0],
        right_arm=arms[1], left_bend=arms[2], right_bend=arms[3], lean=float(rng.integers(0, 5)),
        head_turn=float(rng.integers(-15, 16)),
    )  # fmt: skip


def look_in_words(person: Identity) -> str:
    """Describe somebody as a witness would, such as "yellow coat, navy trousers, long black hair".

    Only what can be seen is named.
    """
    upper = f"{person.upper_name} {person.upper_type}"
    if person.upper_pattern != "plain":
        upper += f" with {person.upper_pattern_name} {person.upper_pattern}"
    parts = [upper]
    if person.lower_type != "dress":
        parts.append(f"{person.lower_name} {person.lower_type}")
    if person.hat != "none":
        parts.append(f"{person.hat_name} {person.hat}")
    style = "no hair" if person.hair_style == "bald" else f"{person.hair_name} hair"
    parts.append(style if person.hair_style == "bald" else f"{person.hair_style} {style}")
    if person.bag != "none":
        parts.append(f"{person.bag_name} {person.bag}")
    if person.has_glasses:
        parts.append("glasses")
    return ", ".join(parts)
