"""The wheel and the source distribution, each in a clean environment outside any checkout."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Everybody is found where they are, each with an embedding of their own.
SAVE_THE_TRUTH = """
import numpy as np
from person_search.data.cuhk_sysu import load_cuhk_sysu_protocol
from person_search.evaluation.predictions import Predictions, save_predictions

protocol = load_cuhk_sysu_protocol("data/drawn-cuhk")
names, pids = np.array(protocol.frame_names), np.concatenate(protocol.frame_pids)
counts = [len(boxes) for boxes in protocol.frame_boxes]
who = np.where(pids >= 0, pids, pids.max() + 1 + np.arange(len(pids)))
embeddings = np.eye(who.max() + 1, dtype=np.float32)
save_predictions("truth.npz", Predictions(
    image_names=names, image_index=np.repeat(np.arange(len(names)), counts),
    boxes=np.concatenate(protocol.frame_boxes).astype(np.float32),
    scores=np.ones(len(pids), np.float32), embeddings=embeddings[who],
    query_names=names[protocol.query_frames], query_boxes=protocol.query_boxes.astype(np.float32),
    query_embeddings=embeddings[protocol.query_pids]))
"""
WITHOUT = ("torch", "torchvision", "detectron2", "demo", "configs")


def user_environment():
    """What a user has, without what the tests' environment sets."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OMP_"))}


def run(*command, cwd):
    words = [str(word) for word in command]
    options = {"env": user_environment(), "capture_output": True, "text": True, "timeout": 600}
    return subprocess.run(words, cwd=cwd, **options)


def succeed(*command, cwd):
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build both from a copy of the checkout, the wheel out of the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        source, target = ROOT / name, folder / "checkout" / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    succeed("make", "wheel", f"PYTHON={sys.executable}", cwd=folder / "checkout")
    return folder / "checkout/dist"


@pytest.fixture(scope="module", params=["*.whl", "*.tar.gz"])
def program(request, built, tmp_path_factory):
    """Install one of them without an extra; the ``bin`` folder of the environment."""
    environment = tmp_path_factory.mktemp("environment")
    (file,) = built.glob(request.param)
    uv = (sys.executable, "-m", "uv")
    succeed(*uv, "venv", "--python", sys.executable, environment / "venv", cwd=environment)
    start = time.monotonic()
    python = environment / "venv/bin/python"
    succeed(*uv, "pip", "install", "--python", python, file, cwd=environment)
    size = sum(f.stat().st_size for f in (environment / "venv").rglob("*") if f.is_file())
    print(f"{file.name}: {size / 1e6:.0f} MB, {time.monotonic() - start:.0f} s to install")
    assert size < 1e9
    return python.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(port, name):
    """Call the page's API as a program without Gradio would; None while nobody listens."""
    url = f"http://127.0.0.1:{port}/gradio_api/call/{name}"
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, b'{"data": []}', headers)
        event = json.load(urllib.request.urlopen(request, timeout=10))["event_id"]
        text = urllib.request.urlopen(f"{url}/{event}", timeout=30).read().decode()
    except OSError:
        return None
    return json.loads(text.partition("data: ")[2].splitlines()[0])


@pytest.mark.slow
def test_everything_but_training_runs_without_pytorch_and_checkout(program, tmp_path):
    search = program / "person-search"
    for module in WITHOUT:
        assert run(program / "python", "-c", f"import {module}", cwd=tmp_path).returncode == 1
    draw = ("draw", "--set", "drawn-cuhk", "--scale", "0.02", "--root", "data")
    succeed(search, *draw, cwd=tmp_path)
    frames = sorted((tmp_path / "data/drawn-cuhk/Image/SSM").glob("*.jpg"))[:4]
    assert "added 4 frames" in succeed(search, "index", *frames, "--gallery", "g.db", cwd=tmp_path)
    query = ("search", "--gallery", "g.db", "--query", f"{frames[0]}#1")
    answer = json.loads(succeed(search, *query, "--own-frame", "--json", cwd=tmp_path))
    assert answer["matches"][0]["image"] == str(frames[0])
    assert answer["matches"][0]["similarity"] > 0.999 and answer["threshold"] > 0
    assert "frames       4" in succeed(search, "info", "--gallery", "g.db", cwd=tmp_path)
    _check_page(search, tmp_path)
    succeed(program / "python", "-c", SAVE_THE_TRUTH, cwd=tmp_path)
    data = ("--dataset", "drawn_cuhk", "--root", "data/drawn-cuhk", "--predictions", "truth.npz")
    score = (program / "python", "-m", "person_search.evaluate", *data, "--json", "results.json")
    succeed(*score, cwd=tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["search"]["mAP"] == 100 and results["detection"]["recall"] == 100
    config = ("--config-file", "configs/drawn_cuhk/slim_fpn.yaml", "--weights", "w.pth")
    done = run(search, "search", "--gallery", "g.db", "--query", frames[0], *config, cwd=tmp_path)
    assert done.returncode == 2 and "person-search[train]" in done.stderr


def _check_page(search, folder):
    port = free_port()
    words = [str(search), "serve", "--gallery", "g.db", "--port", str(port)]
    with (folder / "log").open("w") as log:
        served = subprocess.Popen(words, cwd=folder, env=user_environment(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while (answer := call(port, "galleries")) is None:
            assert served.poll() is None and time.monotonic() < deadline, (
                folder / "log"
            ).read_text()
            time.sleep(0.5)
        assert answer[0]["galleries"][0]["frames"] == 4
    finally:
        served.send_signal(signal.SIGINT)
        served.wait(60)
