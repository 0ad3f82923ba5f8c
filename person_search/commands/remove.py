"""``person-search remove``: remove frames, and the people in them, from a gallery.

The picture and video files stay as they are. What several options name must all hold.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments
from person_search.footage.time_text import FORMS, parse_time

if TYPE_CHECKING:
    from person_search.gallery.index import StoredFrame

NUM_SHOWN = 5
IF_STOPPED = (
    "no picture was touched; the same command again removes what is left to remove, and if nothing "
    "is, person-search check --repair removes the bytes of what was"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search remove``."""
    add_gallery_arguments(parser)
    parser.add_argument(
        "--frames",
        nargs="+",
        metavar="FRAME",
        help="picture files, video files with all their frames, or VIDEO#frame=N",
    )
    parser.add_argument("--camera", metavar="NAME", help="frames of this camera")
    parser.add_argument(
        "--until",
        metavar="TIME",
        help=f"frames of a known time up to then; a date counts to its end. {FORMS}",
    )
    parser.add_argument(
        "--missing",
        action="store_true",
        help="frames whose file is no longer there; a disk that is not mounted misses all",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Remove the frames after asking; return the exit status.

    It is 0, also where no frame fits, or 1 if the answer was no.

    Raises:
        ValueError: Nothing says which frames, a frame is not in the gallery, or nobody is there to
            be asked.
    """
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.store import is_address

    fits = make_test(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        total, names = 0, []
        for frame in index.frames():
            total += 1
            if fits(frame):
                names.append(frame.name)
        if not names:
            # As was asked for: a script that runs each night has not failed.
            print(f"no frame fits; all {total} stay")
            return 0
        if not args.yes and not _confirm(sorted(names), total, args.gallery):
            print("nothing was removed", file=sys.stderr)
            return 1
        with recorded.use(index, "remove") as use:
            removed = index.remove(names=names)
            use.said(frames=removed.frames, people=removed.people)
    where = "are no longer in the gallery's files"
    if is_address(args.gallery):
        where = "are no longer found; the server takes them from its files and log in its own time"
    print(
        f"removed {removed.frames} of {total} frames with their {removed.people} people: their "
        f"names, boxes and embeddings {where}. The pictures and videos themselves stay where they "
        "are; they are yours"
    )
    return 0


def make_test(args: argparse.Namespace) -> Callable[["StoredFrame"], bool]:
    """Make the test whether a frame is one of those to remove.

    Raises:
        ValueError: Nothing says which frames, or the time is none.
    """
    from person_search.footage.frames import split_frame_name

    if args.frames is None and args.camera is None and args.until is None and not args.missing:
        raise ValueError(
            "nothing says which frames to remove; give --frames, --camera, --until or --missing"
        )
    wanted = None if args.frames is None else {os.path.abspath(name) for name in args.frames}
    until = None if args.until is None else parse_time(args.until, end=True)

    def fits(frame: "StoredFrame") -> bool:
        file, _ = split_frame_name(frame.name)
        return (
            (wanted is None or frame.name in wanted or file in wanted)
            and (args.camera is None or (frame.camera or "") == args.camera)
            and (until is None or (frame.timestamp is not None and frame.timestamp <= until))
            and not (args.missing and os.path.exists(file))
        )

    return fits


def _confirm(names: list[str], total: int, gallery: str) -> bool:
    """Show what goes and ask.

    Raises:
        ValueError: There is no terminal to ask at.
    """
    for name in names[:NUM_SHOWN]:
        print(f"  {name}", file=sys.stderr)
    if len(names) > NUM_SHOWN:
        print(f"  … and {len(names) - NUM_SHOWN} more", file=sys.stderr)
    count = f"all {total}" if len(names) == total else f"{len(names)} of {total}"
    if not sys.stdin.isatty():
        raise ValueError(f"this would remove {count} frames from {gallery}; say --yes to do it")
    # input() itself would ask on the standard output, which may lead into a file.
    print(f"Remove {count} frames from {gallery}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
