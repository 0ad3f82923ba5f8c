"""``person-search watch``: put whoever a camera sees into a gallery, as it happens.

SOURCE is a folder (new files are read once they are whole), rtsp://… or http://… (a stream, or a
video file, which is played once), or camera:0 (a webcam); NAME=SOURCE names its camera. Frames that
show people are kept as pictures, and found by searches at once. Ends by Ctrl-C, or where nothing is
left to watch.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.commands import recorded
from person_search.commands.alerts import (
    Telling,
    add_alert_arguments,
    alert_threshold,
    parse_alerts,
    resolve_alerts,
)
from person_search.commands.model_arguments import (
    add_gallery_arguments,
    add_min_score_argument,
    add_model_arguments,
    check_model_arguments,
    load_finder,
)
from person_search.commands.search import MUST_CHOOSE

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.live.alerts import Alert
    from person_search.live.delivery import Target
    from person_search.live.watch_options import WatchReport

IF_STOPPED = "what was stored stays; the same command goes on from now"
_LAST_SECONDS = 5.0
"""For alerts on their way at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search watch``."""
    parser.add_argument(
        "sources", nargs="+", metavar="[NAME=]SOURCE", help="FOLDER, rtsp://…, http://…, camera:0"
    )
    add_gallery_arguments(parser)
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="where frames of streams and webcams that show people are kept, by day and camera. "
        "Default: G-pictures beside the gallery G.db. It grows without a limit, unless the "
        "gallery has rules, see person-search retain",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="S",
        help="take a frame every S seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--for",
        type=float,
        dest="seconds",
        metavar="S",
        help="end after S seconds. Default: when it is stopped, or nothing is left to watch",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="a stream is lost after S seconds without a picture (default: %(default)s)",
    )
    folders = parser.add_argument_group("folders")
    folders.add_argument(
        "--camera-from",
        default="none",
        metavar="folder|REGEX",
        help="name the cameras of files as person-search index does, where no NAME= does",
    )
    folders.add_argument(
        "--time-from",
        metavar="none|exif|modified|name[:PATTERN]",
        default="none",
        help="when pictures were taken, as of person-search index (default: %(default)s)",
    )
    folders.add_argument(
        "--poll",
        type=float,
        default=2.0,
        metavar="S",
        help="look for new files every S seconds (default: %(default)s)",
    )
    folders.add_argument(
        "--settled",
        type=float,
        default=3.0,
        metavar="S",
        help="a file is read once it has not changed for S seconds (default: %(default)s)",
    )
    add_alert_arguments(parser)
    add_min_score_argument(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until stopped, and say what was stored.

    Returns:
        The exit status: 0, or `MUST_CHOOSE` where a query shows several people.

    Raises:
        ValueError: An argument is wrong, the gallery belongs to another model, or can no longer be
            written.
        OSError: A folder or a query's picture does not exist.
    """
    from person_search.accountability.retention_timer import RetentionTimer
    from person_search.footage.files import FootageOptions
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.store import is_address
    from person_search.live.delivery import Deliverer, Program, Webhook
    from person_search.live.sources import check_sources, parse_source
    from person_search.live.watch_options import WatchOptions
    from person_search.live.watching import Watch

    sources = [parse_source(text) for text in args.sources]
    keep = args.keep
    if keep is None and not is_address(args.gallery):
        keep = Path(args.gallery).absolute().with_suffix("")
        keep = keep.with_name(f"{keep.name}-pictures")
    check_sources(sources, keep)
    footage = FootageOptions(
        camera_from=args.camera_from, every=args.every, time_from=args.time_from
    )
    options = WatchOptions(footage, args.seconds, args.poll, args.settled, args.timeout)
    targets: list[Target] = [Webhook(address) for address in args.webhook]
    targets += [Program(shlex.split(line)) for line in args.programs]
    alerts = parse_alerts(args)
    check_model_arguments(args)
    finder = load_finder(args, min_score=args.min_score)
    found = resolve_alerts(finder, alerts)
    if found is None:
        return MUST_CHOOSE
    with GalleryIndex.open_or_create(
        args.gallery,
        args.name,
        fingerprint=finder.fingerprint,
        embedding_dim=finder.embedding_dim,
        card=finder.card,
    ) as index:
        deliverers = [Deliverer(target, _say) for target in targets]
        told = Telling(deliverers, args.json, partial(_record_alert, index))
        try:
            watch = Watch(
                *(index, finder, sources),
                keep=keep,
                options=options,
                standing=told.standing(found, alert_threshold(args, finder)) if found else None,
                say=_say,
            )
            # It may run for months, and be killed.
            recorded.begins(index, "watch", sources=len(sources), alerts=len(found))
            timer = RetentionTimer([(lambda: index, [keep] if keep else [])], _say, via="watch")
            with _stopping(watch), recorded.use(index, "watch") as use, timer:
                _say(f"watching {', '.join(source.shown for source in sources)}")
                try:
                    watch.run()
                finally:
                    done = watch.report
                    use.said(frames=done.frames_added, people=done.people_added)
                    _print_report(done, args, told)
        finally:
            for deliverer in deliverers:
                deliverer.close(_LAST_SECONDS)
    return 0


def _record_alert(index: "GalleryIndex", alert: "Alert") -> None:
    from person_search.accountability.uses import hash_subject

    use = recorded.use(index, "alert")
    use.showed([alert.match]).said(subject=hash_subject(alert.name)).end()


def _print_report(report: "WatchReport", args: argparse.Namespace, told: Telling) -> None:
    parts = [
        f"{args.gallery}: watched for {report.seconds:.0f} s: stored {report.frames_added} frames "
        f"with {report.people_added} people, {report.appearances_added} appearances"
    ]
    parts += [
        f"{count} {what}"
        for count, what in (
            (report.frames_dropped, "frames dropped"),
            (report.frames_not_stored, "frames not stored"),
            (report.files_broken, "broken"),
            (report.files_passed_over, "files passed over"),
            (told.num_alerts, "alerts"),
        )
        if count
    ]
    print(", ".join(parts), file=sys.stderr if args.json else sys.stdout, flush=True)


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


@contextmanager
def _stopping(watch: Any) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the watch; the second one ends it at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(*_: object) -> None:
        watch.stop()
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
