"""``person-search appearances``: who stayed how long before which camera.

Lists the appearances of a gallery, one a line, by their start. With ``--id`` one of them: the one
before and after it at the same camera, who else was there, and every sight of it; with ``--clip``
it is cut out of the footage as a video that a browser plays.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments
from person_search.commands.output import appearance_to_dict, sight_to_dict
from person_search.commands.written_files import check_can_write
from person_search.footage.time_text import FORMS, format_time, parse_time

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import StoredAppearance
    from person_search.people import Match

NONE_FOUND = 1
"""Exit status: there are no appearances, or none that fits."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search appearances``."""
    add_gallery_arguments(parser)
    parser.add_argument(
        "--id", type=int, metavar="N", help="show one appearance, as lists and searches number it"
    )
    parser.add_argument(
        "--clip",
        type=Path,
        metavar="OUT.webm",
        help="with --id: cut it out of the footage, with a box around the person",
    )
    parser.add_argument(
        "--camera", action="append", metavar="NAME", help="only of this camera; repeatable"
    )
    parser.add_argument("--since", metavar="TIME", help=f"only those that end later: {FORMS}")
    parser.add_argument(
        "--until", metavar="TIME", help="only those that begin before; a date counts to its end"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="only those whose best sight has at least this detector score, 0 to 1",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")


def run(args: argparse.Namespace) -> int:
    """Print the appearances; return the exit status.

    Raises:
        ValueError: The gallery cannot be opened or is on a server, there is no such appearance,
            arguments contradict each other, or the footage of a clip has changed.
        OSError: The footage of a clip is gone, or the clip cannot be written.
    """
    from person_search.gallery.index import GalleryIndex

    _check_arguments(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        if args.id is not None:
            return _show_one(index, args)
        found = list(
            index.appearances.within(
                None if args.since is None else parse_time(args.since),
                None if args.until is None else parse_time(args.until, end=True),
                args.camera,
                0.0 if args.min_score is None else args.min_score,
            )
        )
        recorded.use(index, "view stays").showed_stays(found).end()
        if args.json:
            print(json.dumps({"appearances": [_to_dict(one) for one in found]}, indent=2))
        elif found:
            print(_format_list(found))
        else:
            print(
                "no appearance fits" if args.camera or args.since or args.until or args.min_score
                else "no appearances: nothing is linked, as pictures without camera and date are "
                "not; see person-search index --help"
            )  # fmt: skip
    return 0 if found else NONE_FOUND


def _check_arguments(args: argparse.Namespace) -> None:
    filters = [n for n in ("camera", "since", "until", "min_score") if getattr(args, n) is not None]
    if args.id is not None and filters:
        raise ValueError(f"--id shows one appearance; leave out --{filters[0].replace('_', '-')}")
    if args.clip is None:
        return
    if args.id is None:
        raise ValueError("--clip cuts one appearance; say which by --id")
    if args.clip.suffix != ".webm":
        raise ValueError(f"--clip {args.clip}: expected a file ending in .webm")
    check_can_write("--clip", args.clip)


def _show_one(index: "GalleryIndex", args: argparse.Namespace) -> int:
    appearances = index.appearances
    one = appearances.get(args.id)
    before, after = appearances.neighbors(args.id)
    beside, sights = appearances.beside(args.id), appearances.sights(args.id)
    shown = [other for other in (one, before, after, *beside) if other is not None]
    use = recorded.use(index, "view stay" if args.clip is None else "clip")
    use.showed(sights).said(beside=[other.appearance.id for other in shown[1:]]).end()
    if args.json:
        content = {
            **_to_dict(one),
            "before": before and _to_dict(before),
            "after": after and _to_dict(after),
            "beside": [_to_dict(other) for other in beside],
            "sights": [sight_to_dict(sight) for sight in sights],
        }
        print(json.dumps(content, indent=2))
    else:
        print(_format_list([one]))
        for title, some in (("before it", [before]), ("after it", [after]), ("beside it", beside)):
            there = [other for other in some if other is not None]
            print(f"\n{title}:" + (f"\n{_format_list(there)}" if there else " nobody"))
        gone = one.appearance.frames - len(sights)
        note = f" ({gone} more are counted and not kept)" if gone else ""
        print(f"\nsights{note}:\n" + "\n".join(map(_format_sight, sights)))
    if args.clip is not None:
        _write_clip(index, sights, args.clip)
    return 0


def _write_clip(index: "GalleryIndex", sights: "list[Match]", file: Path) -> None:
    from person_search.cases.sources import refuse_changed
    from person_search.drawing.clips import MOST_SECONDS, cut_clip
    from reid_heads.atomic_file import atomic_file, naming_full_disk

    refuse_changed(index, [sight.image for sight in sights])
    clip = cut_clip(sights)
    with naming_full_disk(file), atomic_file(file) as opened:
        opened.write(clip.content)
    cut = "" if clip.is_whole else f", the first {MOST_SECONDS:.0f} s of the stay"
    print(f"wrote {file}: {clip.frames} frames, {clip.seconds:.1f} s{cut}", file=sys.stderr)


def _format_list(some: "list[StoredAppearance]") -> str:
    lines = ["    id  camera    from                 until                frames  best sight"]
    for one in some:
        stay = one.appearance
        lines.append(
            f"{stay.id:6d}  {stay.camera or '-':8s}  {format_time(stay.start):19s}  "
            f"{format_time(stay.end):19s}  {stay.frames:6d}  {one.best.image}"
        )
    return "\n".join(lines)


def _format_sight(sight: "Match") -> str:
    box = " ".join(f"{v:4.0f}" for v in sight.box_xyxy)
    return f"{format_time(sight.timestamp):19s}  {sight.score:5.2f}  {box}  {sight.image}"


def _to_dict(one: "StoredAppearance") -> dict[str, object]:
    return {**(appearance_to_dict(one.appearance) or {}), "best": sight_to_dict(one.best)}
