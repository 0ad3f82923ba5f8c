"""The page from a training to a model that others can use: its commands run, in their order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_docs import PAGES, ROOT, blocks, shell_lines
from helpers_hub import TOKEN, Hub
from helpers_shipped import WEIGHTS

PAGE = PAGES["docs/pass_on_models.md"]
# What makes a training of 20 minutes one of seconds, by what is in a command: a smaller set, and a
# start from the weights that come along.
QUICKER = {
    " draw ": " --scale 0.03",
    " -m person_search.train_net ": " SOLVER.MAX_ITER 3 SOLVER.BASE_LR 1e-6 "
    f"MODEL.REID_HEAD.NUM_IDENTITIES 9 MODEL.WEIGHTS {WEIGHTS}",
}


def test_it_takes_six_commands():
    assert len(shell_lines(PAGE)) == 6


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path):
    """On a drawn set; Hugging Face is a server on this computer."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    hub = Hub()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url}
    environment |= {"HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
    environment["PERSON_SEARCH_HOME"] = str(tmp_path / "home")

    def run(line):
        for start, more in QUICKER.items():
            if start in line:
                line += more
        done = subprocess.run(
            ["bash", "-ec", line.replace(".venv/bin/", "")],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"
        return done.stdout

    try:
        for line in shell_lines(PAGE):
            run(line)
        for example in blocks(PAGE, "python"):
            (tmp_path / "example.py").write_text(example)
            run("python example.py")
        run("person-search models download hf:OWNER/NAME --as fetched")
        assert "ok " in run("person-search models check")
    finally:
        hub.close()
    page = hub.models["OWNER/NAME"]["README.md"].decode()
    assert (
        "python -m person_search.train_net --config-file configs/drawn_cuhk/slim_fpn.yaml" in page
    )
    assert (
        "3 iterations of 4 pictures, from drawn_cuhk_slim_fpn.pth" in page
        and "| search mAP |" in page
    )
    assert {"model.onnx", "model.safetensors", "model.threshold.json"} <= set(
        hub.models["OWNER/NAME"]
    )
