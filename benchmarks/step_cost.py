"""Measure what the identity branch adds to a training step and to a frame at test.

Run:  python benchmarks/step_cost.py [--cases slim r50] [--threads 2] [--more slim=CONFIG.yaml]

The yardstick is plain detectron2 Faster R-CNN, made of the same config by naming detectron2's own
``GeneralizedRCNN`` and ``StandardROIHeads``. All models of a case take turns within every
repetition, so that whatever else the machine does hits all alike, and ratios are taken within a
repetition. Each case is written to ``benchmarks/results/step_cost.json`` when it is done; those
that were measured before, on another machine say, are kept.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from detectron2.utils.events import EventStorage
from step_cost_models import (
    CASES,
    DETECTIONS_PER_PERSON,
    Case,
    Contender,
    Row,
    has_data,
    make_batch,
)

RESULTS = Path(__file__).parent / "results" / "step_cost.json"
TRAINING_GOAL, INFERENCE_GOAL = 1.3, 1.15
GPU_REPEATS = (30, 30)
# Rounds that do not count: they fill caches, and on a GPU the loss scale of AMP has to settle.
WARM_UP = {"cpu": 1, "cuda": 8}
KINDS = {"training": "train", "inference": "infer"}
INTRO = f"""`python benchmarks/step_cost.py`; ratios of wall time to *plain*, detectron2's
`GeneralizedRCNN` with `StandardROIHeads`: median over the repetitions, and the smallest and largest
in brackets. The goals are {TRAINING_GOAL} for training and {INFERENCE_GOAL} for inference.

- Training is forward, backward and the optimizer's step; inference is one frame. No data loading.
- Weights are random, the same in all models where they have the same layers, and the learning rate
  is 0, so that every repetition does the same work. The RPN and the box head run in full, but among
  the proposals are as many around people as the sampler takes (with the demo's trained weights it
  gets 30 of the 32 that it wants), and the detections at test are then exchanged for
  {DETECTIONS_PER_PERSON} boxes a person, as many as the demo's weights find: a random detector
  finds either no people or a hundred.
- *plain, channels last* has the memory layout that `PersonSearchRCNN` gives its images.
- *boxes* are what the identity branch embeds in a training step, and of a frame at test.
"""


def measure(case: Case, device: str, threads: int) -> dict:
    """Time all models of a case in turns: seconds of each repetition."""
    torch.set_num_threads(threads)
    contenders: list[Contender] = []
    for row in case.rows:
        contenders.append(Contender(row, device, contenders[0] if contenders else None))
    batch_size = case.batch_sizes[device]
    batch = make_batch(case, contenders[0].cfg, batch_size)
    repeats = GPU_REPEATS if device == "cuda" else case.repeats
    times = {kind: {c.row.name: [] for c in contenders} for kind in KINDS}
    with EventStorage():
        for kind, count in zip(KINDS, repeats, strict=True):
            for repeat in range(count + WARM_UP[device]):
                for contender in in_turns(contenders, repeat):
                    seconds = time_call(getattr(contender, KINDS[kind]), batch, repeat, device)
                    if repeat >= WARM_UP[device]:
                        times[kind][contender.row.name].append(seconds)
    people = sum(len(frame["instances"]) for frame in batch)
    return {
        "title": f"{case.title}, {'GPU with AMP' if device == 'cuda' else 'CPU'}",
        "run": describe_run(device),
        "batch": batch_size,
        "frames": "drawn" if has_data(case) else "made up",
        "people_per_frame": people / batch_size,
        "rows": {c.row.name: summarise(c, times, contenders[0].row.name) for c in contenders},
    }


def in_turns(contenders: list[Contender], repeat: int) -> list[Contender]:
    """Return them forwards or backwards: a steady drift then favours none."""
    return contenders[:: 1 if repeat % 2 else -1]


def time_call(call: Callable, batch: list[dict], repeat: int, device: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start, cpu_start = time.perf_counter(), time.process_time()
    call(batch, repeat)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu_start


def summarise(contender: Contender, times: dict, plain: str) -> dict:
    """Return seconds and ratios of a model, and what it embeds."""
    row: dict[str, object] = {
        "config": contender.row.config,
        "overrides": contender.row.overrides,
        "boxes": contender.boxes,
    }
    for kind in KINDS:
        mine, theirs = np.array(times[kind][contender.row.name]), np.array(times[kind][plain])
        ratios, cpu_ratios = (mine / theirs).T
        row[kind] = {
            "milliseconds": 1000 * statistics.median(mine[:, 0]),
            "plain_milliseconds": 1000 * statistics.median(theirs[:, 0]),
            "ratio": statistics.median(ratios),
            "smallest_ratio": ratios.min(),
            "largest_ratio": ratios.max(),
            "cpu_ratio": statistics.median(cpu_ratios),
            "repeats": len(ratios),
        }
    return row


def describe_run(device: str) -> dict:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_before": os.getloadavg()[0],
    }


def write_table(content: dict) -> str:
    """Write the Markdown beside the JSON, and return it."""
    lines = ["# Cost of the identity branch", "", INTRO]
    for case in content.values():
        facts = ", ".join(f"{k} {v}" for k, v in case["run"].items())
        batch, people = case["batch"], case["people_per_frame"]
        lines += [
            f"## {case['title']}",
            "",
            f"Batch of {batch} {case['frames']} frames, {people:.1f} people in each. {facts}.",
            "",
            "| model | training | CPU time | ms | inference | CPU time | ms | boxes: step, frame |",
            "|---" * 8 + "|",
        ]
        for name, row in case["rows"].items():
            cells = [part for kind in KINDS for part in describe_times(row[kind])]
            boxes = row["boxes"]
            cells.append(f"{boxes['training']}, {boxes['inference']}")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    text = "\n".join(lines)
    RESULTS.with_suffix(".md").write_text(text)
    return text


def describe_times(times: dict) -> list[str]:
    """Lay out the cells of a kind of step."""
    spread = f"{times['smallest_ratio']:.2f}-{times['largest_ratio']:.2f}"
    return [
        f"{times['ratio']:.2f} ({spread})",
        f"{times['cpu_ratio']:.2f}",
        f"{times['milliseconds']:.0f}",
    ]


def main() -> None:
    """Measure each case on each device, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), default=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="on a CPU (default 2)")
    parser.add_argument(
        "--more", nargs="+", default=[], metavar="CASE=CONFIG", help="config files to add to a case"
    )
    args = parser.parse_args()
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for device in args.devices:
        if device == "cuda" and not torch.cuda.is_available():
            print("no GPU here: training and inference with AMP are skipped", file=sys.stderr)
            continue
        for key in args.cases:
            case = CASES[key]()
            given = (text.partition("=") for text in args.more)
            case.rows.extend(Row(Path(path).name, path) for name, _, path in given if name == key)
            content[f"{key}_{device}"] = measure(case, device, args.threads)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(content, indent=2) + "\n")
            print(f"{key} on {device}: done", file=sys.stderr)
    print(write_table(content))


if __name__ == "__main__":
    main()
