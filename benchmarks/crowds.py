"""Count who is found in crowds of 200 drawn people, and why the others are not.

Run:  python benchmarks/crowds.py

The shipped model in PyTorch looks at two drawn pictures: in one look, in parts with its limits as
they are, and as it does by itself, with raised limits. Found: with IoU 0.5, each by one box. Writes
``benchmarks/results/crowds.md``.
"""

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from person_search.inference.finder import PersonFinder
from person_search.people import People, paired_iou
from person_search.synthetic.crowd import draw_crowd
from person_search.synthetic.world import DrawnFrame

RESULTS = Path(__file__).parent / "results" / "crowds.md"
ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs/drawn_cuhk/slim_fpn.yaml"
WEIGHTS = ROOT / "demo/weights/drawn_cuhk_slim_fpn.pth"
LIMITS = ("MODEL.RPN.POST_NMS_TOPK_TEST", "300", "TEST.DETECTIONS_PER_IMAGE", "300")
ANY_BOX = ("MODEL.ROI_HEADS.NMS_THRESH_TEST", "0.95")
PICTURES = {
    "a square from above, 1920x1080": {"width": 1920, "height": 1080, "is_from_above": True},
    "a panorama, 7680x540": {"width": 7680, "height": 540},
}
INTRO = """# Crowds

`python benchmarks/crowds.py`; the shipped model (`configs/drawn_cuhk/slim_fpn.yaml`) on drawn
pictures of 200 people, of each of whom half is visible at least. *found*: with IoU 0.5, each by one
box; *wholly visible*: nine tenths at least. *nobody's*: boxes with IoU below 0.3 to everybody. *in
parts*: with 100 proposals a view, as built; *by default*: with 300 in the views where that many
people are seen, as `--parts auto` does by itself.
"""


def find_matches(boxes: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the rows of the true boxes (M, 4) that have a box (N, 4) of their own."""
    overlaps = paired_iou(boxes[:, None], true[None])
    rows, columns = linear_sum_assignment((overlaps < 0.5) - 1e-3 * overlaps)
    return columns[overlaps[rows, columns] >= 0.5]


def explain(image: np.ndarray, true: np.ndarray, missed: np.ndarray) -> str:
    """Say why people were missed: at which step the boxes that fit them went."""
    limits = [*LIMITS, "MODEL.RPN.PRE_NMS_TOPK_TEST", "900"]
    kept = everything(load(limits, 0.5), image)
    raw = everything(load([*limits, *ANY_BOX], 0.05), image)
    overlaps = paired_iou(true[missed][:, None], raw.boxes[None]) >= 0.5
    is_kept = (paired_iou(true[missed][:, None], kept.boxes[None]) >= 0.5).any(axis=1)
    is_sure = (overlaps & (raw.scores >= 0.5)).any(axis=1) & ~is_kept
    is_unsure = overlaps.any(axis=1) & ~is_sure & ~is_kept
    nothing = len(missed) - is_kept.sum() - is_sure.sum() - is_unsure.sum()
    return (
        f"no box of any score {nothing}, a score below 0.5 {is_unsure.sum()}, a better box of a "
        f"neighbour suppressed it {is_sure.sum()}, a box that fits a neighbour, too, or went where "
        f"parts are joined {is_kept.sum()}"
    )


def everything(finder: PersonFinder, image: np.ndarray) -> People:
    """Return the boxes of all views, before they are joined."""
    plan = finder._plan(image, True)
    found = finder._find_batch(plan.cut(image))
    shifts = [np.tile(view[:2], 2) for view in plan.boxes]
    return People(
        np.concatenate([x.boxes + shift for x, shift in zip(found, shifts, strict=True)]),
        np.concatenate([x.scores for x in found]),
        np.concatenate([x.embeddings for x in found]),
    )


def load(overrides: list[str], min_score: float | None = None) -> PersonFinder:
    """Load the shipped model with other limits."""
    return PersonFinder.from_config(
        CONFIG, WEIGHTS, device="cpu", overrides=overrides, min_score=min_score
    )


def measure(name: str, frame: DrawnFrame) -> list[str]:
    """Return the lines of the table for a picture, and what became of the others."""
    image = np.ascontiguousarray(frame.image[:, :, ::-1])
    true = np.array([(x, y, x + w, y + h) for x, y, w, h in (p.box for p in frame.people)], float)
    is_whole = np.array([person.visible >= 0.9 for person in frame.people])
    plain, usual = load([]), load([])
    plain.network.limits = None
    plain = PersonFinder(plain.network)
    ways = {"one look": (plain, False), "in parts": (plain, True), "by default": (usual, None)}
    lines = []
    for way, (finder, parts) in ways.items():
        start = time.perf_counter()
        (people,) = finder.find([image], parts=parts)
        seconds = time.perf_counter() - start
        matched = np.zeros(0, int)
        nobodys = 0
        if len(people):
            matched = find_matches(people.boxes, true)
            nobodys = (paired_iou(people.boxes[:, None], true[None]).max(axis=1) < 0.3).sum()
        whole = f"{is_whole[matched].sum()} of {is_whole.sum()}"
        lines.append(
            f"| {name} | {way} | {len(matched)} of {len(true)} | {whole} | {nobodys} | "
            f"{seconds:.1f} |"
        )
    missed = np.setdiff1d(np.arange(len(true)), matched)
    return [*lines, f"Of the {len(missed)} missed in {name}: {explain(image, true, missed)}."]


def main() -> None:
    """Measure, print and write the tables."""
    rows, causes = [], []
    for name, size in PICTURES.items():
        *lines, cause = measure(name, draw_crowd(**size))
        rows += lines
        causes.append(cause)
    head = "| picture | looked at | found | wholly visible | nobody's | seconds |"
    today = datetime.now(UTC).date()
    machine = f"date {today}, device {platform.machine()}, cpus {os.cpu_count()}."
    parts = [INTRO, machine, "", head, "|---|---|---|---|---|---|", *rows, "", *causes]
    text = "\n".join(parts) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
