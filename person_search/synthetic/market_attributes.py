"""Market-1501's attribute labels (Lin et al., 2017) of drawn identities.

The names, values and layout are those of the official ``market_attribute.mat``: 27 attributes of
uint8 and ``image_index``. Yes-or-no attributes are 1 for no and 2 for yes; ``hair`` is 1 short and
2 long; ``up`` and ``down`` are 1 for long and 2 for short sleeves and legs; ``clothes`` is 1 for a
dress or skirt and 2 for trousers of any kind.

Two attributes name what a drawing cannot have; they stand for drawn properties and nothing else:

- ``gender`` is 2 where two of these three hold: narrow shoulders (less than 1.28 times as wide as
  the hips), long hair, a dress, skirt or leggings; else 1.
- ``age`` is 1 for a child's body (a large head), 4 for a senior (gray or white hair), and for other
  adults 2 (teenager) where the build is slim (girth below 0.95) and 3 where it is not.

All others are what is painted, hidden or not: a backpack counts from the front too, as it did for
those who labelled the real set. ``bag`` is the bag on a strap across the body.
"""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from person_search.synthetic.people.identity import Identity

UPPER_COLOURS = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
LOWER_COLOURS = (
    "black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown",
)  # fmt: skip
_SAME_AS = {"navy": "blue"}
"""Drawn colours that Market-1501 has under another name. Those without counterpart (orange, teal,
beige; above also pink and brown; below also red) flag none, as do some people of the real set."""

_BASE = ("age", "backpack", "bag", "handbag")
_SHAPES = ("clothes", "down", "up", "hair", "hat", "gender")
FIELDS = {
    "train": (
        *_BASE,
        *(f"down{c}" for c in sorted(LOWER_COLOURS)),
        *(f"up{c}" for c in ("black", "blue", "green", "gray", "purple", "red", "white", "yellow")),
        *_SHAPES,
    ),
    "test": (
        *_BASE,
        *_SHAPES,
        *(f"up{c}" for c in UPPER_COLOURS),
        *(f"down{c}" for c in LOWER_COLOURS),
    ),
}
"""Order of the attributes in the structures of the real file; it differs between the two."""


def market_attributes(identity: Identity) -> dict[str, int]:
    """Return the 27 attributes of an identity with the values of the official file."""
    i = identity
    wears_skirt = i.lower_type in ("dress", "skirt")
    votes = (
        i.shoulder_width < 1.28 * i.hip_width,
        i.has_long_hair,
        wears_skirt or i.lower_type == "leggings",
    )
    values = {
        "age": _age(i),
        "backpack": _yes(i.bag == "backpack"),
        "bag": _yes(i.bag == "shoulder bag"),
        "handbag": _yes(i.bag == "handbag"),
        "clothes": 1 if wears_skirt else 2,
        "down": 1 if i.lower_length == "long" else 2,
        "up": 1 if i.sleeve_length == "long" else 2,
        "hair": _yes(i.has_long_hair),
        "hat": _yes(i.hat != "none"),
        "gender": _yes(sum(votes) >= 2),
    }
    upper = _SAME_AS.get(i.upper_name, i.upper_name)
    lower = _SAME_AS.get(i.lower_name, i.lower_name)
    values |= {f"up{c}": _yes(c == upper) for c in UPPER_COLOURS}
    values |= {f"down{c}": _yes(c == lower) for c in LOWER_COLOURS}
    return values


def _yes(holds: bool) -> int:
    return 2 if holds else 1


def _age(identity: Identity) -> int:
    if identity.age_group == "child":
        return 1
    if identity.age_group == "senior":
        return 4
    return 2 if identity.girth < 0.95 else 3


def write_market_attributes(path: Path, people: dict[str, dict[int, Identity]]) -> None:
    """Write ``market_attribute.mat``.

    Args:
        path: The file.
        people: For ``train`` and ``test`` the identities by person number.
    """
    structs = {}
    for split in ("test", "train"):
        pids = sorted(people[split])
        rows = [market_attributes(people[split][pid]) for pid in pids]
        struct = {name: np.array([[row[name] for row in rows]], np.uint8) for name in FIELDS[split]}
        names = np.empty((1, len(pids)), object)
        names[0] = [f"{pid:04d}" for pid in pids]
        structs[split] = struct | {"image_index": names}
    savemat(path, {"market_attribute": structs}, do_compression=True)
