"""Compare the softmaxes over cosines, without and with each margin, on the drawn Market set.

    python benchmarks/margins.py                         # every row, 3 seeds, two at a time
    python benchmarks/margins.py --rows margins/magface --seeds 1

One recipe, the cosine softmax alone, and what is taken from its cosines. Draws the set first where
it is missing. Started again, it resumes: finished runs are kept, an interrupted one continues from
its last checkpoint. Writes a table and the numbers behind it to benchmarks/results/margins.*.
"""

from functools import partial
from pathlib import Path

from training_runs import (
    compare,
    describe_conditions,
    mean_minutes,
    parse_rows,
    spread,
    train,
)

from person_search.synthetic.market_writer import write_market1501
from person_search.synthetic.world_spec import PRESETS
from reid_heads.data.builtin import get_datasets_root

CONFIGS = Path("configs/drawn_market")
OUTPUT = Path("output/margins")
RESULTS = Path("benchmarks/results/margins")
METRICS = ("mAP", "mINP", "top1", "top5")

# Row of the table by config file below CONFIGS.
ROWS = {
    "joint/0_cosine": "no margin",
    "margins/sphereface": "SphereFace",
    "margins/arcface": "ArcFace",
    "margins/arcface_straight_through": "ArcFace, straight-through gradient",
    "margins/cosface": "CosFace",
    "margins/combined": "combined (1, 0.3, 0.2)",
    "margins/combined_2": "combined (0.9, 0.4, 0.15)",
    "margins/intra_inter": "no margin, intra and inter penalties",
    "margins/subcenter": "ArcFace, 3 sub-centers",
    "margins/curricularface": "CurricularFace",
    "margins/magface": "MagFace",
    "margins/adaface": "AdaFace",
    "margins/partial_fc": "ArcFace, Partial FC with 0.3 of the identities",
}


def main() -> None:
    """Train what is missing, write the table."""
    args = parse_rows(__doc__, ROWS).parse_args()
    root = get_datasets_root() / "drawn-market"
    write_market1501(PRESETS["drawn-market"], root, processes=args.processes)

    jobs = [(row, seed) for seed in args.seeds for row in args.rows]
    trainings = [partial(train_row, row, seed, args.overrides) for row, seed in jobs]
    compare(args, trainings, RESULTS, format_table)


def train_row(row: str, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed in a process of its own, or read what an earlier start left."""
    run = train(
        "reid_heads",
        str(CONFIGS / f"{row}.yaml"),
        OUTPUT / f"{row}_seed{seed}",
        ["SEED", str(seed), *overrides],
        threads=1,
    )
    return {**run, "row": row, "seed": seed}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        "# Margins on drawn-market",
        "",
        describe_conditions(report),
        "",
        "| loss | config | mAP | mINP | top-1 | top-5 | minutes a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, title in ROWS.items():
        runs = [run for run in report["runs"] if run["row"] == row]
        if not runs:
            continue
        cells = [spread([run["results"]["reid"][m] for run in runs]) for m in METRICS]
        cells.append(mean_minutes(runs))
        lines.append(f"| {title} | {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
