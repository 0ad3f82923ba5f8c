"""Measure how fast footage is indexed, where the time goes, and how fast a gallery answers.

Run:  nice -n -5 python benchmarks/gallery_speed.py [--parts indexing queries] [--frames 400]
          [--sizes 10000 100000 1000000] [--dims 256]

Indexing takes the drawn frames of `datasets/drawn-cuhk` (`person-search draw`) and the model that
comes with the code. Galleries to ask are filled with made-up people, four to a frame, and asked
through `GalleryIndex.search`; exact search in numpy answers the same questions in the same run.
Each case runs in processes of its own, is written to `benchmarks/results/gallery_speed.json` when
it is done, and takes the place of what was measured of that case before.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from gallery_speed_table import write_table
from training_runs import describe_machine

RESULTS = Path(__file__).parent / "results" / "gallery_speed.json"
WORKER = Path(__file__).with_name("gallery_speed_worker.py")
WORK = Path("output/gallery_speed")
THREADS = 2
FOOTAGE = Path("datasets/drawn-cuhk/Image/SSM")


def run_step(step: str, options: dict) -> dict:
    """Run a step in a process of its own and return what it measured."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, str(WORKER), step, json.dumps(options)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{step} {options} failed, see above")
    return json.loads(done.stdout.splitlines()[-1])


def describe_run() -> dict:
    """Name what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "threads": THREADS,
        "nice": os.nice(0),
        "load": round(os.getloadavg()[0], 1),
    }


def measure_queries(size: int, dim: int, work: Path) -> dict:
    """Fill a gallery in one process, open, ask, and remove from it in others."""
    path = work / f"people{size}_{dim}.db"
    remove_gallery(path)
    options = {"path": str(path), "size": size, "dim": dim}
    run = describe_run()
    try:
        return {
            "size": size,
            "dim": dim,
            "fill": run_step("fill", options),
            # The matrix beside a large gallery is made by the first search, and used by the next.
            "without_matrix": run_step("first", options),
            "first": run_step("first", options),
            **run_step("ask", options),
            "remove": run_step("remove", options),
            "run": run,
        }
    finally:
        remove_gallery(path)


def remove_gallery(path: Path) -> None:
    """Remove a gallery with what lies beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def save(content: dict, key: str, value: dict) -> None:
    """Write one more case down."""
    content[key] = value
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(f"{key}: done", file=sys.stderr, flush=True)


def main() -> None:
    """Measure the parts that are asked for, and print the tables of all that is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("indexing", "queries")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--frames", type=int, default=400, help="to index (default 400)")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dims", nargs="+", type=int, default=[256], help="at most 256")
    parser.add_argument("--work", type=Path, default=WORK, help="4 GB free for a million people")
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    content = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    if "indexing" in args.parts:
        options = {"footage": str(FOOTAGE), "frames": args.frames, "work": str(work)}
        run = describe_run()
        save(content, "indexing", {**run_step("index", options), "run": run})
    for size in args.sizes if "queries" in args.parts else []:
        for dim in args.dims:
            save(content, f"queries_{size}_{dim}", measure_queries(size, dim, work))
    print(write_table(content, RESULTS))


if __name__ == "__main__":
    main()
