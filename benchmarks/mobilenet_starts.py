"""Compare what person search starts from: nothing, ImageNet, stage 1 of STL, stage 1 from ImageNet.

    python -m reid_heads.imagenet_mobilenet --output output/mobilenet_v2.pth
    python benchmarks/mobilenet_starts.py                       # everything, two runs at a time
    python benchmarks/mobilenet_starts.py --add --rows imagenet stl_imagenet --seeds 2

MobileNetV2 on drawn-cuhk (configs/drawn_cuhk/stl_mobilenet.yaml), scored by how often the test
people are seen too: the paper's claim is about the tail. Each start is trained for as many steps
of stage 2; the rows without stage 1 also for so much longer that the whole takes as long as both
stages. Draws the set first where it is missing. Started again, it resumes: finished runs are kept,
an interrupted one continues from its last checkpoint. Writes a table and the numbers behind it to
benchmarks/results/mobilenet_starts.*.
"""

import argparse
import collections
import json
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import training_runs
from training_runs import (
    by_row,
    compare,
    describe_conditions,
    each_seed,
    mean_minutes,
    parse_rows,
    run_quietly,
    spread,
    train,
)

CONFIG = "configs/drawn_cuhk/stl_mobilenet.yaml"
OUTPUT = Path("output/mobilenet_starts")
RESULTS = Path("benchmarks/results/mobilenet_starts")
ITERATIONS = 250
"""Of 4 frames: half of drawn-cuhk's 2,000 training frames."""
STAGE1 = ["SOLVER.MAX_ITER", "500", "SOLVER.STEPS", "[340,440]", "SOLVER.WARMUP_ITERS", "40"]
LONGER = 1.6
"""By what the rows without stage 1 are longer where both take as long: see the minutes."""
STL = "MODEL.PERSON_SEARCH.STL."
_LOCKS: dict[Path, threading.Lock] = collections.defaultdict(threading.Lock)


class Row(NamedTuple):
    """A row of the table."""

    title: str
    from_imagenet: bool
    has_stage1: bool
    overrides: tuple[str, ...] = ()
    longer: float = 1.0
    """Factor of the iterations."""


ROWS = {
    "nothing": Row("nothing", False, False),
    "imagenet": Row("ImageNet", True, False),
    "stl_nothing": Row("stage 1 from nothing", False, True),
    "stl_imagenet": Row("stage 1 from ImageNet", True, True),
    "stl_imagenet_detector": Row(
        "stage 1 from ImageNet, the detector's stages from ImageNet itself",
        True,
        True,
        (STL + "TRANSFER_DETECTOR", "False"),
    ),
    # Trained weights may want smaller steps than weights drawn at random.
    "imagenet_slower": Row(
        "ImageNet, a third of the learning rate", True, False, ("SOLVER.BASE_LR", "0.0003")
    ),
    "nothing_longer": Row("nothing, as long as with stage 1", False, False, (), LONGER),
    "imagenet_longer": Row("ImageNet, as long as with stage 1", True, False, (), LONGER),
}


def main() -> None:
    """Train what is missing, write the table."""
    args = _parse()
    if not args.imagenet.is_file():
        sys.exit(
            f"there are no ImageNet weights {args.imagenet}; get them with "
            f"python -m reid_heads.imagenet_mobilenet --output {args.imagenet}"
        )
    run_quietly([sys.executable, "-m", "person_search.cli", "draw", "--set", "drawn-cuhk"], 1)
    facts = {"iterations": ITERATIONS, "stage1_iterations": int(STAGE1[1])}
    trainings = each_seed(args, lambda row, seed, _: train_row(row, seed, args))
    compare(args, trainings, RESULTS, format_table, **facts)


def _parse() -> argparse.Namespace:
    parser = parse_rows(__doc__, ROWS)
    default = Path("output/mobilenet_v2.pth")
    parser.add_argument("--imagenet", type=Path, default=default, help="ImageNet weights")
    return parser.parse_args()


