"""Compare what person search starts from: nothing, ImageNet, stage 1 of STL, stage 1 from ImageNet.

    python -m reid_heads.imagenet_mobilenet --output output/mobilenet_v2.pth
    python benchmarks/mobilenet_starts.py                       # everything, two runs at a time
    python benchmarks/mobilenet_starts.py --rows imagenet stl_imagenet --seeds 1

MobileNetV2 on drawn-cuhk (configs/drawn_cuhk/stl_mobilenet.yaml), scored by how often the test
people are seen too: the paper's claim is about the tail. Each start is trained for as many steps
of stage 2; the rows without stage 1 also for so much longer that the whole takes as long as both
stages. Draws the set first where it is missing. Resumes: runs whose numbers stand in
benchmarks/results/mobilenet_starts.json are kept unless ``--anew`` is given.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from training_runs import (
    by_row,
    compare,
    describe_conditions,
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
    # With overrides it is another benchmark.
    earlier = [] if args.anew or args.overrides else read_record()
    finished = {(run["row"], run["seed"]) for run in earlier}
    jobs = [(row, seed) for seed in args.seeds for row in args.rows]
    # One after the other: rows of a seed share their stage 1.
    for seed in args.seeds:
        starts = {ROWS[row].from_imagenet for row, s in jobs if s == seed and ROWS[row].has_stage1}
        for from_imagenet in sorted(starts):
            train_stage1(from_imagenet, seed, args)
    trainings = [
        partial(train_row, row, seed, args) for row, seed in jobs if (row, seed) not in finished
    ]
    seeds = sorted({*args.seeds, *(seed for _, seed in finished)})
    facts = {"iterations": ITERATIONS, "stage1_iterations": int(STAGE1[1]), "seeds": seeds}
    compare(args, trainings, RESULTS, format_table, earlier, **facts)


def read_record() -> list[dict]:
    """Return the runs of the results file.

    Raises:
        ValueError: if they are of another length.
    """
    path = RESULTS.with_suffix(".json")
    if not path.is_file():
        return []
    report = json.loads(path.read_text())
    if report["iterations"] != ITERATIONS or report["stage1_iterations"] != int(STAGE1[1]):
        raise ValueError(
            f"{path} has runs of {report['iterations']} iterations after "
            f"{report['stage1_iterations']}; expected {ITERATIONS} after {STAGE1[1]}. --anew "
            "replaces them"
        )
    runs: list[dict] = report["runs"]
    return runs


def _parse() -> argparse.Namespace:
    parser = parse_rows(__doc__, ROWS)
    add = parser.add_argument
    add("--imagenet", type=Path, default=Path("output/mobilenet_v2.pth"), help="ImageNet weights")
    add("--anew", action="store_true", help="keep no run of an earlier record")
    return parser.parse_args()


def train_stage1(from_imagenet: bool, seed: int, args: argparse.Namespace) -> dict:
    """Train a stage 1, or read what an earlier start left: its checkpoint and its minutes."""
    folder = OUTPUT / f"stage1_{'imagenet' if from_imagenet else 'nothing'}_seed{seed}"
    finished = folder / "finished.json"
    if finished.exists():
        known: dict = json.loads(finished.read_text())
        return known
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
    finished.write_text(json.dumps(run))
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
