"""Comparing a chain with itself, and with what others know of it."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from person_search.accountability.chain_file import ANCHOR, CUT, ChainFile, Known
from person_search.accountability.entries import BEGIN, Entry, NotAnEntryError, read_line

MOST_PROBLEMS = 100
"""That are told one by one."""


@dataclass
class ChainReport:
    """What was found in a chain."""

    entries: int = 0
    """As they were written."""

    first: Entry | None = None
    last: Entry | None = None
    problems: list[str] = field(default_factory=list)
    """What is not as it was written; empty for a chain that holds."""

    notes: list[str] = field(default_factory=list)
    """What is to be known, and no sign of tampering by itself."""

    removed: Entry | None = None
    """The entry that says which oldest entries were removed, where some were."""

    @property
    def head(self) -> str | None:
        """Number and hash of the last entry, as `parse_head` reads them; None without one."""
        return None if self.last is None else f"{self.last['seq']}:{self.last['hash']}"


def parse_head(text: str) -> tuple[int | None, str]:
    """Read ``NUMBER:HASH``, or a hash alone.

    Raises:
        ValueError: It is neither.
    """
    number, colon, digest = text.strip().rpartition(":")
    is_hash = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    if not is_hash or (colon and not number.isdigit()):
        raise ValueError(
            f"got the head {text!r}; expected NUMBER:HASH, or the 64 hex digits of the hash alone, "
            "as person-search log show prints them"
        )
    return (int(number) if colon else None), digest


def verify_chain(
    chain: ChainFile, heads: dict[str, tuple[int | None, str]] | None = None
) -> ChainReport:
    """Read a whole chain, and compare every byte of it with what was written.

    What a chain cannot prove: that its last entries were not cut off, unless somebody kept a later
    head; nor that nobody wrote all of it anew from some entry on, unless somebody kept a head from
    after that.

    Args:
        chain: The file.
        heads: Heads that others kept, by who did: each must be in the chain.

    Raises:
        LogError: The file is not there, or cannot be read.
    """
    reading = _Reading({digest for _, digest in (heads or {}).values()})
    for line in chain.lines():
        reading.take(line)
    report = reading.finish()
    for who, (seq, digest) in (heads or {}).items():
        if digest not in reading.found:
            report.problems.append(_missing_head(report, who, seq, digest))
    del report.problems[MOST_PROBLEMS:]
    return report


def _missing_head(report: ChainReport, who: str, seq: int | None, digest: str) -> str:
    number = "the entry" if seq is None else f"entry {seq}"
    what = f"{number} {digest[:12]}…, which {who} knows of, is not in the log: "
    if seq is None or report.last is None:
        return f"{what}its end was cut off, it was written anew, or removed as too old"
    if seq > report.last["seq"]:
        return f"{what}its end was cut off behind entry {report.last['seq']}"
    if report.removed is not None and seq <= report.removed["through"]["seq"]:
        return f"{what}it was removed as too old, or the log was written anew"
    return f"{what}it was written anew"


class _Reading:
    """Takes the lines of a chain one by one."""

    def __init__(self, wanted: set[str]) -> None:
        self.found: set[str] = set()
        self._wanted, self._report = wanted, ChainReport()
        self._number, self._broken = 0, list[bytes]()
        self._seq, self._previous = -1, BEGIN
        self._anchor: Known | None = None

    def take(self, line: bytes) -> None:
        self._number += 1
        try:
            entry = read_line(line)
        except NotAnEntryError as error:
            self._broken.append(line)
            self._reason = error
            return
        if entry["action"] == ANCHOR:
            self._take_anchor(entry)
        else:
            self._take_entry(entry)
        self._broken.clear()

    def finish(self) -> ChainReport:
        report = self._report
        if self._broken:
            report.problems.append(
                f"line {self._number}, the last one: {self._reason}; if a process was killed while "
                "it wrote, the next entry will say so"
            )
        if self._anchor is not None and (
            report.removed is None or report.removed["through"] != self._anchor._asdict()
        ):
            report.problems.append(
                f"the entries up to {self._anchor.seq} are gone, and no entry says that they were "
                "removed"
            )
        if report.last is None:
            report.problems.append("there is no entry in it")
        return report

    def _take_anchor(self, entry: Entry) -> None:
        if self._number > 1:
            self._problem("an anchor stands where an entry would")
            return
        self._anchor = Known(entry["seq"], entry["previous"])
        self._seq, self._previous = self._anchor
        if entry["previous"] in self._wanted:
            self.found.add(entry["previous"])

    def _take_entry(self, entry: Entry) -> None:
        report = self._report
        self._check_broken(entry)
        if entry["seq"] != self._seq + 1:
            what = "are missing" if entry["seq"] > self._seq + 1 else "come again"
            self._problem(f"entry {entry['seq']} follows entry {self._seq}: entries {what}")
        elif entry["previous"] != self._previous:
            self._problem(f"entry {entry['seq']} does not fit the one before it")
        if "missing" in entry:
            self._problem(
                f"entry {entry['seq']} says that the log had ended later, at entry "
                f"{entry['missing']['seq']}: what was between was cut off"
            )
        self._seq, self._previous = entry["seq"], entry["hash"]
        if entry["hash"] in self._wanted:
            self.found.add(entry["hash"])
        report.entries += 1
        report.first = report.first or entry
        report.last = entry
        if entry["action"] == CUT:
            report.removed = entry

    def _check_broken(self, entry: Entry) -> None:
        """Compare lines that are no entries with what the entry behind them says of them."""
        said: dict[str, Any] | None = entry.get("broken")
        if said is None and not self._broken:
            return
        rest = b"".join(self._broken)
        if said is not None and said["is_unfinished"]:
            rest = rest[:-1]  # it was ended by whoever wrote the entry
        if said is None or said["sha256"] != hashlib.sha256(rest).hexdigest():
            self._problem(f"before entry {entry['seq']}: {self._say_broken()}")
        elif said["is_unfinished"]:
            self._report.notes.append(
                f"before entry {entry['seq']} stands an unfinished line of {said['bytes']} bytes: "
                "a process was killed while it wrote it, before anybody was shown anything"
            )
        else:
            self._problem(f"before entry {entry['seq']} the log was damaged when it was written")

    def _say_broken(self) -> str:
        return str(self._reason) if self._broken else "a line is gone that it tells of"

    def _problem(self, text: str) -> None:
        self._report.problems.append(f"line {self._number}: {text}")
