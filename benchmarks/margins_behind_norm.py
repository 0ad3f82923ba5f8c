"""Compare the margins of softmax losses behind a BatchNorm, on the drawn Market set.

    python benchmarks/margins_behind_norm.py                    # every row, 3 seeds, two at a time
    python benchmarks/margins_behind_norm.py --rows cosine arcface --seeds 1

The rows are those of benchmarks/margins.py; the features pass a BatchNorm before the cosines, as in
the networks that the margins were published with (the BNNeck, whose bias stays 0). Scale and margin
of a loss are those that do best on a quarter of the training identities after a training on the
others: first the scale, with the config's margin, then the smaller margin with that scale. No test
image has a say in it. Draws the set first where it is missing. Started again, it resumes. Writes a
table and the numbers behind it to benchmarks/results/margins_behind_norm.*.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import margins
from margins import SCALE_OF, VALIDATION_SCHEDULE, VALIDATION_SEED, write_validation
from training_runs import (
    Comparison,
    by_row,
    draw_market,
    each_seed,
    mean_minutes,
    reid_cells,
    train,
    train_all,
)

_MARGIN = "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN"
# Of benchmarks/margins.py without 30, which was the best for no loss there.
SCALES = (8, 15)
BATCH_NORM = ("MODEL.REID_HEAD.BATCH_NORM", "True")

COMPARISON: Comparison = replace(
    margins.COMPARISON,
    name="margins_behind_norm",
    title="Margins behind a BatchNorm on drawn-market",
)
SMALLER: dict[str, tuple[str, tuple[str, ...]]] = {
    "sphereface": ("m = 1.1", (f"{_MARGIN}.SPHEREFACE.M", "1.1")),
    "arcface": ("m = 0.1", (f"{_MARGIN}.ARCFACE.M", "0.1")),
    "cosface": ("m = 0.1", (f"{_MARGIN}.COSFACE.M", "0.1")),
    "combined": (
        "m2 = 0.1, m3 = 0.1",
        (f"{_MARGIN}.COMBINED.M2", "0.1", f"{_MARGIN}.COMBINED.M3", "0.1"),
    ),
    "curricularface": ("m = 0.1", (f"{_MARGIN}.CURRICULARFACE.M", "0.1")),
    "magface": ("m = 0.07 to 0.17", (f"{_MARGIN}.MAGFACE.M_RANGE", "(0.07, 0.17)")),
    "adaface": ("m = 0.1", (f"{_MARGIN}.ADAFACE.M", "0.1")),
}
"""Of each loss with a margin the one to try beside that of its config, about a third of it."""


def main() -> None:
    """Train what is missing, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    root = draw_market(args.processes)
    validated = validate(args, root)

    # Without all of its trainings a loss has no choice yet (--finished).
    chosen = {
        row: choose(validated[SCALE_OF.get(row, row)])
        for row in args.rows
        if len(validated[SCALE_OF.get(row, row)]) == count_settings(SCALE_OF.get(row, row))
    }
    args.rows = list(chosen)
    trainings = each_seed(args, lambda row, seed, more: train_row(row, *chosen[row], seed, more))
    COMPARISON.run(args, trainings, format_table, validated=validated)


def count_settings(row: str) -> int:
    """Return how many settings of a loss are tried."""
    return len(SCALES) + (row in SMALLER)


def validate(args: argparse.Namespace, root: Path) -> dict[str, list[dict]]:
    """Train each loss on a part of the training set; return scale, margin and mAP of each run.

    Returns:
        For each loss dicts of "scale", "is_smaller" and "mAP" on the identities left out.
    """
    crops = COMPARISON.output / "validation.csv"
    identities = write_validation(root, crops)
    data = ["DATASETS.CROPS", str([["fit", str(crops), "train"], ["held_out", str(crops), "test"]])]
    data += ["DATASETS.TRAIN", "('fit',)", "DATASETS.TEST", "('held_out',)"]
    data += ["MODEL.REID_HEAD.NUM_IDENTITIES", str(identities)]
    data += [*VALIDATION_SCHEDULE, *args.overrides]
    folder = COMPARISON.output / "validation"
    own = list({SCALE_OF.get(row, row): None for row in args.rows})

    def run_all(settings: list[tuple[str, int, bool]]) -> list[dict]:
        jobs = [partial(train_row, *each, VALIDATION_SEED, data, folder) for each in settings]
        return train_all(jobs, args.processes, lambda _: None)

    def of_row(runs: list[dict], row: str) -> list[dict]:
        picked = [run for run in runs if run["row"] == row]
        return [
            {**{k: r[k] for k in ("scale", "is_smaller")}, "mAP": r["results"]["reid"]["mAP"]}
            for r in sorted(picked, key=lambda run: (run["is_smaller"], run["scale"]))
        ]

    runs = run_all([(row, scale, False) for row in own for scale in SCALES])
    scales = {row: choose(found)[0] for row in own if (found := of_row(runs, row))}
    runs += run_all([(row, scales[row], True) for row in own if row in SMALLER and row in scales])
    return {row: of_row(runs, row) for row in own}


def choose(found: list[dict]) -> tuple[int, bool]:
    """Return scale, and whether the margin is the smaller one, of the highest mAP."""
    best = max(found, key=lambda run: run["mAP"])
    return best["scale"], best["is_smaller"]


def train_row(
    row: str,
    scale: int,
    is_smaller: bool,
    seed: int,
    overrides: list[str],
    folder: Path = COMPARISON.output,
) -> dict:
    """Train one row in a process of its own, or read what an earlier start left."""
    settings = ["SEED", str(seed), *BATCH_NORM]
    settings += ["MODEL.REID_HEAD.COSINE_SOFTMAX.SCALE", str(float(scale))]
    if is_smaller:
        settings += SMALLER[SCALE_OF.get(row, row)][1]
    place = folder / f"{row}_scale{scale}{'_smaller' * is_smaller}_seed{seed}"
    run = train("reid_heads", COMPARISON.config(row), place, [*settings, *overrides], threads=1)
    return {**run, "row": row, "scale": scale, "is_smaller": is_smaller, "seed": seed}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown, and how s and m were chosen."""
    lines = [
        *COMPARISON.head(report),
        "| loss | config | s | margin | mAP | mINP | top-1 | top-5 | minutes a run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, title, runs in by_row(report, COMPARISON.rows):
        first = runs[0]
        loss = SCALE_OF.get(row, row)
        margin = SMALLER[loss][0] if first["is_smaller"] else "the config's"
        cells = [title, row, str(first["scale"]), margin if loss in SMALLER else "-"]
        lines.append(f"| {' | '.join([*cells, *reid_cells(runs), mean_minutes(runs)])} |")
    lines += [
        "",
        "s and m are the best by mAP on the training identities left out "
        f"(seed {VALIDATION_SEED}, 5 epochs); variants of a loss have its own.",
        "",
        f"| mAP on them | {' | '.join(f's = {scale}' for scale in SCALES)} | smaller margin |",
        f"|---|{'---|' * len(SCALES)}---|",
    ]
    for row, found in report["validated"].items():
        maps = {(run["scale"], run["is_smaller"]): run["mAP"] for run in found}
        cells = [f"{maps[s, False]:.1f}" if (s, False) in maps else "" for s in SCALES]
        small = [f"{mAP:.1f} ({SMALLER[row][0]})" for (_, smaller), mAP in maps.items() if smaller]
        lines.append(f"| {COMPARISON.rows[row]} | {' | '.join([*cells, *(small or ['-'])])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
