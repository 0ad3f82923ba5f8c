"""Score saved predictions without a model: ``python -m person_search.evaluate --help``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tabulate import tabulate

from person_search.evaluation.context import ContextMatching
from person_search.evaluation.predictions import Predictions, load_predictions
from person_search.evaluation.scoring import ProtocolSource, score_predictions
from reid_heads.atomic_file import save_json

DEFAULT_GALLERY_SIZE = 100
OFFICIAL_GALLERY_SIZES = (50, 100, 500, 1000, 2000, 4000)

# Published k1 and k2 of context matching, by layout; own data is searched as a whole, like PRW.
_CONTEXT_SIZES = {"cuhk_sysu": (10, 3), "prw": (30, 4), "json": (30, 4)}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m person_search.evaluate",
        description="Score saved predictions: search mAP and top-k, detection AP and recall. "
        "Numbers are percentages. The options set what 'search' means in the results.",
    )
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="NAME|FILE.json",
        help="cuhk_sysu, prw, drawn_cuhk, drawn_prw, or a COCO JSON file with person_id",
    )
    add(
        "--root",
        type=Path,
        metavar="DIR",
        help="the data set's own folder (with annotation/ or annotations/), or the images of "
        "FILE.json; default: its folder below $DETECTRON2_DATASETS or ./datasets, or that of "
        "FILE.json",
    )
    add("--predictions", required=True, type=Path, metavar="F", help="predictions.npz")
    add(
        "--gallery-size",
        type=int,
        metavar="N",
        help="CUHK-SYSU: frames to search for each query: 50, 100 (default), 500, 1000, 2000, "
        "4000, or -1 for the full set",
    )
    add(
        "--all-gallery-sizes",
        action="store_true",
        help="CUHK-SYSU: score every gallery size that is there as well, as search_g50 and so on",
    )
    add(
        "--subset", choices=("occlusion", "resolution"), help="CUHK-SYSU: search a subset's queries"
    )
    add("--multi-view", action="store_true", help="PRW and JSON: leave out the query's own camera")
    add(
        "--cbgm",
        nargs="*",
        type=int,
        metavar="K",
        help="rerank by the people around the query (context bipartite graph matching); optionally "
        "followed by k1 and k2, by default 10 3 for CUHK-SYSU and 30 4 otherwise",
    )
    add(
        "--by-frequency",
        action="store_true",
        help="also score the queries whose identities have most, middling and fewest boxes in the "
        "test set, a third of the identities each, as search_head, search_middle and search_tail",
    )
    weighting_help = "multiply similarities by the detection score"
    add("--confidence-weighting", action="store_true", help=weighting_help)
    add(
        "--score-threshold",
        type=float,
        default=0.5,
        metavar="S",
        help="least detection score that is searched, 0..1 (default 0.5, as in the official code)",
    )
    add("--json", type=Path, metavar="OUT", help="write the results to this file")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0, or 1 after an error, which is printed to the standard error.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    layout = _get_layout(parser, args.dataset)
    _check_options(parser, args, layout)
    try:
        predictions = load_predictions(args.predictions)
        context = None
        if args.cbgm is not None:
            context = ContextMatching(*(args.cbgm or _CONTEXT_SIZES[layout]))
        results = score_predictions(
            _find_protocols(args, layout),
            predictions,
            score_threshold=args.score_threshold,
            confidence_weighting=args.confidence_weighting,
            context=context,
            by_frequency=args.by_frequency,
        )
        if args.json is not None:
            save_json(args.json, results)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_describe(args, predictions))
    print(format_table(results))
    return 0


def format_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Lay the results out for reading: one block for search, one each for detection."""
    blocks = []
    searches = {name: row for name, row in results.items() if name.startswith("search")}
    for title, rows in (
        ("search", searches),
        ("detection", {"people": results["detection"]}),
        ("COCO box AP", {"people": results["bbox"]}),
    ):
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines = [[name, *(_format_cell(row, c) for c in columns)] for name, row in rows.items()]
        alignment = ["left", *["right"] * len(columns)]
        headers = [title, *columns]
        blocks.append(tabulate(lines, headers, disable_numparse=True, colalign=alignment))
    return "\n" + "\n\n".join(blocks)


