"""Clean a training set's labels with a trained model: ``python -m reid_heads.purify --help``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling import build_model

import reid_heads.crop_reid  # noqa: F401  (registers the model)
from reid_heads.atomic_file import atomic_file, save_json
from reid_heads.config import load_config
from reid_heads.data.crop_lists import write_crop_list
from reid_heads.data.label_noise import read_wrong_labels
from reid_heads.data.loaders import build_scan_loader, check_num_identities, load_train_crops
from reid_heads.data.own_data import register_own_data
from reid_heads.training.checkpoint import WeightCopyCheckpointer
from reid_heads.training.launch import use_available_device
from reid_heads.training.purification import (
    HISTOGRAM_DEGREES,
    Purification,
    find_classifier,
    measure_cosines,
    purify,
)
from reid_heads.trust import add_trust_argument, trusted_files

_LISTED_IDENTITIES = 20
"""Of the identities that lose most, in the report for reading; the JSON file has all."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.purify",
        description="Drop the wrongly labelled crops of a training set: those that lie far from "
        "the dominant sub-center of their identity in a model trained on the set with "
        "MODEL.REID_HEAD.COSINE_SOFTMAX.SUB_CENTERS above 1. Then train a plain model from scratch "
        "on the list that is written here (DATASETS.CROPS). Beside OUTPUT stands a report, as "
        ".json and .md.",
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="C", help="the config of the trained model")
    add("--weights", required=True, metavar="W", help="its checkpoint")
    add("--dataset", metavar="NAME", help="the set it was trained on; default: DATASETS.TRAIN")
    add(
        "--angle",
        type=float,
        default=75.0,
        metavar="DEG",
        help="crops above this angle are dropped (default 75, published for faces)",
    )
    add(
        "--keep-emptied",
        action="store_true",
        help="an identity that would lose every crop keeps them all; otherwise it leaves the set",
    )
    add("--truth", metavar="CSV", help="which labels are wrong, of reid_heads.data.label_noise")
    add("--output", required=True, type=Path, metavar="CSV", help="the list of the crops kept")
    add_trust_argument(parser)
    add("opts", nargs="*", metavar="KEY VALUE", help="overrides of the config")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after an error, which is printed to the standard error."""
    args = build_parser().parse_args(arguments)
    with trusted_files(args.trust_this_file):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        cfg = _read_config(args)
        crops = load_train_crops(cfg)
        check_num_identities(cfg, max(crop["person_id"] for crop in crops) + 1)
        # Before the pass over the data, which may take long.
        wrong = None if args.truth is None else find_wrong(crops, args.truth)
        result = purify_set(cfg, crops, args.angle, args.keep_emptied)
        report = make_report(result, args.angle, wrong)
        report = {"config": args.config_file, "weights": args.weights, **report}
        kept = np.flatnonzero(result.kept)
        write_crop_list(args.output, [crops[i] for i in kept], result.new_pids[kept].tolist())
        save_json(args.output.with_suffix(".json"), report)
        text = format_report(report)
        with atomic_file(args.output.with_suffix(".md")) as file:
            file.write(text.encode())
    except (ValueError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def _read_config(args: argparse.Namespace) -> CfgNode:
    if args.output.suffix != ".csv":
        raise ValueError(f"--output is {args.output}; expected a name that ends in .csv")
    cfg = load_config(args.config_file, args.opts)
    cfg.MODEL.WEIGHTS = args.weights
    if args.dataset is not None:
        cfg.DATASETS.TRAIN = (args.dataset,)
    use_available_device(cfg, is_training=False)
    register_own_data(cfg)
    cfg.freeze()
    return cfg


def purify_set(
    cfg: CfgNode, crops: list[dict[str, Any]], angle: float, keep_emptied: bool = False
) -> Purification:
    """Load the model of a config, stream the crops through it once, choose those to keep.

    Args:
        cfg: of crop ReID, with ``MODEL.WEIGHTS`` a trained checkpoint.
        crops: as `load_train_crops` gives them.
        angle: degrees; see `purify`.
        keep_emptied: see `purify`.

    Raises:
        FileNotFoundError: if there are no weights.
        ValueError: if they are of another model, or the set cannot be purified by it.
    """
    model = build_model(cfg)
    find_classifier(model.losses)
    WeightCopyCheckpointer(model).load_whole_model(cfg.MODEL.WEIGHTS)
    cosines, pids = measure_cosines(model, build_scan_loader(cfg, crops))
    return purify(cosines, pids, angle, keep_emptied)


def find_wrong(crops: Sequence[dict[str, Any]], truth: str) -> np.ndarray:
    """Return whether the label of each crop is wrong, bool (N,), as a truth list says.

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it does not name every crop.
    """
    by_path = read_wrong_labels(truth)
    paths = [str(Path(crop["file_name"]).absolute()) for crop in crops]
    missing = [path for path in paths if path not in by_path]
    if missing:
        raise ValueError(
            f"{truth} lacks {len(missing)} of {len(paths)} crops, {missing[0]} among them; it "
            "belongs to another list"
        )
    return np.array([by_path[path] for path in paths])


def make_report(result: Purification, angle: float, wrong: np.ndarray | None = None) -> dict:
    """Count what was kept and dropped.

    Args:
        result: of `purify`.
        angle: the threshold, degrees.
        wrong: bool (N,), which labels are wrong; None where that is not known.
    """
    edges = np.arange(0, 180 + HISTOGRAM_DEGREES, HISTOGRAM_DEGREES)
    dropped = ~result.kept
    report = {
        "angle": angle,
        "crops": len(result.pids),
        "kept": int(result.kept.sum()),
        "dropped": int(dropped.sum()),
        "identities": len(np.unique(result.pids)),
        "identities_left": len(np.unique(result.pids[result.kept])),
        "nearest_to_another_sub_center": int((result.votes != result.dominant[result.pids]).sum()),
        "emptied": result.emptied.tolist(),
        "histogram": {
            "edges": edges.tolist(),
            "counts": np.histogram(result.angles, edges)[0].tolist(),
        },
    }
    if wrong is not None:
        report["truth"] = score_dropped(dropped, wrong)
    report["people"] = _count_people(result)
    return report


def score_dropped(dropped: np.ndarray, wrong: np.ndarray) -> dict[str, float | int | None]:
    """Compare the crops that were dropped with those that are labelled wrongly, bool (N,) each.

    Returns:
        ``wrong``, how many labels are; of the dropped crops, ``precision``, the percentage that
        are, and ``recall``, the percentage of those that are that was dropped (None of none);
        ``wrong_kept``, the percentage of the kept ones that are.
    """
    hits = int((dropped & wrong).sum())

    def percent(part: int, whole: int) -> float | None:
        return 100 * part / whole if whole else None

    return {
        "wrong": int(wrong.sum()),
        "precision": percent(hits, int(dropped.sum())),
        "recall": percent(hits, int(wrong.sum())),
        "wrong_kept": percent(int((~dropped & wrong).sum()), int((~dropped).sum())),
    }


def _count_people(result: Purification) -> list[dict]:
    """Return crops and losses of each identity; ``new_person`` is None for one that left."""
    people = []
    new_pids = result.new_pids
    for pid in np.unique(result.pids):
        own = result.pids == pid
        left = own & result.kept
        people.append(
            {
                "person": int(pid),
                "new_person": int(new_pids[left][0]) if left.any() else None,
                "crops": int(own.sum()),
                "kept": int(left.sum()),
                "dropped": int((own & ~result.kept).sum()),
            }
        )
    return people


def format_report(report: dict) -> str:
    """Lay a report out as Markdown."""
    left, people = report["identities_left"], report["identities"]
    lines = [
        f"# Crops within {report['angle']:g} degrees of their identity's dominant sub-center",
        "",
        f"`{report['weights']}` of `{report['config']}`",
        "",
        f"- {report['kept']} of {report['crops']} crops kept, {report['dropped']} dropped; "
        f"{report['nearest_to_another_sub_center']} are nearest to another sub-center",
        f"- {left} of {people} identities left: train with `MODEL.REID_HEAD.NUM_IDENTITIES {left}`",
        f"- identities without a crop within the angle: {report['emptied'] or 'none'}",
    ]
    if "truth" in report:
        truth = {k: "-" if v is None else f"{v:.1f}" for k, v in report["truth"].items()}
        lines.append(
            f"- {report['truth']['wrong']} labels are wrong: dropped with a precision of "
            f"{truth['precision']} % and a recall of {truth['recall']} %; of the kept ones "
            f"{truth['wrong_kept']} % are wrong"
        )
    lines += ["", "| degrees | crops |", "|---|---|"]
    edges, counts = report["histogram"]["edges"], report["histogram"]["counts"]
    filled = np.flatnonzero(counts)
    for i in range(filled[0], filled[-1] + 1):
        lines.append(f"| {edges[i]}-{edges[i + 1]} | {counts[i]} |")
    worst = sorted(report["people"], key=lambda row: -row["dropped"] / row["crops"])
    lines += ["", "The identities that lose most:", ""]
    lines += ["| person | renumbered | crops | kept | dropped |", "|---|---|---|---|---|"]
    for row in worst[:_LISTED_IDENTITIES]:
        new = "left" if row["new_person"] is None else row["new_person"]
        numbers = f"{row['crops']} | {row['kept']} | {row['dropped']}"
        lines.append(f"| {row['person']} | {new} | {numbers} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
