"""Leave the tricks of Bag of Tricks out one at a time, on the drawn Market set.

    python benchmarks/leave_one_out.py                       # every row, 3 seeds, two at a time
    python benchmarks/leave_one_out.py --rows all no_bnneck --seeds 1

benchmarks/drawn_market.py adds the tricks one to the other in 7 epochs, too few for what slows a
training down, such as random erasing. Here every row has 18 epochs, by when the loss has settled,
and each lacks one trick of the full recipe. MGN, which 7 epochs are too short for as well, is
trained as long, with the softmax of its global branches where the paper and where the
re-implementations have it. Draws the set first where it is missing. Started again, it resumes:
finished runs are kept, an interrupted one continues from its last checkpoint. Writes a table and
the numbers behind it to benchmarks/results/leave_one_out.*.
"""

from pathlib import Path

from training_runs import Comparison, draw_market, each_seed, reid_table, train

COMPARISON = Comparison(
    name="leave_one_out",
    title="Bag of Tricks, a trick left out, and MGN: 18 epochs on drawn-market",
    configs=Path("configs/drawn_market"),
    rows={
        "all": "Bag of Tricks",
        "no_warm_up": "without warm-up",
        "no_random_erasing": "without random erasing",
        "no_label_smoothing": "without label smoothing",
        "no_last_stride": "without last stride 1",
        "no_bnneck": "without BNNeck",
        "no_center": "without center loss",
        "none": "softmax + triplet, without all six",
        "mgn": "MGN",
        "mgn_post": "MGN, softmax of the global branches behind the reduction",
    },
)
SCHEDULE = ["SOLVER.REID.EPOCHS", "18", "SOLVER.REID.STEP_EPOCHS", "[13,17]"]
"""In proportion the steps of the configs, which have 7 epochs."""

RECIPE = "ablation/7_center"
SETTINGS: dict[str, tuple[str, list[str]]] = {
    "all": (RECIPE, []),
    "no_warm_up": (RECIPE, ["SOLVER.REID.WARMUP_EPOCHS", "0"]),
    "no_random_erasing": (RECIPE, ["INPUT.REID.ERASING.PROBABILITY", "0.0"]),
    "no_label_smoothing": (RECIPE, ["MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING", "0.0"]),
    "no_last_stride": (RECIPE, ["MODEL.CROP_REID.LAST_STRIDE", "2"]),
    "no_bnneck": (RECIPE, ["MODEL.REID_HEAD.BATCH_NORM", "False"]),
    "no_center": (RECIPE, ["MODEL.REID_HEAD.LOSSES.CENTER", "0.0"]),
    "none": ("ablation/1_triplet", []),
    "mgn": ("mgn", []),
    "mgn_post": ("mgn", ["MODEL.REID_HEAD.MGN.GLOBAL_SOFTMAX", "post"]),
}
"""Config and overrides of each row."""


def main() -> None:
    """Train what is missing, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    draw_market(args.processes)
    COMPARISON.run(args, each_seed(args, train_row), format_table)


def train_row(row: str, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed in a process of its own, or read what is there."""
    config, left_out = SETTINGS[row]
    settings = [*SCHEDULE, *left_out, "SEED", str(seed), *overrides]
    folder = COMPARISON.output / f"{row}_seed{seed}"
    run = train("reid_heads", COMPARISON.config(config), folder, settings, threads=1)
    return {**run, "row": row, "seed": seed}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [*COMPARISON.head(report), *reid_table(report, COMPARISON.rows, "method")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