def _format_cell(row: Mapping[str, float], column: str) -> str:
    """Write a number, counts without decimals; blank where the row has none."""
    if column not in row:
        return ""
    return str(row[column]) if isinstance(row[column], int) else f"{row[column]:.2f}"


def _get_layout(parser: argparse.ArgumentParser, dataset: str) -> str:
    """Return ``cuhk_sysu``, ``prw`` or ``json``."""
    from person_search.data.builtin import BUILTIN_DATASETS

    if dataset.endswith(".json"):
        return "json"
    if dataset not in BUILTIN_DATASETS:
        parser.error(
            f"--dataset: got {dataset!r}, expected one of {', '.join(BUILTIN_DATASETS)}, or a file "
            "that ends in .json"
        )
    return BUILTIN_DATASETS[dataset].layout


def _check_options(parser: argparse.ArgumentParser, args: argparse.Namespace, layout: str) -> None:
    """Refuse options that mean nothing for this data set."""
    if layout != "cuhk_sysu":
        for option in ("gallery_size", "all_gallery_sizes", "subset"):
            if getattr(args, option):
                name = option.replace("_", "-")
                parser.error(f"--{name} belongs to CUHK-SYSU; {args.dataset} has one gallery")
    elif args.multi_view:
        parser.error("--multi-view belongs to PRW and JSON; CUHK-SYSU has no cameras")
    if args.subset and args.gallery_size not in (None, DEFAULT_GALLERY_SIZE):
        parser.error(f"--subset has galleries of {DEFAULT_GALLERY_SIZE} only")
    if args.cbgm is not None and len(args.cbgm) not in (0, 2):
        parser.error(f"--cbgm: got {len(args.cbgm)} numbers, expected none, or k1 and k2")
    if not 0 <= args.score_threshold <= 1:
        parser.error(f"--score-threshold: got {args.score_threshold}, expected 0..1")


def _find_protocols(args: argparse.Namespace, layout: str) -> dict[str, ProtocolSource]:
    """Return what loads each protocol, by the name of its group of results."""
    from person_search.data.builtin import BUILTIN_DATASETS, get_datasets_root
    from person_search.data.coco_person import load_coco_person_protocol

    if layout == "json":
        file = Path(args.dataset)
        root = args.root or file.parent
        return {"search": partial(load_coco_person_protocol, file, root, args.multi_view)}
    dataset = BUILTIN_DATASETS[args.dataset]
    root = args.root or get_datasets_root() / dataset.folder
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder. Give the data set's own folder with --root."
        )
    load = partial(dataset.load_protocol, root, title=dataset.folder)
    if layout == "prw":
        return {"search": partial(load, multi_view=args.multi_view)}
    size = DEFAULT_GALLERY_SIZE if args.gallery_size is None else args.gallery_size
    protocols = {"search": partial(load, gallery_size=size, subset=args.subset)}
    if args.all_gallery_sizes:
        for other in _list_gallery_sizes(root):
            protocols[f"search_g{other}"] = partial(load, gallery_size=other)
        protocols["search_full"] = partial(load, gallery_size=-1)
    return protocols


def _list_gallery_sizes(root: Path) -> list[int]:
    """List the gallery sizes whose test files are there; drawn sets have smaller ones."""
    folder = root / "annotation" / "test" / "train_test"
    stems = (path.stem.removeprefix("TestG") for path in folder.glob("TestG*.mat"))
    return sorted(int(stem) for stem in stems if stem.isdigit()) or list(OFFICIAL_GALLERY_SIZES)


def _describe(args: argparse.Namespace, predictions: Predictions) -> str:
    """Say in one line what was scored."""
    return (
        f"{args.predictions}: {len(predictions.image_names)} frames, {len(predictions.scores)} "
        f"detections, {len(predictions.query_names)} queries; scored on {args.dataset} from "
        f"score {args.score_threshold:g}"
    )


if __name__ == "__main__":
    sys.exit(main())
