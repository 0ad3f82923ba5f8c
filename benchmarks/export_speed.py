"""Measure frames per second of the model in PyTorch, in onnxruntime and as TorchScript.

Run:  python benchmarks/export_speed.py [--threads 1] [--repeats 40]

All run the shipped model on the same drawn frames, one at a time: the prepared frame in, people
out. They take turns at every frame, so that whatever else the machine does hits all alike, and
ratios are taken within a turn. Writes ``benchmarks/results/export_speed.json`` and ``.md``.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from person_search.export.exporter import TorchScriptRunner, export_finder
from person_search.inference.finder import PersonFinder
from person_search.inference.onnx_network import OnnxNetwork
from person_search.synthetic.sample_pictures import draw_sample_pictures
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS
from reid_heads.torch_parts import hush_remarks

RESULTS = Path(__file__).parent / "results" / "export_speed.json"
PYTORCH = "PyTorch"
NUM_FRAMES = 8
# TorchScript compiles itself anew in its first runs at a size.
WARM_UP_ROUNDS = 3
BOX = np.array([[100, 60, 140, 180]], np.float32)
ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs/drawn_cuhk/slim_fpn.yaml"
WEIGHTS = ROOT / "demo/weights/drawn_cuhk_slim_fpn.pth"
INTRO = """`python benchmarks/export_speed.py`; the shipped model
(`configs/drawn_cuhk/slim_fpn.yaml`) on drawn frames of 480x270 resized pixels, one at a time, on
the CPU. *ratio* is the frame rate as a multiple of PyTorch's in the same turn: median over the
turns, and the middle 80 % in brackets. *given box*: the time to embed one given box, as for a
query. Reading and resizing the picture are not in it.
"""


def measure(threads: int, repeats: int) -> dict:
    """Export, time all programs in turns, and return what was measured."""
    torch.set_num_threads(threads)
    finder = PersonFinder.from_config(CONFIG, WEIGHTS, device="cpu")
    network = finder.network
    frames = [network.settings.prepare(image) for image in draw_frames()]
    with tempfile.TemporaryDirectory() as folder:
        pictures = draw_sample_pictures()
        onnx, torchscript = Path(folder) / "m.onnx", Path(folder) / "m.ts"
        exports = {
            "onnxruntime": export_finder(finder, onnx, pictures=pictures),
            "TorchScript": export_finder(finder, torchscript, "torchscript", pictures=pictures),
        }
        runners = {
            PYTORCH: network,
            "onnxruntime": OnnxNetwork(exports["onnxruntime"].path, threads=threads),
            "TorchScript": TorchScriptRunner(exports["TorchScript"].path.read_bytes()),
        }
    sizes = {PYTORCH: WEIGHTS.stat().st_size}
    sizes |= {name: export.size for name, export in exports.items()}
    found = time_in_turns(
        {n: lambda x, r=r: r.run([x]) for n, r in runners.items()}, frames, repeats
    )
    given = time_in_turns(
        {n: lambda x, r=r: r.run([x], [BOX]) for n, r in runners.items()}, frames, repeats
    )
    rows = {
        name: {
            "mebibytes": sizes[name] / 2**20,
            "find": summarise(found[name], found[PYTORCH]),
            "given_box": summarise(given[name], given[PYTORCH]),
        }
        for name in runners
    }
    people = [len(people) for people in network.run(frames)]
    return {
        "run": describe_run(threads),
        "turns": repeats,
        "people_per_frame": statistics.mean(people),
        "rows": rows,
    }


def draw_frames() -> list[np.ndarray]:
    """Return drawn frames of the test's world, RGB uint8 (540, 960, 3)."""
    world = World(PRESETS["drawn-cuhk"])
    return [np.ascontiguousarray(world.draw(i).image[:, :, ::-1]) for i in range(NUM_FRAMES)]


def time_in_turns(
    calls: dict[str, Callable], frames: list[np.ndarray], repeats: int
) -> dict[str, np.ndarray]:
    """Return seconds (repeats,) of each call; they go forwards and backwards by turns."""
    for frame in frames[:WARM_UP_ROUNDS]:
        for call in calls.values():
            call(frame)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats):
        for name in list(calls)[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            calls[name](frames[repeat % len(frames)])
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def summarise(mine: np.ndarray, pytorch: np.ndarray) -> dict[str, float]:
    """Return the median time and the ratio of frame rates to PyTorch's."""
    ratios = pytorch / mine
    low, high = np.percentile(ratios, (10, 90))
    return {
        "milliseconds": 1000 * float(np.median(mine)),
        "ratio": float(np.median(ratios)),
        "ratio_10": float(low),
        "ratio_90": float(high),
    }


def describe_run(threads: int) -> dict:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }


def write_table(content: dict) -> str:
    """Write the Markdown beside the JSON, and return it."""
    facts = ", ".join(f"{k} {v}" for k, v in content["run"].items())
    load, cpus = content["run"]["load_before"], content["run"]["cpus"]
    lines = ["# Speed of exported models", "", INTRO]
    lines += [f"{content['turns']} turns, {content['people_per_frame']:.1f} people found a frame."]
    lines += [f"{facts}.", ""]
    if load > cpus / 2:
        lines += [
            f"The machine was busy with other work (load {load} on {cpus} cores): trust the "
            "ratios, not the times.",
            "",
        ]
    lines += [
        "| program | frames/s | ratio | given box, ms | ratio | file, MiB |",
        "|---" * 6 + "|",
    ]
    for name, row in content["rows"].items():
        find, given = row["find"], row["given_box"]
        lines.append(
            f"| {name} | {1000 / find['milliseconds']:.1f} | {describe_ratio(find)} | "
            f"{given['milliseconds']:.0f} | {describe_ratio(given)} | {row['mebibytes']:.1f} |"
        )
    lines += [
        "",
        "PyTorch's file is the checkpoint, stored in half precision; exports hold float32.",
    ]
    text = "\n".join(lines) + "\n"
    RESULTS.with_suffix(".md").write_text(text)
    return text


def describe_ratio(times: dict[str, float]) -> str:
    """Lay out a ratio and its spread."""
    return f"{times['ratio']:.2f} ({times['ratio_10']:.2f}-{times['ratio_90']:.2f})"


def main() -> None:
    """Measure, write, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="of each program (default 1)")
    parser.add_argument("--repeats", type=int, default=40, help="turns (default 40)")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    hush_remarks()
    content = measure(args.threads, args.repeats)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(write_table(content))


if __name__ == "__main__":
    main()
