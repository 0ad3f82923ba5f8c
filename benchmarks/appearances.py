"""Follow people through drawn streets and real ones: our linker beside trackers of another package.

Run:  python benchmarks/appearances.py [--trackers-python PYTHON] [--data FOLDER] [--cache FOLDER]
          [--seeds 3] [--frames 600]

Draws ``drawn-town`` and ``tiny-town`` with as many seeds, finds everybody in the first ``--frames``
frames of each camera with the shipped model (kept in the cache: the longest part, done once), takes
frames at 10, 5, 2 and 1 a second, and links them. ``PYTHON`` is one of an environment of its own,
into which ``pip install trackers`` went (Roboflow's, Apache-2.0); without it they are missing.
``--data``, or $PERSON_SEARCH_REAL_DATA, is the folder of ``real_street.py``; without it so is the
table of real frames. Writes ``benchmarks/results/appearances.json`` and ``.md``.
``OMP_NUM_THREADS=1`` keeps the times apart from those of other programs.
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from appearances_across import leave_out_unsure, score_across
from appearances_rivals import RIVALS, link_theirs, version_of
from appearances_streams import Stream, load_street, load_town
from real_street import CROP_NET, DETECTOR, VARIABLE, pair

from person_search.evaluation.tracking import evaluate_tracking
from person_search.evaluation.tracks import Tracks, pair_frames
from person_search.inference.finder import PersonFinder
from person_search.inference.two_step import load_two_step
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town_writer import write_town
from person_search.tracking.linker import Linker, LinkOptions

RESULTS = Path(__file__).parent / "results"
RATES = (10, 5, 2, 1)
OURS = {
    "ours": LinkOptions(),
    "ours, by place alone": LinkOptions(min_similarity=-1, similarity_weight=0),
}
SURE = 0.9
"""Score that the best sight of a sure stay has at least: `appearances --min-score`."""
SURE_TOO = ("ours", "ByteTrack", "ByteTrack, sparse, own numbers", "SORT")
"""Whose sure stays have a row of their own."""
ACROSS = tuple(f"{name}, sure stays" for name in SURE_TOO if "own" not in name)


def link_ours(streams: Sequence[Stream], options: LinkOptions) -> list[tuple[np.ndarray, float]]:
    """Link each stream."""
    results = []
    for stream in streams:
        linker, seconds, numbers = Linker(options), 0.0, [np.zeros(0, np.int64)]
        for frame, moment in enumerate(stream.times.tolist()):
            people = stream.of_frame(frame)
            started = time.thread_time()
            numbers.append(linker.step(moment, people, stream.size))
            seconds += time.thread_time() - started
        results.append((np.concatenate(numbers), seconds))
    return results


Linked = Sequence[tuple[np.ndarray, float]]
"""What a tracker makes of each stream: numbers of tracks, and the seconds it took."""


def sure_ones(streams: Sequence[Stream], linked: Linked) -> Linked:
    """Return what a tracker made of streams without the stays that are not sure."""
    return [
        (leave_out_unsure(stream, numbers, SURE), seconds)
        for stream, (numbers, seconds) in zip(streams, linked, strict=True)
    ]


def score(streams: Sequence[Stream], linked: Linked) -> dict:
    """Score what a tracker made of streams."""
    true = [stream.truth.people for stream in streams]
    found = [
        stream.truth.without_distractors(stream.tracks(numbers))
        for stream, (numbers, _) in zip(streams, linked, strict=True)
    ]
    per_stay, own, matched = [], 0, 0
    for stream, *both in zip(streams, true, found, strict=True):
        together = count_pairs(*both)
        per_stay += Counter(stay for stay, _ in together).values()
        people: dict[int, Counter[int]] = {}
        for (stay, number), boxes in together.items():
            people.setdefault(number, Counter())[stream.identities.get(stay, stay)] += boxes
        own += sum(max(boxes.values()) for boxes in people.values())
        matched += sum(together.values())
    frames = sum(len(stream.times) for stream in streams)
    return {
        **evaluate_tracking(true, found),
        "stays": float(np.mean(per_stay)),
        "purity": 100 * own / max(matched, 1),
        "us": 1e6 * sum(seconds for _, seconds in linked) / frames,
    }


def count_pairs(true: Tracks, found: Tracks) -> Counter[tuple[int, int]]:
    """Count the boxes that each true track and each found one have in common, at an IoU of 0.5."""
    counts: Counter[tuple[int, int]] = Counter()
    for a, b in pair_frames(true, found):
        for column, row in pair(found.boxes[b], true.boxes[a]):
            counts[int(true.ids[a[column]]), int(found.ids[b[row]])] += 1
    return counts


def measure(
    streams: Sequence[Stream], python: Path | None, threshold: float | None = None
) -> dict[str, dict[str, float]]:
    """Link streams by every tracker, and score each; a threshold also groups what is sure."""
    linked = {name: link_ours(streams, options) for name, options in OURS.items()}
    if python is not None:
        theirs = link_theirs(python, list(RIVALS.values()), streams)
        linked |= dict(zip(RIVALS, theirs, strict=True))
    if threshold is None:
        return {name: score(streams, results) for name, results in linked.items()}
    for name in SURE_TOO:
        if name in linked:
            linked[f"{name}, sure stays"] = sure_ones(streams, linked[name])
    rows = {name: score(streams, linked[name]) for name in sorted(linked, key=_place)}
    for name in ACROSS:
        if name in rows:
            numbers = [numbers for numbers, _ in linked[name]]
            rows[name]["across"] = score_across(streams, numbers, threshold)
    return rows


def _place(name: str) -> tuple[int, bool]:
    """Sort a tracker's sure stays behind all of its stays."""
    first = name.removesuffix(", sure stays")
    return [*OURS, *RIVALS].index(first), name != first


