"""Time the search scorer at full data set size against a per-query, per-image Python loop.

Run ``python benchmarks/scorer_speed.py``; it makes its own random inputs, needs no data set, and
writes ``benchmarks/results/scorer_speed.json`` and ``.md``. Each setting runs in a process
of its own, so that the peak memory is that setting's. The loop is this file's own plain reading of
the protocol, with NumPy inside each image and scikit-learn's average precision, like the evaluators
that research code ships; it runs on a sample of the queries and its time is scaled up.
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
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.search import score_queries

RESULTS = Path(__file__).parent / "results"
EMBEDDING_SIZE = 256
REPEATS = 5


@dataclass(frozen=True)
class Setting:
    """Size of a data set and what its loop is timed on."""

    title: str
    queries: int
    frames: int
    gallery: int
    """Frames a query searches; -1 for all but its own."""
    true_frames: int
    """Mean number of true frames a query."""
    sample: int
    """Queries that the loop is timed on."""
    detections: int = 41_000


SETTINGS = {
    "cuhk_g100": Setting("CUHK-SYSU, gallery 100", 2900, 6978, 100, 4, 150),
    "cuhk_g500": Setting("CUHK-SYSU, gallery 500", 2900, 6978, 500, 4, 75),
    "cuhk_g4000": Setting("CUHK-SYSU, gallery 4000", 2900, 6978, 4000, 4, 15),
    "cuhk_full": Setting("CUHK-SYSU, full gallery", 2900, 6978, -1, 4, 15),
    "prw": Setting("PRW, all cameras", 2057, 6112, -1, 35, 15),
}


def make_inputs(setting: Setting, seed: int = 0) -> tuple[SearchProtocol, Predictions]:
    """Draw a protocol and predictions of a fair model: one frame in ten has its person missed."""
    rng = np.random.default_rng(seed)
    per_frame = 1 + rng.multinomial(
        setting.detections - setting.frames, np.full(setting.frames, 1 / setting.frames)
    )
    frame_of = np.repeat(np.arange(setting.frames), per_frame)
    starts = np.cumsum(per_frame) - per_frame
    corners = rng.integers(0, 800, (setting.detections, 2))
    sizes = rng.integers(6, 150, (setting.detections, 1)) * [1, 2]
    boxes = np.concatenate([corners, corners + sizes], axis=1).astype(np.float32)
    centers = unit_rows(rng, setting.queries)
    embeddings = unit_rows(rng, setting.detections)
    query_frames = rng.integers(0, setting.frames, setting.queries)
    mask = np.zeros((setting.queries, setting.frames), dtype=bool)
    rows = []
    for query in range(setting.queries):
        others = rng.permutation(setting.frames)
        others = others[others != query_frames[query]]
        mask[query, others if setting.gallery < 0 else others[: setting.gallery]] = True
        count = min(1 + rng.poisson(setting.true_frames - 1), 90)
        rows += [(query, frame) for frame in others[:count]]
    true_queries, true_frames = np.array(rows).T
    person = starts[true_frames] + rng.integers(0, per_frame[true_frames])
    hit = rng.random(len(rows)) < 0.9
    noisy = centers[true_queries] + 1.2 * unit_rows(rng, len(rows))
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    embeddings[person[hit]] = noisy[hit]
    true_boxes = boxes[person].copy()
    true_boxes[~hit] += 2000
    true_boxes += rng.integers(-1, 2, true_boxes.shape)
    names = np.array([f"s{frame:05d}.jpg" for frame in range(setting.frames)])
    query_boxes = np.tile(np.float32([10, 10, 60, 160]), (setting.queries, 1))
    protocol = SearchProtocol(
        name=setting.title,
        frame_names=tuple(names.tolist()),
        frame_boxes=(np.zeros((0, 4), np.float32),) * setting.frames,
        frame_pids=(np.zeros(0, np.int64),) * setting.frames,
        query_frames=query_frames,
        query_boxes=query_boxes,
        query_pids=np.arange(setting.queries),
        gallery_mask=mask,
        true_queries=true_queries,
        true_frames=true_frames,
        true_boxes=true_boxes,
    )
    predictions = Predictions(
        image_names=names,
        image_index=frame_of,
        boxes=boxes,
        scores=rng.uniform(0.45, 1, setting.detections).astype(np.float32),
        embeddings=embeddings,
        query_names=names[query_frames],
        query_boxes=query_boxes,
        query_embeddings=centers,
    )
    return protocol, predictions


def unit_rows(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Draw (rows, EMBEDDING_SIZE) directions, float32."""
    values = rng.standard_normal((rows, EMBEDDING_SIZE), dtype=np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


class PlainLoop:
    """The protocol, one query and one image at a time."""

    def __init__(self, protocol: SearchProtocol, predictions: Predictions) -> None:
        """Sort detections and true boxes into dicts; not part of the timed work."""
        self.found = {}
        for row, name in enumerate(predictions.image_names.tolist()):
            keep = (predictions.image_index == row) & (predictions.scores >= 0.5)
            if keep.any():
                self.found[name] = (predictions.boxes[keep], predictions.embeddings[keep])
        self.true: list[dict[str, np.ndarray]] = [{} for _ in protocol.query_frames]
        for query, frame, box in zip(
            protocol.true_queries, protocol.true_frames, protocol.true_boxes, strict=True
        ):
            self.true[query].setdefault(protocol.frame_names[frame], box)
        self.galleries = [
            [protocol.frame_names[frame] for frame in np.flatnonzero(row)]
            for row in protocol.gallery_mask
        ]
        self.queries = predictions.query_embeddings

    def score(self, query: int) -> tuple[float, list[bool]]:
        """Return the query's AP and whether each k of 1, 5, 10 is a hit."""
        labels, similarities, count_true, count_found = [], [], 0, 0
        true = self.true[query]
        for name in self.galleries[query]:
            box = true.get(name)
            count_true += box is not None
            if name not in self.found:
                continue
            boxes, embeddings = self.found[name]
            similarity = embeddings.dot(self.queries[query])
            label = np.zeros(len(similarity), dtype=np.int32)
            if box is not None:
                width, height = box[2] - box[0], box[3] - box[1]
                needed = min(0.5, width * height / ((width + 10) * (height + 10)))
                for i in np.argsort(similarity)[::-1]:
                    if self.overlap(boxes[i], box) >= needed:
                        label[i] = 1
                        count_found += 1
                        break
            labels.extend(label)
            similarities.extend(similarity)
        labels, similarities = np.asarray(labels), np.asarray(similarities)
        if not count_found:
            return 0.0, [False] * 3
        precision = average_precision_score(labels, similarities) * count_found / count_true
        ranking = labels[np.argsort(similarities)[::-1]]
        return precision, [bool(ranking[:k].any()) for k in (1, 5, 10)]

    @staticmethod
    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        """Compute the IoU of two boxes."""
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        both = width * height
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def measure(key: str) -> dict[str, object]:
    """Measure one setting in this process."""
    setting = SETTINGS[key]
    protocol, predictions = make_inputs(setting)
    inputs_mb = peak_memory_mb()
    scores = score_queries(protocol, predictions)
    peak_mb = peak_memory_mb()
    loop = PlainLoop(protocol, predictions)
    sample = np.linspace(0, setting.queries - 1, setting.sample).astype(int)
    times, expected = [], []
    for queries in np.array_split(sample, REPEATS):  # ours and the loop in turns
        ours = measure_seconds(lambda: score_queries(protocol, predictions))
        plain = measure_seconds(
            lambda queries=queries: expected.extend(loop.score(query) for query in queries)
        )
        times.append([*ours, *(seconds * setting.queries / len(queries) for seconds in plain)])
    off = [
        abs(scores.precisions[q] - precision)
        for q, (precision, _) in zip(sample, expected, strict=True)
    ]
    hits = [
        [0 < scores.ranks[q] <= k for k in (1, 5, 10)] == hit
        for q, (_, hit) in zip(sample, expected, strict=True)
    ]
    ratios = [loop_cpu / cpu for _, cpu, _, loop_cpu in times]
    seconds, cpu, loop_seconds, loop_cpu = np.median(times, axis=0).tolist()
    return {
        "setting": setting.title,
        "queries": setting.queries,
        "frames": setting.frames,
        "detections": setting.detections,
        "embedding_size": EMBEDDING_SIZE,
        "metrics": scores.summarize(),
        "seconds": seconds,
        "seconds_each": times,
        "peak_memory_mb": peak_mb,
        "peak_memory_of_inputs_mb": inputs_mb,
        "loop_sample_queries": setting.sample,
        "loop_seconds_scaled": loop_seconds,
        "ratio": loop_seconds / seconds,
        "cpu_seconds": cpu,
        "loop_cpu_seconds_scaled": loop_cpu,
        "cpu_ratio": float(np.median(ratios)),
        "cpu_ratio_range": [min(ratios), max(ratios)],
        "largest_ap_difference_percent": 100 * max(off),
        "top_k_equal": all(hits),
    }


def measure_seconds(action: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds of one call."""
    start, cpu_start = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - cpu_start


def peak_memory_mb() -> float:
    """Return the most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def describe_machine() -> dict[str, object]:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "unset"),
        "load_before": os.getloadavg()[0],
    }


