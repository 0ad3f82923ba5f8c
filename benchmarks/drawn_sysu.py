"""Compare the parts of MMD-ReID on the drawn visible-infrared set.

    python benchmarks/drawn_sysu.py                       # every row, 3 seeds, two at a time
    python benchmarks/drawn_sysu.py --rows mmd_reid --seeds 1

Each row adds to the first one: identity + hetero-center triplet loss on two streams. Draws the set
first where it is missing. Started again, it resumes: finished runs are kept, an interrupted one
continues from its last checkpoint. Writes a table and the numbers behind it to
benchmarks/results/drawn_sysu.*.
"""

from pathlib import Path

import numpy as np
import torch
from training_runs import (
    Comparison,
    by_row,
    each_seed,
    mean_minutes,
    spread,
)

from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.sysu_writer import write_sysu_mm01
from reid_heads.data.builtin import get_datasets_root
from reid_heads.evaluation.features import ReIDFeatures, load_features
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.losses.mmd import squared_mmd_by_group

COMPARISON = Comparison(
    name="drawn_sysu",
    title="Visible-infrared ReID on drawn-sysu",
    configs=Path("configs/drawn_sysu"),
    rows={
        "baseline": "identity + triplet",
        "marginal_mmd": "+ marginal MMD",
        "mmd_reid": "+ margin MMD-ID = MMD-ReID",
    },
)
SEARCHES = {"all": "reid_all_single_official", "indoor": "reid_indoor_single_official"}


def main() -> None:
    """Train what is missing, measure the gap between the modalities, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    root = get_datasets_root() / "drawn-sysu"
    write_sysu_mm01(ALL_PRESETS["drawn-sysu"], root, processes=args.processes)

    COMPARISON.run(args, each_seed(args, train_row), format_table)


def train_row(row: str, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed; add the gap between the modalities."""
    run = COMPARISON.train_row(row, seed, overrides)
    return {**run, **measure_gap(load_features(Path(run["folder"]) / "inference/features.npz"))}


def measure_gap(features: ReIDFeatures) -> dict[str, float]:
    """Return the squared MMD between the modalities of the test features, scaled to unit norm.

    Of all infrared and visible crops together, and the mean over the people of each one's own; 0 to
    10, with the kernels of the losses.
    """
    rows = torch.from_numpy(np.concatenate([features.query_features, features.gallery_features]))
    rows = torch.nn.functional.normalize(rows.double())
    counts = len(features.query_pids), len(features.gallery_pids)
    modalities = torch.tensor([THERMAL, VISIBLE]).repeat_interleave(torch.tensor(counts))
    pids = torch.from_numpy(np.concatenate([features.query_pids, features.gallery_pids]))
    _, people = torch.unique(pids, return_inverse=True)
    by_person = [
        squared_mmd_by_group(rows[own], torch.zeros_like(people[own]), modalities[own])
        for own in (people == person for person in range(int(people.max()) + 1))
    ]
    together = squared_mmd_by_group(rows, torch.zeros_like(people), modalities)
    return {"gap": float(together), "gap_by_identity": float(torch.cat(by_person).mean())}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        *COMPARISON.head(report),
        "All and indoor search, single shot, ten trials of the permutation file. Gap: squared MMD "
        "between the test features of the two modalities, of everybody together and mean over "
        "each person's own (0 to 10, not percent).",
        "",
        "| method | all: mAP | top-1 | indoor: mAP | top-1 | gap | gap by identity | minutes |",
        "|---" * 8 + "|",
    ]
    for _, title, runs in by_row(report, COMPARISON.rows):
        cells = [
            spread([run["results"][search][metric] for run in runs])
            for search in SEARCHES.values()
            for metric in ("mAP", "top1")
        ]
        cells += [spread([run[gap] for run in runs], 2) for gap in ("gap", "gap_by_identity")]
        cells.append(mean_minutes(runs))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
