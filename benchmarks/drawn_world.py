"""Train a drawn set with several seeds; score naive embeddings of the same boxes beside it.

    python benchmarks/drawn_world.py                    # configs/drawn_cuhk/slim_fpn.yaml, 3 seeds
    python benchmarks/drawn_world.py --config-file configs/drawn_prw/slim_fpn.yaml --seeds 1

Started again, it resumes: finished seeds are kept, an interrupted one continues from its last
checkpoint. Writes a table and the numbers behind it to benchmarks/results/.
"""

import argparse
import dataclasses
import datetime
import json
import os
import sys
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from PIL import Image
from tqdm import tqdm
from training_runs import describe_machine, spread, train

from person_search.config import load_config
from person_search.data.catalog import get_datasets_root
from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions, load_predictions
from person_search.evaluation.search import evaluate_search

METRICS = ("mAP", "top1", "top5", "top10")


def main() -> None:
    """Train, score, write the table."""
    args = _parse()
    cfg = load_config(args.config_file)
    dataset = cfg.DATASETS.TEST[0]
    runs = [
        train_seed(args.config_file, cfg.OUTPUT_DIR, seed, args.overrides) for seed in args.seeds
    ]
    protocol = MetadataCatalog.get(dataset).load_protocol()
    frames = find_frames_folder(dataset)
    for run in runs:
        predictions = load_predictions(Path(run["folder"]) / "inference/predictions.npz")
        run["naive"] = score_naive_embeddings(protocol, predictions, frames, run["seed"])
    report = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "machine": describe_machine(),
        "config": args.config_file,
        "runs": runs,
    }
    stem = (
        Path("benchmarks/results")
        / f"{Path(cfg.OUTPUT_DIR).parent.name}_{Path(cfg.OUTPUT_DIR).name}"
    )
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    table = format_table(report)
    stem.with_suffix(".md").write_text(table)
    print(table)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config-file", default="configs/drawn_cuhk/slim_fpn.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("overrides", nargs="*", help="KEY VALUE pairs for every run")
    return parser.parse_args()


def train_seed(config_file: str, output_dir: str, seed: int, overrides: list[str]) -> dict:
    """Train one seed in a process of its own, or read what an earlier start left."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    folder = Path(f"{output_dir}_seed{seed}")
    run = train("person_search", config_file, folder, ["SEED", str(seed), *overrides], threads)
    return {**run, "seed": seed}


def find_frames_folder(dataset: str) -> Path:
    """Return the folder of a drawn set's frames."""
    name = dataset.rsplit("_", 1)[0].replace("_", "-")
    inner = "Image/SSM" if name.endswith("cuhk") else "frames"
    return get_datasets_root() / name / inner


def score_naive_embeddings(
    protocol: SearchProtocol, predictions: Predictions, frames: Path, seed: int
) -> dict[str, dict[str, float]]:
    """Score random vectors and colour histograms of the very boxes that the model found."""
    rng = np.random.default_rng(seed)
    count, queries = len(predictions.boxes), len(predictions.query_boxes)
    random_rows = rng.standard_normal((count + queries, 128)).astype(np.float32)
    rows = {"random vectors": random_rows}
    rows |= color_histograms(protocol, predictions, frames)
    scores = {}
    for name, embeddings in rows.items():
        embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        replaced = dataclasses.replace(
            predictions,
            embeddings=embeddings[:count],
            query_embeddings=embeddings[count:],
            context_query_index=None,
            context_boxes=None,
            context_scores=None,
            context_embeddings=None,
        )
        scores[name] = evaluate_search(protocol, replaced)
    return scores


def color_histograms(
    protocol: SearchProtocol, predictions: Predictions, frames: Path
) -> dict[str, np.ndarray]:
    """Return RGB histograms (8 bins a channel, square roots) of detections, then of queries.

    Once of the whole box and once of six horizontal stripes.
    """
    names = [predictions.image_names[i] for i in predictions.image_index]
    names += [protocol.frame_names[i] for i in protocol.query_frames]
    boxes = np.concatenate([predictions.boxes, predictions.query_boxes])
    whole = np.empty((len(boxes), 8**3), np.float32)
    striped = np.empty((len(boxes), 6 * 8**3), np.float32)
    order = np.argsort(np.array(names), kind="stable")
    current, bins = None, np.empty((0, 0), np.int64)
    for row in tqdm(order, desc="colour histograms", disable=None):
        if names[row] != current:
            current = names[row]
            pixels = np.asarray(Image.open(frames / current).convert("RGB")) >> 5
            bins = (pixels @ np.array([64, 8, 1])).astype(np.int64)
        x1, y1, x2, y2 = np.round(boxes[row]).astype(int)
        y1, x1 = max(0, min(y1, bins.shape[0] - 6)), max(0, min(x1, bins.shape[1] - 1))
        box = bins[y1 : max(y2, y1 + 6), x1 : max(x2, x1 + 1)]
        whole[row] = np.sqrt(np.bincount(box.ravel(), minlength=512))
        stripes = [np.bincount(s.ravel(), minlength=512) for s in np.array_split(box, 6)]
        striped[row] = np.sqrt(np.concatenate(stripes))
    return {"colour histogram": whole, "colour histograms of 6 stripes": striped}


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    runs = report["runs"]
    lines = [
        f"# {report['config']}",
        "",
        f"{report['date']}, {report['machine']}, seeds {[r['seed'] for r in runs]}; mean ± "
        f"standard deviation over the seeds, percent. Command: `{report['command']}`",
        "",
        "| embedding | detection AP | recall | mAP | top-1 | top-5 | top-10 |",
        "|---|---|---|---|---|---|---|",
    ]
    detection = [spread([r["results"]["detection"][k] for r in runs]) for k in ("ap", "recall")]
    search = [spread([r["results"]["search"][k] for r in runs]) for k in METRICS]
    lines.append(f"| trained model | {' | '.join(detection + search)} |")
    for name in runs[0]["naive"]:
        row = [spread([r["naive"][name][k] for r in runs]) for k in METRICS]
        lines.append(f"| {name}, same boxes | {' | '.join(detection + row)} |")
    times = [f"{_minutes(r['minutes'])} ({r['threads']} threads)" for r in runs]
    lines += ["", f"Minutes of training and evaluation by seed: {', '.join(times)}"]
    return "\n".join(lines) + "\n"


def _minutes(value: float | None) -> str:
    return "interrupted" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    main()
