"""Measure what a few judgements, right or wrong, do to a search.

Run:  python benchmarks/feedback.py [--seeds 3]

The test frames of `drawn-prw` are drawn anew for each seed and looked at by the model that comes
along; every labelled person of at least four frames is asked for once. A simulated user judges the
first result that is not judged yet, as often as there are clicks, and the search is asked again.
Writes ``benchmarks/results/feedback.md``.
"""

import argparse
import dataclasses
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from person_search.gallery.feedback import AWAY, refine_query
from person_search.inference.finder import PersonFinder
from person_search.inference.models import BUILTIN
from person_search.people import paired_iou
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

FIRST_SEED = PRESETS["drawn-prw"].seed
INTRO = """# Right and wrong: what a few judgements do to a search

`python benchmarks/feedback.py`; frames of `drawn-prw`'s test part drawn from {num_sets} seeds,
the model that comes along, one query for each labelled person of at least four frames, frames
ranked by the best person in each but the query's own. A simulated user judges the first result
that is not judged yet, once a click. Judged frames come first or last in *mAP* and *recall at
20*; *mAP of frames not judged* leaves them out, and falls with the clicks where nothing is
learnt, since the easiest right ones go. *as built*: `refine_query` with {away} of the wrong ones'
mean taken away; that share was chosen on these sets, where 0.2 to 0.3 differ by less than 0.5. In
brackets the gain over no click, mean and standard deviation over the sets. Percent.
"""
RESULTS = Path(__file__).parent / "results" / "feedback.md"
CLICKS = (0, 1, 2, 3, 5)
RECALL_AT = 20
LEAST_FRAMES = 4


class Detections(NamedTuple):
    """Everybody found in the frames of a set."""

    frames: np.ndarray
    """(N,) number of the frame."""

    identities: np.ndarray
    """(N,) -1 for nobody labelled."""

    embeddings: np.ndarray
    """(N, D) float32."""


def detect(seed: int, cache: Path | None) -> Detections:
    """Draw a set, and find its people."""
    file = None if cache is None else cache / f"feedback-{seed}.npz"
    if file is not None and file.exists():
        with np.load(file) as kept:
            return Detections(kept["frames"], kept["identities"], kept["embeddings"])
    world = World(dataclasses.replace(PRESETS["drawn-prw"], seed=seed))
    finder = PersonFinder.load(BUILTIN)
    rows: list[tuple[int, int, np.ndarray]] = []
    for number, plan in enumerate(world.plans):
        if plan.split == "train":
            continue
        frame = world.draw(number)
        (people,) = finder.find([np.ascontiguousarray(frame.image[..., ::-1])])
        true = np.array([p.box for p in frame.people], float).reshape(-1, 4)
        true[:, 2:] += true[:, :2]
        overlaps = paired_iou(people.boxes[:, None], true[None])
        for row in range(len(people)):
            best = int(overlaps[row].argmax()) if len(true) else -1
            is_hit = best >= 0 and overlaps[row, best] >= 0.5
            identity = frame.people[best].identity if is_hit else -1
            rows.append((number, identity, people.embeddings[row]))
    found = Detections(*(np.array(column) for column in zip(*rows, strict=True)))
    if file is not None:
        np.savez(file, **found._asdict())
    return found


Refine = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of a query (D,), right ones (R, D) and wrong ones (W, D), the query that is asked next (D,)."""


def add_right(query: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Average the query with the right ones, as the page did before."""
    mean = np.vstack([query[None], right]).mean(axis=0)
    return mean / np.linalg.norm(mean)


