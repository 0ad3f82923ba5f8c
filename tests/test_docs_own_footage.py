import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers_docs import PAGES, ROOT, blocks, shell_lines

from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

GUIDE = PAGES["docs/own_footage.md"]
# The shell of the test is that of the virtual environment; there is no second machine.
ELSEWHERE = ("source ", "torchrun --nnodes")
COMMANDS = [line for line in shell_lines(GUIDE) if not line.startswith(ELSEWHERE)]


def _write_clip(path):
    """Ten seconds of drawn frames, one a second."""
    world = World(PRESETS["drawn-cuhk"])
    frames = [world.draw(2200 + number).image for number in range(10)]
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 1, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()


@pytest.mark.slow
def test_every_command_of_the_guide_runs(tmp_path):
    """In the order of the guide, in one folder."""
    _write_clip(tmp_path / "clip.mp4")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "REPOSITORY": str(ROOT), "PYTHONPATH": str(ROOT)}
    for line in COMMANDS:
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        print(f"$ {line}\n{done.stdout.rpartition(chr(13))[2]}")
        assert done.returncode == 0, f"{line}\n{done.stdout}"
    (example,) = blocks(GUIDE, "python")
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count(".jpg") == 3, done.stderr
    for name in ("people.png", "matches.png", "model.onnx", "threshold.json"):
        assert (tmp_path / name).stat().st_size
