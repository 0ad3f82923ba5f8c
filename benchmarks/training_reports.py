"""The reports of the accuracy benchmarks: their files, and when and how they came about."""

import json
from pathlib import Path

_CONDITIONS = ("date", "command", "machine", "processes", "seeds")


def write_report(results: Path, report: dict, table: str) -> None:
    """Write the numbers to ``results``.json and the table to ``results``.md."""
    results.parent.mkdir(parents=True, exist_ok=True)
    results.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    results.with_suffix(".md").write_text(table)


def add_to(kept: dict, report: dict) -> dict:
    """Add to a report the runs of an earlier one that it has no run of the same row and seed for.

    The earlier one's conditions are kept beside it, in "before".
    """
    own = {(run["row"], run["seed"]) for run in report["runs"]}
    runs = [run for run in kept["runs"] if (run["row"], run["seed"]) not in own]
    conditions = {key: kept[key] for key in _CONDITIONS if key in kept}
    before = [*kept.get("before", []), conditions]
    if before[-1]["command"] == report["command"]:
        before.pop()  # the same start again
    seeds = sorted({*kept["seeds"], *report["seeds"]})
    return {**kept, **report, "runs": [*runs, *report["runs"]], "before": before, "seeds": seeds}


def describe_conditions(report: dict) -> str:
    """Say in a line when, where and how a comparison was run."""
    line = (
        f"{report['date']}, {report['machine']}, seeds {report['seeds']}; mean ± standard "
        f"deviation over the seeds, percent; {report['processes']} runs at a time with a thread "
        f"each. Command: `{report['command']}`"
    )
    loads = [run["load"] for run in report.get("runs", []) if "load" in run]
    if loads:
        line += f"; the load during {len(loads)} of the runs was {min(loads)} to {max(loads)}"
    for start in report.get("before", []):
        line += f"; before that, {start['date']}, {start['machine']}: `{start['command']}`"
    return line