def write_report(machine: dict[str, object], rows: list[dict]) -> str:
    """Write JSON and Markdown, and return the latter."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    stem = RESULTS / "scorer_speed"
    stem.with_suffix(".json").write_text(
        json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n"
    )
    lines = [
        "# Search scorer against a per-query, per-image Python loop",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/scorer_speed.py`; random inputs, seed 0. Medians of "
        f"{REPEATS} pairs, ours and a part of the sample by the loop in turns; the loop's time is "
        "scaled up from its part. CPU time says more than wall time where other work shares the "
        "machine. Memory is the process's peak, inputs included.",
        "",
        ", ".join(f"{name} {value}" for name, value in machine.items()),
        "",
        "| setting | queries x frames, detections | ours, s | loop, s (sample) | ratio | CPU s, "
        "ours "
        "| CPU s, loop | CPU ratio | peak MB "
        "(inputs) | largest AP difference, % | top-k equal |",
        "|---" * 11 + "|",
    ]
    lines += [
        f"| {r['setting']} | {r['queries']} x {r['frames']}, {r['detections']} | "
        f"{r['seconds']:.2f} | "
        f"{r['loop_seconds_scaled']:.0f} ({r['loop_sample_queries']} queries) | {r['ratio']:.0f} | "
        f"{r['cpu_seconds']:.2f} | {r['loop_cpu_seconds_scaled']:.0f} | {r['cpu_ratio']:.0f} "
        f"({r['cpu_ratio_range'][0]:.0f}..{r['cpu_ratio_range'][1]:.0f}) | "
        f"{r['peak_memory_mb']:.0f} ({r['peak_memory_of_inputs_mb']:.0f}) | "
        f"{r['largest_ap_difference_percent']:.1e} | {'yes' if r['top_k_equal'] else 'NO'} |"
        for r in rows
    ]
    text = "\n".join(lines) + "\n"
    kept = stem.with_suffix(".md").read_text() if stem.with_suffix(".md").exists() else ""
    # What was tried in vain stays.
    text += kept[kept.index("\n## ") :] if "\n## " in kept else ""
    stem.with_suffix(".md").write_text(text)
    return text


def main() -> None:
    """Run the settings that were asked for."""
    parser = argparse.ArgumentParser(description="Time the search scorer at full size.")
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = set(args.settings) - set(SETTINGS)
    if unknown:
        parser.error(f"unknown setting {', '.join(unknown)}, expected {', '.join(SETTINGS)}")
    if args.in_process:
        print(json.dumps(measure(args.settings[0])))
        return
    machine, rows = describe_machine(), []
    for key in args.settings or SETTINGS:
        command = [sys.executable, __file__, "--in-process", key]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
        print(f"{key}: {rows[-1]['seconds']:.2f} s, {rows[-1]['ratio']:.0f}x", file=sys.stderr)
    print(write_report(machine, rows))


if __name__ == "__main__":
    main()
