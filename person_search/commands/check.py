"""``person-search check``: read a gallery file row by row, and repair it.

Every row is compared with the checksum it was written with. Others may use the gallery meanwhile,
unless there is something to repair.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded

if TYPE_CHECKING:
    from person_search.gallery.verifying import CheckReport

NUM_SHOWN = 20
IF_STOPPED = (
    "nothing was changed, or with --repair nothing by halves; the same command starts again"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search check``."""
    parser.add_argument("gallery", metavar="G", help="file ending in .db")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="remove damaged frames, so that index adds them again, and derive anew what can be; "
        "also leaves no byte of what was removed in the file",
    )


def run(args: argparse.Namespace) -> int:
    """Check the gallery; return the exit status: 0, or 1 where something is wrong and stays so.

    Raises:
        GalleryError: It cannot be opened.
    """
    from person_search.gallery.checking import check_gallery_file
    from person_search.gallery.store import refuse_address

    refuse_address(args.gallery)
    report = _repair(args.gallery) if args.repair else check_gallery_file(Path(args.gallery))
    for problem in report.problems[:NUM_SHOWN]:
        print(f"wrong: {problem}")
    if len(report.problems) > NUM_SHOWN:
        print(f"… and {len(report.problems) - NUM_SHOWN} more")
    for done in report.repaired:
        print(f"repaired: {done}")
    if report.missing:
        print(
            f"note: the files of {len(report.missing)} frames are not on the disk, such as "
            f"{report.missing[0]}; the gallery holds their people all the same"
        )
    frames, people = report.stored
    print(
        f"{args.gallery}: {frames} frames with {people} people are as they were stored, "
        f"{len(report.problems)} things {'were ' if report.repaired else ''}wrong"
    )
    if report.problems and not args.repair:
        print("to repair what can be derived: person-search check --repair, after a backup")
    return 1 if report.problems and not report.repaired else 0


def _repair(gallery: str) -> "CheckReport":
    """Repair a gallery file, and tell its log, which must be writable before.

    What is damaged may not open as a gallery: the log is told afterwards.

    Raises:
        GalleryError: It cannot be opened at all, or not be repaired, or the log not be written.
    """
    from person_search.accountability.activity_log import OFF
    from person_search.accountability.chain_file import ChainFile
    from person_search.accountability.places import log_file
    from person_search.accountability.uses import now
    from person_search.gallery.checking import check_gallery_file
    from person_search.gallery.index import GalleryIndex, list_galleries

    start, log = now(), ChainFile(log_file(gallery))
    last = log.last()
    if last is not None and last["action"] != OFF:
        log.check_writable()
    report = check_gallery_file(Path(gallery), repair=True)
    for name in list_galleries(gallery)[:1]:
        with GalleryIndex.open(gallery, name) as index, recorded.use(index, "repair") as use:
            frames, people = report.stored
            use.said(start=start, problems=len(report.problems), frames=frames, people=people)
    return report
