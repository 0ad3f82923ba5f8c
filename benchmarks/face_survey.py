"""The three experiments of a face recognition survey (arXiv 2212.13038, section 5) on drawn faces.

    python benchmarks/face_survey.py                                    # all three, 3 seeds
    python benchmarks/face_survey.py --experiments long_tail --seeds 1

``sizes``: three networks, each trained on growing shares of the identities. ``breadth``: many
identities with few images or few with many, at a fixed number of images. ``long_tail``: all
identities with many images and growing shares of those with fewer than ten. All are scored on the
same pairs of people that no training has seen. Draws the faces first where they are missing.
Started again, it resumes: finished runs are kept. Writes tables and the numbers behind them to
benchmarks/results/face_survey.*, and the plots to docs/face_survey.png.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from training_reports import describe_conditions
from training_runs import compare, mean_minutes, parse_rows, spread, train

from person_search.synthetic.face_writer import PAIRS_FILE, write_faces
from person_search.synthetic.faces.spec import FACE_PRESETS
from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.datasets.face_folders import load_face_folder
from reid_heads.listed_files import get_datasets_root

# Half of the people have fewer than ten images: the survey's long tail.
SPEC = dataclasses.replace(
    FACE_PRESETS["drawn-faces"],
    name="survey-faces",
    seed=20260707,
    train_identities=400,
    train_images=(40, 40),
    tail_share=0.5,
    tail_images=(5, 9),
)
CONFIGS = Path("configs/drawn_faces/survey")
OUTPUT = Path("output/face_survey")
RESULTS = Path("benchmarks/results/face_survey")
PICTURE = Path("docs/face_survey.png")
NETWORKS = ("small", "medium", "large")
IDENTITY_SHARES = (0.1, 0.4, 1.0)
BREADTHS = (50, 100, 200, 400)
TOTAL_IMAGES = 2000
# Identities with fewer images than this are the tail.
SHORTEST_HEAD = 10
TAIL_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
METRICS = {"accuracy": "10-fold accuracy", "TAR@FAR0.01": "TAR at FAR 1 %"}


@dataclass(frozen=True)
class Experiment:
    """What is trained, and how it is called."""

    title: str
    axis: str
    networks: tuple[str, ...]
    values: tuple[float, ...]
    """Places on the axis: shares 0..1, or numbers of identities."""

    def label(self, value: float) -> float:
        """Return a place as the reader sees it: a percentage, or a number of identities."""
        return value if value > 1 else 100 * value


EXPERIMENTS = {
    "sizes": Experiment(
        "Backbone size and share of the identities",
        "identities, % of 400",
        NETWORKS,
        IDENTITY_SHARES,
    ),
    "breadth": Experiment(
        f"{TOTAL_IMAGES} images of few or of many identities", "identities", ("medium",), BREADTHS
    ),
    "long_tail": Experiment(
        "Share of the long tail's identities", "of the tail, %", ("medium",), TAIL_SHARES
    ),
}


def main() -> None:
    """Train what is missing, write tables and plots."""
    args = parse_rows(__doc__, EXPERIMENTS, "--experiments").parse_args()
    root = get_datasets_root() / SPEC.name
    write_faces(SPEC, root, processes=args.processes)
    faces = load_face_folder(root / "train")
    sizes = {
        name: {value: write_selection(faces, name, value) for value in EXPERIMENTS[name].values}
        for name in args.rows
    }
    # Seed after seed, so that a run that is cut short has whole curves.
    trainings = [
        partial(train_cell, name, network, value, sizes[name][value][0], seed, root, args.overrides)
        for seed in args.seeds
        for name in args.rows
        for value in EXPERIMENTS[name].values
        for network in EXPERIMENTS[name].networks
    ]
    facts = {name: {f"{v:g}": counts for v, counts in sizes[name].items()} for name in args.rows}
    runs = compare(args, trainings, RESULTS, format_tables, selections=facts)
    draw_plots(runs, PICTURE)


def list_of(experiment: str, value: float) -> Path:
    """Return where the list of an experiment's training images is."""
    return OUTPUT / experiment / f"{value:g}.csv"


def write_selection(faces: list[dict[str, Any]], experiment: str, value: float) -> tuple[int, int]:
    """Write the list of an experiment's training images.

    Selections are nested: a larger one has all the identities of a smaller one, and of an identity
    the first images of a fixed order.

    Returns:
        Numbers of identities and of images.
    """
    pids = np.array([face["person_id"] for face in faces])
    people = choose_people(np.bincount(pids), experiment, value)
    most = round(TOTAL_IMAGES / value) if experiment == "breadth" else None
    kept: list[int] = []
    for pid in people.tolist():
        # A stream of its own, so that other selections take the same images of the person first.
        order = np.random.default_rng([0, pid]).permutation(np.flatnonzero(pids == pid))
        kept += order[:most].tolist()
    kept.sort()
    numbers = np.unique(pids[kept], return_inverse=True)[1]
    write_crop_list(list_of(experiment, value), [faces[i] for i in kept], numbers.tolist())
    return len(people), len(kept)


