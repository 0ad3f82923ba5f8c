"""Compare the parts of SVIL on the four drawn domains, each left out in turn.

    python benchmarks/drawn_domains.py                    # every row and domain, 3 seeds
    python benchmarks/drawn_domains.py --rows svil --targets drawn_vhs --seeds 1

Each row adds to the one before it; the third, which takes SVIL apart, has the first seed only.
Draws the sets first where they are missing. Started again, it resumes: finished runs are kept, an
interrupted one continues from its last checkpoint. Writes a table and the numbers behind it to
benchmarks/results/drawn_domains.*.
"""

from functools import partial
from pathlib import Path

import numpy as np
from training_runs import (
    Comparison,
    by_row,
    mean_minutes,
    spread,
    train,
)

from person_search.synthetic.market_writer import write_market1501
from person_search.synthetic.presets import ALL_PRESETS
from reid_heads.data.builtin import get_datasets_root

DOMAINS = ("drawn_noon", "drawn_dusk", "drawn_mall", "drawn_vhs")
COMPARISON = Comparison(
    name="drawn_domains",
    title="Domain generalization on the drawn domains",
    configs=Path("configs/drawn_domains"),
    rows={
        "baseline": "softmax + triplet on the joined sets",
        "style_jitter": "+ style jitter",
        "domain_losses": "+ a classifier and triplets a domain",
        "svil": "+ meta-learning = SVIL",
    },
)
FIRST_SEED_ONLY = ("domain_losses",)
METRICS = ("mAP", "top1")


def main() -> None:
    """Train what is missing, write the table."""
    parser = COMPARISON.parser(__doc__)
    parser.add_argument("--targets", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    args = parser.parse_args()
    for domain in DOMAINS:
        name = domain.replace("_", "-")
        write_market1501(ALL_PRESETS[name], get_datasets_root() / name, processes=args.processes)

    jobs = [(row, t, seed) for seed in args.seeds for t in args.targets for row in args.rows]
    first = args.seeds[0]
    jobs = [job for job in jobs if job[2] == first or job[0] not in FIRST_SEED_ONLY]
    trainings = [partial(train_row, *job, args.overrides) for job in jobs]
    COMPARISON.run(args, trainings, format_table)


def train_row(row: str, target: str, seed: int, overrides: list[str]) -> dict:
    """Train one row on all domains but one and test on that, or read what is there."""
    sources = tuple(f"{domain}_train" for domain in DOMAINS if domain != target)
    settings = ["DATASETS.TRAIN", str(sources), "DATASETS.TEST", str((f"{target}_test",))]
    settings += ["SEED", str(seed), *overrides]
    folder = COMPARISON.output / f"{row}_{target}_seed{seed}"
    run = train("reid_heads", COMPARISON.config(row), folder, settings, threads=1)
    return {**run, "row": row, "target": target, "seed": seed}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        *COMPARISON.head(report),
        "Trained on three domains, tested on the fourth, mAP / top-1. The mean is over the four "
        "targets within a seed, so that its deviation is one over seeds too.",
        "",
        f"| method | {' | '.join('to ' + d.removeprefix('drawn_') for d in DOMAINS)} | "
        "mean mAP | mean top-1 | minutes a run |",
        "|---" * (len(DOMAINS) + 4) + "|",
    ]
    for _, title, runs in by_row(report, COMPARISON.rows):
        cells = [_of_target(runs, domain) for domain in DOMAINS]
        cells += [_of_all_targets(runs, metric) for metric in METRICS]
        cells.append(mean_minutes(runs))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of_target(runs: list[dict], target: str) -> str:
    own = [run["results"]["reid"] for run in runs if run["target"] == target]
    return " / ".join(spread([r[m] for r in own]) for m in METRICS) if own else "not run"


def _of_all_targets(runs: list[dict], metric: str) -> str:
    """Average the targets within each seed that has all of them."""
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        by_seed.setdefault(run["seed"], []).append(run["results"]["reid"][metric])
    means = [float(np.mean(values)) for values in by_seed.values() if len(values) == len(DOMAINS)]
    return spread(means) if means else "not run"


if __name__ == "__main__":
    main()
