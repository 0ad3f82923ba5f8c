"""What stays cost and give in a gallery: rows, bytes, search time, accuracy, and indexing speed.

Run:  python benchmarks/appearances_gallery.py [--cache FOLDER] [--seeds 3] [--frames 600]
          [--people 40000] [--pairs 5] [--untimed]

Accuracy is measured on the drawn towns that ``appearances.py`` has put into the cache, at 5 frames
a second: who was found is put into a gallery and linked, and the person of each true stay is asked
for by her best sight. Bytes and times are measured on made-up people, times as the median of 20
searches; indexing on the tiny town, linked and not linked in turn. Times are good for comparison
within a run on an idle machine only; ``--untimed`` leaves them out. Writes
``benchmarks/results/appearances_gallery.json`` and ``.md``.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from appearances import draw_towns
from appearances_streams import Stream, load_town
from real_street import pair

from person_search.footage.files import FootageOptions, Frame
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.people import Match, People
from person_search.tracking.view_quality import view_qualities

RESULTS = Path(__file__).parent / "results"
EVERY = 2
"""Of ten frames a second: five."""
KEPT = (None, 10, 5, 2)
"""People kept of a stay besides the first and the last; None keeps all."""
MOST = 16_384
REPEATS = 20


@dataclass(frozen=True)
class Known:
    """Who the people of a gallery are."""

    stays: dict[tuple[str, int], int]
    """The true stay, numbered over all cameras, by frame and number of the person."""
    identities: dict[int, int]
    """Who a stay's person is."""
    queries: list[tuple[int, np.ndarray]]
    """A true stay, and the embedding of its best sight; of those whose person has others."""


def put_town(index: GalleryIndex, streams: Sequence[Stream]) -> Known:
    """Put who was found in a town into a gallery, and link it."""
    stays, identities, best = {}, {}, {}
    for camera, stream in enumerate(streams):
        qualities = view_qualities(stream.times[stream.frames], stream.people)
        true, entries = stream.truth.people, []
        for frame, moment in enumerate(stream.times.tolist()):
            name, people = f"/town/{stream.name}.mp4#frame={frame}", stream.of_frame(frame)
            entries.append((Frame(name, f"{frame}", stream.name, moment, size=stream.size), people))
            here = np.flatnonzero(true.frames == frame)
            for column, row in pair(people.boxes, true.boxes[here]):
                own = 1_000_000 * camera + int(true.ids[here[column]])
                stays[name, int(row)] = own
                identities[own] = stream.identities[int(true.ids[here[column]])]
                quality = float(qualities[stream.rows[frame] + row])
                if quality > best.get(own, (0.0,))[0]:
                    best[own] = quality, people.embeddings[row]
        index.put(entries)
    index.appearances.link()
    counts = Counter(identities.values())
    asked = [(own, best[own][1]) for own in sorted(best) if counts[identities[own]] > 1]
    return Known(stays, identities, asked)


def person_of(match: Match) -> tuple[str, int]:
    """Return frame and number of a match."""
    return match.image, int((match.person or "").rpartition("_")[2])


def average_precision(flags: Sequence[bool]) -> float:
    """Return the mean of the precisions at the right ones, percent; all of them are ranked."""
    hits = np.flatnonzero(flags)
    return 100 * float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1))) if len(hits) else 0.0


def accuracy(index: GalleryIndex, known: Known, owners: dict[int, int | None]) -> dict[str, float]:
    """Ask for the person of each stay; the stay itself does not count."""
    by_frame, by_stay = [], []
    for own, query in known.queries:
        wanted = known.identities[own]
        found = index.search(query, top=MOST, one_per_frame=False)
        stays = [known.stays.get(person_of(match)) for match in found]
        by_frame.append(
            average_precision(
                [known.identities.get(stay, -1) == wanted for stay in stays if stay != own]
            )
        )
        matches = index.appearances.search(query, top=MOST)
        stays = [owners.get(m.appearance.id) if m.appearance else None for m in matches]
        by_stay.append(
            average_precision(
                [known.identities.get(stay, -1) == wanted for stay in stays if stay != own]
            )
        )
    return {"mAP by frame": float(np.mean(by_frame)), "mAP by stay": float(np.mean(by_stay))}