def choose_people(counts: np.ndarray, experiment: str, value: float) -> np.ndarray:
    """Choose the identities of a selection, given how many images each has."""
    lot = np.random.default_rng(0).permutation(len(counts))
    if experiment == "sizes":
        return lot[: round(value * len(lot))]
    is_tail = counts[lot] < SHORTEST_HEAD
    with_many_first = np.concatenate([lot[~is_tail], lot[is_tail]])
    if experiment == "breadth":
        return with_many_first[: int(value)]
    return with_many_first[: int((~is_tail).sum()) + round(value * int(is_tail.sum()))]


def train_cell(
    experiment: str,
    network: str,
    value: float,
    identities: int,
    seed: int,
    root: Path,
    overrides: list[str],
) -> dict[str, Any]:
    """Train one network on one list with one seed, or read what an earlier start left."""
    data = ["DATASETS.CROPS", str([["survey_train", str(list_of(experiment, value)), "train"]])]
    data += ["DATASETS.TRAIN", "('survey_train',)", "DATASETS.TEST", "('survey_test',)"]
    pairs = [["survey_test", str(root / "test"), str(root / PAIRS_FILE)]]
    data += ["DATASETS.FACES", str(pairs), "MODEL.REID_HEAD.NUM_IDENTITIES", str(identities)]
    folder = OUTPUT / experiment / f"{network}_{value:g}_seed{seed}"
    settings = [*data, "SEED", str(seed), *overrides]
    run = train("reid_heads", str(CONFIGS / f"{network}.yaml"), folder, settings, threads=1)
    return {**run, "experiment": experiment, "network": network, "value": value, "seed": seed}


def select(runs: list[dict[str, Any]], experiment: str, network: str, value: float) -> list[dict]:
    """Return the runs of one cell."""
    key = (experiment, network, value)
    return [run for run in runs if (run["experiment"], run["network"], run["value"]) == key]


def metric_of(runs: list[dict[str, Any]], metric: str) -> list[float]:
    """Return a metric of each run, percent."""
    return [run["results"]["verification"][metric] for run in runs]


def format_tables(report: dict[str, Any]) -> str:
    """Write mean and standard deviation over the seeds as Markdown, a table an experiment."""
    lines = [
        "# Identities, images, backbones: drawn faces",
        "",
        describe_conditions(report),
    ]
    for name, sizes in report["selections"].items():
        experiment = EXPERIMENTS[name]
        lines += [
            "",
            f"## {experiment.title}",
            "",
            f"| network | identities | images | {' | '.join(METRICS.values())} | minutes a run |",
            f"|{'---|' * (4 + len(METRICS))}",
        ]
        for network in experiment.networks:
            for value in experiment.values:
                runs = select(report["runs"], name, network, value)
                if not runs:
                    continue
                identities, images = sizes[f"{value:g}"]
                cells = [network, str(identities), str(images)]
                cells += [spread(metric_of(runs, metric)) for metric in METRICS]
                lines.append(f"| {' | '.join([*cells, mean_minutes(runs)])} |")
    return "\n".join(lines) + "\n"


def draw_plots(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw a column an experiment and a row a metric; whiskers are the spread over the seeds."""
    names = [name for name in EXPERIMENTS if any(run["experiment"] == name for run in runs)]
    figure = Figure(figsize=(4 * len(names), 3 * len(METRICS)), layout="constrained")
    grid = figure.subplots(len(METRICS), len(names), squeeze=False)
    for column, name in enumerate(names):
        grid[0, column].set_title(EXPERIMENTS[name].title, fontsize=10)
        grid[-1, column].set_xlabel(EXPERIMENTS[name].axis)
        for row, metric in enumerate(METRICS):
            draw_curves(grid[row, column], runs, name, metric)
    for row, title in enumerate(METRICS.values()):
        grid[row, 0].set_ylabel(f"{title}, %")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def draw_curves(axes: Axes, runs: list[dict[str, Any]], name: str, metric: str) -> None:
    """Draw a curve a network."""
    experiment = EXPERIMENTS[name]
    for network in experiment.networks:
        cells = [(value, select(runs, name, network, value)) for value in experiment.values]
        cells = [(value, cell) for value, cell in cells if cell]
        means = [float(np.mean(metric_of(cell, metric))) for _, cell in cells]
        spreads = [float(np.std(metric_of(cell, metric), ddof=len(cell) > 1)) for _, cell in cells]
        places = [experiment.label(value) for value, _ in cells]
        axes.errorbar(places, means, spreads, marker="o", capsize=3, label=network)
    if name == "breadth":
        axes.set_xscale("log", base=2)
    axes.set_xticks(
        [experiment.label(value) for value in experiment.values],
        [f"{experiment.label(value):g}" for value in experiment.values],
    )
    axes.grid(alpha=0.3)
    if len(experiment.networks) > 1:
        axes.legend()


if __name__ == "__main__":
    main()
