"""``person-search retain``: remove what a gallery has kept for long enough, now and from now on.

The gallery keeps the rules; serve and watch apply them while they run, this command does so at
once. What is removed leaves no byte in the gallery's files, and a receipt that tells of nobody.
Pictures that this program keeps itself go, too; your own footage stays, unless --footage is given.
Frames without a date are never removed.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments

if TYPE_CHECKING:
    from person_search.accountability.retention import Expired
    from person_search.accountability.retention_rules import RetentionRules
    from person_search.gallery.index import GalleryIndex

HALF_A_YEAR = 183 * 86_400.0
IF_STOPPED = "the same command, or serve or watch, removes what is left to remove"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search retain``."""
    add_gallery_arguments(parser)
    rules = parser.add_argument_group(
        "rules", "all that is given takes the place of the rules before; default: these"
    )
    rules.add_argument(
        "--keep",
        metavar="PERIOD",
        help="how long frames are kept by their time: 12h, 30d, 8w or forever, which is the "
        "default",
    )
    rules.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME=PERIOD",
        help="frames of this camera; '' is an unknown one; repeatable",
    )
    rules.add_argument(
        "--log", metavar="PERIOD", help="entries of the log, since they ended; default: forever"
    )
    rules.add_argument(
        "--folder",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="delete files of removed frames there, too, as watch --keep or serve --footage had "
        "it; those beside the gallery are known; repeatable",
    )
    rules.add_argument(
        "--footage",
        action="store_true",
        help="delete pictures and videos of removed frames wherever they lie: your own footage",
    )
    rules.add_argument("--no-rules", action="store_true", help="keep everything from now on")
    parser.add_argument("--dry-run", action="store_true", help="say what would go; change nothing")
    parser.add_argument("--receipts", action="store_true", help="print all receipts, a line each")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Keep rules and apply them, after asking; return the exit status.

    It is 0, also where nothing is old enough, or 1 if the answer was no.

    Raises:
        ValueError: An argument is wrong, there are no rules, or nobody is there to be asked.
        OSError: A picture cannot be deleted.
    """
    from person_search.accountability.receipts import receipts_of
    from person_search.accountability.retention import find_expired, keep_rules, rules_of
    from person_search.gallery.index import GalleryIndex

    given = parse_rules(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        if args.receipts:
            chain = receipts_of(index)
            for receipt in chain.entries() if chain.exists() else ():
                print(json.dumps(receipt, sort_keys=True))
            return 0
        rules = rules_of(index) if given is None else given
        if rules.shortest is None and not args.no_rules:
            raise ValueError(
                f"there are no rules for {args.gallery}; give --keep, --camera or --log"
            )
        expired = find_expired(index, rules, time.time())
        print(f"rules: {', '.join(rules.describe())}", file=sys.stderr)
        print(_say(expired), file=sys.stderr)
        if args.dry_run:
            return 0
        if expired.frames and not args.yes and not _confirm(args.gallery):
            print("nothing was removed, and no rule is kept", file=sys.stderr)
            return 1
        if given is not None:
            with recorded.use(index, "keep rules") as use:
                use.said(rules=rules.describe())
                is_kept = keep_rules(index, rules)
            if not is_kept:
                print("a server keeps no rules: run this again and again", file=sys.stderr)
        _apply(index, rules)
    return 0


def parse_rules(args: argparse.Namespace) -> "RetentionRules | None":
    """Return the rules that are given; None where none are.

    Raises:
        ValueError: One is none, or they contradict each other.
    """
    from person_search.accountability.retention_rules import RetentionRules, parse_period

    is_given = bool(args.keep or args.camera or args.log or args.folder or args.footage)
    if args.no_rules and is_given:
        raise ValueError("--no-rules keeps everything; leave it or the other rules out")
    if args.receipts and (is_given or args.no_rules or args.dry_run):
        raise ValueError("--receipts prints what was removed before; leave the other options out")
    if args.no_rules:
        return RetentionRules()
    if not is_given:
        return None
    cameras = {}
    for text in args.camera:
        name, equals, period = text.rpartition("=")
        if not equals:
            raise ValueError(f"--camera {text!r}: expected NAME=PERIOD, as in hall=7d")
        cameras[name] = parse_period(period)
    log = None if args.log is None else parse_period(args.log)
    if log is not None and log < HALF_A_YEAR:
        print(
            "note: Articles 19 and 26(6) of the EU's AI Act want logs of high-risk systems kept "
            "for six months at least",
            file=sys.stderr,
        )
    return RetentionRules(
        keep=None if args.keep is None else parse_period(args.keep),
        cameras=cameras,
        log=log,
        folders=[os.path.abspath(folder) for folder in args.folder],
        footage=args.footage,
    )


def _say(expired: "Expired") -> str:
    lines = [
        f"{len(expired.frames)} frames with {sum(expired.people.values())} people were kept for "
        f"long enough, {len(expired.files)} of their files go with them"
    ]
    if expired.undated:
        lines.append(f"{expired.undated} frames have no date: no rule removes them")
    return "\n".join(lines)


def _apply(index: "GalleryIndex", rules: "RetentionRules") -> None:
    from person_search.accountability.retention import apply_rules
    from person_search.gallery.store import is_address

    receipt = apply_rules(index, rules, user=recorded.system_user(), via=recorded.SHELL)
    if receipt is None:
        print("nothing was old enough to be removed")
        return
    print(
        f"removed {receipt['frames']} frames with {receipt['people']} people, "
        f"{receipt['pictures']} files and {receipt['log_entries']} entries of the log"
    )
    if is_address(index.uri):
        print("the server takes the frames from its files and log in its own time")
    print(f"receipt {receipt['seq']}:{receipt['hash']}")


def _confirm(gallery: str) -> bool:
    """Ask whether to go on.

    Raises:
        ValueError: There is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise ValueError(f"this would remove them from {gallery} for good; say --yes to do it")
    print(f"Remove them from {gallery} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