def owners_of(index: GalleryIndex, known: Known) -> dict[int, int | None]:
    """Say whose true stay each appearance is: that of most of its sights, None for nobody's."""
    owners: dict[int, int | None] = {}
    for one in index.appearances.within():
        sights = index.appearances.sights(one.appearance.id)
        votes = Counter(known.stays.get(person_of(sight)) for sight in sights)
        owners[one.appearance.id] = votes.most_common(1)[0][0]
    return owners


def measure_accuracy(towns: Sequence[Sequence[Stream]], dim: int) -> dict[str, list[dict]]:
    """Measure each town with all people and with fewer."""
    rows: dict[str, list[dict]] = {}
    for town in towns:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "g.db"
            with GalleryIndex.create(path, fingerprint="0" * 64, embedding_dim=dim) as index:
                known = put_town(index, [stream.every(EVERY) for stream in town])
                owners = owners_of(index, known)
            for kept in KEPT:
                copy = Path(folder) / f"{kept}.db"
                shutil.copy(path, copy)
                with GalleryIndex.open(copy) as index:
                    if kept is not None:
                        index.appearances.keep_best(kept)
                    info = index.info()
                    row = {"people": info.people, "appearances": info.appearances}
                    rows.setdefault(str(kept), []).append({**row, **accuracy(index, known, owners)})
    return rows


