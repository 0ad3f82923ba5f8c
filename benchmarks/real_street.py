"""Find people in real street frames, and find them again, with a public detector and crop net.

Run:  python benchmarks/real_street.py --data FOLDER [--model street-basic] [--threads 1]

FOLDER, or $PERSON_SEARCH_REAL_DATA, holds ``mot17_mini/SEQUENCE/{img1,gt/gt.txt}`` (the first
frames of MOT17's training sequences, in their own layout) and ``models/nanodet_m.onnx`` and
``models/osnet_x0_25_msmt17.onnx`` (NanoDet-m, 416 x 416, and OSNet x0.25 of MSMT17). Neither is in
this repository. ``--model`` takes an installed model of two steps in their place.

Every frame is put into a gallery, as ``person-search index`` does, once looked at as a whole and
once in parts. Then whoever is found in the first frame of a sequence is searched in the last frames
of all sequences, as ``person-search search`` does. Writes ``benchmarks/results/real_street.json``
and ``.md``, or ``real_street_MODEL.json`` and ``.md``.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
from scipy.optimize import linear_sum_assignment

from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.inference.models import find_model
from person_search.inference.queries import choose_person
from person_search.inference.two_step import TwoStepNetwork, load_two_step
from person_search.inference.two_step_file import load_two_step_file
from person_search.people import paired_iou

RESULTS = Path(__file__).parent / "results"
VARIABLE = "PERSON_SEARCH_REAL_DATA"
DETECTOR, CROP_NET = "models/nanodet_m.onnx", "models/osnet_x0_25_msmt17.onnx"
MIN_IOU = 0.5
MODES = {"whole frames": False, "in parts": None}
PERSON = 1
USUAL_MODEL = "NanoDet-m (416 x 416) and OSNet x0.25 (MSMT17), both as ONNX files"
INTRO = """on the first frames of seven MOT17 training sequences. *true*: boxes of
class 1 that MOT17 considers, of any visibility; *visible*: those of a visibility of at least
0.5. *found*: with IoU 0.5, each by one detection. *false*: detections of nobody; those on what
MOT17 annotates but does not consider (reflections, people who sit) are left out. *asked again*:
people found in the first and the last frame of their sequence, each searched by the first among
everybody found in all last frames; *top-1* of them came first. *frames/s*: reading, finding,
embedding, storing, on the CPU.

The frames of a sequence are at most 0.4 seconds apart. Stripes of colour do as well (99 % on
true boxes): top-1 checks the way through the program, not the embedding.
"""


@dataclass(frozen=True)
class Frame:
    """A frame and who stands in it, original pixels."""

    path: Path
    ids: np.ndarray
    """(N,) of people to be found."""
    boxes: np.ndarray
    """(N, 4)"""
    visibility: np.ndarray
    """(N,), 0..1"""
    others: np.ndarray
    """(M, 4): annotated, but not to be found."""


def load_frames(folder: Path) -> list[list[Frame]]:
    """Read the frames of all sequences."""
    sequences = []
    for sequence in sorted(x for x in folder.iterdir() if x.is_dir()):
        rows = np.loadtxt(sequence / "gt" / "gt.txt", delimiter=",", ndmin=2)
        rows[:, 4:6] += rows[:, 2:4]
        frames = []
        for path in sorted((sequence / "img1").glob("*.jpg")):
            own = rows[rows[:, 0] == int(path.stem)]
            asked = (own[:, 6] == 1) & (own[:, 7] == PERSON)
            people, others = own[asked], own[~asked]
            frames.append(
                Frame(path, people[:, 1].astype(int), people[:, 2:6], people[:, 8], others[:, 2:6])
            )
        sequences.append(frames)
    return sequences


def pair(found: np.ndarray, true: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the pairs (true, found) of boxes that are the same person's."""
    iou = paired_iou(true[:, None], found[None])
    rows, columns = linear_sum_assignment(-np.where(iou >= MIN_IOU, iou, 0))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if iou[row, column] >= MIN_IOU:
            yield row, column


def count_found(index: GalleryIndex, frames: list[Frame]) -> dict[str, int]:
    """Count who is found in frames of a gallery."""
    counts = dict.fromkeys(("true", "found", "visible", "visible_found", "false"), 0)
    for frame in frames:
        boxes = index.people_of(str(frame.path)).boxes
        pairs = list(pair(boxes, frame.boxes))
        rest = np.delete(boxes, [column for _, column in pairs], axis=0)
        is_other = (paired_iou(rest[:, None], frame.others[None]) >= MIN_IOU).any(axis=1)
        seen = frame.visibility >= 0.5
        counts["true"] += len(frame.boxes)
        counts["found"] += len(pairs)
        counts["visible"] += int(seen.sum())
        counts["visible_found"] += int(seen[[row for row, _ in pairs]].sum())
        counts["false"] += int((~is_other).sum())
    return counts


