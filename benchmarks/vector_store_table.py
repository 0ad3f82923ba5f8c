"""The tables of the vector stores' benchmark."""

import json
import statistics
from pathlib import Path

from vector_store_agreement import describe_agreement
from vector_store_candidates import CANDIDATES
from vector_store_rows import CAMERAS, DIM, KINDS, PEOPLE_PER_FRAME, TOP, WINDOW_SHARE

RESULTS = Path(__file__).parent / "results" / "vector_stores.json"
INTRO = f"""`nice -n -5 python benchmarks/vector_stores.py --million`. Rows are made-up people:
{DIM} numbers of unit length around 2,000 centres, path of the frame, camera (one of {CAMERAS}),
time, box and score; {PEOPLE_PER_FRAME} of them share a frame. A query asks for the {TOP} most
similar by cosine with all of that but the vector, one at a time, from a process that has just
opened the store (files are in the page cache). *camera* lets {100 // CAMERAS} % of the rows
through, *time* {WINDOW_SHARE:.0%}, both 0.5 %. Recall is against brute force. Every store is used
with an exact index or none, with indexes on the filters' fields where it has them, 2 threads, in
the batches that suit it. What keeps whole numbers of 8 bits and nothing else (*int8*) is not exact.

**Only rows of the same day in the last column were measured together.** Those of 2026-11-23 were
measured on a machine whose load was another, and each row had a camera and a time of its own.

The machine has two cores, and was not quiet: other people's jobs ran beside this for most of the
time. Each kind of query was therefore asked in five rounds some time apart, and p50 and p95 are
those of the round with the least p50. Take p50 seriously, p95 with a grain of salt: single queries
that had to wait for other jobs are in it. In brackets is the CPU time of a query, of client and
engine together, which others hardly change: the wall time on a quiet machine is near it, or less
where a query uses both cores. A store with an engine process of its own (Milvus Lite 2.5,
PostgreSQL) suffers most from busy cores, since every step from one process or thread to the next
waits for its turn. The search threads of Milvus Lite 2.5 also lower their priority to nice 10; for
these numbers they were put back to their client's.
"""
CHOICE = """The gallery is an SQLite file since November 2026, searched through a matrix of 8
bits that is derived from it (`person_search/gallery/matrix_search.py`): the most tested embedded
database there is, with transactions, readers beside a writer from other processes, and nothing
lost to `kill -9`. What rounding took from a row bounds its error, and whoever can still be among
the best is read from the file: the answers are exact. The products of 8-bit numbers are simsimd's;
the row *products alone* says what they take without the file, the bounds and the exact rows, and
what they miss. usearch searches the same arrays exactly, but holds 8 bits without bounds or float32
in four times the memory, and has neither transactions nor filters in its exact search. sqlite-vec
keeps its vectors in the same kind of file, but scans them from there for each query. Milvus Lite
2.5 was the engine before: it loses rows without a word where a disk has no inodes left, belongs to
one process, opens slowly, and its line ended in June 2025; its server remains a choice, by the URI
alone. Qdrant Edge is fast at every size, but in beta, and belongs to one process; LanceDB and
PostgreSQL let a second process read, the former for several times the time of a query, the latter
as a server process of a user that is not root."""
CRASH_INTRO = """A process inserts batches of {batch:,} rows and writes down every batch that
the store has acknowledged, until `kill -9` at a random moment. A new process opens what is there,
compares rows with what they should be (the first ten and last twenty acknowledged batches value by
value, all others by number), and the batch in flight, searches, and writes again. Where the engine
is a process of its own, half of the trials kill only its client, and the engine lives on for a
while. This says nothing of a power cut."""


