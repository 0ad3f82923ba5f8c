"""Compare ways to train on wrong labels, on the drawn Market set.

    python benchmarks/label_noise.py                      # 40 % wrong, every row, 3 seeds
    python benchmarks/label_noise.py --share 0.2 --to look_alikes --rows arcface purified --seeds 1

Each seed draws wrong labels of its own. The rows: ArcFace on the true labels, on the noisy ones,
with three sub-centers, the same with a wider margin, from scratch on what purification by the
sub-centers keeps, whose precision and recall stand beside it, and on all that is labelled
correctly, which no purification can better. Draws the set first where it is missing. Started again,
it resumes: finished runs are kept, an interrupted one continues from its last checkpoint. Writes a
table and the numbers behind it to benchmarks/results/label_noise.*, with ``--to look_alikes`` to
label_noise_look_alikes.*.
"""

import csv
import json
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from training_runs import (
    Comparison,
    by_row,
    draw_market,
    mean_minutes,
    reid_cells,
    run_quietly,
    spread,
    train,
)

from reid_heads.data.label_noise import TARGETS
from reid_heads.data.label_noise import main as write_noise

_WIDE = ("MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.ARCFACE.M", "0.3")

COMPARISON = Comparison(
    name="label_noise",
    title="Wrong labels on drawn-market",
    configs=Path("configs/drawn_market/label_noise"),
    rows={
        "clean": "ArcFace on the true labels",
        "arcface": "ArcFace on the noisy labels",
        "sub_centers": "ArcFace with 3 sub-centers on the noisy labels",
        "arcface_wide": "ArcFace on the noisy labels, margin 0.3",
        "sub_centers_wide": "ArcFace with 3 sub-centers on the noisy labels, margin 0.3",
        "purified": "ArcFace on what purification keeps",
        "correct": "ArcFace on the correctly labelled crops alone",
    },
    # The configs' margin is 0.1; all rows warm the learning rate up for two epochs.
    variants={
        **dict.fromkeys(("clean", "arcface", "purified", "correct"), ("0_arcface", ())),
        "sub_centers": ("1_sub_centers", ()),
        "arcface_wide": ("0_arcface", _WIDE),
        "sub_centers_wide": ("1_sub_centers", _WIDE),
    },
)
LISTS = {"clean": "truth.csv", "purified": "cleaned.csv", "correct": "correct.csv"}
"""Lists of crops of the rows that are not trained on the noisy one."""

CLEANING = ("precision", "recall", "wrong_kept")


def main() -> None:
    """Train what is missing, write the table."""
    parser = COMPARISON.parser(__doc__)
    parser.add_argument("--share", type=float, default=0.4, help="of wrong labels")
    parser.add_argument("--to", choices=TARGETS, default="uniform", help="who gets them")
    parser.add_argument("--angle", type=float, default=75.0, help="of purification, degrees")
    args = parser.parse_args()
    root = draw_market(args.processes)
    folder = COMPARISON.output / f"{args.to}_{args.share:g}"
    for seed in args.seeds:
        draw_noise(root, folder / f"seed{seed}", args.share, args.to, seed)
    # Purification stands on the run with sub-centers of its seed, whether that row is shown or not.
    comparison = COMPARISON
    if args.to != "uniform":
        title = f"{COMPARISON.title}, given to {args.to.replace('_', '-')}"
        comparison = replace(COMPARISON, name=f"{COMPARISON.name}_{args.to}", title=title)
    first = [row for row in args.rows if row != "purified"]
    jobs = [(row, folder / f"seed{seed}", seed) for seed in args.seeds for row in first]
    trainings = [partial(train_row, *job, args.overrides) for job in jobs]
    groups = describe_groups(folder / f"seed{args.seeds[0]}/truth.csv")
    facts = {"share": args.share, "to": args.to, "angle": args.angle, "groups": groups}
    finished = comparison.run(args, trainings, format_table, **facts)
    if "purified" in args.rows:
        trainings = [
            partial(train_purified, folder / f"seed{seed}", seed, args.angle, args.overrides)
            for seed in args.seeds
        ]
        comparison.run(args, trainings, format_table, earlier=finished, **facts)


