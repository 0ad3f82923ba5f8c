"""Link people by the trackers of Roboflow's package ``trackers``, in a Python that has it.

Run by ``appearances.py --trackers-python``: reads the people found in streams from one ``.npz``
file and writes the numbers of their tracks to another. It needs NumPy and that package alone.
"""

import json
import sys
import time
import warnings

import numpy as np
import supervision
import trackers


def link(name: str, options: dict, stream: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the numbers (N,) of the tracks, -1 for none, and the seconds it took."""
    times, rows = stream["times"], stream["rows"]
    steps = np.diff(times)
    rate = 1 / float(np.median(steps)) if len(steps) else 1.0
    tracker = getattr(trackers, name)(frame_rate=rate, **options)
    numbers = np.full(rows[-1], -1, np.int64)
    seconds = 0.0
    for frame, moment in enumerate(times):
        here = slice(rows[frame], rows[frame + 1])
        found = supervision.Detections(
            xyxy=stream["boxes"][here].astype(np.float32),
            confidence=stream["scores"][here],
            data={"row": np.arange(here.start, here.stop)},
        )
        started = time.thread_time()
        linked = tracker.update(found, timestamp=float(moment))
        seconds += time.thread_time() - started
        if len(linked):
            numbers[linked.data["row"]] = linked.tracker_id
    return numbers, seconds


def main() -> None:
    """Read ``{stream}/{array}`` and the list of what to run, write ``{run}/{stream}``."""
    source, target, runs = sys.argv[1:]
    warnings.simplefilter("ignore")
    with np.load(source) as content:
        streams: dict[str, dict[str, np.ndarray]] = {}
        for key in content.files:
            name, array = key.rsplit("/", 1)
            streams.setdefault(name, {})[array] = content[key]
    results = {}
    for run, (name, options) in enumerate(json.loads(runs)):
        for stream, arrays in streams.items():
            numbers, seconds = link(name, options, arrays)
            results[f"{run}/{stream}/numbers"] = numbers
            results[f"{run}/{stream}/seconds"] = np.array(seconds)
    np.savez(target, **results)


if __name__ == "__main__":
    main()
