"""What the accuracy benchmarks share: trainings in processes of their own, and tables."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch


def train(module: str, config_file: str, folder: Path, overrides: list[str], threads: int) -> dict:
    """Train and score in a process of its own, or read what an earlier start left.

    An interrupted training continues from its last checkpoint.

    Args:
        module: "person_search" or "reid_heads".
        config_file: of the training.
        folder: its output.
        overrides: alternating keys and values.
        threads: of torch; a run with one thread beside another uses two cores better than one run
            with two.

    Returns:
        ``{"folder", "minutes", "threads", "results", "ms_per_frame"}``; minutes is None for an
        interrupted run, of which only the last part is known.

    Raises:
        RuntimeError: if the training fails; has the end of its output.
    """
    finished = folder / "finished.json"
    if finished.exists():
        return json.loads(finished.read_text())
    was_interrupted = (folder / "last_checkpoint").exists()
    command = [sys.executable, "-m", f"{module}.train_net", "--resume", "--config-file"]
    started = time.perf_counter()
    run_quietly([*command, config_file, *overrides, "OUTPUT_DIR", str(folder)], threads)
    minutes = (time.perf_counter() - started) / 60
    run = {
        "folder": str(folder),
        "minutes": None if was_interrupted else minutes,
        "threads": threads,
        "results": json.loads((folder / "inference/results.json").read_text()),
        "ms_per_frame": read_ms_per_frame(folder / "log.txt"),
    }
    finished.write_text(json.dumps(run))
    return run


def run_quietly(command: list[str], threads: int) -> None:
    """Run a command; its output is shown only where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def read_ms_per_frame(log: Path) -> float | None:
    """Return the model's own time of a test image, ms, from detectron2's last evaluation."""
    found = re.findall(r"pure compute time: .*\(([\d.]+) s / iter", log.read_text())
    return 1000 * float(found[-1]) if found else None


def describe_machine() -> str:
    """Return cores, architecture and torch's version."""
    return f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"


def spread(values: list[float]) -> str:
    """Return mean ± standard deviation; of a single value, the value."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
