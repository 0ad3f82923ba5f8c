"""``person-search info``: say what a gallery holds, or count a data set."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands.model_arguments import GALLERY_HELP
from person_search.footage.time_text import format_span
from reid_heads.trust import add_trust_argument

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search info``."""
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--gallery", metavar="G", help=GALLERY_HELP)
    subject.add_argument(
        "--dataset",
        help="cuhk_sysu, prw, drawn_cuhk, drawn_prw, or a COCO JSON file with person ids",
    )
    parser.add_argument("--name", help="only this gallery of the file or server; default: all")
    parser.add_argument("--json", action="store_true", help="print a gallery's facts as JSON")
    parser.add_argument(
        "--root",
        type=Path,
        help="the data set's own folder; default: below $DETECTRON2_DATASETS or ./datasets. "
        "For a JSON file: the folder of its images; default: the file's own folder",
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print what was asked for; return the exit status: 0, or 1 where there is no gallery.

    Raises:
        ValueError: The gallery cannot be opened, or the data set is not as it should be.
        FileNotFoundError: Files of the data set are missing.
    """
    if args.dataset is not None:
        # Imports detectron2, which takes seconds.
        from person_search.data import info

        return info.run(args)
    from person_search.gallery.index import GalleryIndex, list_galleries

    names = list_galleries(args.gallery) if args.name is None else [args.name]
    facts = []
    for name in names:
        with GalleryIndex.open(args.gallery, name) as index:
            facts.append(index.info())
    if args.json:
        print(json.dumps({"galleries": [dataclasses.asdict(fact) for fact in facts]}, indent=2))
    elif facts:
        print("\n\n".join(format_info(fact) for fact in facts))
    else:
        print(f"{args.gallery} holds no gallery", file=sys.stderr)
    return 0 if facts else 1


def format_info(info: "GalleryInfo") -> str:
    """Write what a gallery holds, a fact a line."""
    cameras = ", ".join(f"{name}: {count:,} frames" for name, count in info.cameras.items())
    times = format_span(info.first_timestamp, info.last_timestamp)
    kind = "exact"
    if info.approximate is not None:
        kind = "approximate, " + ", ".join(f"{k} {v}" for k, v in info.approximate.items())
    model = f"{info.card.name}, knows {info.card.domain}; " if info.card else ""
    lines = {
        "gallery": f"{info.name} in {info.uri}",
        "frames": f"{info.frames:,}",
        "people": f"{info.people:,}",
        "appearances": "unknown" if info.appearances is None else f"{info.appearances:,}",
        "cameras": cameras or "unknown",
        "times": times,
        "search": kind,
        "model": f"{model}{info.fingerprint[:12]}, {info.embedding_dim} numbers a person",
        "version": str(info.version),
    }
    if info.not_kept:
        lines["not kept"] = f"{info.not_kept:,} people of stays (index --keep-best)"
    if info.num_bytes is not None:
        lines["size"] = f"{info.num_bytes / 1e6:,.1f} MB on disk"
    return "\n".join(f"{key:11s}  {value}" for key, value in lines.items())
