"""What the accuracy benchmarks share: trainings in processes of their own, and tables."""

import argparse
import concurrent.futures
import contextlib
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from training_reports import add_to, describe_conditions, write_report

from person_search.synthetic.market_writer import write_market1501
from person_search.synthetic.world_spec import PRESETS
from reid_heads.data.builtin import get_datasets_root

REID_METRICS = ("mAP", "mINP", "top1", "top5")

only_finished = False
"""Whether ``train`` reads finished trainings and starts none (``--finished`` of the benchmarks)."""


class NotTrainedError(Exception):
    """A training that is not there, where none may be started."""


@dataclass(frozen=True)
class Comparison:
    """A benchmark of crop ReID: the rows of its table, and where everything of it lies."""

    name: str
    """Of the folder below output/ and of the report in benchmarks/results/."""

    title: str
    configs: Path
    """Folder with a config for each row, ROW.yaml."""

    rows: Mapping[str, str]
    """What each row is called in the table, in the table's order."""

    variants: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)
    """Rows without a config of their own: the row whose config it is, and what it overrides."""

    @property
    def output(self) -> Path:
        """Folder of the trainings."""
        return Path("output") / self.name

    def config(self, row: str) -> str:
        """Return the path of the config of a row, or of the one that it is a variant of."""
        return str(self.configs / f"{self.variants.get(row, (row,))[0]}.yaml")

    def overrides(self, row: str) -> list[str]:
        """Return what a row overrides of its config: alternating keys and values."""
        return list(self.variants[row][1]) if row in self.variants else []

    def parser(self, description: str) -> argparse.ArgumentParser:
        """Return the command line; see ``parse_rows``."""
        return parse_rows(description, self.rows)

    def train_row(self, row: str, seed: int, overrides: list[str]) -> dict:
        """Train one row with one seed in a process of its own, or read what is there."""
        settings = ["SEED", str(seed), *self.overrides(row), *overrides]
        folder = self.output / f"{row}_seed{seed}"
        run = train("reid_heads", self.config(row), folder, settings, threads=1)
        return {**run, "row": row, "seed": seed}

    def run(
        self,
        args: argparse.Namespace,
        trainings: Sequence[Callable[[], dict]],
        format_table: Callable[[dict], str],
        **more: Any,
    ) -> list[dict]:
        """Train and report; see ``compare``."""
        results = Path("benchmarks/results") / self.name
        return compare(args, trainings, results, format_table, **more)

    def head(self, report: dict) -> list[str]:
        """Return the lines above the table: the title, when, where and how it was run."""
        return [f"# {self.title}", "", describe_conditions(report), ""]


def train(module: str, config_file: str, folder: Path, overrides: list[str], threads: int) -> dict:
    """Train and score in a process of its own, or read what an earlier start left.

    An interrupted training continues from its last checkpoint.

    Args:
        module: "person_search" or "reid_heads".
        config_file: of the training.
        folder: its output.
        overrides: alternating keys and values.
        threads: of torch; a run with one thread beside another uses two cores better than one run
            with two.

    Returns:
        ``{"folder", "minutes", "threads", "results", "ms_per_frame", "date", "load"}``; minutes is
        None for an interrupted run, of which only the last part is known.

    Raises:
        RuntimeError: if the training fails; has the end of its output.
        NotTrainedError: if it has not finished and ``only_finished`` is set.
    """
    finished = folder / "finished.json"
    if finished.exists():
        return json.loads(finished.read_text())
    if only_finished:
        raise NotTrainedError(folder)
    was_interrupted = (folder / "last_checkpoint").exists()
    command = [sys.executable, "-m", f"{module}.train_net", "--resume", "--config-file"]
    started = time.perf_counter()
    run_quietly([*command, config_file, *overrides, "OUTPUT_DIR", str(folder)], threads)
    minutes = (time.perf_counter() - started) / 60
    run = {
        "folder": str(folder),
        "minutes": None if was_interrupted else minutes,
        "threads": threads,
        "results": json.loads((folder / "inference/results.json").read_text()),
        "ms_per_frame": read_ms_per_frame(folder / "log.txt"),
        "date": datetime.date.today().isoformat(),
        # Processes that ran or waited, mean of five minutes: 1 on a machine with nothing else.
        "load": round(os.getloadavg()[1], 1),
    }
    finished.write_text(json.dumps(run))
    return run


