"""``person-search forget``: remove one person from a gallery, who asked for it.

Removed are all sights of the person that you name, with embeddings, stays, what was judged and said
of them, names and thumbnails; no byte of it is left in the gallery's files. Frames stay, with
everybody else in them, and so do your pictures and videos, which still show the person. Indexed
into another gallery, or after they changed, they are found again. What there is of the person can
be handed over before: person-search export-case --group or --id.
"""

import argparse
import sys
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

IF_STOPPED = (
    "nothing was removed, or all of it: the same command tells which, and removes it; "
    "person-search check --repair removes the bytes of what was"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search forget``."""
    add_gallery_arguments(parser)
    parser.add_argument(
        "--id",
        type=int,
        action="append",
        default=[],
        metavar="N",
        help="an appearance of the person, as lists and searches number it; repeatable",
    )
    parser.add_argument(
        "--group",
        type=int,
        action="append",
        default=[],
        metavar="G",
        help="all appearances of a group that person-search people lists; repeatable",
    )
    parser.add_argument(
        "--person",
        action="append",
        default=[],
        metavar="FRAME#N",
        help="the Nth person that the gallery has in a frame that belongs to no stay, from 1, as "
        "in picture.jpg#2; repeatable",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Remove the person after asking; return the exit status: 0, or 1 if the answer was no.

    Raises:
        ValueError: Nothing says who, the gallery is a server's or does not hold somebody, or
            nobody is there to be asked.
    """
    from person_search.accountability.receipts import write_receipt
    from person_search.gallery.index import GalleryIndex

    people = [parse_person(text) for text in args.person]
    if not (args.id or args.group or people):
        raise ValueError("nothing says who is to be removed; give --id, --group or --person")
    _refuse_server(args.gallery)
    with GalleryIndex.open(args.gallery, args.name) as index:
        stays = list(dict.fromkeys([*args.id, *stays_of_groups(index, args.group)]))
        frames = sum(index.appearances.get(stay).appearance.frames for stay in stays)
        frames += len(people)
        if not args.yes and not _confirm(args.gallery, len(stays), frames):
            print("nothing was removed", file=sys.stderr)
            return 1
        with recorded.use(index, "forget") as use:
            gone = index.appearances.forget(stays, people)
            receipt = write_receipt(
                index,
                "forget",
                use,
                user=recorded.system_user(),
                people=gone.people,
                frames=gone.frames,
                appearances=gone.appearances,
                judgements=gone.judgements,
            )
    print(
        f"removed {gone.people} sights of the person from {gone.frames} frames, "
        f"{gone.appearances} stays and {gone.judgements} judgements; the frames stay without "
        "them. The pictures and videos themselves still show the person; they are yours"
    )
    print(f"receipt {receipt['seq']}:{receipt['hash']}")
    return 0


def _refuse_server(gallery: str) -> None:
    """Refuse a server: it keeps no stays, and knows a person by the place in the frame alone.

    Raises:
        GalleryError: Saying what to do.
    """
    from person_search.gallery.errors import GalleryError
    from person_search.gallery.store import is_address

    if is_address(gallery):
        raise GalleryError(
            f"{gallery} is a server's, out of which no single person can be taken: others in the "
            "frame would take the person's number, by which the log tells who was shown. Remove "
            "the frames that show the person: person-search remove --frames; or keep the gallery "
            "in a file"
        )


def stays_of_groups(index: "GalleryIndex", groups: list[int]) -> list[int]:
    """Return the ids of the appearances of groups.

    Raises:
        GalleryError: There is no such group.
    """
    return [stay.id for group in groups for stay in index.appearances.groups.get(group).appearances]


def parse_person(text: str) -> tuple[str, int]:
    """Read ``FRAME#N``: the name that a frame has in a gallery, and a number from 0.

    Raises:
        ValueError: It is written otherwise.
    """
    from person_search.commands.query_text import absolute_name

    image, _, number = text.rpartition("#")
    if not image or not number.isdigit() or int(number) < 1:
        raise ValueError(f"--person {text!r}: expected FRAME#N, as in picture.jpg#2")
    return absolute_name(image), int(number) - 1


def _confirm(gallery: str, stays: int, frames: int) -> bool:
    """Say what goes and ask.

    Raises:
        ValueError: There is no terminal to ask at.
    """
    what = f"{stays} stays, {frames} sights of the person,"
    if not sys.stdin.isatty():
        raise ValueError(f"this would remove {what} from {gallery}; say --yes to do it")
    print(f"Remove {what} from {gallery} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
