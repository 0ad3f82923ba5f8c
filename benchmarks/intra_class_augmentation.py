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

from pathlib import Path

import numpy as np
from training_runs import (
    Comparison,
    draw_market,
    each_seed,
    reid_table,
)

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
    return COMPARISON.train_row(row, seed, [*data, *overrides])


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    counts = np.array(report["crops_of_identities"])
    lines = [
        *COMPARISON.head(report),
        f"{counts.sum()} training crops of {len(counts)} identities, from {counts.max()} to "
        f"{counts.min()} each, the median {np.median(counts):g}.",
        "",
        *reid_table(report, COMPARISON.rows, "loss"),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