def make_people(index: GalleryIndex, people: int, dim: int, link: bool) -> None:
    """Put stays of 80 sights, five people at once before one camera, and link them."""
    rng = np.random.default_rng(0)
    moments, entries = people // 5, []
    for moment in range(moments):
        if moment % 80 == 0:
            looks = rng.normal(size=(5, dim))
        embeddings = looks + 0.3 * rng.normal(size=(5, dim))
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        left = 100 * np.arange(5)
        boxes = np.stack([left, np.full(5, 50), left + 50, np.full(5, 200)], axis=1)
        found = People(
            boxes.astype(np.float32),
            rng.uniform(0.5, 1, 5).astype(np.float32),
            embeddings.astype(np.float32),
        )
        # A minute without anybody between two groups.
        when = 1.7e9 + moment + 60 * (moment // 80)
        entries.append((Frame(f"/made/{moment}.jpg", "0", "hall", when, size=(640, 360)), found))
    for first in range(0, moments, 400):
        index.put(entries[first : first + 400])
    if link:
        index.appearances.link()


def median_ms(ask: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    """Return the median time of a search, after one that does not count."""
    ask(queries[0])
    times = []
    for query in queries:
        started = time.perf_counter()
        ask(query)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def measure_size(people: int, dim: int, is_timed: bool) -> dict[str, dict[str, float]]:
    """Measure rows, bytes and search times: not linked, linked, and with a few best people."""
    rng = np.random.default_rng(1)
    queries = rng.normal(size=(REPEATS, dim))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    rows: dict[str, dict[str, float]] = {}
    for name, link, kept in (
        ("not linked", False, None),
        ("linked", True, None),
        *((f"linked, keep best {kept}", True, kept) for kept in KEPT if kept is not None),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "g.db"
            with GalleryIndex.create(path, fingerprint="0" * 64, embedding_dim=dim) as index:
                make_people(index, people, dim, link)
                if kept is not None:
                    index.appearances.keep_best(kept)
            with GalleryIndex.open(path) as index:
                info = index.info()
                row: dict[str, float] = {
                    "people": info.people,
                    "stays": info.appearances or 0,
                    "MB": path.stat().st_size / 1e6,
                }
                if is_timed:
                    row["by frame"] = median_ms(index.search, queries)
                if is_timed and link:
                    for title, ranked in (("by stay", 1), ("mean of 3", 3), ("mean of all", None)):
                        row[title] = median_ms(
                            lambda query, ranked=ranked, search=index.appearances.search: search(
                                query, ranked_frames=ranked
                            ),
                            queries,
                        )
            rows[name] = row
    return rows


def measure_indexing(finder: PersonFinder, town: Path, pairs: int) -> dict[str, float]:
    """Index a town's footage, linked and not linked in turn; medians over the pairs."""
    options = FootageOptions(camera_from="folder", time_from="name", every=0.2)
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    rates: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(pairs):
        for link in (True, False) if turn % 2 else (False, True):
            with (
                tempfile.TemporaryDirectory() as folder,
                GalleryIndex.create(Path(folder) / "g.db", **made) as index,
            ):
                report = index_footage(
                    index, finder, [town / "footage"], options, progress=False, link=link
                )
            rates[link].append(report.frames_added / report.seconds)
    slower = [1 - on / off for on, off in zip(rates[True], rates[False], strict=True)]
    return {
        "linked": statistics.median(rates[True]),
        "not linked": statistics.median(rates[False]),
        "slower": 100 * statistics.median(slower),
        "pairs": pairs,
    }


def write_results(content: dict, path: Path) -> str:
    """Write the Markdown, and return it."""
    run = ", ".join(f"{key} {value}" for key, value in content["run"].items())
    lines = ["# Stays in a gallery", "", f"`{content['command']}`", "", run]
    lines += ["", "## A few best people of a stay", "", content["towns"], ""]
    lines += ["| kept of a stay | people | mAP by frame | mAP by stay |", "|---|---|---|---|"]
    for kept, rows in content["accuracy"].items():
        cells = ["all" if kept == "None" else f"first, last and best {kept}"]
        for name, digits in (("people", 0), ("mAP by frame", 1), ("mAP by stay", 1)):
            values = [row[name] for row in rows]
            cells.append(f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Rows, bytes, search time", "", content["made"], ""]
    titles = list(content["size"]["linked"])
    lines += ["| gallery | " + " | ".join(titles) + " |", "|---" * (1 + len(titles)) + "|"]
    for name, row in content["size"].items():
        cells = [f"{row[t]:.1f}" if t in row else "" for t in titles]
        cells[:2] = [f"{row[t]:.0f}" for t in titles[:2]]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    speed = content["indexing"]
    if speed is not None:
        lines += ["", "## Indexing", ""]
        lines += [
            f"The tiny town, five frames a second, one thread, medians of {speed['pairs']} pairs: "
            f"{speed['linked']:.2f} frames/s with linking, {speed['not linked']:.2f} without; by "
            f"pairs {speed['slower']:.1f} % slower."
        ]
    text = "\n".join(lines) + "\n"
    path.write_text(text)
    return text


def told_command(args: argparse.Namespace) -> str:
    """Return what to type for the same, but for the cache."""
    numbers = f"--seeds {args.seeds} --frames {args.frames} --people {args.people}"
    timing = "--untimed" if args.untimed else f"--pairs {args.pairs}"
    return f"python benchmarks/appearances_gallery.py {numbers} {timing}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=Path("output/appearances"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3, help="towns (default 3)")
    parser.add_argument("--frames", type=int, default=600, help="of each camera (default 600)")
    parser.add_argument("--people", type=int, default=40_000, help="made up (default 40000)")
    parser.add_argument("--pairs", type=int, default=5, help="of indexing (default 5)")
    parser.add_argument("--untimed", action="store_true", help="measure no times")
    args = parser.parse_args()
    timing = (
        "" if args.untimed else (f" Milliseconds a search for the best ten, median of {REPEATS}.")
    )
    finder = PersonFinder.load("drawn-people", threads=1)
    towns = [
        load_town(town, finder, args.cache, args.frames)
        for town in draw_towns("drawn-town", args.seeds, args.cache)
    ]
    tiny = next(iter(draw_towns("tiny-town", 1, args.cache)))
    content = {
        "command": told_command(args),
        "run": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "device": platform.machine(),
            "cpus": os.cpu_count(),
        },
        "towns": f"Towns: {args.seeds}; the first {args.frames} frames of each of six "
        "cameras, five of ten a second: the person of each true stay is asked for by the best "
        "sight of it, where she has other stays. *By frame* everybody in the gallery is ranked, "
        "*by stay* each stay once, by its most similar sight; what is of the query's own stay does "
        "not count, and who is not in the gallery is not missed: by frame there is less to find "
        "where less is kept, by stay as much. Mean and standard deviation over the towns.",
        "made": f"{args.people} made-up people of {finder.embedding_dim} numbers, in stays of 80 "
        f"sights.{timing}",
        "accuracy": measure_accuracy(towns, finder.embedding_dim),
        "size": measure_size(args.people, finder.embedding_dim, not args.untimed),
        "indexing": None if args.untimed else measure_indexing(finder, tiny, args.pairs),
    }
    (RESULTS / "appearances_gallery.json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_results(content, RESULTS / "appearances_gallery.md"))


if __name__ == "__main__":
    main()