def train_stage1(from_imagenet: bool, seed: int, args: argparse.Namespace) -> dict:
    """Train a stage 1, or read what an earlier start left: its checkpoint and its minutes.

    Raises:
        NotTrainedError: if it has not finished and ``only_finished`` is set.
    """
    folder = OUTPUT / f"stage1_{'imagenet' if from_imagenet else 'nothing'}_seed{seed}"
    finished = folder / "finished.json"
    # Several rows start from it, and the first that gets here trains it.
    with _LOCKS[folder]:
        if finished.exists():
            known: dict = json.loads(finished.read_text())
            return known
        if training_runs.only_finished:
            raise training_runs.NotTrainedError(folder)
        return _train_stage1(from_imagenet, seed, folder, args)


def _train_stage1(from_imagenet: bool, seed: int, folder: Path, args: argparse.Namespace) -> dict:
    # Stage 1 resumes by itself, but then its time is not known.
    was_interrupted = (folder / "stage1/last_checkpoint").exists()
    weights = ["MODEL.WEIGHTS", str(args.imagenet) if from_imagenet else ""]
    command = [sys.executable, "-m", "person_search.train_stage1", "--resume", "--config-file"]
    settings = [STL + "OPTS", str([*STAGE1, *weights]), "SEED", str(seed)]
    started = time.perf_counter()
    run_quietly([*command, CONFIG, *settings, "OUTPUT_DIR", str(folder)], threads=1)
    minutes = (time.perf_counter() - started) / 60
    run = {
        "weights": str(folder / "stage1/model_final.pth"),
        "minutes": None if was_interrupted else minutes,
    }
    (folder / "finished.json").write_text(json.dumps(run))
    return run


def train_row(name: str, seed: int, args: argparse.Namespace) -> dict:
    """Train and score one row with one seed."""
    row = ROWS[name]
    iterations = str(round(ITERATIONS * row.longer))
    settings = ["SOLVER.MAX_ITER", iterations, "TEST.EVAL_PERIOD", iterations]
    settings += ["SOLVER.CHECKPOINT_PERIOD", "50", "TEST.SEARCH.BY_FREQUENCY", "True"]
    settings += ["SEED", str(seed), "MODEL.WEIGHTS", str(args.imagenet) * row.from_imagenet]
    settings += [STL + "CONFIG_FILE", ""]
    stage1 = train_stage1(row.from_imagenet, seed, args) if row.has_stage1 else None
    if stage1:
        settings += [STL + "WEIGHTS", stage1["weights"]]
    else:
        settings += [STL + "TRANSFER_NECK", "False", STL + "TRANSFER_DETECTOR", "False"]
    folder = OUTPUT / f"{name}_seed{seed}"
    settings += [*row.overrides, *args.overrides]
    run = train("person_search", CONFIG, folder, settings, threads=1)
    minutes = stage1["minutes"] if stage1 else 0.0
    return {**run, "row": name, "seed": seed, "stage1_minutes": minutes}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        "# What person search starts from",
        "",
        f"{describe_conditions(report)}",
        "",
        f"MobileNetV2 on drawn-cuhk, frames of 360 x 202: {report['iterations']} iterations of 4 "
        f"frames, after {report['stage1_iterations']} of 32 crops in stage 1. Tail: the third of "
        "the test people who are seen least. Minutes: stage 1 + training and evaluation.",
        "",
        "| start | detection AP | mAP | top-1 | mAP tail | top-1 tail | minutes | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, title, runs in by_row(report, {name: row.title for name, row in ROWS.items()}):
        results = [run["results"] for run in runs]
        cells = [title, spread([r["detection"]["ap"] for r in results])]
        for group in ("search", "search_tail"):
            cells += [spread([r[group][metric] for r in results]) for metric in ("mAP", "top1")]
        stages = [{"minutes": run["stage1_minutes"]} for run in runs]
        before = f"{mean_minutes(stages)} + " if ROWS[name].has_stage1 else ""
        cells += [before + mean_minutes(runs), str(len(runs))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
