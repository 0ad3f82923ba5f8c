"""``person-search log``: who asked what of a gallery, when, and what was shown.

ACTION is on or off (for the shell and the page alike), show, verify or export. verify reads every
entry and says whether any was changed, taken out or put in. A chain cannot prove that its end was
not cut off, nor that it was not written anew as a whole: keep a head that show and verify print,
where nobody who may write the log can change it, and give it by --head.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from person_search.commands import recorded
from person_search.commands.model_arguments import add_gallery_arguments
from person_search.commands.recorded import SHELL, open_log
from person_search.commands.written_files import check_can_write
from person_search.footage.time_text import FORMS, format_time, parse_time

if TYPE_CHECKING:
    from person_search.accountability.activity_log import ActivityLog
    from person_search.accountability.verifying import ChainReport
    from person_search.gallery.index import GalleryIndex

ACTIONS = ("on", "off", "show", "verify", "export")
NOT_AS_WRITTEN = 1
"""Exit status: the log is not as it was written, or there is nothing to show."""
COLUMNS = (
    *("seq", "start", "end", "action", "user", "via", "gallery", "state", "query_sha256"),
    *("results", "details", "hash"),
)
_FILTERS = ("user", "action_of", "since", "until")
_TOLD = {
    *("seq", "previous", "hash", "start", "end", "action", "user", "via", "gallery", "queries"),
    "results",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search log``."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    add_gallery_arguments(parser)
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        help="with on: keep the pictures of people who are searched for, beside the log; default: "
        "as before, at first only their hashes",
    )
    some = parser.add_argument_group("show and export")
    some.add_argument("--user", metavar="NAME", help="only what this user did")
    some.add_argument(
        "--action", dest="action_of", metavar="WHAT", help="only this, such as search or export"
    )
    some.add_argument("--since", metavar="TIME", help=f"only from then on: {FORMS}")
    some.add_argument("--until", metavar="TIME", help="only up to then; a date counts to its end")
    some.add_argument(
        "--frames",
        action="store_true",
        help="with show: name the frames of results, as far as the gallery still has them",
    )
    some.add_argument("--json", action="store_true", help="with show: a line of JSON an entry")
    some.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="with export: a .csv file, or .jsonl with every entry as it stands in the log",
    )
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="N:HASH",
        help="with verify: an entry that was kept elsewhere and must be in the log; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Switch, show, verify or export; return the exit status.

    Raises:
        ValueError: Arguments contradict each other, there is no log, or it cannot be used.
        OSError: The export cannot be written.
    """
    from person_search.gallery.index import GalleryIndex

    _check_arguments(args)
    with GalleryIndex.open(args.gallery, args.name) as index:
        log = open_log(index)
        if args.action == "on":
            _switch_on(log, args)
        elif args.action == "off":
            is_changed = log.switch_off(user=recorded.system_user(), via=SHELL)
            print("logging is off" if is_changed else "logging was off already")
        elif args.action == "verify":
            return _verify(log, args)
        else:
            return _show(index, log, args)
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    from person_search.accountability.verifying import parse_head

    given = {
        "--pictures": (args.pictures is not None, ("on",)),
        "--head": (bool(args.head), ("verify",)),
        "--output": (args.output is not None, ("export",)),
        "--frames": (args.frames, ("show",)),
        "--json": (args.json, ("show",)),
        **{
            f"--{name.removesuffix('_of')}": (getattr(args, name) is not None, ("show", "export"))
            for name in _FILTERS
        },
    }
    for option, (is_given, actions) in given.items():
        if is_given and args.action not in actions:
            raise ValueError(f"{option} is for log {' and log '.join(actions)}; leave it out")
    for text in args.head:
        parse_head(text)
    if args.action == "export":
        if args.output is None or args.output.suffix not in (".csv", ".jsonl"):
            raise ValueError("log export writes a file: say --output FILE.csv or FILE.jsonl")
        check_can_write("--output", args.output)


def _switch_on(log: "ActivityLog", args: argparse.Namespace) -> None:
    is_changed = log.switch_on(user=recorded.system_user(), via=SHELL, pictures=args.pictures)
    kept = "what is in the box" if log.settings()["pictures"] else "the hash alone"
    done = "is on" if is_changed else "was on already"
    print(
        f"logging {done}: {log.path} tells who uses the gallery, when, and what is shown; of a "
        f"query's picture it keeps {kept}"
    )


