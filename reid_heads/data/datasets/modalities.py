"""The modality of crops, visible or thermal, and what training across the two needs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reid_heads.labels import THERMAL, VISIBLE

_NAMES = {VISIBLE: "visible", THERMAL: "thermal (or infrared)"}


def add_modality(
    dicts: list[dict[str, Any]], thermal_cam_ids: Collection[int]
) -> list[dict[str, Any]]:
    """Return copies of dataset dicts with ``modality`` by camera."""
    return [
        {**entry, "modality": THERMAL if entry["cam_id"] in thermal_cam_ids else VISIBLE}
        for entry in dicts
    ]


def check_modalities(crops: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that every person of a training set is seen in both modalities.

    Args:
        crops: dataset dicts; those without ``modality`` are visible.

    Raises:
        ValueError: if all crops are of one modality, or all those of a person; names the person
            and one of the images.
    """
    first: dict[int, dict[int, Mapping[str, Any]]] = {}
    for crop in crops:
        first.setdefault(crop["person_id"], {}).setdefault(crop.get("modality", VISIBLE), crop)
    for modality, name in _NAMES.items():
        if not any(modality in seen for seen in first.values()):
            raise ValueError(
                f"none of the {len(crops)} training crops is {name}; training across modalities "
                f"needs both: is the data set unpacked completely?"
            )
    for person, seen in first.items():
        for modality, name in _NAMES.items():
            if modality not in seen:
                image = next(iter(seen.values()))["file_name"]
                raise ValueError(
                    f"no training crop of person {person} (of {image}) is {name}; every person "
                    f"must be seen in both modalities: add images of it, or take it out"
                )
