"""Measure a frame through each method's network on the CPU: as trained, and as it runs here.

Run:  python benchmarks/inference_speed.py [--seqnet FOLDER] [--repeats 5] [--methods slim]

FOLDER is a checkout of https://github.com/serend1p1ty/SeqNet, whose own code then takes part. All
take turns at every repetition, and ratios are taken within one. Writes
``benchmarks/results/inference_speed.json`` and ``.md``.
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
from typing import Any

import numpy as np
import torch
from detectron2.modeling import build_model

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.config import load_config
from person_search.modeling.for_inference import copy_for_inference
from reid_heads.torch_parts import hush_remarks

RESULTS = Path(__file__).parent / "results" / "inference_speed.json"
ROOT = Path(__file__).resolve().parent.parent
PEOPLE = 20
"""Detections that are embedded, whatever a random network thinks of them."""
METHODS = {
    "SeqNet, ResNet-50": ("configs/cuhk_sysu/seqnet_r50.yaml", (900, 1500)),
    "OIM, ResNet-50": ("configs/cuhk_sysu/oim_r50.yaml", (900, 1500)),
    "ours, three levels, ResNet-50": ("configs/cuhk_sysu/stl_r50.yaml", (900, 1500)),
    "OIM, slim": ("configs/drawn_cuhk/slim_fpn.yaml", (270, 480)),
    "ours, three levels, slim": ("configs/drawn_cuhk/stl.yaml", (270, 480)),
}
PEER = "SeqNet's own code"
PEER_AT = "SeqNet, ResNet-50"
AS_TRAINED, FAST = "as trained", "as it runs"
INTRO = f"""`python benchmarks/inference_speed.py --seqnet FOLDER`; one frame of noise through
networks with random weights, which work as long as trained ones: 300 proposals where the config
asks for so many, and {PEOPLE} people are embedded. *as trained*: detectron2's layers; *as it runs*:
what indexing and searching run on a CPU (`person_search/modeling/for_inference.py`). Seconds are of
the CPU (`time.process_time`), medians; ratios are taken within a repetition: median, and the
smallest and largest in brackets. Resizing and decoding are not in it.

*off*: how far the second is from the first: boxes in pixels, scores, and the smallest cosine of two
embeddings.
"""

Network = Callable[[], Any]


def make_networks(config: str, size: tuple[int, int]) -> dict[str, Network]:
    """Return both ways of a method as calls that run one frame."""
    overrides = [
        *("MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu"),
        *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "TEST.DETECTIONS_PER_IMAGE", str(PEOPLE)),
    ]
    torch.manual_seed(1)
    model = build_model(load_config(str(ROOT / config), overrides)).eval()
    keep_values_small(model)
    fast = copy_for_inference(model)
    frame = [{"image": torch.from_numpy(make_frame(size))}]
    return {
        AS_TRAINED: lambda: model.inference(frame, do_postprocess=False)[0],
        FAST: lambda: fast.inference(frame, do_postprocess=False)[0],
    }


def keep_values_small(model: torch.nn.Module) -> None:
    """Scale what each residual block adds: random ones would double the values with every block."""
    for block in model.modules():
        last = getattr(block, "conv3", getattr(block, "conv2", None))
        if isinstance(getattr(last, "norm", None), torch.nn.Module):
            last.norm.weight.data.mul_(0.2)


def make_peer(folder: Path, size: tuple[int, int]) -> Network:
    """Return SeqNet's own code as a call that runs one frame."""
    sys.path.insert(0, str(folder))
    import defaults
    from models import resnet, seqnet

    # It would download ImageNet's weights.
    seqnet.build_resnet = lambda name, pretrained: resnet.build_resnet(name, False)
    cfg = defaults.get_default_cfg()
    cfg.MODEL.ROI_HEAD.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.ROI_HEAD.DETECTIONS_PER_IMAGE_TEST = PEOPLE
    torch.manual_seed(1)
    model = seqnet.SeqNet(cfg).eval()
    frame = [torch.from_numpy(make_frame(size)) / 255]
    return lambda: model(frame)[0]


def make_frame(size: tuple[int, int]) -> np.ndarray:
    """Return noise (3, H, W) of 0..255."""
    return np.random.default_rng(0).uniform(0, 255, (3, *size)).astype(np.float32)


def measure(method: str, repeats: int, seqnet: Path | None) -> dict:
    """Run all networks of a method in turns; return seconds and differences."""
    config, size = METHODS[method]
    networks = make_networks(config, size)
    if seqnet is not None and method == PEER_AT:
        networks[PEER] = make_peer(seqnet, size)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    found = {}
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            for name in list(networks)[:: 1 if repeat % 2 else -1]:
                start = time.process_time()
                found[name] = networks[name]()
                if repeat:  # The first one fills caches.
                    seconds[name].append(time.process_time() - start)
    return {
        "config": config,
        "size": list(size),
        "off": difference(found[AS_TRAINED], found[FAST]),
        "rows": {name: summarise(seconds, name) for name in networks},
    }


def difference(one: Any, other: Any) -> dict[str, float]:
    """Return the largest differences of two lists of people in the same order."""
    assert len(one) == len(other), (len(one), len(other))
    cosines = (one.embeddings * other.embeddings).sum(dim=1)
    return {
        "boxes": float((one.pred_boxes.tensor - other.pred_boxes.tensor).abs().max()),
        "scores": float((one.scores - other.scores).abs().max()),
        "cosine": float(cosines.min()),
    }


def summarise(seconds: dict[str, list[float]], name: str) -> dict:
    """Return a network's seconds, and how many times faster than each of them ours runs."""
    ratios = [theirs / ours for theirs, ours in zip(seconds[name], seconds[FAST], strict=True)]
    return {
        "seconds": statistics.median(seconds[name]),
        "times": statistics.median(ratios),
        "smallest": min(ratios),
        "largest": max(ratios),
    }


def write_table(content: dict) -> str:
    """Write the Markdown beside the JSON, and return it."""
    run = ", ".join(f"{key} {value}" for key, value in content["run"].items())
    lines = [
        "# A frame on the CPU",
        "",
        INTRO,
        f"{run}.",
        "",
        "| method | frame | network | seconds | as it runs is faster by | off |",
        "|---|---|---|---|---|---|",
    ]
    for method, case in content["methods"].items():
        height, width = case["size"]
        for name, row in case["rows"].items():
            times = f"{row['times']:.2f} ({row['smallest']:.2f} to {row['largest']:.2f})"
            off = case["off"]
            told = f"{off['boxes']:.2g}, {off['scores']:.2g}, {off['cosine']:.6f}"
            lines.append(
                f"| {method} | {width}x{height} | {name} | {row['seconds']:.2f} | "
                f"{'' if name == FAST else times} | {told if name == FAST else ''} |"
            )
    text = "\n".join(lines) + "\n"
    RESULTS.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seqnet", type=Path, help="checkout of SeqNet's code")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=[""], help="parts of the methods' names")
    args = parser.parse_args()
    hush_remarks()
    torch.set_num_threads(args.threads)
    content = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"methods": {}}
    content["run"] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": args.threads,
        "repeats": args.repeats,
        "torch": torch.__version__,
        "load before": round(os.getloadavg()[0], 1),
    }
    for method in METHODS:
        if any(part in method for part in args.methods):
            content["methods"][method] = measure(method, args.repeats, args.seqnet)
            RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(write_table(content))


if __name__ == "__main__":
    main()
