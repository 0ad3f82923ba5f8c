"""Score saved predictions without a model: ``python -m person_search.evaluate --help``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tabulate import tabulate

from person_search.data.catalog import BUILTIN_DATASETS, get_datasets_root
from person_search.data.coco_person import load_coco_person_protocol
from person_search.data.cuhk_sysu import FULL_GALLERY
from person_search.evaluation.context import ContextMatching, published_context
from person_search.evaluation.predictions import (
    Predictions,
    load_predictions,
    read_predictions_model,
)
from person_search.evaluation.results_file import command_line, save_results
from person_search.evaluation.rules import (
    STANDARD_GALLERY_SIZE,
    STANDARD_SCORE_THRESHOLD,
    ProtocolLoader,
    SearchRules,
    list_searches,
)
from person_search.evaluation.scoring import score_predictions
from reid_heads.trust import add_trust_argument, trusted_files

OFFICIAL_GALLERY_SIZES = (50, 100, 500, 1000, 2000, 4000)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m person_search.evaluate",
        description="Score saved predictions: search mAP and top-k, detection AP and recall. "
        "Numbers are percentages. 'search' is always the plain protocol; what an option asks for "
        "beyond it has a name of its own in table and JSON.",
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
        help=f"CUHK-SYSU: frames to search for each query: 50, {STANDARD_GALLERY_SIZE} (default), "
        "500, 1000, 2000, 4000, or -1 for the full set; others than the default as search_g50 and "
        "so on, search_full",
    )
    add(
        "--all-gallery-sizes",
        action="store_true",
        help="CUHK-SYSU: also score every other gallery size that is there",
    )
    add(
        "--subset",
        choices=("occlusion", "resolution"),
        help="CUHK-SYSU: also score a subset's queries, as search_occlusion or search_resolution",
    )
    add(
        "--multi-view",
        action="store_true",
        help="PRW and JSON: also score with the query's own camera left out, as search_multi_view",
    )
    add(
        "--cbgm",
        nargs="*",
        type=int,
        metavar="K",
        help="also rerank by the people around the query (context bipartite graph matching), as "
        "search_cbgm; optionally followed by k1 and k2, by default those published for the layout",
    )
    add(
        "--by-frequency",
        action="store_true",
        help="also score the queries whose identities have most, middling and fewest boxes in the "
        "test set, a third of the identities each, as search_head, search_middle and search_tail",
    )
    weighting_help = "also multiply similarities by the detection score, as search_weighted"
    add("--confidence-weighting", action="store_true", help=weighting_help)
    add(
        "--score-threshold",
        type=float,
        default=STANDARD_SCORE_THRESHOLD,
        metavar="S",
        help="least detection score that counts, 0..1 (default 0.5, as in the official code); "
        "another one is told by every name: search_score0.8",
    )
    add_trust_argument(parser)
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
        load_protocol, root = _find_protocol(args, layout)
        searches = _read_searches(parser, args, layout, root)
        predictions = load_predictions(args.predictions)
        with trusted_files(args.trust_this_file):
            results = score_predictions(load_protocol, searches, predictions)
        if args.json is not None:
            model = read_predictions_model(args.predictions)
            record = {"model": model, "dataset": args.dataset, "command": command_line()}
            save_results(args.json, results, record)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_describe(args, predictions))
    print(format_table(results))
    return 0


def format_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Lay the results out for reading: one block for search, one each for detection."""
    titles = {"search": "search", "detection": "detection", "bbox": "COCO box AP"}
    blocks = []
    for prefix, title in titles.items():
        rows = {name: row for name, row in results.items() if name.startswith(prefix)}
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
    """Return ``cuhk_sysu``, ``prw`` or ``coco_person``."""
    if dataset.endswith(".json"):
        return "coco_person"
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
    if args.cbgm is not None and len(args.cbgm) not in (0, 2):
        parser.error(f"--cbgm: got {len(args.cbgm)} numbers, expected none, or k1 and k2")


def _find_protocol(args: argparse.Namespace, layout: str) -> tuple[ProtocolLoader, Path]:
    """Return what loads the protocol of a gallery, and the data set's folder."""
    if layout == "coco_person":
        file = Path(args.dataset)
        root = args.root or file.parent
        return partial(load_coco_person_protocol, file, root), root
    dataset = BUILTIN_DATASETS[args.dataset]
    root = args.root or get_datasets_root() / dataset.folder
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder. Give the data set's own folder with --root."
        )
    return partial(dataset.load_protocol, root, title=dataset.folder), root


def _read_searches(
    parser: argparse.ArgumentParser, args: argparse.Namespace, layout: str, root: Path
) -> list[SearchRules]:
    """Translate the options into what is scored; end with a message where they make no sense."""
    try:
        plain = SearchRules(score_threshold=args.score_threshold)
        galleries = [replace(plain, gallery_size=args.gallery_size)]
        if args.all_gallery_sizes:
            sizes = (*_list_gallery_sizes(root), FULL_GALLERY)
            galleries += [replace(plain, gallery_size=size) for size in sizes]
        if args.subset:
            galleries.append(replace(plain, subset=args.subset))
        if args.multi_view:
            galleries.append(replace(plain, multi_view=True))
        context = None
        if args.cbgm is not None:
            context = ContextMatching(*args.cbgm) if args.cbgm else published_context(layout)
    except ValueError as error:
        parser.error(str(error))
    return list_searches(
        galleries,
        confidence_weighting=args.confidence_weighting,
        context=context,
        by_frequency=args.by_frequency,
    )


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