def _verify(log: "ActivityLog", args: argparse.Namespace) -> int:
    from person_search.accountability.verifying import parse_head

    report = log.verify({f"--head {text[:20]}…": parse_head(text) for text in args.head})
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(f"wrong: {problem}")
    print(_sum_up(log, report))
    return NOT_AS_WRITTEN if report.problems else 0


def _sum_up(log: "ActivityLog", report: "ChainReport") -> str:
    lines = [f"{log.path}: {report.entries} entries, {len(report.problems)} things wrong"]
    if report.first is not None and report.last is not None:
        lines[0] += (
            f", from {format_time(report.first['end'])} to {format_time(report.last['end'])}"
        )
    if report.removed is not None:
        through = report.removed["through"]["seq"]
        lines.append(f"entries up to {through} were removed by a rule: {report.removed['rule']}")
    if report.head is not None:
        lines.append(f"head {report.head}")
    return "\n".join(lines)


def _show(index: "GalleryIndex", log: "ActivityLog", args: argparse.Namespace) -> int:
    from person_search.accountability.entries import to_line

    since = None if args.since is None else parse_time(args.since)
    until = None if args.until is None else parse_time(args.until, end=True)
    found = [
        entry
        for entry in log.entries()
        if (args.user is None or entry["user"] == args.user)
        and (args.action_of is None or entry["action"] == args.action_of)
        and (since is None or entry["end"] >= since)
        and (until is None or entry["start"] <= until)
    ]
    if not found:
        print("no entry fits" if log.path.exists() else "there is no log: it was never on")
        return NOT_AS_WRITTEN
    # Who looks at what others did is to be told of, too.
    log.record(f"log {args.action}", user=recorded.system_user(), via=SHELL, entries=len(found))
    if args.action == "export":
        _export(found, args.output)
    elif args.json:
        print("".join(to_line(entry).decode() for entry in found), end="")
    else:
        names = _frame_names(index) if args.frames else {}
        print("\n".join(_format(entry, names) for entry in found))
        last = found[-1] if args.until is None else None
        if last is not None:
            print(f"head {last['seq']}:{last['hash']}", file=sys.stderr)
    return 0


def _frame_names(index: "GalleryIndex") -> dict[str, str]:
    from person_search.gallery.rows import frame_id

    return {frame_id(frame.name): frame.name for frame in index.frames()}


def _format(entry: dict[str, Any], names: dict[str, str]) -> str:
    details = details_of(entry)
    results = entry.get("results", [])
    shown = f"  {len(results)} shown" if results else ""
    lines = [
        f"{entry['seq']:6d}  {format_time(entry['start'])}  {entry['end'] - entry['start']:6.2f} s"
        f"  {printable(entry['user'] or '-'):10s}  {entry['via']:6s}  {entry['action']}{shown}"
        + (f"  {details}" if details else "")
    ]
    if names:
        for one in results:
            frame, _, number = one["person"].partition("_")
            where = names.get(frame, "no longer in the gallery")
            lines.append(f"{'':8s}{one['similarity']:.3f}  {where}  person {number or '?'}")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return a name that moves no cursor: who failed to log in may have sent any."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def details_of(entry: dict[str, Any]) -> str:
    """Return what an entry has beyond the columns of `COLUMNS`, as JSON; "" for nothing."""
    said = {key: value for key, value in entry.items() if key not in _TOLD}
    return json.dumps(said, ensure_ascii=False, sort_keys=True) if said else ""


def _export(entries: list[dict[str, Any]], file: Path) -> None:
    from person_search.accountability.entries import to_line
    from reid_heads.atomic_file import atomic_file

    data = b"".join(map(to_line, entries)) if file.suffix == ".jsonl" else entries_csv(entries)
    with atomic_file(file, 0o600) as opened:
        opened.write(data)
    print(f"{file}: {len(entries)} entries")


def entries_csv(entries: Iterable[dict[str, Any]]) -> bytes:
    """Return entries as a table with the columns `COLUMNS`, in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(map(_row, entries))
    return text.getvalue().encode()


def _row(entry: dict[str, Any]) -> list[object]:
    gallery = entry.get("gallery", {})
    return [
        *(entry["seq"], _iso(entry["start"]), _iso(entry["end"]), entry["action"]),
        *(_plain(entry["user"]), entry["via"], gallery.get("name", ""), gallery.get("state", "")),
        " ".join(query["sha256"] for query in entry.get("queries", ())),
        " ".join(f"{one['person']}:{one['similarity']}" for one in entry.get("results", ())),
        details_of(entry),
        entry["hash"],
    ]


def _plain(text: str | None) -> str:
    """Return a name that no table program takes for a formula."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
