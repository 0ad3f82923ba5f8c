"""Compare the softmaxes over cosines, without and with each margin, on the drawn Market set.

    python benchmarks/margins.py                         # every row, 3 seeds, two at a time
    python benchmarks/margins.py --rows cosine magface --seeds 1

One recipe, the cosine softmax alone, and what is taken from its cosines. Each loss has the scale
that does best on a quarter of the training identities after a training on the others, of the same
three for all; no test image has a say in it. Draws the set first where it is missing. Started
again, it resumes: finished runs are kept, an interrupted one continues from its last checkpoint.
Writes a table and the numbers behind it to benchmarks/results/margins.*.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
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

from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.datasets.market1501 import load_market1501

SCALES = (8, 15, 30)
# Seed of the trainings that choose a scale, and of which identities they leave out.
VALIDATION_SEED = 0
VALIDATION_SHARE = 0.25
VALIDATION_SCHEDULE = ("SOLVER.REID.EPOCHS", "5", "SOLVER.REID.STEP_EPOCHS", "(4, 5)")

COMPARISON = Comparison(
    name="margins",
    title="Margins on drawn-market",
    configs=Path("configs/drawn_market/margins"),
    rows={
        "cosine": "no margin",
        "sphereface": "SphereFace",
        "arcface": "ArcFace",
        "arcface_straight_through": "ArcFace, straight-through gradient",
        "cosface": "CosFace",
        "combined": "combined (1, 0.3, 0.2)",
        "combined_2": "combined (0.9, 0.4, 0.15)",
        "intra_inter": "no margin, intra and inter penalties",
        "subcenter": "ArcFace, 3 sub-centers",
        "curricularface": "CurricularFace",
        "magface": "MagFace",
        "adaface": "AdaFace",
        "partial_fc": "ArcFace, Partial FC with 0.3 of the identities",
    },
)
# Variants of a loss have its scale, and the first seed only.
SCALE_OF = {
    "arcface_straight_through": "arcface",
    "combined_2": "combined",
    "intra_inter": "cosine",
    "subcenter": "arcface",
    "partial_fc": "arcface",
}


def main() -> None:
    """Train what is missing, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    root = draw_market(args.processes)
    validated = validate_scales(args, root)

    scales = {row: choose_scale(validated[SCALE_OF.get(row, row)]) for row in args.rows}
    trainings = each_seed(
        args, lambda row, seed, more: train_row(row, scales[row], seed, more), SCALE_OF
    )
    COMPARISON.run(args, trainings, format_table, validated=validated)


def validate_scales(args: argparse.Namespace, root: Path) -> dict[str, dict[int, float]]:
    """Train each loss with each scale on a part of the training set; return the others' mAP."""
    crops = COMPARISON.output / "validation.csv"
    identities = write_validation(root, crops)
    data = ["DATASETS.CROPS", str([["fit", str(crops), "train"], ["held_out", str(crops), "test"]])]
    data += ["DATASETS.TRAIN", "('fit',)", "DATASETS.TEST", "('held_out',)"]
    data += ["MODEL.REID_HEAD.NUM_IDENTITIES", str(identities)]
    data += [*VALIDATION_SCHEDULE, *args.overrides]
    own = {SCALE_OF.get(row, row): None for row in args.rows}
    jobs = [(row, scale) for row in own for scale in SCALES]
    folder = COMPARISON.output / "validation"
    trainings = [partial(train_row, *job, VALIDATION_SEED, data, folder) for job in jobs]
    runs = train_all(trainings, args.processes, lambda _: None)
    found: dict[str, dict[int, float]] = {row: {} for row in own}
    for run in sorted(runs, key=lambda run: run["scale"]):
        found[run["row"]][run["scale"]] = run["results"]["reid"]["mAP"]
    return found


def choose_scale(maps: dict[int, float]) -> int:
    """Return the scale of the highest mAP."""
    return max(maps, key=lambda scale: maps[scale])


def write_validation(root: Path, path: Path) -> int:
    """Write the training crops, a drawn part of the identities as query and gallery.

    As in Market-1501, the queries are one crop of a person in each camera.

    Returns:
        Number of identities left for training.
    """
    crops = load_market1501(root, "train")
    pids = [crop["person_id"] for crop in crops]
    people = sorted(set(pids))
    rng = np.random.default_rng(VALIDATION_SEED)
    held_out = set(rng.permutation(people)[: round(VALIDATION_SHARE * len(people))].tolist())
    splits, seen = [], set()
    for crop in crops:
        place = (crop["person_id"], crop["cam_id"])
        if crop["person_id"] not in held_out:
            splits.append("train")
        else:
            splits.append("gallery" if place in seen else "query")
            seen.add(place)
    write_crop_list(path, crops, pids, {"split": splits})
    return len(people) - len(held_out)


def train_row(
    row: str, scale: int, seed: int, overrides: list[str], folder: Path = COMPARISON.output
) -> dict:
    """Train one row in a process of its own, or read what an earlier start left."""
    config = COMPARISON.config(row)
    settings = ["SEED", str(seed), "MODEL.REID_HEAD.COSINE_SOFTMAX.SCALE", str(float(scale))]
    place = folder / f"{row}_scale{scale}_seed{seed}"
    run = train("reid_heads", config, place, [*settings, *overrides], threads=1)
    return {**run, "row": row, "scale": scale, "seed": seed}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown, and how s was chosen."""
    lines = [
        *COMPARISON.head(report),
        "| loss | config | s | mAP | mINP | top-1 | top-5 | minutes a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, title, runs in by_row(report, COMPARISON.rows):
        cells = [title, row, str(runs[0]["scale"]), *reid_cells(runs), mean_minutes(runs)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"The scale s is the best of {', '.join(map(str, SCALES))} by mAP on "
        f"{100 * VALIDATION_SHARE:g} % of the training identities after a training on the others "
        f"(seed {VALIDATION_SEED}, 5 epochs); variants of a loss have its scale, and the first "
        "seed only.",
        "",
        f"| mAP on the identities left out | {' | '.join(f's = {scale}' for scale in SCALES)} |",
        f"|---|{'---|' * len(SCALES)}",
    ]
    for row, maps in report["validated"].items():
        cells = [f"{maps[scale]:.1f}" for scale in SCALES]
        lines.append(f"| {COMPARISON.rows[row]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
