"""``person-search export-gallery``: write a gallery, or what a search found, for other programs.

coco is one JSON file, mot a folder of the MOT Challenge's text, parquet one table with embeddings,
fiftyone a data set in FiftyOne's database. docs/formats.md says what is in each.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments
from person_search.commands.written_files import check_can_write
from person_search.footage.time_text import FORMS, parse_time

if TYPE_CHECKING:
    from person_search.formats.selection import ExportReport, Selection
    from person_search.gallery.index import GalleryIndex

FORMATS = ("coco", "mot", "parquet", "fiftyone")
WITH_FRAMES = ("coco", "fiftyone")
"""Formats whose readers open pictures, not videos."""

NOTHING_WRITTEN = 1
"""Exit status: nothing that fits was found; what was written is empty."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search export-gallery``."""
    add_gallery_arguments(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument(
        "--output",
        required=True,
        metavar="OUT",
        help="the file of coco and parquet, the new folder of mot, the name of the new data set of "
        "fiftyone",
    )
    some = parser.add_mutually_exclusive_group()
    some.add_argument(
        "--matches",
        type=Path,
        metavar="FILE.json",
        help="only whom search --json, or appearances --json, has found: all sights of these "
        "appearances",
    )
    some.add_argument(
        "--appearance", type=int, action="append", metavar="N", help="only this one; repeatable"
    )
    parser.add_argument(
        "--camera", action="append", metavar="NAME", help="only frames of this camera; repeatable"
    )
    parser.add_argument("--since", metavar="TIME", help=f"only frames from then on: {FORMS}")
    parser.add_argument(
        "--until", metavar="TIME", help="only frames up to then; a date counts to its end"
    )
    parser.add_argument(
        "--frames",
        type=Path,
        metavar="FOLDER",
        help="for coco and fiftyone: write the frames of videos into this folder as JPEG files, as "
        "most programs read no videos there",
    )


def run(args: argparse.Namespace) -> int:
    """Write, and say what was written.

    Raises:
        ValueError: Arguments contradict each other, the gallery cannot be opened, or the matches
            are not of it.
        ModuleNotFoundError: A package of the format is missing.
        OSError: Something cannot be read or written.
    """
    from person_search.gallery.index import GalleryIndex

    _check_arguments(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        selection = _select(index, args)
        recorded.begins(index, "export gallery", format=args.format)
        with recorded.use(index, "export gallery") as use:
            report = _export(index, args, selection)
            use.said(format=args.format, frames=report.frames, people=report.people)
        not_kept = index.info().not_kept
    _print_report(report, args)
    if not_kept:
        print(
            f"{not_kept} people of stays in this gallery were not kept (index --keep-best), "
            "and are not in it"
        )
    return 0 if report.people else NOTHING_WRITTEN


def _check_arguments(args: argparse.Namespace) -> None:
    if args.frames is not None and args.format not in WITH_FRAMES:
        raise ValueError(
            f"--frames is for {' and '.join(WITH_FRAMES)}; {args.format} has no pictures: leave it "
            "out"
        )
    if args.format in ("coco", "parquet"):
        check_can_write("--output", Path(args.output))
    elif args.format == "mot" and Path(args.output).exists():
        raise ValueError(f"--output {args.output} is there already; expected a new folder's name")


def _select(index: "GalleryIndex", args: argparse.Namespace) -> "Selection":
    from person_search.formats.selection import Selection, read_matches, select_appearances
    from person_search.gallery.search_options import FrameFilter

    frames = FrameFilter(
        cameras=args.camera,
        since=None if args.since is None else parse_time(args.since),
        until=None if args.until is None else parse_time(args.until, end=True),
    )
    if args.matches is not None:
        return read_matches(index, args.matches, frames)
    if args.appearance is not None:
        return select_appearances(index, args.appearance, frames)
    return Selection(frames)


def _export(
    index: "GalleryIndex", args: argparse.Namespace, selection: "Selection"
) -> "ExportReport":
    if args.format == "coco":
        from person_search.formats.coco import export_coco

        return export_coco(index, args.output, selection, frames_folder=args.frames)
    if args.format == "mot":
        from person_search.formats.mot import export_mot

        return export_mot(index, args.output, selection)
    if args.format == "parquet":
        from person_search.formats.parquet import export_parquet

        return export_parquet(index, args.output, selection)
    from person_search.formats.fiftyone_dataset import export_fiftyone

    return export_fiftyone(index, args.output, selection, frames_folder=args.frames)


def _print_report(report: "ExportReport", args: argparse.Namespace) -> None:
    from person_search.gallery.known_boxes import name_some

    alone = f", {report.without_id} of them of no appearance" if report.without_id else ""
    print(f"{args.output}: {report.people} people in {report.frames} frames{alone}")
    if report.not_people:
        print(f"sights of what was called nobody, left out: {report.not_people}")
    for names, what in (
        (report.missing, "frames whose picture or video is gone or cannot be read"),
        (report.left_out, "frames that have no place in this format, left out"),
    ):
        if names:
            print(f"{what}: {len(names)} ({name_some(names)})")
