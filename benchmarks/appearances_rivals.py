"""The trackers of Roboflow's package ``trackers``, with which ``appearances.py`` compares our own.

They run in another Python, see `appearances_trackers`.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from appearances_streams import Stream

HERE = Path(__file__).parent


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


def version_of(python: Path) -> str:
    """Return the version of the package ``trackers`` in another Python."""
    code = "import importlib.metadata as m; print(m.version('trackers'))"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