def nothing(query: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Leave the query as it is: judged results are only put above or below the others."""
    return query


METHODS: dict[str, Refine] = {
    "judged ones moved only": nothing,
    "mean with the right ones": add_right,
    "as built": refine_query,
}


def simulate(found: Detections, own: int, refine: Refine) -> list[tuple[float, float, float]]:
    """Ask for one detection; return mAP, recall and mAP of unjudged ones after each of CLICKS."""
    others = found.frames != found.frames[own]
    is_right = found.identities == found.identities[own]
    query = found.embeddings[own]
    right: list[int] = []
    wrong: list[int] = []
    measured = []
    for clicks in range(max(CLICKS) + 1):
        asked = refine(query, found.embeddings[right], found.embeddings[wrong])
        order = rank(found, asked, others)
        judged_frames = set(found.frames[right].tolist()) | set(found.frames[wrong].tolist())
        top = [r for r in order if r in right]
        below = [r for r in order if r in wrong]
        rest = [r for r in order if r not in right and r not in wrong]
        ranked = np.array(top + rest + below, int)
        if clicks in CLICKS:
            total = len(set(found.frames[is_right & others].tolist()))
            unjudged = [r for r in rest if found.frames[r] not in judged_frames]
            left = total - len(right)
            measured.append(
                (
                    average_precision(is_right[ranked], total),
                    100 * is_right[ranked[:RECALL_AT]].sum() / min(total, RECALL_AT),
                    average_precision(is_right[np.array(unjudged, int)], left) if left else np.nan,
                )
            )
        if rest:
            (right if is_right[rest[0]] else wrong).append(rest[0])
    return measured


def rank(found: Detections, asked: np.ndarray, others: np.ndarray) -> list[int]:
    """Return the best row of each frame but the query's, best first."""
    rows = np.flatnonzero(others)
    similar = found.embeddings[rows] @ asked
    order = rows[np.argsort(-similar, kind="stable")]
    first = np.unique(found.frames[order], return_index=True)[1]
    return order[np.sort(first)].tolist()


def average_precision(hits: np.ndarray, total: int) -> float:
    """Return the average precision in percent; right ones that were not found count as missed."""
    places = np.flatnonzero(hits) + 1
    return 100 * float((np.arange(1, len(places) + 1) / places).sum()) / total if total else np.nan


def measure(found: Detections, refine: Refine) -> np.ndarray:
    """Return the means of `simulate` over one query of each person, (clicks, 3)."""
    results = []
    for identity in np.unique(found.identities[found.identities >= 0]):
        rows = np.flatnonzero(found.identities == identity)
        if len(np.unique(found.frames[rows])) >= LEAST_FRAMES:
            results.append(simulate(found, int(rows[0]), refine))
    return np.nanmean(np.array(results), axis=0)


def main() -> None:
    """Measure all methods on all seeds, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="sets drawn (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder that keeps what was found in the frames")
    args = parser.parse_args()
    sets = [detect(seed, args.cache) for seed in (FIRST_SEED, *range(1, args.seeds))]
    measured = {
        name: np.array([measure(found, refine) for found in sets])
        for name, refine in METHODS.items()
    }
    RESULTS.write_text(write_table(measured, len(sets)), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


def write_table(measured: dict[str, np.ndarray], num_sets: int) -> str:
    """Write the results as Markdown; ``measured`` has arrays (sets, clicks, 3)."""
    head = " | ".join(f"{clicks} clicks" for clicks in CLICKS)
    lines = [INTRO.format(num_sets=num_sets, away=AWAY), f"{datetime.now(UTC):%Y-%m-%d}, "]
    lines[-1] += f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for place, what in enumerate(("mAP", f"recall at {RECALL_AT}", "mAP of frames not judged")):
        lines += ["", f"## {what}", "", f"| method | {head} |", "|---" * (len(CLICKS) + 1) + "|"]
        for name, values in measured.items():
            cells = []
            for column in range(len(CLICKS)):
                of_sets = values[:, column, place]
                gains = of_sets - values[:, 0, place]
                spread = f" ({gains.mean():+.1f} ± {gains.std(ddof=1):.1f})" if column else ""
                cells.append(f"{of_sets.mean():.1f}{spread}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