def measure_rates(
    towns: Sequence[Sequence[Stream]], python: Path | None, threshold: float
) -> dict[str, dict[str, list[float]]]:
    """Measure towns at each rate; rows by ``rate/tracker``."""
    rows = {}
    for rate in RATES:
        step = RATES[0] // rate
        runs = [
            measure([stream.every(step) for stream in town], python, threshold) for town in towns
        ]
        for name in runs[0]:
            rows[f"{rate}/{name}"] = summarize([run[name] for run in runs])
    return rows


def draw_towns(preset: str, seeds: int, cache: Path) -> Iterator[Path]:
    """Draw a published town, and others like it; the first has its seed."""
    spec = TOWN_PRESETS[preset]
    for seed in (spec.seed, *range(1, seeds)):
        yield write_town(dataclasses.replace(spec, seed=seed), cache / f"{preset}-{seed}", 1)


def summarize(runs: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Return mean and standard deviation over towns of each score."""
    return {
        name: [
            float(np.mean([run[name] for run in runs])),
            float(np.std([run[name] for run in runs])),
        ]
        for name in runs[0]
    }


def table(rows: dict[str, dict[str, list[float]]], titles: Sequence[str]) -> list[str]:
    """Lay out rows, each named by ``rate/tracker`` or by its tracker."""
    columns = {
        "HOTA": 1, "DetA": 1, "AssA": 1, "IDF1": 1, "across": 1, "IDSW": 1, "stays": 2, "purity": 1,
        "us": 0,
    }  # fmt: skip
    if not any("across" in row for row in rows.values()):
        del columns["across"]
    names = {
        "IDSW": "switches", "stays": "stays a true stay", "us": "us a frame",
        "across": "IDF1 across cameras",
    }  # fmt: skip
    heads = [*titles, *(names.get(name, name) for name in columns)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for key, row in rows.items():
        cells = [
            f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread and name != "us" else "")
            for name, digits in columns.items()
            for mean, spread in [row.get(name, (math.nan, 0.0))]
        ]
        cells = ["" if cell == "nan" else cell for cell in cells]
        lines.append("| " + " | ".join([*key.split("/"), *cells]) + " |")
    return [*lines, ""]


INTRO = """*HOTA* and of it *DetA*, *AssA*; *IDF1*; identity *switches*: all as TrackEval counts
them, in percent but for the last. *stays a true stay*: how many tracks the boxes of one person's
one stay fell to, 1 at best. *purity*: percent of the boxes that are of the person most frequent in
their track. *us a frame*: CPU time of the linking alone, with other work on the machine: good for
comparison only. *own numbers*: boxes that a tracker leaves without a number, being not sure of
their track, get one each, since indexing keeps everybody found; ours has no such boxes. *sure
stays*: without those whose best sight has a score below 0.9, as `appearances --min-score 0.9` lists
them: the model that comes along finds much in these towns that is nobody, and with low scores. The
same is done to the others' tracks. *IDF1 across cameras*: of sure stays, grouped by look over all
cameras as `people` does, by the model's threshold.
"""


TINY = "Two cameras, five people of 40 to 70 pixels in pictures of 320 x 180, all of their frames."
TINY_FRAMES = 1000
"""More than one has."""
CHOSEN = """The linker's numbers were chosen on towns of the seeds 101 and 102, six minutes and 20
people each, and on tiny towns of the same seeds; the trackers' options on none."""


def write_results(content: dict, path: Path) -> str:
    """Write the Markdown, and return it."""
    run = ", ".join(f"{key} {value}" for key, value in content["run"].items())
    lines = ["# Appearances: people followed through a stream", "", content["command"], "", INTRO]
    lines += [f"{run}.", "", "## Drawn towns", "", content["towns"], ""]
    lines += table(content["drawn"], ["frames/s", "tracker"])
    lines += ["## Tiny towns", "", content["tiny_towns"], ""]
    lines += table(content["tiny"], ["frames/s", "tracker"])
    if content["street"]:
        lines += [
            "## Real frames",
            "",
            "39 frames of seven MOT17 sequences, by NanoDet-m and OSNet",
        ]
        lines += ["x0.25: 0.4 seconds each at most, so that little can go wrong.", ""]
        lines += table(content["street"], ["tracker"])
    text = "\n".join(lines).rstrip() + "\n"
    path.write_text(text)
    return text


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trackers-python", type=Path, metavar="PYTHON")
    parser.add_argument("--data", type=Path, default=os.environ.get(VARIABLE), metavar="FOLDER")
    parser.add_argument("--cache", type=Path, default=Path("output/appearances"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=3, help="towns (default 3)")
    parser.add_argument("--frames", type=int, default=600, help="of each camera (default 600)")
    return parser.parse_args()


def main() -> None:
    """Measure, write, and print the tables."""
    args = parse_arguments()
    python = args.trackers_python
    if python is None:
        print("without --trackers-python: only our own linker is measured", file=sys.stderr)
    finder = PersonFinder.load("drawn-people", threads=1)
    drawn_towns = list(draw_towns("drawn-town", args.seeds, args.cache))
    towns = [load_town(town, finder, args.cache, args.frames) for town in drawn_towns]
    tiny_towns = list(draw_towns("tiny-town", args.seeds, args.cache))
    tiny = [load_town(town, finder, args.cache, TINY_FRAMES) for town in tiny_towns]
    threshold = finder.threshold
    assert threshold is not None
    street = {}
    if args.data is not None and (args.data / DETECTOR).exists():
        network = load_two_step(args.data / DETECTOR, args.data / CROP_NET, device="cpu", threads=1)
        streams = load_street(
            args.data / "mot17_mini", PersonFinder(network, parts=False), args.cache / "street"
        )
        street = {name: summarize([row]) for name, row in measure(streams, python).items()}
    content = {
        "command": "`OMP_NUM_THREADS=1 python benchmarks/appearances.py --trackers-python PYTHON`",
        "run": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "device": platform.machine(),
            "cpus": os.cpu_count(),
            "towns": " ".join(
                sha256((t / "drawn.json").read_bytes()).hexdigest()[:8]
                for t in (*drawn_towns, *tiny_towns)
            ),
            "trackers": version_of(python) if python else "none",
        },
        "towns": f"The first {args.frames} frames of each of six cameras of `drawn-town`, and of "
        f"towns that differ from it in the seed. {told(towns)}",
        "drawn": measure_rates(towns, python, threshold),
        "tiny_towns": f"{TINY} {told(tiny)}",
        "tiny": measure_rates(tiny, python, threshold),
        "street": street,
    }
    (RESULTS / "appearances.json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_results(content, RESULTS / "appearances.md"))


def told(towns: Sequence[Sequence[Stream]]) -> str:
    """Say what was measured on."""
    counts = [(sum(len(s.times) for s in t), sum(len(s.identities) for s in t)) for t in towns]
    each = "; ".join(f"{frames} and {stays}" for frames, stays in counts)
    return (
        "Mean and standard deviation over them; of one town, no deviation. Frames at 10 a second "
        f"and true stays of each: {each}. {CHOSEN}"
    )


if __name__ == "__main__":
    main()
