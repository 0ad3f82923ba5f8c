"""Compare the crop ReID methods on the drawn Market set.

    python benchmarks/drawn_market.py                      # every row, 3 seeds, two at a time
    python benchmarks/drawn_market.py --rows ablation/7_center mgn --seeds 1

The rows: each trick of Bag of Tricks added to the ones before it, MGN, the joint loss in parts.
Draws the set first where it is missing. Started again, it resumes: finished runs are kept, an
interrupted one continues from its last checkpoint. Writes a table and the numbers behind it to
benchmarks/results/drawn_market.*.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from training_runs import (
    REID_METRICS,
    Comparison,
    draw_market,
    each_seed,
    reid_table,
)

from reid_heads.data.datasets.market1501 import load_market1501
from reid_heads.evaluation.features import ReIDFeatures
from reid_heads.evaluation.scoring import score_features

COMPARISON = Comparison(
    name="drawn_market",
    title="Crop ReID on drawn-market",
    configs=Path("configs/drawn_market"),
    # Those of the first block each add one thing to the row above.
    rows={
        "ablation/0_softmax": "softmax",
        "ablation/1_triplet": "+ triplet (standard baseline)",
        "ablation/2_warm_up": "+ warm-up",
        "ablation/3_random_erasing": "+ random erasing",
        "ablation/4_label_smoothing": "+ label smoothing",
        "ablation/5_last_stride": "+ last stride 1",
        "ablation/6_bnneck": "+ BNNeck",
        "ablation/7_center": "+ center loss = Bag of Tricks",
        "mgn": "MGN",
        "joint/0_cosine": "cosine softmax",
        "joint/1_cosine_margin": "cosine softmax with margin (ArcFace)",
        "joint/2_triplet": "cosine softmax + triplet",
        "joint/3_triplet_margin": "cosine softmax with margin + triplet",
        "joint/4_attributes": "cosine softmax + triplet + attributes (joint)",
    },
)


def main() -> None:
    """Train what is missing, score naive embeddings beside it, write the table."""
    args = COMPARISON.parser(__doc__).parse_args()
    root = draw_market(args.processes)
    naive = score_naive_embeddings(root)

    COMPARISON.run(args, each_seed(args, COMPARISON.train_row), format_table, naive=naive)


def score_naive_embeddings(root: Path) -> dict[str, dict[str, float]]:
    """Score random vectors and colour histograms of the test crops."""
    query, gallery = (load_market1501(root, split) for split in ("query", "gallery"))
    crops = [*query, *gallery]
    pids, cam_ids = (np.array([crop[key] for crop in crops]) for key in ("person_id", "cam_id"))
    embeddings = {"random vectors": np.random.default_rng(0).standard_normal((len(crops), 128))}
    embeddings |= color_histograms([crop["file_name"] for crop in crops], cam_ids)
    q = len(query)
    scores = {}
    for name, rows in embeddings.items():
        rows = rows.astype(np.float32)
        features = ReIDFeatures(rows[:q], pids[:q], cam_ids[:q], rows[q:], pids[q:], cam_ids[q:])
        scores[name] = score_features(features, "market1501")["reid"].metrics()
    return scores


def color_histograms(files: list[str], cam_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return colour histograms of crops, 8 bins a channel, square roots.

    Of the whole crop and of six horizontal stripes in RGB; and of six stripes of the middle columns
    in Lab, of which each camera's mean and spread were taken out first: a naive answer to
    background and colour cast.
    """
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    lab = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2LAB) for image in images]).astype(np.float32)
    for camera in np.unique(cam_ids):
        own = lab[cam_ids == camera]
        # Mean ± 2.5 standard deviations become 0..255.
        own = (own - own.mean((0, 1, 2))) / own.std((0, 1, 2)) * 51 + 127.5
        lab[cam_ids == camera] = np.clip(own, 0, 255)
    middle = lab[:, :, 12:52].astype(np.uint8)
    return {
        "colour histogram": _histograms(images, 1),
        "colour histograms of 6 stripes": _histograms(images, 6),
        "6 stripes of the middle in Lab, each camera standardised": _histograms(middle, 6),
    }


def _histograms(images: np.ndarray, stripes: int) -> np.ndarray:
    bins = (images >> 5) @ np.array([64, 8, 1])
    rows = [
        np.concatenate(
            [np.bincount(s.ravel(), minlength=512) for s in np.array_split(image, stripes)]
        )
        for image in bins
    ]
    return np.sqrt(np.array(rows, np.float32))


def format_table(report: dict) -> str:
    """Write mean and standard deviation over the seeds as Markdown."""
    lines = [
        *COMPARISON.head(report),
        *reid_table(report, COMPARISON.rows, "method"),
    ]
    for name, scores in report["naive"].items():
        cells = [f"{scores[m]:.1f}" for m in REID_METRICS]
        lines.append(f"| {name} | no training | {' | '.join(cells)} | 0 |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
