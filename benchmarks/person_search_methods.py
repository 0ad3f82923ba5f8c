"""Compare person search methods on the drawn CUHK-SYSU and PRW sets.

    python benchmarks/person_search_methods.py                    # everything, two runs at a time
    python benchmarks/person_search_methods.py --sets drawn_cuhk --rows oim multi_stl_oim --seeds 1

The rows: the OIM baseline, the SeqNet-like network, and ours with one level or several, without
stage 1 or with it (STL), with each loss; with more of the backbone shared; and with the levels
fused by attention, or with those of the detector's pyramid. The headline rows
take every seed, the others the first.
Draws the sets first where they are missing. Started again, it resumes: runs whose numbers stand in
benchmarks/results/person_search_methods.json, from this machine or another, are kept unless
``--anew`` is given, and an interrupted one continues from its last checkpoint. Writes the table and
the numbers behind it after each run.
"""

import argparse
import concurrent.futures
import datetime
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm
from training_runs import describe_machine, run_quietly, spread, train

OUTPUT = Path("output/person_search_methods")
RESULTS = Path("benchmarks/results/person_search_methods")
SETS = ("drawn_cuhk", "drawn_prw")
# Of 4 frames: once through the 2,000 training frames of drawn-cuhk, twice through drawn-prw's 600.
ITERATIONS = {"drawn_cuhk": 500, "drawn_prw": 300}
STL = "MODEL.PERSON_SEARCH.STL."
_BRANCH = "MODEL.PERSON_SEARCH.IDENTITY_BRANCH."
ONE_LEVEL = [_BRANCH + "IN_FEATURES", "['res2']"]
LOSSES = {
    "oim": "OIM",
    "arcface": "ArcFace",
    "subcenter": "sub-center ArcFace",
    "triplet": "softmax + triplet",
}


# By the last stage that the identity branch shares with the detector, which elsewhere is res2: the
# branch's own stages, the levels, the base first, and where the gates of the others start: of 0,
# 0.3 and 1 what was best with seed 1.
SHARED = {
    "res3": ("res4+res5", ["res3", "res2", "res4"], "0.0"),
    "res4": ("res5", ["res4", "res3", "res2"], "1.0"),
}
# The same fused by attention, or with the detector's pyramid for the levels beside the base.
FUSED = {
    "attention": ("by attention", {"": [], "res4": []}, "attention"),
    "pyramid": (
        "with the pyramid",
        {"": ["res2", "p3", "p4"], "res4": ["res4", "p3", "p2"]},
        "sum",
    ),
}


class Row(NamedTuple):
    """A row of the table."""

    config: str
    """Below configs/<set>/."""
    levels: str
    stage1: bool
    loss: str
    overrides: list[str]
    is_headline: bool = False
    longer: float = 1.0
    """Factor of the iterations."""


def list_rows() -> dict[str, Row]:
    """Return all rows by name."""
    rows = {
        "oim": Row("slim_fpn", "one", False, "OIM", [], True),
        "seqnet": Row("seqnet", "one", False, "NAE, OIM", [], True),
    }
    for levels, choose in (("one", ONE_LEVEL), ("multi", [])):
        for stage1 in (False, True):
            for loss, title in LOSSES.items():
                config = "stl" if loss == "oim" else f"stl_{loss}"
                name = f"{levels}_{'stl' if stage1 else 'plain'}_{loss}"
                rows[name] = Row(config, levels, stage1, title, choose, loss == "oim")
    for shared in SHARED:
        for levels in ("one", "multi"):
            for stage1 in (False, True):
                name = f"{levels}_{'stl' if stage1 else 'plain'}_oim_{shared}"
                choose = choose_shared(shared, levels)
                title = f"{levels}, up to {shared} shared"
                rows[name] = Row("stl", title, stage1, "OIM", choose, is_headline=stage1)
    for name, (how, levels_of, fusion) in FUSED.items():
        for shared, levels in levels_of.items():
            choose = [_BRANCH + "FUSION", fusion]
            choose += choose_shared(shared, "multi") if shared else []
            choose += [_BRANCH + "IN_FEATURES", str(levels)] if levels else []
            title = f"multi{f', up to {shared} shared' * bool(shared)}, {how}"
            row = "_".join(filter(None, ["multi_stl_oim", shared, name]))
            rows[row] = Row("stl", title, True, "OIM", choose, True)
    # As long as both stages together, for a comparison at equal cost.
    rows["multi_plain_oim_longer"] = Row("stl", "multi", False, "OIM, longer", [], longer=1.7)
    return rows


