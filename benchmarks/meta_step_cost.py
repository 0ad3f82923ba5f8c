"""Measure what meta-learning and style jitter add to a training step of the same batch.

Run:  python benchmarks/meta_step_cost.py [--cases slim r50] [--devices cpu cuda] [--repeats 12]

A step is what the training loop does with a batch that is there: forward, backward, the optimizer,
and the losses' way to the log. All loops of a case take turns within every repetition, so that
whatever else the machine does hits all alike, and ratios are taken within a repetition. Each case
is written to ``benchmarks/results/meta_step_cost.json`` when it is done, and all are laid out
beside it; those that were measured before, on another machine say, are kept.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils.events import EventStorage

from reid_heads.config import load_config
from reid_heads.training.crop_trainer import CropReIDTrainer
from reid_heads.training.meta_learning import MetaLearningTrainer

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "meta_step_cost.json"
GOAL = 2.2
DOMAINS = 3
# Rounds that do not count: they fill caches.
WARM_UP = {"cpu": 1, "cuda": 5}
INTRO = f"""`python benchmarks/meta_step_cost.py`; ratios of wall time to *plain*, detectron2's
`SimpleTrainer` on the same model, batch and losses without jitter: median over the repetitions, and
the smallest and largest in brackets. The goal for a meta step is {GOAL}.

- A step is forward, backward, the optimizer's step and the log. No data loading. Full precision.
- Batches hold noise, in equal shares of {DOMAINS} training sets. Weights are random, and the
  learning rate is 1e-5: every step is taken in full, and the losses stay where they are.
- A meta step goes through each crop once, as a plain step does: two sets of three for meta-train
  and one for meta-test.