def draw_noise(root: Path, folder: Path, share: float, to: str, seed: int) -> None:
    """Write the noisy list, the true one and the correct part of a seed, where they are missing."""
    lists = ["--output", str(folder / "noisy.csv"), "--truth", str(folder / "truth.csv")]
    if (folder / "correct.csv").exists():
        return
    settings = ["--share", str(share), "--to", to, "--seed", str(seed)]
    if write_noise(["--dataset", "drawn_market", "--root", str(root), *settings, *lists]):
        raise SystemExit("the wrong labels could not be written")
    with (folder / "truth.csv").open(newline="") as truth:
        rows = list(csv.reader(truth))
    person, labeled_as = (rows[0].index(name) for name in ("person", "labeled_as"))
    kept = [row for row in rows[1:] if row[person] == row[labeled_as]]
    with (folder / "correct.csv").open("w", newline="") as correct:
        csv.writer(correct).writerows([rows[0], *kept])


def describe_groups(truth: Path) -> dict[str, float]:
    """Return how far wrong labels gather: of each identity, its largest group of one stranger.

    Returns:
        "median" and "largest" over the identities, crops.
    """
    groups: dict[str, Counter[str]] = {}
    with truth.open(newline="") as file:
        for row in csv.DictReader(file):
            strangers = groups.setdefault(row["labeled_as"], Counter())
            strangers[row["person"]] += row["person"] != row["labeled_as"]
    sizes = [max(strangers.values()) for strangers in groups.values()]
    return {"median": float(np.median(sizes)), "largest": max(sizes)}


def settings_of(crops: Path, seed: int, overrides: list[str]) -> list[str]:
    """Return the overrides of a run on a list of crops."""
    data = ["DATASETS.CROPS", str([["label_noise_train", str(crops), "train"]])]
    data += ["DATASETS.TRAIN", "('label_noise_train',)"]
    return [*data, "SEED", str(seed), *overrides]


def train_row(row: str, folder: Path, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed, or read what an earlier start left."""
    crops = folder / LISTS.get(row, "noisy.csv")
    settings = settings_of(crops, seed, [*COMPARISON.overrides(row), *overrides])
    run = train("reid_heads", COMPARISON.config(row), folder / row, settings, threads=1)
    return {**run, "row": row, "seed": seed}


def train_purified(folder: Path, seed: int, angle: float, overrides: list[str]) -> dict:
    """Clean the list of a seed by its model with sub-centers, then train on what is left."""
    train_row("sub_centers", folder, seed, overrides)
    report = folder / "cleaned.json"
    if not report.exists():
        command = [sys.executable, "-m", "reid_heads.purify", "--angle", str(angle)]
        command += ["--config-file", COMPARISON.config("sub_centers")]
        command += ["--weights", str(folder / "sub_centers/model_final.pth")]
        command += ["--truth", str(folder / "truth.csv"), "--output", str(folder / "cleaned.csv")]
        run_quietly([*command, *settings_of(folder / "noisy.csv", seed, overrides)], threads=1)
    cleaned = json.loads(report.read_text())
    if cleaned["angle"] != angle:
        raise SystemExit(f"{report} is of {cleaned['angle']} degrees; move {folder} away")
    left = ["MODEL.REID_HEAD.NUM_IDENTITIES", str(cleaned["identities_left"])]
    run = train_row("purified", folder, seed, [*overrides, *left])
    return {**run, "cleaning": {**cleaned["truth"], "kept": cleaned["kept"]}}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        *COMPARISON.head(report),
        f"{100 * report['share']:g} % of the training labels are wrong ({report['to']}); crops "
        f"above {report['angle']:g} degrees are dropped. Precision and recall are of the dropped "
        "crops, wrong kept is the share of wrong labels among the others. Of the wrong crops of an "
        f"identity {report['groups']['median']:g} show the same person (the largest group, median "
        f"over the identities, first seed; at most {report['groups']['largest']}).",
        "",
        "| method | mAP | mINP | top-1 | top-5 | precision | recall | wrong kept | minutes a run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for _, title, runs in by_row(report, COMPARISON.rows):
        cells = reid_cells(runs)
        for name in CLEANING:
            values = [run["cleaning"][name] for run in runs if "cleaning" in run]
            known = [value for value in values if value is not None]
            cells.append(spread(known) if known else "-")
        lines.append(f"| {title} | {' | '.join([*cells, mean_minutes(runs)])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
