"""Score saved crop features without a model: ``python -m reid_heads.evaluate --help``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from reid_heads.atomic_file import save_json
from reid_heads.evaluation.embedding_scoring import EMBEDDING_PROTOCOLS, score_file
from reid_heads.evaluation.features import load_features
from reid_heads.evaluation.ranking import RankingResult
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.evaluation.scoring import PROTOCOLS, describe_settings, score_features
from reid_heads.sysu_protocol import read_permutations

_TITLES = {
    "reid": "cosine similarity",
    "reid_expanded": "query expansion",
    "reid_reranked": "k-reciprocal re-ranking",
}

_OPTIONS_OF = {
    "repeats": "cuhk03_classic",
    "permutations": "sysu_mm01",
    "trials": "sysu_mm01",
    "shots": "sysu_mm01",
    "pairs": "verification",
    "ranks": "recall",
}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.evaluate",
        description="Score saved features of query and gallery crops: mAP, mINP and top-k of the "
        "ranking by cosine similarity; of faces, verification, recall and identification. Numbers "
        "are percentages.",
    )
    add = parser.add_argument
    add(
        "--protocol",
        required=True,
        choices=(*PROTOCOLS, *EMBEDDING_PROTOCOLS),
        help="market1501, dukemtmc, msmt17 and cuhk03 are scored by the rules of Market-1501; "
        "cuhk03 is the new protocol (767/700 people), cuhk03_classic draws galleries of one crop a "
        "person; sysu_mm01 is all and indoor search, single and multi-shot; regdb searches from "
        "visible to thermal and back. Of faces and metric learning: verification compares the "
        "pairs of a list; recall searches for each image among all others, or for queries in a "
        "gallery; identification takes the gallery as enrolled and rejects whoever is not",
    )
    add(
        "--features",
        required=True,
        type=Path,
        metavar="F",
        help="features.npz; embeddings.npz for verification and recall",
    )
    add("--pairs", type=Path, metavar="TXT", help="verification: pair list in LFW's format")
    add("--ranks", type=int, nargs="+", metavar="K", help="recall: of Recall@K (default 1 2 4 8)")
    add("--rerank", action="store_true", help="score k-reciprocal re-ranking as well")
    add("--k1", type=int, metavar="N", help="re-ranking: neighbours (default 20)")
    add("--k2", type=int, metavar="N", help="re-ranking: neighbours averaged over (default 6)")
    add(
        "--lambda",
        dest="lambda_value",
        type=float,
        metavar="L",
        help="re-ranking: share of the original distance, 0..1 (default 0.3)",
    )
    add("--expand", action="store_true", help="score alpha-weighted query expansion as well")
    add("--neighbours", type=int, metavar="N", help="expansion: crops added (default 5)")
    add("--alpha", type=float, metavar="A", help="expansion: exponent (default 3; 0 averages)")
    add("--repeats", type=int, metavar="R", help="cuhk03_classic: random galleries (default 10)")
    add(
        "--permutations",
        type=Path,
        metavar="MAT",
        help="sysu_mm01: its authors' rand_perm_cam.mat; without it, galleries are drawn by "
        "random.seed(trial) only, as in later papers",
    )
    add("--trials", type=int, metavar="N", help="sysu_mm01: drawn galleries (default 10)")
    add(
        "--shots",
        type=int,
        metavar="N",
        help="sysu_mm01: crops of a person in a camera in multi-shot galleries (default 10)",
    )
    add(
        "--json",
        type=Path,
        metavar="OUT",
        help="write mAP, mINP, top1, top5 and top10 to this file; those of re-ranking and "
        "expansion under reid_reranked and reid_expanded, further rankings of a protocol under "
        "their names; what each is of under rankings",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0, or 2 after an error, which is printed to the standard error.
    """
    parser = build_parser()
    args = parser.parse_args(argv)
    for option, protocol in _OPTIONS_OF.items():
        if getattr(args, option) is not None and args.protocol != protocol:
            parser.error(f"--{option} belongs to --protocol {protocol}")
    try:
        rules = _read_rules(parser, args)
        if args.protocol in EMBEDDING_PROTOCOLS:
            if rules.reorders:
                parser.error(f"--rerank and --expand do not belong to --protocol {args.protocol}")
            if args.protocol == "verification" and args.pairs is None:
                parser.error("--protocol verification needs --pairs")
            _score_embeddings(args, rules)
        else:
            _score_crops(args, rules)
    except (ValueError, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _score_crops(args: argparse.Namespace, rules: ReIDRules) -> None:
    """Score queries and gallery, write and print the results."""
    path = args.permutations
    features = load_features(args.features)
    results = score_features(
        features,
        args.protocol,
        rules,
        permutations=None if path is None else read_permutations(path),
    )
    if args.json is not None:
        metrics = {name: result.metrics() for name, result in results.items()}
        save_json(args.json, {**metrics.pop("reid"), **metrics, **describe_settings(results)})
    print(
        f"{args.features}: {len(features.query_pids)} queries, {len(features.gallery_pids)} "
        f"gallery crops; scored by {args.protocol}"
    )
    print(f"{results['reid'].num_skipped} queries skipped: no match in another camera")
    if results["reid"].setting:
        print("the first ranking of the table is the main one, called 'reid'")
    print(format_table(results))


def _score_embeddings(args: argparse.Namespace, rules: ReIDRules) -> None:
    """Score by a protocol of faces or metric learning, write and print the metrics."""
    title, metrics = score_file(args.protocol, args.features, args.pairs, rules)
    if args.json is not None:
        save_json(args.json, metrics)
    print(f"{args.features}: {title}; scored by {args.protocol}\n")
    # A threshold is a cosine, all else a percentage.
    lines = [
        (name, f"{value:.4f}" if name == "threshold" else f"{value:.2f}")
        for name, value in metrics.items()
    ]
    print(tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=("left", "right")))