def choose_shared(stage: str, levels: str) -> list[str]:
    """Return overrides for a branch that shares the backbone up to ``stage``."""
    body, names, gate = SHARED[stage]
    chosen = [
        *(_BRANCH + "BODY", body),
        *(_BRANCH + "IN_FEATURES", str(names[:1] if levels == "one" else names)),
        *(_BRANCH + "POOLER_RESOLUTION", "[8, 4]"),
    ]
    return chosen if levels == "one" else [*chosen, _BRANCH + "FUSION_GATE", gate]


ROWS = list_rows()


def main() -> None:
    """Train what is missing, write the table."""
    args = _parse()
    for name in args.sets:
        draw = [sys.executable, "-m", "person_search.cli", "draw", "--set", name.replace("_", "-")]
        run_quietly(draw, threads=1)
    # With overrides it is another benchmark.
    runs = [] if args.anew or args.overrides else read_record()
    jobs = list_jobs(args, {(run["set"], run["row"], run["seed"]) for run in runs})
    with concurrent.futures.ThreadPoolExecutor(args.processes) as pool:
        wanted = dict.fromkeys((s, seed) for s, r, seed in jobs if ROWS[r].stage1)
        stages = {key: pool.submit(train_stage1, *key, args.overrides) for key in wanted}
        futures = [pool.submit(train_row, *job, stages, args.overrides) for job in jobs]
        done = concurrent.futures.as_completed(futures)
        for future in tqdm(done, total=len(futures), desc="runs", disable=None):
            runs.append(future.result())
            write_report(args, runs)
    print(write_report(args, runs))


def list_jobs(args: argparse.Namespace, finished: set[tuple[str, str, int]]) -> list[tuple]:
    """Return the set, row and seed of each run that is asked for and not finished."""
    first = args.seeds[0]
    jobs = [(s, r, seed) for s in args.sets for seed in args.seeds for r in args.rows]
    jobs = [(s, r, seed) for s, r, seed in jobs if seed == first or ROWS[r].is_headline]
    # Headline rows first: an interrupted benchmark has the most of it then.
    jobs.sort(key=lambda job: not ROWS[job[1]].is_headline)
    return [job for job in jobs if job not in finished]


def read_record() -> list[dict]:
    """Return the runs of the results file, with the date and machine of each."""
    path = RESULTS.with_suffix(".json")
    if not path.is_file():
        return []
    report = json.loads(path.read_text())
    if report["iterations"] != ITERATIONS:
        raise ValueError(
            f"{path} has runs of {report['iterations']} iterations, not {ITERATIONS}; --anew "
            "replaces them"
        )
    return [{"date": report["date"], **run} for run in report["runs"]]


def write_report(args: argparse.Namespace, runs: list[dict]) -> str:
    """Write the numbers and the table of all runs so far; return the table."""
    order = list(ROWS)
    runs = sorted(runs, key=lambda r: (SETS.index(r["set"]), order.index(r["row"]), r["seed"]))
    report = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "machine": describe_machine(),
        "processes": args.processes,
        "iterations": ITERATIONS,
        "seeds": sorted({run["seed"] for run in runs}),
        "runs": runs,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    table = format_tables(report)
    RESULTS.with_suffix(".md").write_text(table)
    return table


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--anew", action="store_true", help="keep no run of an earlier record")
    parser.add_argument("overrides", nargs="*", help="KEY VALUE pairs for every run")
    return parser.parse_args()