def write_table(content: dict) -> str:
    """Write JSON and Markdown, and return the latter."""
    rows = {}
    for name, candidate in CANDIDATES.items():
        if name in content:
            left_out = {part: {"not_run": reason} for part, reason in candidate.not_run.items()}
            rows[name] = left_out | content[name]
    lines = ["# Vector stores for the gallery", "", INTRO]
    for size in (100_000, 1_000_000):
        lines += [f"## {size:,} rows", "", *speed_table(rows, f"speed_{size}"), ""]
    batch = next((r["crash"]["batch"] for r in rows.values() if "batch" in r.get("crash", {})), 0)
    lines += ["## kill -9 during inserts", "", CRASH_INTRO.format(batch=batch), ""]
    lines += [*crash_table(rows), ""]
    if agreement := rows.get("sqlite", {}).get("agreement"):
        lines += ["## The same as the old engine", "", describe_agreement(agreement), ""]
    lines += ["## A reader beside the writer", ""]
    lines += [*beside_table(rows), "", "## Install, life, licence", ""]
    lines += [*project_table(rows), "", "## Choice", "", CHOICE, ""]
    text = "\n".join(lines)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n")
    RESULTS.with_suffix(".md").write_text(text)
    return text


def speed_table(rows: dict, part: str) -> list[str]:
    """Lay out ingest, queries, reopening, memory and disk."""
    heads = ["store", "ingest rows/s (batch)", *(f"{kind}: p50 / p95 ms (CPU)" for kind in KINDS)]
    heads += ["recall", "reopen + first query s", "memory MB: client + engine", "disk MB"]
    heads += ["load", "measured"]
    lines = start_table(heads)
    runs = {}
    for name, row in rows.items():
        title, measured = CANDIDATES[name].title, row.get(part)
        if not measured or "not_run" in measured:
            reason = measured["not_run"] if measured else "not measured"
            lines.append(f"| {title} | *not run*: {reason} |" + " |" * (len(heads) - 2))
            continue
        fill, query = measured["fill"], measured["query"]
        kinds, memory = query["kinds"], query["memory_mb"]
        runs[name] = measured["run"] | {"queries": query["queries"]}
        wrong = sum(kind["wrong_payloads"] for kind in kinds.values())
        cells = [title, f"{fill['rows_per_second']:,.0f} ({fill['batch']:,})"]
        cells += [describe_times(kinds[kind]) for kind in KINDS]
        cells.append(describe_recall([kinds[k]["recall"] for k in KINDS], wrong))
        cells.append(f"{query['open_and_first_query_seconds']:.1f}")
        cells.append(f"{memory['client']:.0f} + {memory['engine']:.0f}")
        cells += [f"{measured['disk_mb']:.0f}", f"{measured['run']['load']:.1f}"]
        cells.append(measured["run"]["date"])
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, *describe_runs(runs)]


def describe_times(kind: dict) -> str:
    """Return p50, p95 and CPU time of a query in ms."""
    return f"{kind['p50_ms']:.1f} / {kind['p95_ms']:.1f} ({kind['cpu_ms']:.1f})"


def describe_recall(values: list[float], wrong_payloads: int) -> str:
    """Return the smallest recall of all kinds of queries, and what is wrong besides."""
    text = "1" if min(values) == 1 else f"{min(values):.4f}"
    return text + (f", {wrong_payloads} wrong payloads" if wrong_payloads else "")


def describe_runs(runs: dict) -> list[str]:
    """Name dates, machine and load of a table's rows."""
    if not runs:
        return []
    one = next(iter(runs.values()))
    return [
        "",
        f"{one['machine']}, {one['threads']} threads, nice {one['nice']}; "
        f"{one['queries']} queries of each kind a round after 3 that do not count; *load* is "
        "the load average at the end. Reopening includes the import of the client.",
    ]