def format_table(results: Mapping[str, RankingResult]) -> str:
    """Lay the results out for reading, one line a ranking.

    Where a protocol has several ways, each names its own with the number of queries that count.
    """
    rows = {}
    for name, result in results.items():
        if not result.setting:
            rows[_TITLES[name]] = result.metrics()
        elif name != "reid":
            title = name.removeprefix("reid_").replace("_", " ")
            rows[f"{title} ({len(result.queries)})"] = result.metrics()
    columns = list(next(iter(rows.values())))
    lines = [[title, *(row[column] for column in columns)] for title, row in rows.items()]
    return "\n" + str(tabulate(lines, ["", *columns], floatfmt=".2f"))


def _read_rules(parser: argparse.ArgumentParser, args: argparse.Namespace) -> ReIDRules:
    """Translate the options into rules; raise a ValueError where one is out of its range."""
    given = {
        "single_shot_repeats": args.repeats,
        "gallery_trials": args.trials,
        "multi_shots": args.shots,
        "recall_ranks": None if args.ranks is None else tuple(args.ranks),
    }
    reranking = _read_group(parser, args, "rerank", ("k1", "k2", "lambda_value"))
    expansion = _read_group(parser, args, "expand", ("neighbours", "alpha"))
    return ReIDRules(
        reranking=None if reranking is None else Reranking(**reranking),
        query_expansion=None if expansion is None else QueryExpansion(**expansion),
        **{name: value for name, value in given.items() if value is not None},
    )


def _read_group(
    parser: argparse.ArgumentParser, args: argparse.Namespace, switch: str, names: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return the options given of a group, None if it is off; refuse options without their switch.

    Options that are not given are left to the defaults of the rules.
    """
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if given and not getattr(args, switch):
        option = next(iter(given)).removesuffix("_value")
        parser.error(f"--{option} needs --{switch}")
    return given if getattr(args, switch) else None


if __name__ == "__main__":
    sys.exit(main())
