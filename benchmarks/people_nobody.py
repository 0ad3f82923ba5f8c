"""Which groups of drawn towns are nobody, and how they are told, for `benchmarks/people.py`."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from person_search.gallery.index import GalleryIndex
from person_search.gallery.rows import Group

FIRST = 20
"""Of the list, that somebody looks at."""


def measure(path: Path, whose: Mapping[int, int], threshold: float) -> dict[str, int]:
    """Count the groups of people and of nobody that are doubted, and what that does to the list.

    Args:
        path: gallery file; it stays as it is.
        whose: of each appearance by its id, -1 for nobody.
        threshold: groups are joined from this similarity on.

    Returns:
        Counts by name, of groups that were seen in two frames at least; *proposed* are those of
        the second half of the time, when all that is nobody's of the first is called so.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, Path(folder) / "town.db"))
        with GalleryIndex.open(copy) as index:
            groups = index.appearances.groups
            groups.refresh(threshold, anew=True)
            listed = [g for g in groups.all() if g.frames > 1]
            found = _count(listed, whose, "motionless", [bool(g.motionless) for g in listed])
            before = sorted(listed, key=lambda g: (-len(g.appearances), -g.frames, g.number))
            found["first_before"] = sum(_is_nobody(g, whose) for g in before[:FIRST])
            found["first_after"] = sum(_is_nobody(g, whose) for g in listed[:FIRST])
            stays = [one.appearance for one in index.appearances.within()]
            middle = (stays[0].start + max(stay.end for stay in stays)) / 2
            early = [s.id for s in stays if s.start < middle and whose[s.id] < 0]
            groups.call_stays_nobody(early)
            groups.refresh(anew=True)
            later = [g for g in groups.all() if g.frames > 1 and g.appearances[-1].start >= middle]
            found |= _count(later, whose, "proposed", [g.like_nobody is not None for g in later])
    return found


def _count(
    groups: list[Group], whose: Mapping[int, int], name: str, doubted: list[bool]
) -> dict[str, int]:
    nobody = [_is_nobody(group, whose) for group in groups]
    pairs = list(zip(nobody, doubted, strict=True))
    return {
        f"{name}_of_nobody": sum(a and b for a, b in pairs),
        f"{name}_all_nobody": sum(nobody),
        f"{name}_of_people": sum(b and not a for a, b in pairs),
        f"{name}_all_people": len(groups) - sum(nobody),
    }


def _is_nobody(group: Group, whose: Mapping[int, int]) -> bool:
    sights = sum(one.frames for one in group.appearances if whose[one.id] < 0)
    return 2 * sights > group.frames


def write(rows: list[dict]) -> list[str]:
    """Write the table."""
    lines = [
        "\n## Nobody\n",
        "Groups that were seen in two frames at least; of nobody: of most of their sights. "
        "*motionless*: `people` lists them last.\n*first 20*: how many of the first twenty groups "
        "of the list are of nobody, without and with that. *same place and look*: of\nthe groups "
        "of the second half of the time, when all stays of nobody that begin in the first are "
        "called so: those that\n`people` proposes. All people of these towns walk; such as sit or "
        "sleep may be taken for motionless.\n",
        "| town | motionless of nobody's | motionless of people's | of nobody in the first 20 | "
        "same place and look, of nobody's | of people's |\n|---|---|---|---|---|---|",
    ]
    keys = [key for key in rows[0] if key != "town"]
    total = {"town": "all", **{key: sum(row[key] for row in rows) for key in keys}}
    for row in (*rows, total):
        cells = [
            f"{row[f'{name}_of_{who}']} of {row[f'{name}_all_{who}']}"
            for name in ("motionless", "proposed")
            for who in ("nobody", "people")
        ]
        cells.insert(2, f"{row['first_before']}, then {row['first_after']}")
        lines.append(f"| {row['town']} | {' | '.join(cells)} |")
    return lines
