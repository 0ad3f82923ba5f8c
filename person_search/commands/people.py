"""``person-search people``: who was here, how often, when and with whom, without a query.

Groups the appearances of a gallery by look, and lists the groups. How similar appearances of one
person are, says the model's calibration; the gallery keeps it. What you say of groups counts for
ever, whatever is added: ``name 3 Anna``, ``merge 3 7``, ``split 3 12 14`` (appearances 12 and 14
become a new group), ``move 12 3``, ``move 12 out``, ``undo``; ``show 3`` lists one group's
appearances. ``nobody 5 8`` says that groups are not people but benches or signs, which hides them
everywhere; ``somebody 5`` takes that back. A group is a look, not a proven identity.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from person_search.commands import recorded
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_model_arguments,
    check_model_arguments,
    load_finder,
)
from person_search.commands.output import appearance_to_dict, sight_to_dict
from person_search.footage.time_text import format_time

if TYPE_CHECKING:
    from person_search.gallery.groups import GalleryGroups
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import Group

NONE_FOUND = 1
"""Exit status: there are no groups to list, or there is nothing to undo."""
MOST_COMPANY = 3
"""Groups that are listed as somebody's company."""
A_LOOK = "A group is a look, not a proven identity: the same clothes may be other people."
IF_STOPPED = "what was said of groups before stays; the same command groups the rest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search people``."""
    parser.add_argument(
        "action",
        nargs="*",
        metavar="ACTION",
        help="show G, name G NAME (an empty NAME takes it), merge G G …, split G APPEARANCE …, "
        "move APPEARANCE … G|out, nobody G …, somebody G …, or undo; default: list the groups",
    )
    add_gallery_arguments(parser)
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="join groups of at least this mean similarity, -1..1: a lower one gives fewer and "
        "larger ones. Default: as last time, at first the model's calibrated one",
    )
    parser.add_argument(
        "--across-days",
        action=argparse.BooleanOptionalAction,
        help="group people from one day to the next, too (local dates), though clothes change; "
        "default: as last time, at first each day by itself",
    )
    parser.add_argument(
        "--anew",
        action="store_true",
        help="group at once whatever nobody has named or moved, as if all had been there before",
    )
    parser.add_argument(
        "--all", action="store_true", help="list those, too, who were seen in one frame only"
    )
    parser.add_argument(
        "--nobody",
        action="store_true",
        help="list the groups that were called nobody, in place of the others",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Group what is in no group, do what was asked, and print; return the exit status.

    Raises:
        ValueError: The gallery cannot be opened or is on a server, there is no such group, nothing
            says how similar is similar enough, or the action is none.
        OSError: A file of the model is missing.
    """
    from person_search.gallery.index import GalleryIndex

    check_model_arguments(args)
    act = parse_action(args.action)
    if act is not None and args.nobody:
        raise ValueError("--nobody lists groups; leave it out to act on one")
    with GalleryIndex.open(args.gallery, args.name) as index:
        groups = index.appearances.groups
        count = groups.refresh(
            _threshold(index, args), across_days=args.across_days, anew=args.anew
        )
        if count and not args.json:
            print(f"grouped {count} appearances", file=sys.stderr)
        if act is not None:
            return _do(index, act, args)
        found = groups.all(nobody=args.nobody)
        recorded.use(index, "view people").said(groups=len(found)).end()
        if args.json:
            print(groups_to_json(index, found))
        elif args.nobody:
            print(format_groups(found, True) if found else "no group was called nobody")
        else:
            print(format_groups(found, args.all, len(groups.all(nobody=True))))
    return 0 if found else NONE_FOUND


def _do(index: "GalleryIndex", act: "Act", args: argparse.Namespace) -> int:
    """Do an action, tell the log, and print what came of it."""
    # Not the name that a group is given: names stay out of the log.
    words = args.action[:2] if args.action[0] == "name" else args.action
    with recorded.use(index, f"people {words[0]}") as use:
        use.said(words=words[1:])
        status, text, shown = act(index.appearances.groups, args.json)
        use.showed_stays([index.appearances.get(stay) for stay in shown])
    print(text)
    return status


def _threshold(index: "GalleryIndex", args: argparse.Namespace) -> float | None:
    """Return what was given, None for that of last time, or the model's.

    Raises:
        ValueError: Nothing says it, or the model is not the gallery's.
    """
    if args.threshold is not None:
        return float(args.threshold)
    if index.appearances.groups.options is not None:
        return None
    finder = load_finder(args)
    if finder.fingerprint != index.fingerprint:
        raise ValueError(
            f"the gallery was made with model {index.fingerprint[:12]}, and the calibration is "
            f"that of model {finder.fingerprint[:12]}; choose the gallery's by --model, or say "
            "--threshold"
        )
    if finder.threshold is None:
        raise ValueError(
            "the model is not calibrated, so that nothing says how similar appearances of one "
            "person are; say --threshold, or see person-search calibrate --help"
        )
    return float(finder.threshold)


class Outcome(NamedTuple):
    """What came of an action."""

    status: int
    """Of the command."""

    text: str
    """To print."""

    shown: Sequence[int] = ()
    """Ids of the stays that it shows."""


Act = Callable[["GalleryGroups", bool], Outcome]


def parse_action(words: list[str]) -> Act | None:
    """Return what does an action; None for none.

    Raises:
        ValueError: It is none, or has too few words or others.
    """
    match words:
        case []:
            return None
        case ["show", group]:
            return _showing(_number(group))
        case ["name", group, *name] if name:
            number, said = _number(group), " ".join(name)
            return _telling(lambda g: g.name(number, said))
        case ["merge", first, second, *more]:
            numbers = [_number(text) for text in (first, second, *more)]
            return _telling(lambda g: g.merge(numbers))
        case ["split", group, *some] if some:
            number, stays = _number(group), [_number(text) for text in some]
            return _telling(lambda g: g.split(number, stays))
        case ["move", stay, *more, where]:
            moved = [_number(text) for text in (stay, *more)]
            target = None if where == "out" else _number(where)
            return _telling(lambda g: g.move(moved, target))
        case ["nobody" | "somebody" as verdict, group, *more]:
            called = [_number(text) for text in (group, *more)]
            return _calling(called, verdict == "nobody")
        case ["undo"]:
            return _undo
    raise ValueError(
        f"got {' '.join(words)!r}; expected show G, name G NAME, merge G G …, split G APPEARANCE "
        "…, move APPEARANCE … G, move APPEARANCE … out, nobody G …, somebody G …, or undo"
    )


def _number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"got {text!r}; expected a number, as lists give it")
    return int(text)


def _telling(act: Callable[["GalleryGroups"], int]) -> Act:
    """Do something, and show the group that came of it."""

    def do(groups: "GalleryGroups", as_json: bool) -> Outcome:
        return _showing(act(groups))(groups, as_json)

    return do


def _showing(number: int) -> Act:
    def do(groups: "GalleryGroups", as_json: bool) -> Outcome:
        group = groups.get(number)
        text = json.dumps(_to_dict(group), indent=2) if as_json else format_group(group)
        return Outcome(0, text, [stay.id for stay in group.appearances])

    return do


def _calling(numbers: list[int], is_nobody: bool) -> Act:
    """Say whether groups are people, and say how it is from then on."""

    def do(groups: "GalleryGroups", as_json: bool) -> Outcome:
        groups.call_nobody(numbers, is_nobody)
        called = [groups.get(number) for number in dict.fromkeys(numbers)]
        if as_json:
            return Outcome(0, json.dumps({"groups": [_to_dict(g) for g in called]}, indent=2))
        what = "not a person, and hidden" if is_nobody else "a person, and listed"
        return Outcome(0, "\n".join(f"group {group.number} is {what}" for group in called))

    return do


def _undo(groups: "GalleryGroups", as_json: bool) -> Outcome:
    done = groups.undo()
    text = "there is nothing to undo" if done is None else f"undone: {done}"
    return Outcome(NONE_FOUND * (done is None), json.dumps({"undone": done}) if as_json else text)


def format_groups(found: "list[Group]", with_all: bool, hidden: int = 0) -> str:
    """Write a table of groups, and what to make of it.

    Args:
        found: The groups.
        with_all: Whether to list those, too, who were seen in one frame only.
        hidden: How many groups were called nobody.
    """
    shown = [group for group in found if with_all or group.frames > 1 or group.is_said]
    if not found and not hidden:
        return "nobody: the gallery has no appearances; see person-search appearances --help"
    # What is probably not a person is nobody's company.
    names = {g.number: g.name or str(g.number) for g in shown if not g.is_doubtful}
    lines = [f" group  {'name':12s}  times  frames  {'first':19s}  {'last':19s}  cameras; with"]
    for group in shown:
        company = [f"{names[n]} ({count})" for n, count in group.company if n in names]
        more = f" and {len(company) - MOST_COMPANY} more" if len(company) > MOST_COMPANY else ""
        beside = "; " + ", ".join(company[:MOST_COMPANY]) + more if company else ""
        cameras = ", ".join(name or "-" for name in group.cameras)
        lines.append(
            f"{group.number:6d}  {group.name or '-':12s}  {len(group.appearances):5d}  "
            f"{group.frames:6d}  {format_time(group.appearances[0].start):19s}  "
            f"{format_time(max(a.end for a in group.appearances)):19s}  {cameras}{beside}"
            f"{_doubt(group)}"
        )
    if len(shown) < len(found):
        lines.append(
            f"{len(found) - len(shown)} more were seen in one frame only; --all lists them"
        )
    if any(group.is_doubtful for group in shown):
        lines.append("The last ones are probably not people; say so by: people nobody GROUP …")
    if hidden:
        lines.append(f"{hidden} groups were called nobody; --nobody lists them")
    return "\n".join([*lines, A_LOOK])


def _doubt(group: "Group") -> str:
    """Say why a group is probably not a person; "" where nothing says so."""
    reasons = [f"motionless: {group.motionless}"] if group.motionless else []
    if group.like_nobody is not None:
        reasons.append(f"same place and look as group {group.like_nobody}, which is nobody")
    return f"; {', '.join(reasons)}" if reasons else ""


def format_group(group: "Group") -> str:
    """Write one group with its appearances."""
    lines = [
        f"group {group.number}{f', {group.name}' if group.name else ''}",
        "    id  camera    from                 until                frames",
    ]
    lines += [
        f"{stay.id:6d}  {stay.camera or '-':8s}  {format_time(stay.start):19s}  "
        f"{format_time(stay.end):19s}  {stay.frames:6d}"
        for stay in group.appearances
    ]
    return "\n".join([*lines, A_LOOK])


def groups_to_json(index: "GalleryIndex", found: "list[Group]") -> str:
    """Write all groups as one JSON object; docs/appearances.md describes it."""
    options = index.appearances.groups.options
    return json.dumps(
        {
            "threshold": options and options.threshold,
            "across_days": options and options.across_days,
            "groups": [
                {
                    **_to_dict(group),
                    "best": sight_to_dict(index.appearances.get(group.best).best),
                }
                for group in found
            ],
        },
        indent=2,
    )


def _to_dict(group: "Group") -> dict[str, object]:
    return {
        "number": group.number,
        "name": group.name or None,
        "is_said": group.is_said,
        "is_nobody": group.is_nobody,
        "motionless": group.motionless or None,
        "like_nobody": group.like_nobody,
        "appearances": [appearance_to_dict(one) for one in group.appearances],
        "company": [{"number": number, "times": count} for number, count in group.company],
    }
