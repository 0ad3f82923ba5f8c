"""Time ranking and re-ranking of crops at full data set size against plain implementations.

Run ``python benchmarks/reid_ranking_speed.py``; it draws its own features and needs no data set.
Each case runs in a process of its own, so that the peak memory is that case's, and is written to
``benchmarks/results/reid_ranking_speed.json`` when it is done; a later run measures what is missing
and writes the table anew. The plain implementations are this file's own readings of the protocol
and of the paper, made of the steps that research code makes: a full argsort and a Python loop over
the ranks of each query, and N x N matrices.

Letters: Q queries, G gallery crops, N = Q + G, D embedding size.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from reid_heads.evaluation.ranking import RankingResult, evaluate_market
from reid_heads.evaluation.similarity import iterate_similarities, normalize_rows

RESULTS = Path(__file__).parent / "results" / "reid_ranking_speed.json"
# Arrays that are compared between cases.
SCRATCH = Path(__file__).parents[1] / "output" / "reid_ranking_speed"
DIM = 2048
# Real features fill far fewer dimensions than they have.
LATENT_DIM = 96
REPEATS = 3
INTRO = f"""`python benchmarks/reid_ranking_speed.py`; {DIM}-d float32 features of drawn clusters,
seed 0, every case in a process of its own; peak memory includes the inputs. Ours: median of
{REPEATS} (re-ranking of MSMT17: one run); the plain ones: one run.

- *loop* sorts all with argsort and divides by the ranks in a Python list for each query, as
  fast-reid and torchreid do without their Cython; *numpy* is the same with that division in NumPy.
- *alone*: similarities given as a matrix; *with product*: from the features, ours by blocks. The
  product takes the same time everywhere, and most of ours.
- *dense* goes through re-ranking (k1 20, k2 6, lambda 0.3) as the authors' code does, N x N
  matrices and the transposition of one included, in float32; *tidy* is the same without the
  transposition, which spreads the rows of all later matrices over memory.
- Ratio: the time over ours. Where other work shares the machine, CPU time says more than wall time.
"""
T = TypeVar("T")
Labels = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Size:
    """Size of a data set."""

    title: str
    queries: int
    gallery: int
    people: int
    distractors: int
    cameras: int
    spread: float
    """Of the crops of a person, to set how hard it is."""


SIZES = {
    "market": Size("Market-1501", 3368, 15913, 750, 2798, 6, 1.0),
    "msmt17": Size("MSMT17", 11659, 82161, 3060, 0, 15, 1.15),
}


def draw_features(size: Size, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Labels]:
    """Draw people as clusters shifted by camera: (Q, D) and (G, D) float32 of unit norm, labels."""
    rng = np.random.default_rng(seed)
    total = size.queries + size.gallery
    pids = rng.integers(0, size.people, total)
    pids[total - size.distractors :] = size.people + np.arange(size.distractors)
    cam_ids = rng.integers(0, size.cameras, total)
    centers = rng.standard_normal((size.people + size.distractors, LATENT_DIM), dtype=np.float32)
    shifts = rng.standard_normal((size.cameras, LATENT_DIM), dtype=np.float32)
    latent = centers[pids] + 0.5 * shifts[cam_ids]
    latent += size.spread * rng.standard_normal(latent.shape, dtype=np.float32)
    mixing = rng.standard_normal((LATENT_DIM, DIM), dtype=np.float32)
    features = normalize_rows(latent @ mixing)
    order = size.queries + rng.permutation(size.gallery)
    labels = pids[: size.queries], cam_ids[: size.queries], pids[order], cam_ids[order]
    return features[: size.queries].copy(), features[order], labels


def rank_plainly(similarities: np.ndarray, labels: Labels, loop_ranks: bool) -> np.ndarray:
    """Rank by a full argsort, then query by query: (V, 3) AP, INP and first rank.

    Args:
        similarities: (Q, G).
        labels: Person and camera ids of queries and gallery.
        loop_ranks: Divide by the ranks in a Python list, as fast-reid and torchreid do; else in
            NumPy.
    """
    query_pids, query_cams, gallery_pids, gallery_cams = labels
    indices = np.argsort(-similarities, axis=1)
    rows = []
    for query, order in enumerate(indices):
        same = gallery_pids[order] == query_pids[query]
        keep = ~(same & (gallery_cams[order] == query_cams[query]))
        hits = same[keep].astype(np.int32)
        if not hits.any():
            continue
        found = hits.cumsum()
        ranks = np.flatnonzero(hits) + 1
        if loop_ranks:
            precision = np.asarray([count / (i + 1.0) for i, count in enumerate(found)])
        else:
            precision = found / np.arange(1, len(found) + 1)
        ap = (precision * hits).sum() / hits.sum()
        rows.append((ap, found[ranks[-1] - 1] / ranks[-1], ranks[0]))
    return np.array(rows)


def reciprocal(order: np.ndarray, row: int, size: int) -> np.ndarray:
    """List those of a row's nearest ``size`` neighbours, and itself, that it is near to as well."""
    forward = order[row, : size + 1]
    return forward[np.where(order[forward, : size + 1] == row)[0]]