def train_stage1(dataset: str, seed: int, overrides: list[str]) -> dict:
    """Train stage 1 of a set, which all its rows with STL start from."""
    folder = OUTPUT / dataset / f"stage1_seed{seed}"
    finished = folder / "finished.json"
    if finished.exists():
        return json.loads(finished.read_text())
    command = [sys.executable, "-m", "person_search.train_stage1", "--resume", "--config-file"]
    started = time.perf_counter()
    settings = [f"configs/{dataset}/stl.yaml", *overrides, "SEED", str(seed)]
    run_quietly([*command, *settings, "OUTPUT_DIR", str(folder)], threads=1)
    run = {
        "weights": str(folder / "stage1/model_final.pth"),
        "minutes": (time.perf_counter() - started) / 60,
    }
    finished.write_text(json.dumps(run))
    return run


def train_row(
    dataset: str,
    name: str,
    seed: int,
    stages: dict[tuple[str, int], concurrent.futures.Future],
    overrides: list[str],
) -> dict:
    """Train and score one row with one seed."""
    row = ROWS[name]
    iterations = str(round(ITERATIONS[dataset] * row.longer))
    settings = ["SOLVER.MAX_ITER", iterations, "TEST.EVAL_PERIOD", iterations]
    settings += ["SOLVER.CHECKPOINT_PERIOD", "250", "TEST.SEARCH.BY_FREQUENCY", "True"]
    settings += ["SEED", str(seed), *row.overrides, *overrides]
    stage1 = stages[dataset, seed].result() if row.stage1 else None
    if stage1:
        settings += [STL + "CONFIG_FILE", "", STL + "WEIGHTS", stage1["weights"]]
    elif row.config.startswith("stl"):
        # Without stage 1 nothing reads what to take of it, and the config would be refused.
        settings += [STL + "CONFIG_FILE", "", STL + "TRANSFER_NECK", "False"]
        settings += [STL + "TRANSFER_DETECTOR", "False"]
    folder = OUTPUT / dataset / f"{name}_seed{seed}"
    config_file = f"configs/{dataset}/{row.config}.yaml"
    run = train("person_search", config_file, folder, settings, threads=1)
    minutes = stage1["minutes"] if stage1 else 0.0
    facts = {"set": dataset, "row": name, "seed": seed, "stage1_minutes": minutes}
    return {**run, **facts, "date": datetime.date.today().isoformat()}


def format_tables(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown, a table for each set."""
    lines = [
        "# Person search on the drawn sets",
        "",
        f"{_describe_dates(report['runs'])}, {report['machine']}, seeds {report['seeds']}; mean ± "
        "standard deviation over the seeds where there are several, percent; batches of 4 frames, "
        f"iterations: {report['iterations']}; a thread a run, other runs beside it. Tail: "
        "the third of the test people who are seen least. Minutes: stage 1 + training and "
        f"evaluation. Command: `{report['command']}`",
    ]
    for name in SETS:
        runs = [run for run in report["runs"] if run["set"] == name]
        if runs:
            lines += ["", f"## {name}", "", *_format_table(runs)]
    return "\n".join(lines) + "\n"


def _describe_dates(runs: list[dict]) -> str:
    dates = sorted({run["date"] for run in runs})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"


def _format_table(runs: list[dict]) -> list[str]:
    lines = [
        "| row | levels | stage 1 | loss | detection AP | mAP | top-1 | mAP tail | top-1 tail | "
        "ms / frame | minutes | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        own = [run for run in runs if run["row"] == name]
        if not own:
            continue
        results = [run["results"] for run in own]
        cells = [name, row.levels, "STL" if row.stage1 else "-", row.loss]
        cells.append(spread([r["detection"]["ap"] for r in results]))
        for group in ("search", "search_tail"):
            cells += [spread([r[group][metric] for r in results]) for metric in ("mAP", "top1")]
        cells.append(_mean([run["ms_per_frame"] for run in own], ".0f"))
        stage1 = _mean([run["stage1_minutes"] for run in own], ".1f") + " + " if row.stage1 else ""
        cells.append(stage1 + _mean([run["minutes"] for run in own], ".1f"))
        lines.append(f"| {' | '.join([*cells, str(len(own))])} |")
    return lines


def _mean(values: list[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(sum(known) / len(known), form) if known else "interrupted"


if __name__ == "__main__":
    main()
