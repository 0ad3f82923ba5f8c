"""Removing what a gallery has kept for long enough.

Pictures go first, then the frames with everything that is derived and said of them, then the bytes
that they left in the gallery's files; so that a process which is killed in between leaves nothing
that the next one does not find.
"""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.entries import Entry
from person_search.accountability.own_pictures import deletable, delete_files
from person_search.accountability.places import own_folders, query_pictures
from person_search.accountability.receipts import write_receipt
from person_search.accountability.retention_rules import RetentionRules, format_period
from person_search.accountability.uses import Use
from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR
from person_search.gallery.index import GalleryIndex, list_galleries
from person_search.gallery.sqlite_accountability import Retention
from person_search.gallery.store import is_address
from reid_heads.unfinished import remove_unfinished

ACTION = "retention"


@dataclass
class Expired:
    """What of a gallery was kept for long enough."""

    frames: dict[str, str] = field(default_factory=dict)
    """Names of frames, each with the rule that it goes by."""

    people: Counter[str] = field(default_factory=Counter)
    """How many are in the frames of each rule."""

    undated: int = 0
    """Frames that have a rule and no date; they stay."""

    files: list[Path] = field(default_factory=list)
    """Of these frames, that are to be deleted."""


def rules_of(index: GalleryIndex) -> RetentionRules:
    """Return the rules that a gallery keeps; those of a server are none."""
    own = index.accountability
    return RetentionRules() if own is None else RetentionRules.from_text(own.retention().rules)


def keep_rules(index: GalleryIndex, rules: RetentionRules) -> bool:
    """Let a gallery keep rules, which ``serve`` and ``watch`` then apply by themselves.

    Returns:
        Whether it does; a server cannot.
    """
    own = index.accountability
    if own is not None:
        own.keep_retention(Retention(rules.to_text(), own.retention().is_purge_pending))
    return own is not None


def find_expired(
    index: GalleryIndex, rules: RetentionRules, at: float, folders: Sequence[Path] = ()
) -> Expired:
    """Find what is to be removed, and change nothing.

    Args:
        index: The gallery.
        rules: For how long what is kept.
        at: The time, seconds since 1970 (UTC).
        folders: That this program keeps pictures in, besides those that it knows.
    """
    found, files, kept_files = Expired(), dict[str, None](), set[str]()
    for frame in index.frames():
        period, file = rules.period_of(frame.camera), split_frame_name(frame.name)[0]
        has_date = frame.timestamp is not None and frame.timestamp >= YEAR
        found.undated += period is not None and not has_date
        if period is None or not has_date or (frame.timestamp or 0.0) >= at - period:
            kept_files.add(file)
            continue
        rule = rules.rule_of(frame.camera)
        found.frames[frame.name] = rule
        found.people[rule] += frame.num_people
        files[file] = None
    ours = [file for file in files if file not in kept_files]
    found.files = deletable(ours, _folders(index, rules, folders), rules.footage)
    if found.files:
        used = _used_elsewhere(index, list(found.frames))
        found.files = [file for file in found.files if str(file) not in used]
    return found


def apply_rules(
    index: GalleryIndex,
    rules: RetentionRules | None = None,
    *,
    at: float | None = None,
    folders: Sequence[Path] = (),
    user: str | None = None,
    via: str = "python",
) -> Entry | None:
    """Remove what was kept for long enough, and write a receipt.

    Args:
        index: The gallery; others may use it meanwhile.
        rules: None for those that it keeps.
        at: The time, seconds since 1970 (UTC); None for now.
        folders: As of `find_expired`.
        user: Who does it; None where it happens by itself.
        via: As of `ActivityLog.use`.

    Returns:
        The receipt; None where there was nothing to remove.

    Raises:
        GalleryError: It cannot be written, or its bytes not be removed while others read it all
            along; the same again does the rest.
        LogError: The log or the receipt cannot be written.
        OSError: A picture cannot be deleted; then nothing of the gallery is removed.
    """
    rules = rules_of(index) if rules is None else rules
    at = time.time() if at is None else at
    log = ActivityLog(index)
    use = log.use(ACTION, user=user, via=via)  # of which nothing becomes where nothing goes
    found = find_expired(index, rules, at, folders)
    try:
        return _apply(index, rules, found, use, at=at, folders=folders, user=user, via=via)
    except BaseException as error:
        # Some of it may be gone already.
        use.said(failed=type(error).__name__).end()
        raise


def _apply(
    index: GalleryIndex,
    rules: RetentionRules,
    found: Expired,
    use: Use,
    *,
    at: float,
    folders: Sequence[Path],
    user: str | None,
    via: str,
) -> Entry | None:
    """Remove what was found, and write a receipt; see `apply_rules`."""
    log, before = ActivityLog(index), None
    own = index.accountability
    is_left = own is not None and own.retention().is_purge_pending
    if found.frames or is_left:
        before = log.state()
    pictures = delete_files(found.files, _folders(index, rules, folders))
    removed = _remove(index, list(found.frames)) if found.frames or is_left else 0
    leftovers = _remove_unfinished(index)
    entries = 0
    if rules.log is not None:
        rule = f"log {format_period(rules.log)}"
        entries = log.cut(at - rules.log, rule=rule, user=user, via=via)
    if not (removed or pictures or entries or is_left or leftovers):
        return None
    counts = Counter(found.frames.values())
    return write_receipt(
        index,
        ACTION,
        use,
        user=user,
        rules=rules.describe(),
        by_rule=[
            {"rule": rule, "frames": count, "people": found.people[rule]}
            for rule, count in sorted(counts.items())
        ],
        frames=removed,
        people=sum(found.people.values()),
        pictures=pictures,
        log_entries=entries,
        undated=found.undated,
        state_before=before,
    )


def _remove(index: GalleryIndex, names: list[str]) -> int:
    """Remove frames with every byte of them; return how many were there."""
    own = index.accountability
    if own is None:
        return index.remove(names=names).frames
    rules = own.retention().rules
    own.keep_retention(Retention(rules, True))
    removed = index.remove(names=names, purge=False).frames
    index.purge()
    own.keep_retention(Retention(rules, False))
    return removed


def _remove_unfinished(index: GalleryIndex) -> int:
    """Remove what killed processes left beside a gallery file and the log's pictures."""
    folders = [query_pictures(index.uri)]
    if not is_address(index.uri):
        folders.append(Path(index.uri).resolve().parent)
    return sum(map(remove_unfinished, folders))


def _folders(index: GalleryIndex, rules: RetentionRules, more: Sequence[Path]) -> list[Path]:
    return [*own_folders(index.uri, index.name), *map(Path, rules.folders), *more]


def _used_elsewhere(index: GalleryIndex, names: list[str]) -> set[str]:
    """Return the files of frames that another gallery of the same file or server has, too."""
    used: set[str] = set()
    with ExitStack() as stack:
        for name in list_galleries(index.uri):
            if name != index.name:
                other = stack.enter_context(GalleryIndex.open(index.uri, name))
                used.update(split_frame_name(known)[0] for known in other.known_frames(names))
    return used