def crash_table(rows: dict) -> list[str]:
    """Lay out what kills lost or broke."""
    heads = ["store", "killed", "trials", "acknowledged rows", "lost", "doubled", "corrupt"]
    heads += ["batch in flight", "searches and writes again", "open again after s: median, worst"]
    lines = start_table(heads)
    for name, row in rows.items():
        crash = row.get("crash", {"not_run": "not measured"})
        if "not_run" in crash:
            title = CANDIDATES[name].title
            lines.append(f"| {title} | *not run*: {crash['not_run']} |" + " |" * (len(heads) - 2))
            continue
        for killed in sorted({trial["killed"] for trial in crash["trials"]}):
            trials = [trial for trial in crash["trials"] if trial["killed"] == killed]
            cells = [CANDIDATES[name].title, killed, *describe_trials(trials, crash["batch"])]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def describe_trials(trials: list[dict], batch: int) -> list[str]:
    """Lay out the cells of the trials of one kind."""
    good = [trial for trial in trials if "error" not in trial]
    states = ["whole" if t["in_flight"] == batch else "torn" if t["in_flight"] else "absent"
              for t in good]  # fmt: skip
    again = sum(trial["writes_again"] and trial["answers"] > 0 for trial in good)
    seconds = sorted(trial["locked_seconds"] + trial["open_seconds"] for trial in good)
    return [
        str(len(trials)) + (f", {len(trials) - len(good)} not opened" if good != trials else ""),
        f"{sum(trial['acked'] for trial in trials) * batch:,}",
        *(str(sum(trial[key] for trial in good)) for key in ("lost", "doubled", "corrupt")),
        ", ".join(f"{states.count(s)} {s}" for s in ("absent", "whole", "torn") if s in states),
        f"{again} of {len(good)}",
        f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else "",
    ]


def beside_table(rows: dict) -> list[str]:
    """Lay out whether a second process can read."""
    lines = start_table(["store", "second process opens the same data", "writer went on"])
    for name, row in rows.items():
        beside = row.get("beside", {"not_run": "not measured"})
        if "not_run" in beside:
            cells = [f"*not run*: {beside['not_run']}", ""]
        else:
            cells = [describe_reader(beside), "yes" if beside["writer_went_on"] else "**no**"]
        lines.append(f"| {CANDIDATES[name].title} | " + " | ".join(cells) + " |")
    return lines


def describe_reader(beside: dict) -> str:
    """Say what a reader beside the writer saw."""
    if "error" in beside:
        message = beside["error"].replace("|", "/")
        return f"no: `{message[:160]}`"
    before, after = beside["counts"]
    return f"yes, {'live' if after > before else 'stale'}: {before:,} rows, {after:,} after 3 s"


def project_table(rows: dict) -> list[str]:
    """Lay out size, licences and releases."""
    lines = start_table(
        ["store", "install MB", "packages", "licences", "releases on PyPI", "cluster"]
    )
    for name, row in rows.items():
        install, life = row["install"], row.get("life", {})
        named = {k: v for k, v in install["licences"].items() if name == "numpy" or k != "numpy"}
        licences = "; ".join(f"{package}: {licence}" for package, licence in named.items())
        releases = "; ".join(describe_life(package, facts) for package, facts in life.items())
        cells = [CANDIDATES[name].title, f"{install['megabytes']:.0f}", str(install["packages"])]
        cells += [licences, releases, CANDIDATES[name].cluster]
        lines.append("| " + " | ".join(cells) + " |")
    dates = sorted({row[p]["run"]["date"] for row in rows.values() for p in row
                    if "run" in row[p]})  # fmt: skip
    note = "Licences as the wheels' metadata name them, releases by https://pypi.org/pypi/NAME/json"
    return [*lines, "", f"{note}, read {', '.join(dates)}; numpy's 2.4 is part of each install."]


def describe_life(package: str, facts: dict) -> str:
    """Name the first and the newest release, and how many there were."""
    used = f"{facts['used']} of {facts['used_date']}"
    if facts["used"] != facts["newest"]:
        used += f", newest {facts['newest']} of {facts['newest_date']}"
    releases = f"{facts['releases_last_year']} releases in the last year"
    return f"{package}: {used}, {releases}, the first in {facts['first'][:4]}"


def start_table(heads: list[str]) -> list[str]:
    """Return the two lines that start a Markdown table."""
    return ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
