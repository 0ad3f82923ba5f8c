"""Compare what ten papers claim with what was measured here; write docs/claims.md.

    python benchmarks/claims.py

Trains nothing: the numbers are read from benchmarks/results, so the page follows them. What the
papers claim and how surely that is known stands in claim_list.py, with the comparison that would
show it. Whether it does is computed here, by one rule for all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

RESULTS = Path("benchmarks/results")
PAGE = Path("docs/claims.md")


class Side(NamedTuple):
    """One of two things that are compared: where its numbers stand."""

    title: str
    file: str
    """In benchmarks/results, without .json; it need not be there yet."""
    select: Mapping[str, object]
    """Which of the report's "runs": those with these values."""
    metric: str
    """Keys within a run, joined by "/"."""


class Check(NamedTuple):
    """A comparison that would show a claim."""

    unit: str
    """What is compared, as "mAP"."""
    first: Side
    second: Side
    expected: str = "above"
    """What the first is, by the claim: "above" the second, "below" it, or "alike"."""
    digits: int = 1
    """Behind the point, as the numbers are written."""


class Claim(NamedTuple):
    """What a paper says, and what would show it here."""

    system: str
    paper: str
    says: str
    source: str
    """Where that was read: a key of ``SOURCES``."""
    checks: Sequence[Check]
    because: str
    """Why it does not hold, or only in part; "" for a claim that holds."""


SOURCES = {
    "paper": "the paper",
    "authors": "the authors' own table, beside their code",
    "abstract": "the paper's abstract, all that could be read of it",
    "retold": "other people's tables; the paper itself was not at hand",
}

Values = dict[int, float]
"""A number for each seed."""


class Answer(NamedTuple):
    """What a check gave."""

    first: Values
    second: Values
    relation: str
    """What the first is: "above", "below" or "alike"; "" where nothing can be compared yet."""
    is_decided: bool
    """Whether two seeds at least say so."""


def read_reports() -> dict[str, dict[str, Any]]:
    """Return the reports of all benchmarks by their names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def read_side(side: Side, reports: Mapping[str, dict[str, Any]]) -> Values:
    """Return a side's number for each seed: the mean of those of its runs with that seed."""
    found: dict[int, list[float]] = {}
    for run in reports.get(side.file, {}).get("runs", []):
        if all(run.get(key) == value for key, value in side.select.items()):
            value: Any = run
            for key in side.metric.split("/"):
                value = value[key]
            found.setdefault(run["seed"], []).append(value)
    return {seed: fmean(values) for seed, values in sorted(found.items())}


def answer(check: Check, reports: Mapping[str, dict[str, Any]]) -> Answer:
    """Compare on the seeds that both sides have.

    The first is above or below the second where the means differ by more than the larger standard
    deviation, else alike; with one seed, where they differ at all.
    """
    first, second = read_side(check.first, reports), read_side(check.second, reports)
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return Answer(first, second, "", False)
    first, second = ({seed: side[seed] for seed in seeds} for side in (first, second))
    difference = fmean(first.values()) - fmean(second.values())
    spread = max(stdev(first.values()), stdev(second.values())) if len(seeds) > 1 else 0.0
    relation = "alike" if abs(difference) <= spread else "above" if difference > 0 else "below"
    return Answer(first, second, relation, len(seeds) > 1)


def judge(claim: Claim, reports: Mapping[str, dict[str, Any]]) -> str:
    """Return "holds", "holds partly", "not here" or "open".

    Comparisons that no second seed confirms, or that have not been run, decide nothing, but keep a
    claim from holding as a whole.
    """
    right, decided = count(claim, reports)
    if not decided:
        return "open"
    if not right:
        return "not here"
    return "holds" if right == len(claim.checks) else "holds partly"


def count(claim: Claim, reports: Mapping[str, dict[str, Any]]) -> tuple[int, int]:
    """Return how many of a claim's comparisons come out as claimed, and how many are decided."""
    given = [(check.expected, answer(check, reports)) for check in claim.checks]
    decided = [expected == got.relation for expected, got in given if got.is_decided]
    return sum(decided), len(decided)


def describe(values: Values, digits: int) -> str:
    """Return mean ± standard deviation over the seeds, of one seed its value."""
    mean = f"{fmean(values.values()):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {stdev(values.values()):.{digits}f}"


def format_check(check: Check, reports: Mapping[str, dict[str, Any]]) -> str:
    """Return a comparison as a row of a table."""
    got = answer(check, reports)
    first, second, word = "", "", "not run yet"
    if got.relation:
        first, second = (describe(side, check.digits) for side in (got.first, got.second))
        if got.relation == check.expected:
            word = "yes"
        else:
            word = "alike" if got.relation == "alike" else f"no, {got.relation}"
        word += "" if got.is_decided else " (one seed)"
    files = dict.fromkeys([check.first.file, check.second.file])
    links = [f"[{name}](../benchmarks/results/{name}.md)" for name in files if name in reports]
    cells = [check.unit, check.first.title, first, check.expected, check.second.title, second]
    return f"| {' | '.join([*cells, word, ', '.join(links)])} |"


INTRODUCTION = """\
# What the papers claim, and what was found here

Ten systems are built after their papers, and each paper claims something. Here is what of it
shows on drawn sets, with small networks that are trained for minutes on a CPU: far from the papers'
data, networks and schedules, so that a claim that does not show here is not refuted. What was found
beside these questions stands in [Results](results.md).

`python benchmarks/claims.py` writes this page from the files in
[`benchmarks/results/`](../benchmarks/results), and its verdicts by one rule. One thing is above
another where their means over the seeds differ by more than the larger of their standard
deviations, else the two are alike. A claim **holds** where each of its comparisons comes out so
with two seeds or more, **holds partly** where some do, and is **not here** where none does; one
seed decides nothing, and what has not been run yet is in no verdict. ± is the standard deviation
over the seeds that both have."""


def format_page(claims: Sequence[Claim], reports: Mapping[str, dict[str, Any]]) -> str:
    """Return the page: a table of all claims, then each with its comparisons."""
    lines = [
        *(INTRODUCTION, ""),
        "| system | the paper's claim | verdict here | because |",
        "|---|---|---|---|",
    ]
    for claim in claims:
        verdict = judge(claim, reports)
        right, decided = count(claim, reports)
        link = f"[{claim.system}](#{_anchor(claim.system)})"
        because = "" if verdict == "holds" else claim.because
        lines.append(f"| {link} | {claim.says} | **{verdict}**, {right} of {decided} | {because} |")
    for claim in claims:
        lines += ["", f"## {claim.system}", ""]
        lines += [f"{claim.paper}. Known from: {SOURCES[claim.source]}.", ""]
        lines += ["| measure | this | | is, as claimed, | that | | so here? | results |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [format_check(check, reports) for check in claim.checks]
    return "\n".join(lines) + "\n"


def _anchor(heading: str) -> str:
    words = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return words.replace(" ", "-")


def main() -> None:
    """Write the page."""
    from claim_list import CLAIMS

    PAGE.write_text(format_page(CLAIMS, read_reports()))
    print(f"{PAGE}: {len(CLAIMS)} claims")


if __name__ == "__main__":
    main()
