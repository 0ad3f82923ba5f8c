"""Draw the town of six cameras, and see whether the shipped model finds and recognises its people.

Run:  python benchmarks/drawn_town.py [--root datasets] [--every 5] [--model drawn-people ...]

Draws ``ROOT/drawn-town`` with two processes, unless it is there. Then each model looks at a frame
of each clip every few seconds, decoded from the video as ``person-search index`` does it. Writes
``benchmarks/results/drawn_town.md``.
"""

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from person_search.footage.video import decode_frames, read_clock
from person_search.inference.finder import PersonFinder
from person_search.people import People, paired_iou
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town_writer import write_town
from reid_heads.evaluation.ranking import evaluate_market

RESULTS = Path(__file__).parent / "results" / "drawn_town.md"
NAME = "drawn-town"
MIN_IOU = MIN_VISIBLE = 0.5
INTRO = """# The drawn town

`python benchmarks/drawn_town.py`. `drawn-people` is the model that the package ships, trained on
other drawn people, cameras and pictures; others were asked for with `--model`. *found*: people of
whom half is visible at least, with IoU 0.5, each by one box; those of whom less is visible are
neither asked for nor false. *AP*: average precision times recall, at the model's own least score.
Each person found at a camera, once a clip in the largest box, is searched among everybody found at
the five other cameras, false detections included: *mAP*, *top-1*, *top-5*.
"""

HEAD = (
    "| model | frames | to be found | found | AP | false | queries | mAP | top-1 | top-5 | "
    "frames/s |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass
class Found:
    """What the model found in all frames, detection by detection, and who was there to be found."""

    scores: list[float] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    """-1 of nobody, -2 of somebody mostly hidden."""
    cameras: list[int] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    embeddings: list[np.ndarray] = field(default_factory=list)
    num_true: int = 0
    num_frames: int = 0
    seconds: float = 0.0

    def add(self, people: People, rows: np.ndarray, camera: int, clip: int) -> None:
        """Add a frame; ``rows`` (M, 9) are its lines of ``gt.txt``."""
        true = np.column_stack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]]).reshape(-1, 4)
        pids = np.full(len(people.boxes), -1)
        if len(true) and len(pids):
            overlaps = paired_iou(people.boxes[:, None], true[None])
            found, whom = linear_sum_assignment((overlaps < MIN_IOU) - 1e-3 * overlaps)
            good = overlaps[found, whom] >= MIN_IOU
            is_seen = rows[whom[good], 8] >= MIN_VISIBLE
            pids[found[good]] = np.where(is_seen, rows[whom[good], 1], -2)
        self.num_true += int((rows[:, 8] >= MIN_VISIBLE).sum())
        self.num_frames += 1
        sides = people.boxes[:, 2:] - people.boxes[:, :2]
        self.scores += people.scores.tolist()
        self.pids += pids.tolist()
        self.cameras += [camera] * len(pids)
        self.areas += sides.prod(axis=1).tolist()
        self.clips += [clip] * len(pids)
        self.embeddings += list(people.embeddings)


def main() -> None:
    """Draw, look, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("datasets"))
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--model", nargs="+", default=["drawn-people"])
    args = parser.parse_args()
    root = args.root / NAME
    drawing = draw(root)
    record = json.loads((root / "drawn.json").read_text())
    videos = sorted((root / "footage").rglob("*.mp4"))
    rows = [row_of(model, look(model, root, videos, args.every)) for model in args.model]
    size = sum(video.stat().st_size for video in videos) / 1e6
    counts = f"{record['clips']} clips, {record['frames']} frames, {size:.0f} MB"
    RESULTS.write_text(
        f"{INTRO}\n{date_line()}\n\n{counts}. {drawing}\n\n{HEAD}{''.join(rows)}", "utf-8"
    )


def look(model: str, root: Path, videos: list[Path], every: float) -> Found:
    """Return what a model finds in a frame of each video every so many seconds."""
    finder = PersonFinder.load(model, threads=1)
    found = Found()
    cameras = sorted({video.parent.name for video in videos})
    for clip, video in enumerate(videos):
        truth = root / "tracks" / f"{video.parent.name}-{video.stem}" / "gt" / "gt.txt"
        rows = np.loadtxt(truth, delimiter=",", ndmin=2)
        for number, image in decode_frames(video, read_clock(video).sample(every)):
            start = time.perf_counter()
            (people,) = finder.find([image])
            found.seconds += time.perf_counter() - start
            camera = cameras.index(video.parent.name)
            found.add(people, rows[rows[:, 0] == number + 1], camera, clip)
    return found


def draw(root: Path) -> str:
    """Draw the town where it is not there; say what it cost."""
    if root.exists():
        return "It was drawn before."
    before, start = os.times(), time.perf_counter()
    write_town(TOWN_PRESETS[NAME], root, processes=2)
    wall, after = time.perf_counter() - start, os.times()
    work = sum(after[:4]) - sum(before[:4])
    return f"Drawn by two processes in {wall:.0f} s, {work:.0f} s of processor time together."


def row_of(model: str, found: Found) -> str:
    """Return the results of a model as a line of Markdown."""
    pids, scores = np.array(found.pids), np.array(found.scores)
    asked = pids != -2
    order = np.argsort(-scores[asked], kind="stable")
    hits = (pids[asked] >= 0)[order]
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    recall = hits.sum() / found.num_true
    ap = 100 * recall * precisions[hits].mean()
    queries = choose_queries(found)
    embeddings, cameras = np.stack(found.embeddings), np.array(found.cameras)
    ranking = evaluate_market(
        [embeddings[queries] @ embeddings.T], pids[queries], cameras[queries], pids, cameras
    ).metrics()
    return (
        f"| {model} | {found.num_frames} | {found.num_true} | {100 * recall:.1f} % | {ap:.1f} | "
        f"{int((pids == -1).sum())} | {len(queries)} | {ranking['mAP']:.1f} | "
        f"{ranking['top1']:.1f} | {ranking['top5']:.1f} | "
        f"{found.num_frames / found.seconds:.1f} |\n"
    )


def choose_queries(found: Found) -> np.ndarray:
    """Return the largest detection of each person in each clip."""
    best: dict[tuple[int, int], int] = {}
    for row, (pid, clip) in enumerate(zip(found.pids, found.clips, strict=True)):
        key = pid, clip
        if pid >= 0 and (key not in best or found.areas[row] > found.areas[best[key]]):
            best[key] = row
    return np.array(sorted(best.values()))


def date_line() -> str:
    """Say when and on what it was measured."""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        f"{day}, {platform.machine()}, {os.cpu_count()} cores, models with 1 thread; load "
        f"at the end {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
