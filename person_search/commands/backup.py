"""``person-search backup``: copy a gallery file as it is at one moment, while others use it.

A copy by other programs misses what lies in the files beside it.
"""

import argparse
from pathlib import Path

from person_search.commands import recorded

IF_STOPPED = "no copy was made; the same command starts again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search backup``."""
    parser.add_argument("gallery", metavar="G", help="file ending in .db")
    parser.add_argument("target", metavar="COPY", help="file to make, ending in .db")


def run(args: argparse.Namespace) -> int:
    """Copy the gallery; return the exit status 0.

    Raises:
        GalleryError: It cannot be opened or is damaged, or the copy cannot be written.
    """
    from person_search.gallery.checking import back_up
    from person_search.gallery.index import GalleryIndex, list_galleries
    from person_search.gallery.store import refuse_address

    refuse_address(args.gallery)
    for name in list_galleries(args.gallery)[:1]:
        with GalleryIndex.open(args.gallery, name) as index:
            recorded.use(index, "backup").end()
    frames, people = back_up(Path(args.gallery), Path(args.target))
    print(f"{args.target}: {frames} frames with {people} people, each read back from the copy")
    return 0