def rerank_plainly(
    queries: np.ndarray,
    gallery: np.ndarray,
    transposed: bool,
    k1: int = 20,
    k2: int = 6,
    share: float = 0.3,
) -> np.ndarray:
    """Compute the (Q, G) re-ranked distances with N x N matrices, step by step as in the paper.

    Args:
        queries: (Q, D) of unit norm.
        gallery: (G, D) of unit norm.
        transposed: Divide by the largest of each column and transpose, as the authors' code does:
            rows of its matrices are then spread over memory. Else divide by the largest of each
            row, which is the same.
        k1: As published for Market-1501.
        k2: The same.
        share: Of the original distance.
    """
    across = queries @ gallery.T
    distances = np.block([[queries @ queries.T, across], [across.T, gallery @ gallery.T]])
    distances *= -2
    distances += 2
    np.maximum(distances, 0, out=distances)
    if transposed:
        distances = np.transpose(distances / distances.max(axis=0))
    else:
        distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1).astype(np.int32)
    weights = weigh_plainly(distances, order, k1)
    distances = distances[: len(queries)]
    averaged = np.zeros_like(weights)
    for row in range(len(weights)):
        averaged[row] = weights[order[row, :k2]].mean(axis=0)
    del weights, order
    jaccard = measure_jaccard_plainly(averaged, distances)
    return ((1 - share) * jaccard + share * distances)[:, len(queries) :]


def weigh_plainly(distances: np.ndarray, order: np.ndarray, k1: int) -> np.ndarray:
    """Weigh the expanded k-reciprocal neighbours of every row: (N, N)."""
    weights = np.zeros_like(distances)
    for row in range(len(distances)):
        base = members = reciprocal(order, row, k1)
        for candidate in base:
            half = reciprocal(order, candidate, round(k1 / 2))
            if len(np.intersect1d(half, base)) > 2 / 3 * len(half):
                members = np.append(members, half)
        members = np.unique(members)
        weight = np.exp(-distances[row, members])
        weights[row, members] = weight / weight.sum()
    return weights