def run_quietly(command: list[str], threads: int) -> None:
    """Run a command; its output is shown only where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def read_ms_per_frame(log: Path) -> float | None:
    """Return the model's own time of a test image, ms, from detectron2's last evaluation."""
    found = re.findall(r"pure compute time: .*\(([\d.]+) s / iter", log.read_text())
    return 1000 * float(found[-1]) if found else None


def describe_machine() -> str:
    """Return cores, architecture and torch's version."""
    return f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def spread(values: list[float], digits: int = 1) -> str:
    """Return mean ± standard deviation; of a single value, the value."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def parse_rows(
    description: str, rows: Iterable[str], flag: str = "--rows"
) -> argparse.ArgumentParser:
    """Return the command line that the comparisons of crop ReID share; ``flag`` chooses rows."""
    rows = list(rows)
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument(flag, dest="rows", nargs="+", choices=rows, default=rows)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument(
        "--finished",
        action=_OnlyFinished,
        nargs=0,
        help="train nothing: write the report of what has been trained",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="keep the runs of the report that is there and are not of this start",
    )
    parser.add_argument("overrides", nargs="*", help="KEY VALUE pairs for every run")
    return parser


class _OnlyFinished(argparse.Action):
    def __call__(self, *_: object) -> None:
        global only_finished
        only_finished = True


def draw_market(processes: int) -> Path:
    """Draw drawn-market where it is missing; return its folder."""
    root = get_datasets_root() / "drawn-market"
    return write_market1501(PRESETS["drawn-market"], root, processes=processes)


def each_seed(
    args: argparse.Namespace,
    train_row: Callable[[str, int, list[str]], dict],
    first_seed_only: Collection[str] = (),
) -> list[Callable[[], dict]]:
    """Return the trainings of all rows, seed after seed.

    Args:
        args: of ``parse_rows``.
        train_row: takes row, seed and overrides.
        first_seed_only: rows that have no other seeds.
    """
    jobs = [
        (row, seed)
        for seed in args.seeds
        for row in args.rows
        if seed == args.seeds[0] or row not in first_seed_only
    ]
    return [partial(train_row, row, seed, args.overrides) for row, seed in jobs]


def train_all(
    trainings: Sequence[Callable[[], dict]], processes: int, done: Callable[[list[dict]], None]
) -> list[dict]:
    """Run trainings, several at a time; ``done`` gets the runs so far after each of them.

    Those that may not be started (``only_finished``) are left out.
    """
    runs: list[dict] = []
    # Threads only wait for the training processes.
    with concurrent.futures.ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(training) for training in trainings]
        finished = concurrent.futures.as_completed(futures)
        for future in tqdm(finished, total=len(futures), desc="runs", disable=None):
            with contextlib.suppress(NotTrainedError):
                runs.append(future.result())
                done(runs)
    return runs


def compare(
    args: argparse.Namespace,
    trainings: Sequence[Callable[[], dict]],
    results: Path,
    format_table: Callable[[dict], str],
    earlier: Sequence[dict] = (),
    **facts: object,
) -> list[dict]:
    """Run the trainings of a comparison, write its report after each, and print the table.

    Args:
        args: of ``parse_rows``.
        trainings: each returns its run.
        results: path of the report without suffix.
        format_table: turns the report into Markdown.
        earlier: runs that belong to the report already.
        **facts: whatever else belongs to it.
    """
    there = results.with_suffix(".json")
    kept = json.loads(there.read_text()) if args.add and there.exists() else None

    def report(runs: list[dict]) -> None:
        content = {**describe_report(args), **facts, "runs": [*earlier, *runs]}
        if kept:
            content = add_to(kept, content)
        write_report(results, content, format_table(content))

    runs = train_all(trainings, args.processes, report)
    print(results.with_suffix(".md").read_text())
    return runs


def describe_report(args: argparse.Namespace) -> dict:
    """Return what belongs to the numbers of a comparison."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "machine": describe_machine(),
        "processes": args.processes,
        "seeds": args.seeds,
    }


def mean_minutes(runs: list[dict]) -> str:
    """Return the mean time of the runs that were not interrupted."""
    known = [run["minutes"] for run in runs if run["minutes"] is not None]
    return f"{np.mean(known):.1f}" if known else "interrupted"


def by_row(report: dict, rows: Mapping[str, str]) -> Iterator[tuple[str, str, list[dict]]]:
    """Yield row, title and runs of the rows of a report that have run.

    The title names the seeds of a row that has not run with all of them.
    """
    for row, title in rows.items():
        runs = [run for run in report["runs"] if run["row"] == row]
        seeds = sorted({run["seed"] for run in runs})
        if seeds and seeds != sorted(report["seeds"]):
            named = " and ".join(map(str, seeds))
            title = f"{title} (seed{'s' * (len(seeds) > 1)} {named})"
        if runs:
            yield row, title, runs


def reid_table(report: dict, rows: Mapping[str, str], what: str) -> list[str]:
    """Return the lines of a table of crop ReID: title, config, metrics and minutes of each row."""
    lines = [
        f"| {what} | config | mAP | mINP | top-1 | top-5 | minutes a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, title, runs in by_row(report, rows):
        cells = [title, row, *reid_cells(runs), mean_minutes(runs)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def reid_cells(runs: list[dict]) -> list[str]:
    """Return mean and standard deviation of each of ``REID_METRICS``."""
    return [spread([run["results"]["reid"][metric] for run in runs]) for metric in REID_METRICS]