"""


@dataclass(frozen=True)
class Case:
    """A network and its batch."""

    title: str
    config: str
    batch_sizes: dict[str, int]
    """By device."""
    overrides: tuple = ()


CASES = {
    "slim": Case("slim network", "configs/drawn_domains/svil.yaml", {"cpu": 48, "cuda": 48}),
    "r50": Case(
        "ResNet-50",
        "configs/Base-SVIL.yaml",
        {"cpu": 24, "cuda": 192},
        (
            *("MODEL.REID_HEAD.NUM_IDENTITIES", 3000),
            *("MODEL.REID_HEAD.DOMAIN_IDENTITIES", (1000, 1000, 1000)),
        ),
    ),
}


def make_batch(cfg: CfgNode, size: int) -> list[dict]:
    """Make noise: of each set as many people with K crops each as the batch has room for."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, *cfg.INPUT.REID.SIZE)
    k, first_pids = cfg.DATALOADER.REID.IMAGES_PER_IDENTITY, [0]
    for count in cfg.MODEL.REID_HEAD.DOMAIN_IDENTITIES:
        first_pids.append(first_pids[-1] + count)
    batch = []
    for place in range(size):
        domain, row = divmod(place, size // DOMAINS)
        image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        batch.append({"image": image, "person_id": first_pids[domain] + row // k, "domain": domain})
    return batch


def build_loops(case: Case, device: str) -> tuple[dict[str, SimpleTrainer], int, CfgNode]:
    """Build the loops under comparison, each with a model of its own; the first is plain."""
    cfg = load_config(str(ROOT / case.config), ["MODEL.WEIGHTS", "", "MODEL.DEVICE", device])
    cfg.merge_from_list([*case.overrides, "SOLVER.BASE_LR", 1e-5])
    size = case.batch_sizes[device]
    data = [make_batch(cfg, size)]
    loops: dict[str, SimpleTrainer] = {}
    for name, has_jitter, is_meta in (
        ("plain", False, False),
        ("style jitter", True, False),
        ("meta-learning", False, True),
        ("meta-learning, style jitter (SVIL)", True, True),
    ):
        own = cfg.clone()
        if not has_jitter:
            own.MODEL.CROP_REID.STYLE_JITTER.PLACES = ()
        torch.manual_seed(0)
        model = CropReIDTrainer.build_model(own)
        optimizer = CropReIDTrainer.build_optimizer(own, model)
        if is_meta:
            loops[name] = MetaLearningTrainer(model, Forever(data), optimizer)
        else:
            loops[name] = SimpleTrainer(model, Forever(data), optimizer)
    return loops, size, cfg


class Forever:
    """A loader that gives its batches over and over."""

    def __init__(self, batches: list):
        """Keep the batches."""
        self.batches = batches

    def __iter__(self):
        return itertools.cycle(self.batches)


def measure(case: Case, device: str, threads: int, repeats: int) -> dict:
    """Time all loops of a case in turns."""
    torch.set_num_threads(threads)
    loops, size, cfg = build_loops(case, device)
    load_before = os.getloadavg()[0]
    times: dict[str, list] = {name: [] for name in loops}
    with EventStorage() as storage:
        for repeat in range(repeats + WARM_UP[device]):
            # Forwards and backwards: a steady drift then favours none.
            for name in list(loops)[:: 1 if repeat % 2 else -1]:
                storage.iter = loops[name].iter = repeat
                seconds = time_call(loops[name].run_step, device)
                if repeat >= WARM_UP[device]:
                    times[name].append(seconds)
    return {
        "title": f"{case.title}, {'GPU' if device == 'cuda' else 'CPU'}",
        "config": case.config,
        "batch": size,
        "input_size": list(cfg.INPUT.REID.SIZE),
        "run": describe_run(device, load_before),
        "rows": {name: summarise(times[name], times["plain"]) for name in loops},
    }


def time_call(call: Callable, device: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a call."""
    if device == "cuda":
        torch.cuda.synchronize()
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu_start


def summarise(mine: list, plain: list) -> dict:
    """Return times of a loop and their ratios to the plain one's of the same repetition."""
    wall, cpu = (np.array(mine) / np.array(plain)).T
    return {
        "milliseconds": 1000 * statistics.median(np.array(mine)[:, 0]),
        "ratio": statistics.median(wall),
        "smallest_ratio": wall.min(),
        "largest_ratio": wall.max(),
        "cpu_ratio": statistics.median(cpu),
        "repeats": len(wall),
    }


def describe_run(device: str, load_before: float) -> dict:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_before": load_before,
    }


def write_table(content: dict) -> str:
    """Write the Markdown beside the JSON, and return it."""
    lines = ["# Cost of a meta step", "", INTRO]
    for case in content.values():
        facts = ", ".join(f"{key} {value}" for key, value in case["run"].items())
        height, width = case["input_size"]
        lines += [
            f"## {case['title']}",
            "",
            f"`{case['config']}`, batch of {case['batch']} crops of {height}x{width}. {facts}.",
            "",
            "| loop | step | CPU time | ms | repetitions |",
            "|---|---|---|---|---|",
        ]
        for name, row in case["rows"].items():
            spread = f"{row['smallest_ratio']:.2f}-{row['largest_ratio']:.2f}"
            lines.append(
                f"| {name} | {row['ratio']:.2f} ({spread}) | {row['cpu_ratio']:.2f} | "
                f"{row['milliseconds']:.0f} | {row['repeats']} |"
            )
        lines.append("")
    text = "\n".join(lines)
    RESULTS.with_suffix(".md").write_text(text)
    return text


def main() -> None:
    """Measure each case on each device, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--devices", nargs="+", choices=("cpu", "cuda"), default=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="on a CPU (default 2)")
    parser.add_argument("--repeats", type=int, default=12, help="of each step (default 12)")
    args = parser.parse_args()
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for device in args.devices:
        if device == "cuda" and not torch.cuda.is_available():
            print("no GPU here: its cases are skipped", file=sys.stderr)
            continue
        for key in args.cases:
            content[f"{key}_{device}"] = measure(CASES[key], device, args.threads, args.repeats)
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(content, indent=2) + "\n")
            print(f"{key} on {device}: done", file=sys.stderr)
    print(write_table(content))


if __name__ == "__main__":
    main()