def measure_jaccard_plainly(weights: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Compute the Jaccard distances of the first rows, as many as ``like`` has, to all rows."""
    having = [np.flatnonzero(weights[:, column]) for column in range(len(weights))]
    jaccard = np.zeros_like(like)
    for query in range(len(like)):
        shared = np.zeros(len(weights), dtype=np.float32)
        for column in np.flatnonzero(weights[query]):
            others = having[column]
            shared[others] += np.minimum(weights[query, column], weights[others, column])
        jaccard[query] = 1 - shared / (2 - shared)
    return jaccard


def measure_ours(size: Size, key: str) -> dict[str, object]:
    """Rank by streaming blocks, then from similarities that are given."""
    queries, gallery, labels = draw_features(size)
    inputs_mb = peak_memory_mb()
    streaming, result = time_calls(
        REPEATS, lambda: evaluate_market(iterate_similarities(queries, gallery), *labels)
    )
    peak_mb = peak_memory_mb()
    product, similarities = time_calls(1, lambda: queries @ gallery.T)
    alone, same = time_calls(REPEATS, lambda: evaluate_market([similarities], *labels))
    save_scratch(f"{key}.npy", as_rows(same))
    return {
        "seconds_with_product": streaming.tolist(),
        "seconds_product_at_once": product.tolist(),
        "seconds_alone": alone.tolist(),
        "peak_memory_mb": peak_mb,
        "peak_memory_of_inputs_mb": inputs_mb,
        "num_skipped": result.num_skipped,
        "metrics": result.metrics(),
    }


def measure_plain(size: Size, key: str, loop_ranks: bool) -> dict[str, object]:
    """Rank plainly; the argsort is the greater part of the memory."""
    queries, gallery, labels = draw_features(size)
    inputs_mb = peak_memory_mb()
    product, similarities = time_calls(1, lambda: queries @ gallery.T)
    alone, rows = time_calls(1, lambda: rank_plainly(similarities, labels, loop_ranks))
    save_scratch(f"{key}.npy", rows)
    return {
        "seconds_with_product": (product + alone).tolist(),
        "seconds_product_at_once": product.tolist(),
        "seconds_alone": alone.tolist(),
        "peak_memory_mb": peak_memory_mb(),
        "peak_memory_of_inputs_mb": inputs_mb,
    }


def measure_rerank(size: Size, key: str) -> dict[str, object]:
    """Re-rank by streaming blocks, and rank what comes."""
    from reid_heads.evaluation.reranking import rerank

    queries, gallery, labels = draw_features(size)
    inputs_mb = peak_memory_mb()
    repeats = REPEATS if size.queries < 10_000 else 1
    seconds, result = time_calls(
        repeats, lambda: evaluate_market(rerank(queries, gallery), *labels)
    )
    peak_mb = peak_memory_mb()
    if size.queries < 10_000:
        blocks = [block.copy() for block in rerank(queries, gallery)]
        save_scratch(f"{key}.npy", -np.concatenate(blocks))
    return {
        "seconds_with_ranking": seconds.tolist(),
        "peak_memory_mb": peak_mb,
        "peak_memory_of_inputs_mb": inputs_mb,
        "metrics": result.metrics(),
    }


def measure_rerank_plain(size: Size, key: str, transposed: bool) -> dict[str, object]:
    """Re-rank with dense matrices, and rank as fast as we can."""
    queries, gallery, labels = draw_features(size)
    inputs_mb = peak_memory_mb()
    seconds, distances = time_calls(1, lambda: rerank_plainly(queries, gallery, transposed))
    ranking, result = time_calls(1, lambda: evaluate_market([-distances], *labels))
    save_scratch(f"{key}.npy", distances)
    return {
        "seconds_with_ranking": (seconds + ranking).tolist(),
        "peak_memory_mb": peak_memory_mb(),
        "peak_memory_of_inputs_mb": inputs_mb,
        "metrics": result.metrics(),
    }


CASES: dict[str, Callable[[], dict[str, object]]] = {
    "market_ours": partial(measure_ours, SIZES["market"], "market_ours"),
    "market_loop": partial(measure_plain, SIZES["market"], "market_loop", True),
    "market_numpy": partial(measure_plain, SIZES["market"], "market_numpy", False),
    "market_rerank_ours": partial(measure_rerank, SIZES["market"], "market_rerank_ours"),
    "market_rerank_dense": partial(
        measure_rerank_plain, SIZES["market"], "market_rerank_dense", True
    ),
    "market_rerank_tidy": partial(
        measure_rerank_plain, SIZES["market"], "market_rerank_tidy", False
    ),
    "msmt17_ours": partial(measure_ours, SIZES["msmt17"], "msmt17_ours"),
    "msmt17_loop": partial(measure_plain, SIZES["msmt17"], "msmt17_loop", True),
    "msmt17_numpy": partial(measure_plain, SIZES["msmt17"], "msmt17_numpy", False),
    "msmt17_rerank_ours": partial(measure_rerank, SIZES["msmt17"], "msmt17_rerank_ours"),
}


def time_calls(repeats: int, function: Callable[[], T]) -> tuple[np.ndarray, T]:
    """Call a function several times.

    Returns:
        (2,) wall and CPU seconds of the call whose wall time is the median, and the last result.
    """
    seconds = []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = function()
        seconds.append((time.perf_counter() - start, time.process_time() - cpu_start))
    return np.array(sorted(seconds)[(repeats - 1) // 2]), result


def as_rows(result: RankingResult) -> np.ndarray:
    """Return (V, 3): AP, INP and first rank."""
    columns = (result.average_precisions, result.inverse_penalties, result.first_ranks[:, 0])
    return np.stack(columns, axis=1)


def save_scratch(name: str, array: np.ndarray) -> None:
    """Keep an array for the comparison of cases."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    np.save(SCRATCH / name, array)


def peak_memory_mb() -> float:
    """Return the most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def describe_run() -> dict[str, object]:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"],
        "load_before": os.getloadavg()[0],
    }


def run_case(key: str, threads: int) -> dict[str, object]:
    """Measure a case in a process of its own."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, __file__, "--in-process", key],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    return json.loads(done.stdout)


def compare() -> dict[str, object]:
    """Compare what the cases computed, as far as their arrays are there."""
    comparisons: dict[str, object] = {}
    for size in SIZES:
        for plain in ("loop", "numpy"):
            pair = [SCRATCH / f"{size}_{kind}.npy" for kind in ("ours", plain)]
            if all(path.is_file() for path in pair):
                ours, other = (np.load(path) for path in pair)
                off = float(np.abs(ours - other).max()) if ours.shape == other.shape else None
                comparisons[f"{size}_{plain}"] = {"largest_difference": off}
    for plain in ("dense", "tidy"):
        pair = [SCRATCH / f"market_rerank_{kind}.npy" for kind in ("ours", plain)]
        if all(path.is_file() for path in pair):
            off = np.abs(np.load(pair[0]) - np.load(pair[1]))
            comparisons[f"market_rerank_{plain}"] = {
                "largest_difference": float(off.max()),
                "entries_off_by_1e-5": int(np.count_nonzero(off > 1e-5)),
                "entries": off.size,
            }
    return comparisons


def write_table(content: dict[str, dict]) -> str:
    """Write the Markdown beside the JSON, and return it."""
    cases, lines = (
        content["cases"],
        ["# Ranking and re-ranking of crops at full size", "", INTRO, ""],
    )
    for title, suffix, kinds, measures in (
        ("ranking", "", ("ours", "loop", "numpy"), ("alone", "with_product")),
        ("re-ranking", "_rerank", ("ours", "dense", "tidy"), ("with_ranking",)),
    ):
        columns = [f"{measure.replace('_', ' ')}, s (CPU s) | ratio (CPU)" for measure in measures]
        columns = [title, *columns, "peak MB (inputs)", "load before, date"]
        lines += ["| " + " | ".join(columns) + " |", "|---" * (3 + 2 * len(measures)) + "|"]
        for size in SIZES:
            ours = cases.get(f"{size}{suffix}_ours")
            for kind in kinds:
                row = cases.get(f"{size}{suffix}_{kind}")
                if row and ours:
                    name = f"{SIZES[size].title}, {kind}"
                    lines.append(f"| {name} | {describe_row(row, ours, measures)} |")
        lines.append("")
    lines += ["Agreement of ours with the others:", ""]
    lines += [f"- {name}: {json.dumps(value)}" for name, value in content["comparisons"].items()]
    run = next(iter(cases.values()))["run"]
    facts = {key: run[key] for key in run if key not in ("date", "load_before")}
    lines += ["", ", ".join(f"{key} {value}" for key, value in facts.items())]
    text = "\n".join(lines) + "\n"
    RESULTS.with_suffix(".md").write_text(text)
    return text


def describe_row(row: dict, ours: dict, measures: tuple[str, ...]) -> str:
    """Lay out the cells of a case after its name."""
    cells = []
    for measure in measures:
        (wall, cpu), (our_wall, our_cpu) = (case[f"seconds_{measure}"] for case in (row, ours))
        cells += [f"{wall:.2f} ({cpu:.2f})", f"{wall / our_wall:.1f} ({cpu / our_cpu:.1f})"]
    cells.append(f"{row['peak_memory_mb']:.0f} ({row['peak_memory_of_inputs_mb']:.0f})")
    cells.append(f"{row['run']['load_before']:.1f}, {row['run']['date']}")
    return " | ".join(cells)


def main() -> None:
    """Measure the cases that were asked for, or those that are missing."""
    parser = argparse.ArgumentParser(description="Time ranking and re-ranking at full size.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--threads", type=int, default=2, help="of the matrix products (default 2)")
    parser.add_argument("--again", action="store_true", help="measure again what is there already")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}, expected {', '.join(CASES)}")
    if args.in_process:
        run = describe_run()
        print(json.dumps({**CASES[args.cases[0]](), "run": run}))
        return
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"cases": {}}
    for key in args.cases or CASES:
        if key in content["cases"] and not args.again:
            continue
        content["cases"][key] = run_case(key, args.threads)
        content["comparisons"] = {**content.get("comparisons", {}), **compare()}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(content, indent=2) + "\n")
        print(f"{key}: {json.dumps(content['cases'][key])}", file=sys.stderr)
    print(write_table(content))


if __name__ == "__main__":
    main()
