"""Compare single losses, their sum and their ensemble on the drawn Market set.

    python benchmarks/loss_ensemble.py                      # every row, 3 seeds, two at a time
    python benchmarks/loss_ensemble.py --rows 3_sum 4_ensemble --seeds 1

6_diversity has the first seed only; the rows "from the weights of 0_softmax" train the network of
that row and seed, which is trained first, for as long again. Draws the set first where it is
missing. Started again, it resumes: finished runs are kept, an interrupted one continues from its
last checkpoint. Writes a table and the numbers behind it, with the weights that the ensemble has
learned, to benchmarks/results/loss_ensemble.*.
"""

from pathlib import Path

import torch
from training_runs import (
    Comparison,
    by_row,
    draw_market,
    each_seed,
    reid_table,
    spread,
)

from reid_heads.config import load_config

_LOSSES = "MODEL.REID_HEAD.LOSSES"
_MEMBERS = "MODEL.REID_HEAD.ENSEMBLE.MEMBERS"
# The margin of the authors' triplet loss, which compares unit rows.
_MARGIN = ("MODEL.REID_HEAD.HARDEST_NEGATIVE_TRIPLET.MARGIN", "1.0")
_UNIT_TRIPLET = (f"{_LOSSES}.HARDEST_NEGATIVE_TRIPLET", "1.0", *_MARGIN)
_UNIT_MEMBERS = (
    *(_MEMBERS, "('SOFTMAX', 'HARDEST_NEGATIVE_TRIPLET', 'MULTI_SIMILARITY')"),
    *_MARGIN,
)

COMPARISON = Comparison(
    name="loss_ensemble",
    title="Ensembles of losses on drawn-market",
    configs=Path("configs/drawn_market/ensemble"),
    rows={
        "0_softmax": "softmax",
        "1_triplet": "batch-hard triplet",
        "2_multi_similarity": "multi-similarity",
        "3_sum": "the three, summed",
        "4_ensemble": "the three as an ensemble",
        "5_own_embeddings": "+ an embedding for each",
        "6_diversity": "+ diversity",
        "unit_triplet": "hardest-negative triplet of unit rows, margin 1",
        "unit_sum": "the three with it, summed",
        "unit_ensemble": "the three with it as an ensemble",
        "two_sum": "softmax and multi-similarity, summed",
        "two_ensemble": "softmax and multi-similarity as an ensemble",
        "softmax_again": "softmax, from the weights of 0_softmax",
        "sum_again": "the three with it, summed, from the weights of 0_softmax",
        "ensemble_again": "the three with it as an ensemble, from the weights of 0_softmax",
    },
    variants={
        "unit_triplet": ("1_triplet", (f"{_LOSSES}.TRIPLET", "0.0", *_UNIT_TRIPLET)),
        "unit_sum": ("3_sum", (f"{_LOSSES}.TRIPLET", "0.0", *_UNIT_TRIPLET)),
        "unit_ensemble": ("4_ensemble", _UNIT_MEMBERS),
        "two_sum": ("3_sum", (f"{_LOSSES}.TRIPLET", "0.0")),
        "two_ensemble": ("4_ensemble", (_MEMBERS, "('SOFTMAX', 'MULTI_SIMILARITY')")),
        "softmax_again": ("0_softmax", ()),
        "sum_again": ("3_sum", (f"{_LOSSES}.TRIPLET", "0.0", *_UNIT_TRIPLET)),
        "ensemble_again": ("4_ensemble", _UNIT_MEMBERS),
    },
)
FIRST_SEED_ONLY = ("6_diversity",)
ENSEMBLES = (
    *("4_ensemble", "5_own_embeddings", "6_diversity"),
    *("unit_ensemble", "two_ensemble", "ensemble_again"),
)
FROM_SOFTMAX = ("softmax_again", "sum_again", "ensemble_again")


def main() -> None:
    """Train what is missing, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    draw_market(args.processes)

    COMPARISON.run(args, each_seed(args, train_row, FIRST_SEED_ONLY), format_table)


def train_row(row: str, seed: int, overrides: list[str]) -> dict:
    """Train one row with one seed; add the weights that an ensemble has learned."""
    start = []
    if row in FROM_SOFTMAX:
        pretrained = COMPARISON.train_row("0_softmax", seed, overrides)
        start = ["MODEL.WEIGHTS", f"{pretrained['folder']}/model_final.pth"]
    run = COMPARISON.train_row(row, seed, [*start, *overrides])
    if row in ENSEMBLES:
        config, own = COMPARISON.config(row), COMPARISON.overrides(row)
        checkpoint = Path(run["folder"]) / "model_final.pth"
        run["weights"], run["factors"] = read_weights(config, own, checkpoint)
    return run


def read_weights(
    config: str, overrides: list[str], checkpoint: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Return what each member's balanced loss counts at the end of a training, and the loss itself.

    The latter is the weight times the factor that brings the loss to the scale of all.
    """
    members = load_config(config, overrides).MODEL.REID_HEAD.ENSEMBLE.MEMBERS
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    coefficients = model["losses.losses.ENSEMBLE.sum.coefficients"]
    means = model["losses.losses.ENSEMBLE.sum.means"]
    # The least weight of BalancedSum.
    weights = coefficients.square() + 1 / (4 * len(members))
    factors = weights * means.mean() / means
    return (
        dict(zip(members, weights.tolist(), strict=True)),
        dict(zip(members, factors.tolist(), strict=True)),
    )


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        *COMPARISON.head(report),
        *reid_table(report, COMPARISON.rows, "losses"),
    ]
    for row, _, runs in by_row(report, {row: COMPARISON.rows[row] for row in ENSEMBLES}):
        learned = [run["weights"] for run in runs]
        weights = [f"{k.lower()} {spread([w[k] for w in learned], 3)}" for k in learned[0]]
        line = f"Weights learned by {row}: {', '.join(weights)}"
        known = [run["factors"] for run in runs if "factors" in run]
        if known:
            factors = [f"{k.lower()} {spread([f[k] for f in known], 2)}" for k in known[0]]
            line += f"; each loss as it is then counts {', '.join(factors)}"
        lines += ["", f"{line}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
