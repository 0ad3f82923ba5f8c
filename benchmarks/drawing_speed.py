"""Measure how fast the drawn sets are drawn on one core, and compare with another checkout.

Run:  python benchmarks/drawing_speed.py [--against CHECKOUT] [--sets drawn-cuhk …] [--repeats 5]

Everything a written picture costs is counted: choosing who stands where, painting people, objects
and shadows, the camera's faults, and JPEG encoding; the first painting of each camera's background
is not, nor is writing to disk, nor, of a town, the video's encoder. Time is CPU time of one thread.
With ``--against``, a folder with another version of this repository, both draw the same pictures in
turns, each in a process of its own, and the pictures are compared byte by byte. A table is written
to ``benchmarks/results/drawing_speed.md`` with ``--save``.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from person_search.synthetic.faces.spec import FACE_PRESETS
from person_search.synthetic.faces.world import FaceWorld
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.modality_spec import RegdbSpec, SysuSpec
from person_search.synthetic.modality_world import RegdbWorld, SysuWorld
from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town.town import Town
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import MarketSpec

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "drawing_speed.md"
SETS = (
    "drawn-cuhk", "drawn-prw", "drawn-market", "drawn-noon", "drawn-dusk", "drawn-mall",
    "drawn-vhs", "drawn-sysu", "drawn-regdb", "drawn-faces", "drawn-town",
)  # fmt: skip
GOAL_FRAMES_PER_SECOND = 86.0
"""Of drawn-cuhk, 960x540, on one idle core: twice what it was on 2026-11-30."""
Draw = Callable[[int], bytes]


def open_set(name: str) -> tuple[int, Draw]:
    """Return how many pictures a set has, and what draws and encodes one of them."""
    if name in TOWN_PRESETS:
        return _open_town(name)
    if name in FACE_PRESETS:
        faces = FaceWorld(FACE_PRESETS[name])
        return len(faces.plans), lambda k: _encode(faces.draw(k), faces.quality(k))
    spec = ALL_PRESETS[name]
    world: World
    if isinstance(spec, SysuSpec):
        world = SysuWorld(spec)
    elif isinstance(spec, RegdbSpec):
        world = RegdbWorld(spec)
    else:
        world = market_world(spec) if isinstance(spec, MarketSpec) else World(spec)

    def draw(index: int) -> bytes:
        frame = world.draw(index)
        picture = _encode(frame.image, world.scene(frame.plan.camera).camera.jpeg_quality)
        return picture + repr(frame.people).encode()

    return len(world.plans), draw


def _open_town(name: str) -> tuple[int, Draw]:
    town = Town(TOWN_PRESETS[name])
    frames = [(clip, k) for clip in range(len(town.clips)) for k in range(town.clips[clip].frames)]

    def draw(index: int) -> bytes:
        frame = town.draw(*frames[index])
        return frame.image.tobytes() + repr(frame.people).encode()

    return len(frames), draw


def _encode(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def serve(name: str, frames: int) -> None:
    """Draw the same pictures each time a line comes in; answer with CPU seconds and a digest."""
    cv2.setNumThreads(1)
    total, draw = open_set(name)
    if name in TOWN_PRESETS:  # frames that follow each other, as in a video
        frames = min(10 * frames, total)
        indices = range(total // 2 - frames // 2, total // 2 - frames // 2 + frames)
    else:
        indices = range(0, total, max(1, total // frames))[:frames]
    for index in indices:
        draw(index)  # backgrounds and walk cycles are painted once
    print(len(indices), flush=True)
    for _ in sys.stdin:
        digest, start = hashlib.sha256(), time.process_time()
        for index in indices:
            digest.update(draw(index))
        print(json.dumps([time.process_time() - start, digest.hexdigest()]), flush=True)


class Drawer:
    """A process that draws with one version of the code."""

    def __init__(self, checkout: Path, name: str, frames: int) -> None:
        """Start it and wait until it has warmed up."""
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--frames", str(frames)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout,
        )  # fmt: skip
        self.frames = int(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the drawing process died; its message stands above")
        return line

    def draw(self) -> tuple[float, str]:
        """Return milliseconds a picture and the digest of all of them."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, digest = json.loads(self._answer())
        return 1000 * seconds / self.frames, digest

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, frames: int, repeats: int, against: Path | None) -> str:
    """Return the line of the table of a set."""
    drawers = [Drawer(path, name, frames) for path in (REPOSITORY, against) if path is not None]
    times: list[list[float]] = [[] for _ in drawers]
    digests = set()
    for turn in range(repeats):
        # Who draws first changes from pair to pair.
        for which in (range(len(drawers)), reversed(range(len(drawers))))[turn % 2]:
            milliseconds, digest = drawers[which].draw()
            times[which].append(milliseconds)
            digests.add(digest)
    for drawer in drawers:
        drawer.stop()
    ours = statistics.median(times[0])
    cells = [name, str(drawers[0].frames), f"{ours:.1f}", f"{1000 / ours:.0f}"]
    if against is not None:
        ratios = [other / own for own, other in zip(*times, strict=True)]
        cells += [
            f"{statistics.median(times[1]):.1f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})",
            "yes" if len(digests) == 1 else "NO",
        ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, set by set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    parser.add_argument("--frames", type=int, default=40, help="pictures a repeat; of a town ten "
                        "times as many (default: %(default)s)")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--against", type=Path, help="folder of another version of the repository")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.frames)
        return
    head = ["set", "pictures", "ms a picture", "pictures/s"]
    if args.against is not None:
        head += ["ms before", "before / now (least..most)", "same bytes"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    print("\n".join(lines))
    for name in args.sets:
        against = None if args.against is None else args.against.resolve()
        lines.append(measure(name, args.frames, args.repeats, against))
        print(lines[-1], flush=True)
    if args.save:
        _save(lines, args)


def _save(lines: list[str], args: argparse.Namespace) -> None:
    """Write the table; what was tried in vain, below it, stays."""
    kept = "\n## "
    old = RESULTS.read_text() if RESULTS.exists() else ""
    rest = old[old.index(kept) :] if kept in old else ""
    command = "python benchmarks/drawing_speed.py --save"
    command += "" if args.against is None else " --against CHECKOUT"
    about = (
        f"`{command}`; CPU time of one thread, medians of {args.repeats} pairs drawn in turns; the "
        f"goal is {GOAL_FRAMES_PER_SECOND:.0f} pictures/s of drawn-cuhk on an idle core. "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cpus, {platform.machine()}, python "
        f"{platform.python_version()}, numpy {np.__version__}, opencv {cv2.__version__}, load "
        f"before {os.getloadavg()[0]:.1f}."
    )
    text = "\n".join(["# Drawing on one core", "", about, "", *lines, ""])
    RESULTS.write_text(text + rest)


if __name__ == "__main__":
    main()