def ask_again(finder: PersonFinder, folder: Path, sequences: list[list[Frame]]) -> dict[str, int]:
    """Search people of the first frames in the last ones."""
    counts = {"asked_again": 0, "first": 0, "gallery": 0}
    last = [frames[-1] for frames in sequences]
    with make_gallery(finder, folder / "last.db") as index:
        report = index_footage(index, finder, [frame.path for frame in last], progress=False)
        counts["gallery"] = report.people_added
        for first, frame in zip([frames[0] for frames in sequences], last, strict=True):
            there = {
                int(frame.ids[row]): index.people_of(str(frame.path)).box(column)
                for row, column in pair(index.people_of(str(frame.path)).boxes, frame.boxes)
            }
            (people,) = finder.find([first.path])
            for row, column in pair(people.boxes, first.boxes):
                expected = there.get(int(first.ids[row]))
                if expected is None:
                    continue
                person = choose_person(finder, first.path, box=people.box(column))
                match = index.search(person.embeddings, top=1)[0]
                counts["asked_again"] += 1
                counts["first"] += match.image == str(frame.path) and match.box_xyxy == expected
    return counts


def make_gallery(finder: PersonFinder, path: Path) -> GalleryIndex:
    """Return a new gallery of the finder's model."""
    return GalleryIndex.create(
        path, fingerprint=finder.fingerprint, embedding_dim=finder.embedding_dim
    )


def load(data: Path, model: str | None, threads: int) -> TwoStepNetwork:
    """Load an installed model, or without its name the two files."""
    if model is not None:
        return load_two_step_file(find_model(model), device="cpu", threads=threads)
    return load_two_step(data / DETECTOR, data / CROP_NET, device="cpu", threads=threads)


def measure(data: Path, network: TwoStepNetwork, threads: int) -> dict:
    """Index and search all frames in each mode."""
    run = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "onnxruntime": onnxruntime.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }
    sequences = load_frames(data / "mot17_mini")
    frames = [frame for sequence in sequences for frame in sequence]
    rows = {}
    for mode, parts in MODES.items():
        finder = PersonFinder(network, parts=parts)
        with tempfile.TemporaryDirectory() as folder:
            with make_gallery(finder, Path(folder) / "all.db") as index:
                report = index_footage(index, finder, [f.path for f in frames], progress=False)
                counts = count_found(index, frames)
            again = ask_again(finder, Path(folder), sequences)
        rows[mode] = {**counts, **again, "seconds_a_frame": report.seconds / len(frames)}
    return {"run": run, "frames": len(frames), "min_score": network.min_score, "rows": rows}


def write_table(content: dict, model: str | None, path: Path) -> str:
    """Write the Markdown, and return it."""
    facts = ", ".join(f"{key} {value}" for key, value in content["run"].items())
    title = f"`python benchmarks/real_street.py`; {USUAL_MODEL},"
    if model is not None:
        title = f"`python benchmarks/real_street.py --model {model}`; the model `{model}`"
    lines = [
        *("# Real street frames, in two steps", "", title, INTRO),
        f"{content['frames']} frames, least score {content['min_score']}. {facts}.",
        "",
        "| | true | found | visible | found | false | people in last frames | asked again | top-1 "
        "| frames/s |",
        "|---" * 10 + "|",
    ]
    for mode, row in content["rows"].items():
        top1 = 100 * row["first"] / max(row["asked_again"], 1)
        lines.append(
            f"| {mode} | {row['true']} | {row['found']} | {row['visible']} | "
            f"{row['visible_found']} | {row['false']} | {row['gallery']} | {row['asked_again']} | "
            f"{top1:.1f} | {1 / row['seconds_a_frame']:.2f} |"
        )
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    return text


def main() -> None:
    """Measure, write, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get(VARIABLE), metavar="FOLDER")
    parser.add_argument("--threads", type=int, default=1, help="that compute (default 1)")
    parser.add_argument("--model", metavar="NAME", help="an installed model of two steps")
    args = parser.parse_args()
    needed = ["mot17_mini"] if args.model else ["mot17_mini", DETECTOR, CROP_NET]
    missing = [x for x in needed if args.data is None or not (Path(args.data) / x).exists()]
    if missing:
        sys.exit(
            f"this needs real frames and models, which the repository does not have: give a folder "
            f"with {', '.join(missing)} by --data or ${VARIABLE}"
        )
    data, model = Path(args.data), args.model
    content = measure(data, load(data, model, args.threads), args.threads)
    results = RESULTS / ("real_street" if model is None else f"real_street_{model}")
    results.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_table(content, model, results.with_suffix(".md")))


if __name__ == "__main__":
    main()
