"""Find several people in a gallery of drawn panoramas with the model that comes along.

    make demo        or        python -m demo.search_drawn_gallery

Draws the test split of the drawn world, finds everybody in the frames that are asked about, scores
all queries by the CUHK-SYSU protocol, and shows a few of them: a table on the terminal and a
picture.
"""

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from person_search.data.cuhk_sysu import load_cuhk_sysu_protocol
from person_search.data.protocol import SearchProtocol
from person_search.drawing.rankings import Ranking, draw_rankings
from person_search.evaluation.predictions import Predictions, save_predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.scoring import score_predictions
from person_search.evaluation.search import QueryResult, search_each_query
from person_search.inference.finder import PersonFinder
from person_search.inference.models import BUILTIN
from person_search.inference.predict import predict
from person_search.people import Match
from person_search.progress import show_progress
from person_search.synthetic.cuhk_writer import write_cuhk_sysu
from person_search.synthetic.world_spec import PRESETS
from reid_heads.atomic_file import save_json


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; return the exit status."""
    args = build_parser().parse_args(arguments)
    started = time.perf_counter()
    try:
        run(args.output, args.model, args.num_queries, args.top)
    except (OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    print(f"done in {time.perf_counter() - started:.0f} s; nothing was downloaded or sent anywhere")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description="Find people in a gallery of drawn panoramas.")
    parser.add_argument(
        "--output", type=Path, default=Path("output/demo"), help="folder for everything written"
    )
    parser.add_argument(
        "--model", default=BUILTIN, help="an installed or exported model; default: %(default)s"
    )
    parser.add_argument("--num-queries", type=int, default=5, help="people to show")
    parser.add_argument("--top", type=int, default=6, help="matches to show for each")
    return parser


def run(output: Path, model: str, num_queries: int, top: int) -> None:
    """Draw, search, score, print and show.

    Args:
        output: folder for the drawn frames, the predictions and ``ranking.png``.
        model: name of an installed model, or an exported file.
        num_queries: how many of the queries to show; all of them are scored.
        top: how many matches to show for each.
    """
    # On a CPU two frames at once, each on one core, go faster than one on both.
    cores = min(os.cpu_count() or 1, 8)
    finder = PersonFinder.load(model, threads=1, max_callers=cores)
    datasets = output / "datasets"
    # Flushed: in a log they would come long after what they announce.
    print("1/3  drawing the gallery: unseen people, unseen cameras", flush=True)
    write_cuhk_sysu(PRESETS["drawn-cuhk"], datasets / "drawn-cuhk", processes=2, splits=("test",))
    print("2/3  finding and embedding everybody, one pass a frame", flush=True)
    frames = datasets / "drawn-cuhk/Image/SSM"
    load_protocol = partial(load_cuhk_sysu_protocol, datasets / "drawn-cuhk")
    protocol = load_protocol(gallery_size=100)
    predictions = predict(
        finder, protocol, frames, lambda asked: show_progress(asked, "finding", len(asked))
    )
    print("3/3  searching", flush=True)
    results = score_predictions(load_protocol, [SearchRules()], predictions)
    save_predictions(output / "inference/predictions.npz", predictions)
    save_json(output / "inference/results.json", results)
    searched = search_each_query(protocol, predictions, num_top=top)
    # Evenly spaced over the protocol's queries, not the best ones.
    shown = [searched[i] for i in np.linspace(0, len(searched) - 1, num_queries).astype(int)]
    for result in shown:
        _print_ranking(protocol, predictions, result)
    _print_metrics(protocol, results)
    rankings = [to_ranking(protocol, predictions, result, frames) for result in shown]
    picture = output / "ranking.png"
    title = "Who is asked for (left), and where they are among 100 panoramas (right)"
    draw_rankings(rankings, title).save(picture)
    print(f"\nwrote {picture}")


def to_ranking(
    protocol: SearchProtocol, predictions: Predictions, result: QueryResult, frames: Path
) -> Ranking:
    """Turn the scorer's rows into what the picture shows."""
    rows = result.top_rows
    matches = [
        Match(
            image=str(frames / predictions.image_names[predictions.image_index[row]]),
            box_xyxy=tuple(predictions.boxes[row].tolist()),
            score=float(predictions.scores[row]),
            similarity=float(similarity),
        )
        for row, similarity in zip(rows, result.top_similarities, strict=True)
    ]
    return Ranking(
        query_image=str(frames / protocol.frame_names[protocol.query_frames[result.query]]),
        query_box=tuple(protocol.query_boxes[result.query].tolist()),
        matches=matches,
        is_right=result.top_is_true.tolist(),
        title=f"person {result.query + 1}",
    )


def _print_ranking(protocol: SearchProtocol, predictions: Predictions, result: QueryResult) -> None:
    name = protocol.frame_names[protocol.query_frames[result.query]]
    num_true = int((protocol.true_queries == result.query).sum())
    print(f"\nperson {result.query + 1} of {name}, to be found in {num_true} of 100 frames")
    print("  rank  similarity  score  frame       box (x1 y1 x2 y2)")
    for rank, row in enumerate(result.top_rows):
        frame = predictions.image_names[predictions.image_index[row]]
        box = " ".join(f"{v:4.0f}" for v in predictions.boxes[row])
        mark = "right" if result.top_is_true[rank] else ""
        print(
            f"  {rank + 1:4d}  {result.top_similarities[rank]:10.3f}  "
            f"{predictions.scores[row]:5.2f}  {frame:10s}  {box}  {mark}"
        )


def _print_metrics(protocol: SearchProtocol, results: dict) -> None:
    detection, search = results["detection"], results["search"]
    print(f"\nall {len(protocol.query_frames)} queries, gallery size 100, in percent")
    print("  detection AP  recall  search mAP  top-1  top-5  top-10")
    print(
        f"  {detection['ap']:12.1f}  {detection['recall']:6.1f}  {search['mAP']:10.1f}  "
        f"{search['top1']:5.1f}  {search['top5']:5.1f}  {search['top10']:6.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
