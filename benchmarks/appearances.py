"""Follow people through drawn streets and real ones: our linker beside trackers of another package.

Run:  python benchmarks/appearances.py [--trackers-python PYTHON] [--data FOLDER] [--cache FOLDER]
          [--seeds 3] [--frames 240]

Draws towns of as many seeds, finds everybody in the first ``--frames`` frames of each camera with
the shipped model (kept in the cache: the longest part), takes frames at 10, 5, 2 and 1 a second,
and links them. ``PYTHON`` is one of an environment of its own, into which ``pip install trackers``
went (Roboflow's, Apache-2.0); without it those rows are missing. ``--data``, or
$PERSON_SEARCH_REAL_DATA, is the folder of ``real_street.py``; without it so is the table of real
frames. Writes ``benchmarks/results/appearances.json`` and ``.md``. ``OMP_NUM_THREADS=1`` keeps the
times apart from those of other programs.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
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
HERE = Path(__file__).parent
RATES = (10, 5, 2, 1)
OURS = {
    "ours": LinkOptions(),
    "ours, by place alone": LinkOptions(min_similarity=-1, similarity_weight=0),
}
Numbers = dict[str, list[tuple[np.ndarray, float]]]
"""What each tracker makes of each stream: numbers of tracks, and the seconds it took."""


@dataclass(frozen=True)
class Rival:
    """A tracker of the package ``trackers``."""

    name: str
    options: dict[str, float]
    is_filled: bool = False
    """Whether boxes that it leaves without a number get one each."""


# For people at any rate, as our linker's defaults are: no box is too unsure, and whoever is lost is
# waited for 20 seconds; the package counts them in thirtieths.
SPARSE: dict[str, float] = {"lost_track_buffer": 600, "minimum_consecutive_frames": 1}
UNSURE: dict[str, float] = {"track_activation_threshold": 0.35}
RIVALS = {
    "ByteTrack": Rival("ByteTrackTracker", {}),
    "ByteTrack, sparse, own numbers": Rival("ByteTrackTracker", {**SPARSE, **UNSURE}, True),
    "SORT": Rival("SORTTracker", {}),
    "SORT, sparse, own numbers": Rival(
        "SORTTracker", {**SPARSE, **UNSURE, "minimum_iou_threshold": 0.1}, True
    ),
    "OC-SORT, sparse, own numbers": Rival(
        "OCSORTTracker",
        {**SPARSE, "minimum_iou_threshold": 0.1, "high_conf_det_threshold": 0.35},
        True,
    ),
    "C-BIoU, sparse, own numbers": Rival(
        "CBIoUTracker", {**SPARSE, **UNSURE, "minimum_iou_threshold_unconfirmed_assoc": 0.1}, True
    ),
}


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


def link_theirs(
    python: Path, rivals: Sequence[Rival], streams: Sequence[Stream]
) -> list[list[tuple[np.ndarray, float]]]:
    """Link each stream by each of the trackers, in the other Python."""
    arrays = {}
    for number, stream in enumerate(streams):
        arrays |= {
            f"{number}/times": stream.times,
            f"{number}/rows": stream.rows,
            f"{number}/boxes": stream.people.boxes,
            f"{number}/scores": stream.people.scores,
        }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "streams.npz", Path(folder) / "numbers.npz"
        np.savez(source, **arrays)
        runs = json.dumps([(rival.name, rival.options) for rival in rivals])
        script = HERE / "appearances_trackers.py"
        # Without our packages, which that Python does not have.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        subprocess.run([python, script, source, target, runs], check=True, env=environment)
        with np.load(target) as content:
            return [
                [
                    (
                        fill(content[f"{run}/{number}/numbers"], rival.is_filled),
                        float(content[f"{run}/{number}/seconds"]),
                    )
                    for number in range(len(streams))
                ]
                for run, rival in enumerate(rivals)
            ]


def fill(numbers: np.ndarray, is_asked: bool) -> np.ndarray:
    """Give each box without a number one of its own, if asked to."""
    if not is_asked:
        return numbers
    none = numbers < 0
    filled = numbers.copy()
    filled[none] = numbers.max(initial=0) + 1 + np.arange(none.sum())
    return filled


def score(streams: Sequence[Stream], linked: Sequence[tuple[np.ndarray, float]]) -> dict:
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


def measure(streams: Sequence[Stream], python: Path | None) -> dict[str, dict[str, float]]:
    """Link streams by every tracker, and score each."""
    linked = {name: link_ours(streams, options) for name, options in OURS.items()}
    if python is not None:
        theirs = link_theirs(python, list(RIVALS.values()), streams)
        linked |= dict(zip(RIVALS, theirs, strict=True))
    return {name: score(streams, results) for name, results in linked.items()}


def measure_rates(
    towns: Sequence[Sequence[Stream]], python: Path | None
) -> dict[str, dict[str, list[float]]]:
    """Measure towns at each rate; rows by ``rate/tracker``."""
    rows = {}
    for rate in RATES:
        step = RATES[0] // rate
        runs = [measure([stream.every(step) for stream in town], python) for town in towns]
        for name in runs[0]:
            rows[f"{rate}/{name}"] = summarize([run[name] for run in runs])
    return rows


def draw_towns(seeds: int, cache: Path) -> Iterator[Path]:
    """Draw towns like the published one, six minutes long; the first has its seed."""
    spec = dataclasses.replace(TOWN_PRESETS["drawn-town"], seconds=360, identities=20)
    for seed in (spec.seed, *range(1, seeds)):
        yield write_town(dataclasses.replace(spec, seed=seed), cache / f"town-{seed}", 1)


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
        "HOTA": 1, "DetA": 1, "AssA": 1, "IDF1": 1, "IDSW": 1, "stays": 2, "purity": 1, "us": 0,
    }  # fmt: skip
    names = {"IDSW": "switches", "stays": "stays a true stay", "us": "us a frame"}
    heads = [*titles, *(names.get(name, name) for name in columns)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for key, row in rows.items():
        cells = [
            f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread and name != "us" else "")
            for name, digits in columns.items()
            for mean, spread in [row[name]]
        ]
        lines.append("| " + " | ".join([*key.split("/"), *cells]) + " |")
    return [*lines, ""]


INTRO = """*HOTA* and of it *DetA*, *AssA*; *IDF1*; identity *switches*: all as TrackEval counts
them, in percent but for the last. *stays a true stay*: how many tracks the boxes of one person's
one stay fell to, 1 at best. *purity*: percent of the boxes that are of the person most frequent in
their track. *us a frame*: CPU time of the linking alone, with other work on the machine: good for
comparison only. *own numbers*: boxes that a tracker leaves without a number, being not sure of
their track, get one each, since indexing keeps everybody found; ours has no such boxes.
"""


TINY = """Two cameras, five people of 40 to 70 pixels in pictures of 320 x 180, all of its frames.
Nothing was chosen on it."""
TINY_FRAMES = 1000
"""More than it has."""


def write_results(content: dict, path: Path) -> str:
    """Write the Markdown, and return it."""
    run = ", ".join(f"{key} {value}" for key, value in content["run"].items())
    lines = ["# Appearances: people followed through a stream", "", content["command"], "", INTRO]
    lines += [f"{run}.", "", "## Drawn towns", "", content["towns"], ""]
    lines += table(content["drawn"], ["frames/s", "tracker"])
    lines += ["## The tiny town", "", TINY, ""]
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
    parser.add_argument("--frames", type=int, default=240, help="of each camera")
    return parser.parse_args()


def main() -> None:
    """Measure, write, and print the tables."""
    args = parse_arguments()
    python = args.trackers_python
    if python is None:
        print("without --trackers-python: only our own linker is measured", file=sys.stderr)
    finder = PersonFinder.load(threads=1)
    drawn_towns = list(draw_towns(args.seeds, args.cache))
    towns = [load_town(town, finder, args.cache, args.frames) for town in drawn_towns]
    tiny = write_town(TOWN_PRESETS["tiny-town"], args.cache / "tiny-town", 1)
    street = {}
    if args.data is not None and (args.data / DETECTOR).exists():
        network = load_two_step(args.data / DETECTOR, args.data / CROP_NET, device="cpu", threads=1)
        streams = load_street(
            args.data / "mot17_mini", PersonFinder(network, parts=False), args.cache / "street"
        )
        street = {name: summarize([row]) for name, row in measure(streams, python).items()}
    counts = [(sum(len(s.times) for s in t), sum(len(s.identities) for s in t)) for t in towns]
    told = "; ".join(f"{frames} and {stays}" for frames, stays in counts)
    content = {
        "command": "`OMP_NUM_THREADS=1 python benchmarks/appearances.py --trackers-python PYTHON`",
        "run": {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "device": platform.machine(),
            "cpus": os.cpu_count(),
            "towns": " ".join(
                sha256((t / "drawn.json").read_bytes()).hexdigest()[:8] for t in drawn_towns
            ),
            "trackers": version_of(python) if python else "none",
        },
        "towns": "Towns of six cameras, mean and standard deviation over them; of one town, no "
        f"deviation. Frames at 10 a second and true stays of each: {told}. The linker's defaults "
        "were chosen on the first town, the trackers' options on none.",
        "drawn": measure_rates(towns, python),
        "tiny": measure_rates([load_town(tiny, finder, args.cache, TINY_FRAMES)], python),
        "street": street,
    }
    (RESULTS / "appearances.json").write_text(json.dumps(content, indent=2) + "\n")
    print(write_results(content, RESULTS / "appearances.md"))


def version_of(python: Path) -> str:
    """Return the version of the package ``trackers`` in another Python."""
    code = "import importlib.metadata as m; print(m.version('trackers'))"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
