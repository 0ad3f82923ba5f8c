"""Trainings in processes of their own: told to end, or killed."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers_sources import ROOT
from PIL import Image
from test_reid_heads_train_net import TINY
from torch.multiprocessing.spawn import ProcessExitedException

from reid_heads.training.checkpoint_files import FileCheckpointer
from reid_heads.training.launch import explain, forward_signals

# detectron2 wraps a model for several processes in a way that asks for GPUs.
PROGRAM = """
from detectron2.engine import defaults
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from reid_heads.backbones.resnet import NUM_BLOCKS
from reid_heads.train_net import main as train
from reid_heads.training.launch import parse_and_launch


def wrap(model, *, fp16_compression=False, **options):
    return DistributedDataParallel(model, **options) if comm.get_world_size() > 1 else model


def main(args):
    import os

    NUM_BLOCKS.update(dict.fromkeys(NUM_BLOCKS, (1, 1, 1, 1)))
    defaults.create_ddp_model = wrap
    print(f"process {comm.get_rank()} is {os.getpid()}", flush=True)
    return train(args)


if __name__ == "__main__":
    parse_and_launch(main)
"""


def write_crops(folder):
    folder.mkdir()
    for number in range(24):
        pixels = np.full((32, 16, 3), 10 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{1 + number % 6:04d}_c1s1_{number:06d}_00.jpg")


class Training:
    """A training without an end, in two processes, and what it says."""

    def __init__(self, folder):
        self.output, self.log = folder / "out", folder / "log.txt"
        program = folder / "train_two.py"
        program.write_text(PROGRAM)
        write_crops(folder / "crops")
        options = [word.strip("'") for line in TINY.split("\n") for word in line.split(maxsplit=1)]
        options += ["DATASETS.CROPS", json.dumps([["endless", str(folder / "crops"), "train"]])]
        options += ["DATASETS.TRAIN", "('endless',)", "DATASETS.TEST", "()"]
        options += ["SOLVER.MAX_ITER", "1000000", "SOLVER.CHECKPOINT_PERIOD", "1000000"]
        command = [sys.executable, str(program), "--num-gpus", "2", "--dist-url", "auto"]
        command += ["--config-file", str(ROOT / "configs/Base-BagOfTricks.yaml"), *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "OUTPUT_DIR", str(self.output)],
                stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    def wait_for(self, pattern, seconds=120):
        limit = time.monotonic() + seconds
        while not (found := re.findall(pattern, self.log.read_text())):
            assert time.monotonic() < limit and self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        return found

    def end(self, seconds=60):
        """Return the exit status, which is there within a minute, and the log."""
        try:
            return self.process.wait(seconds), self.log.read_text()
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_two_processes_end_with_a_checkpoint_when_told_to(tmp_path):
    training = Training(tmp_path)
    training.wait_for(r"iter: \d+")
    training.process.send_signal(signal.SIGTERM)
    status, log = training.end()
    assert status == 143
    ((done, file),) = re.findall(r"stopped by SIGTERM after iteration (\d+) of .*: (\S+) is", log)
    assert torch.load(file)["iteration"] == int(done) - 1
    assert log.strip().splitlines()[-1].startswith("stopped by SIGTERM")
    assert (training.output / "last_checkpoint").read_text() == os.path.basename(file)


@pytest.mark.parametrize(
    ("exit_code", "received", "status", "message"),
    [
        (-9, [], 1, "process 1 ended by SIGKILL, and the others were ended; go on from the last"),
        (3, [], 1, "process 1 ended by status 3, and the others"),
        (143, [], 143, ""),
        (143, [signal.SIGINT], 130, ""),
        (-15, [signal.SIGTERM], 143, "stopped by SIGTERM, without a checkpoint of the last steps"),
    ],
)
def test_how_a_process_ended_is_said_in_a_line(capsys, exit_code, received, status, message):
    name = signal.Signals(-exit_code).name if exit_code < 0 else None
    error = ProcessExitedException("", 1, 0, exit_code, name)
    assert explain(error, received) == status
    said = capsys.readouterr().err
    assert said.startswith(message) and said.count("\n") == bool(message)


def test_a_launcher_passes_signals_on(monkeypatch):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    # The tests have processes of their own.
    monkeypatch.setattr(
        multiprocessing, "active_children", lambda: [process] if process.is_alive() else []
    )
    before = signal.getsignal(signal.SIGTERM)
    process.start()
    with forward_signals() as received:
        os.kill(os.getpid(), signal.SIGTERM)
        process.join(20)
    assert process.exitcode == -signal.SIGTERM and received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(SystemExit, match="143"), forward_signals():
        os.kill(os.getpid(), signal.SIGTERM)


def save_for_ever(folder):
    torch.set_num_threads(1)
    checkpointer = FileCheckpointer(torch.nn.Linear(700, 700), str(folder))
    for iteration in range(10**6):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        old = folder / f"model_{iteration - 3:07d}.pth"
        old.unlink(missing_ok=True)


@pytest.mark.slow
def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path):
    draw = random.Random(1)
    for trial in range(8):
        folder = tmp_path / str(trial)
        folder.mkdir()
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(folder,))
        process.start()
        while not (folder / "last_checkpoint").exists():
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.15))
        process.kill()
        process.join()
        last = (folder / "last_checkpoint").read_text()
        found = FileCheckpointer(torch.nn.Linear(700, 700), str(folder)).resume_or_load("")
        assert last == f"model_{found['iteration']:07d}.pth", "the last one itself is whole"
        assert not list(folder.glob("*.part"))
