"""Compare intra-class augmentation with and without its correction, on a long-tailed drawn set.

    python benchmarks/intra_class_augmentation.py                     # every row, 3 seeds
    python benchmarks/intra_class_augmentation.py --rows triplet triplet_corrected --seeds 1

The set is drawn-market, its training identities thinned to a long tail (the same for every seed and
row); the test set is whole. The rows: a pair loss alone, with synthetic embeddings of one width for
all identities, and with each identity's own width, corrected by its neighbours. Draws the set first
where it is missing. Started again, it resumes: finished runs are kept, an interrupted one continues
from its last checkpoint. Writes a table and the numbers behind it to
benchmarks/results/intra_class_augmentation.*.
"""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from training_runs import (
    Comparison,
    by_row,
    draw_market,
    each_seed,
    reid_table,
    spread,
)

from reid_heads.augmentation.intra_class import (
    IntraClassSettings,
    correct_variances,
    weigh_neighbours,
)
from reid_heads.config import load_config
from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.datasets.market1501 import load_market1501

_IAA = "MODEL.REID_HEAD.INTRA_CLASS"
# Half the distances to the neighbours: the nearest of 25 weigh several times as much as the others.
_RELATIVE = (
    *(f"{_IAA}.RELATIVE_SCALES", "True"),
    *(f"{_IAA}.MEAN_SCALE", "0.5", f"{_IAA}.VARIANCE_SCALE", "0.5"),
)

COMPARISON = Comparison(
    name="intra_class_augmentation",
    title="Intra-class augmentation on a long-tailed drawn-market",
    configs=Path("configs/drawn_market/intra_class"),
    rows={
        "multi_similarity": "multi-similarity",
        "multi_similarity_global": "+ synthetic embeddings, global variances",
        "multi_similarity_corrected": "+ synthetic embeddings, corrected variances (IAA)",
        "triplet": "hardest-negative triplet",
        "triplet_global": "+ synthetic embeddings, global variances",
        "triplet_corrected": "+ synthetic embeddings, corrected variances (IAA)",
        "triplet_own": "the same, each identity's own variances",
        "triplet_relative": "the same, corrected by neighbours of which the alike count more",
        "triplet_wide": "the same, corrected so, four times the variances",
        "triplet_late": "the same, corrected so, from epoch 8 of 14 on",
        "triplet_released": "the same, own variances, noise as in the authors' code",
        "multi_similarity_relative": "multi-similarity, corrected so",
        "multi_similarity_wide": "multi-similarity, corrected so, four times the variances",
    },
    variants={
        "triplet_own": ("triplet_corrected", (f"{_IAA}.COVARIANCE", "own")),
        "triplet_relative": ("triplet_corrected", _RELATIVE),
        "triplet_wide": ("triplet_corrected", (*_RELATIVE, f"{_IAA}.STRENGTH", "2.8")),
        "triplet_late": ("triplet_corrected", (*_RELATIVE, f"{_IAA}.START_EPOCH", "7")),
        "triplet_released": (
            "triplet_corrected",
            (f"{_IAA}.COVARIANCE", "own", f"{_IAA}.REPEATED_ROOT", "True"),
        ),
        "multi_similarity_relative": ("multi_similarity_corrected", _RELATIVE),
        "multi_similarity_wide": (
            "multi_similarity_corrected",
            (*_RELATIVE, f"{_IAA}.STRENGTH", "2.8"),
        ),
    },
)
LONG_TAIL = COMPARISON.output / "long_tail.csv"
TAIL = 0.04
"""Share of its crops that the rarest identity keeps, one at least."""


def main() -> None:
    """Train what is missing, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    root = draw_market(args.processes)
    counts = write_long_tail(root, LONG_TAIL)

    COMPARISON.run(args, each_seed(args, train_row), format_table, crops_of_identities=counts)


def write_long_tail(root: Path, path: Path) -> list[int]:
    """Write a list of training crops with a long tail; return how many each identity keeps.

    From the most frequent to the rarest identity, in a drawn order, the share kept falls from 1 to
    ``TAIL`` geometrically.
    """
    crops = load_market1501(root, "train")
    pids = np.array([crop["person_id"] for crop in crops])
    rng = np.random.default_rng(0)
    order = rng.permutation(pids.max() + 1)
    kept, counts = [], []
    for rank, pid in enumerate(order):
        own = rng.permutation(np.flatnonzero(pids == pid))
        number = max(1, round(len(own) * TAIL ** (rank / (len(order) - 1))))
        kept += own[:number].tolist()
        counts.append(number)
    kept = sorted(kept)
    write_crop_list(path, [crops[i] for i in kept], pids[kept].tolist())
    return counts


def train_row(row: str, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed, or read what an earlier start left."""
    data = ["DATASETS.CROPS", str([["long_tail_train", str(LONG_TAIL), "train"]])]
    data += ["DATASETS.TRAIN", "('long_tail_train',)"]
    run = COMPARISON.train_row(row, seed, [*data, *overrides])
    if "_" in row.replace("multi_similarity", ""):
        checkpoint = Path(run["folder"]) / "model_final.pth"
        described = COMPARISON.config(row), COMPARISON.overrides(row)
        run["neighbours"] = describe_neighbours(checkpoint, *described)
    return run


def describe_neighbours(checkpoint: Path, config: str, overrides: list[str]) -> dict[str, float]:
    """Return how much the correction tells identities apart, at the last estimate of a training.

    Returns:
        "flatness": the least weight of an identity's neighbours over the greatest, apart from their
        numbers of crops, 1 where all count alike; the median over the identities. "from_global":
        how far its corrected variances are from those of all identities together, relative to
        these (Euclidean norms); the median.
    """
    node = load_config(config, overrides).MODEL.REID_HEAD.INTRA_CLASS
    lower = {key.lower(): value for key, value in node.items()}
    settings = IntraClassSettings(**{f.name: lower[f.name] for f in fields(IntraClassSettings)})
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    (prefix,) = (k.removesuffix("corrected") for k in model if k.endswith("gaussians.0.corrected"))
    means, variances, corrected = (
        model[prefix + name].double() for name in ("means", "variances", "corrected")
    )
    counts = model[prefix + "counts"]
    rows, ones = torch.arange(len(means)), torch.ones(len(means), dtype=torch.float64)
    weights, _ = weigh_neighbours(rows, means, variances, ones, settings)
    everyone = replace(settings, covariance="global")
    of_all = correct_variances(means, variances, counts, everyone)
    gaps = (corrected - of_all).norm(dim=1) / of_all.norm(dim=1)
    flatness = weights.amin(dim=1) / weights.amax(dim=1)
    return {"flatness": flatness.median().item(), "from_global": gaps.median().item()}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    counts = np.array(report["crops_of_identities"])
    lines = [
        *COMPARISON.head(report),
        f"{counts.sum()} training crops of {len(counts)} identities, from {counts.max()} to "
        f"{counts.min()} each, the median {np.median(counts):g}.",
        "",
        *reid_table(report, COMPARISON.rows, "loss"),
        "",
        "Least over greatest weight of an identity's neighbours, their numbers of crops aside, "
        "and how far its variances are from those of all identities together, relative to these; "
        "medians over the identities at the last estimate:",
        "",
        "| config | least / greatest weight | variances from global |",
        "|---|---|---|",
    ]
    for row, _, runs in by_row(report, COMPARISON.rows):
        known = [run["neighbours"] for run in runs if "neighbours" in run]
        if known:
            cells = [spread([k[name] for k in known], 2) for name in ("flatness", "from_global")]
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
