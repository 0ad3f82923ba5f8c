"""``person-search index``: add folders, pictures and videos to a gallery.

Files that are in the gallery already are skipped, so the same command again goes on where it was
stopped. Broken files are listed and skipped.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_min_score_argument,
    add_model_arguments,
    check_model_arguments,
    load_finder,
)
from person_search.commands.workers import Workers
from person_search.footage.time_text import YEAR, parse_time

if TYPE_CHECKING:
    from person_search.footage.files import FootageOptions, Frame
    from person_search.gallery.add_footage import IndexReport
    from person_search.people import People

IF_STOPPED = "what was indexed stays; the same command again goes on from here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search index``."""
    parser.add_argument(
        "footage", nargs="+", metavar="FOLDER|VIDEO|IMAGE", help="folders with all below them"
    )
    add_gallery_arguments(parser)
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--camera", metavar="NAME", help="the camera of everything given")
    camera.add_argument(
        "--camera-from",
        default="none",
        metavar="folder|REGEX",
        help="name cameras by the folder that a file is in, or by the group of a regular "
        "expression searched in its path, as in 'cam(\\d+)'",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="S",
        help="take a frame of a video every S seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--start",
        metavar="DATE",
        help="when the first frame of the video was taken, such as 2024-05-31T14:00:00; local "
        "time unless it ends with an offset. Default: times count from the start of each video",
    )
    parser.add_argument(
        "--time-from",
        metavar="none|exif|modified|name[:PATTERN]",
        default="none",
        help="when pictures were taken: unknown, by their EXIF data, when the file was last "
        "changed, or by a time in the file's name such as 2024-05-31_14-00-00, which holds for "
        "the start of videos too; name:PATTERN says how it is written, as in "
        "'name:%%d%%m%%y-%%H%%M%%S' or 'name:%%s', seconds since 1970 (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=4,
        metavar="N",
        help="pictures that go through the model together (default: %(default)s)",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE|FOLDER",
        help="take the boxes of people from COCO JSON, or from MOT text (gt.txt, det.txt, or a "
        "folder of sequences), and only embed them; frames of which it says nothing are left out",
    )
    parser.add_argument(
        "--keep-best",
        type=int,
        metavar="N",
        help="at the end, of each stay that has ended in this gallery, keep its first and its last "
        "person and N of the others that show the person best; the stay's times and number of "
        "frames stay true. Default: everybody",
    )
    add_min_score_argument(parser, "; files that are in the gallery already stay as they are")
    parser.add_argument(
        "--approximate",
        metavar="KIND[,KEY=N]",
        help="make a gallery of a Milvus server with an approximate index, HNSW or IVF_FLAT, for "
        "example IVF_FLAT,nlist=1024. Default: exact, as a gallery in a file always is",
    )
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Index the footage and say what was done.

    Returns:
        The exit status: 1 if more was broken than could be read, else 0.

    Raises:
        ValueError: An argument is wrong, or the gallery belongs to another model.
        OSError: A path does not exist, or the gallery cannot be written.
    """
    from person_search.footage.files import FootageOptions, check_start
    from person_search.footage.listing import Listed, list_files
    from person_search.formats.boxes import open_boxes
    from person_search.gallery.add_footage import IndexReport, index_footage, link_people
    from person_search.gallery.index import GalleryIndex

    workers = Workers.from_environment()
    approximate = parse_approximate(args.approximate)
    options = FootageOptions(
        camera=args.camera,
        camera_from=args.camera_from,
        every=args.every,
        start=None if args.start is None else parse_time(args.start),
        time_from=args.time_from,
    )
    check_model_arguments(args)
    _check_gallery(args.gallery)
    _check_keep_best(args.keep_best, args.gallery)
    listed = list_files(args.footage)
    footage = listed.files
    check_start(footage, options)
    boxes = None
    if args.boxes is not None:
        boxes = open_boxes(args.boxes, footage, min_score=args.min_score)
    files = workers.take_share(footage)
    finder = load_finder(args, workers.choose_device(), args.min_score)
    workers.connect()
    # The first one makes the gallery before the others open it.
    if not workers.is_first:
        workers.wait()
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(
            GalleryIndex.open_or_create(
                args.gallery,
                args.name,
                fingerprint=finder.fingerprint,
                embedding_dim=finder.embedding_dim,
                approximate=approximate,
                card=finder.card,
            )
        )
        use = None
        if workers.is_first:
            recorded.begins(index, "import", files=len(footage))
            use = stack.enter_context(recorded.use(index, "import"))
        if workers.is_first:
            workers.wait()
        report, without_time = IndexReport(), WithoutTime(options)
        if files:
            report = index_footage(
                index,
                finder,
                Listed(files, []),
                options,
                batch_size=args.batch_size,
                progress=workers.is_first,
                link=workers.count == 1,
                boxes=boxes,
                on_stored=without_time.add if options.wants_time else None,
            )
            report.frames_without_time = without_time.count
        report = workers.sum_reports(report)
        if workers.is_first and workers.count > 1:
            # What all of them have stored, once.
            report.appearances_added = link_people(index)
        if workers.is_first and args.keep_best is not None:
            report.thinned = index.appearances.keep_best(args.keep_best)
            index.prepare()
        if use is not None:
            use.said(frames=report.frames_added, people=report.people_added)
            use.said(not_kept=report.thinned.people)
    if boxes is not None:
        report.left_out += boxes.left_out()
    if workers.is_first:
        print_report(report, args.gallery, workers.count, listed.passed_over)
    return 1 if len(report.broken) > report.frames_added + report.frames_unchanged else 0


def _check_gallery(gallery: str) -> None:
    """Refuse, before a model is loaded, a gallery that cannot be written.

    Raises:
        GalleryError: The message says why.
    """
    from person_search.gallery.database import check_file
    from person_search.gallery.store import is_address

    if not is_address(gallery):
        check_file(Path(gallery).expanduser().absolute(), must_exist=False)


def _check_keep_best(count: int | None, gallery: str) -> None:
    from person_search.gallery.store import is_address

    if count is not None and count < 1:
        raise ValueError(f"--keep-best {count}: expected at least 1")
    if count is not None and is_address(gallery):
        raise ValueError(
            f"--keep-best keeps people of stays, which the server {gallery} does not know; leave "
            "it out, or keep the gallery in a file"
        )


def parse_approximate(text: str | None) -> dict[str, str | int] | None:
    """Read ``KIND,KEY=N,…``, as `IndexOptions.parse` takes it.

    Raises:
        ValueError: It is written otherwise; names and values are checked when the gallery is made.
    """
    if text is None:
        return None
    kind, *pairs = (part.strip() for part in text.split(","))
    options: dict[str, str | int] = {"index_type": kind}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not value.strip().isdigit():
            raise ValueError(f"--approximate {text!r}: expected KIND,KEY=NUMBER,…; got {pair!r}")
        options[key.strip()] = int(value)
    return options


class WithoutTime:
    """Counts the frames whose time was asked for and not found."""

    def __init__(self, options: "FootageOptions") -> None:
        """Start at none."""
        self._is_date = options.time_from.partition(":")[0] == "name"
        self.count = 0

    def add(self, stored: "Sequence[tuple[Frame, People]]") -> None:
        """Count those of a batch; a video without a time in its name counts from its start."""
        times = [frame.timestamp for frame, _ in stored]
        self.count += sum(time is None or (self._is_date and time < YEAR) for time in times)


def print_report(
    report: "IndexReport", gallery: str, num_processes: int, passed_over: Sequence[Path]
) -> None:
    """Say what was indexed; what was broken and left out is talk and listed before.

    Args:
        report: what was done.
        gallery: where to.
        num_processes: that worked together.
        passed_over: files in folders that are no footage.
    """
    from person_search.footage.listing import describe_kinds

    for broken in report.broken:
        print(f"broken: {broken}", file=sys.stderr)
    for left_out in report.left_out:
        print(f"left out: {left_out}", file=sys.stderr)
    rate = ""
    if report.frames_added:
        rate = f" ({report.frames_added / max(report.seconds, 1e-9):.1f} frames/s)"
    began = f", {report.appearances_added} appearances" if report.appearances_added else ""
    if report.thinned.people:
        kept_of = f"of {report.thinned.appearances} stays that have ended"
        print(f"not kept: {report.thinned.people} people {kept_of}, counted in them (--keep-best)")
    by = f" by {num_processes} processes" if num_processes > 1 else ""
    undated = report.frames_without_time
    less = f", {undated} without a time" if undated else ""
    others = f"; passed over {describe_kinds(passed_over)}" if passed_over else ""
    print(
        f"{gallery}: added {report.frames_added} frames with {report.people_added} people"
        f"{began}{less}, {report.frames_unchanged} unchanged, {len(report.broken)} broken, in "
        f"{report.seconds:.1f} s{rate}{by}{others}"
    )
