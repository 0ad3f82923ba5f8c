import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, engine_processes, make_entries, wait_until

from person_search.cli import main
from person_search.gallery.index import GalleryError, GalleryIndex


@pytest.fixture
def start_store(tmp_path):
    """Start ``person-search store`` on a free port; return the process and its address."""
    started = []

    def start(path):
        log = tmp_path / f"store{len(started)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "person_search.cli", "store", str(path), "--port", "0"],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        wait_until(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        return process, log.read_text().partition("--gallery ")[2].split()[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_store_shares_a_gallery_and_leaves_nothing_behind(start_store, tmp_path):
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    process, address = start_store(path)
    assert address.startswith("http://127.0.0.1:")
    with GalleryIndex.create(address, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        index.put(entries[:3])
        with pytest.raises(GalleryError, match=r"open in another process.*person-search store"):
            GalleryIndex.open(path)
        index.put(entries[3:])

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    # Ctrl-C is told apart.
    process, _ = start_store(path)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "stopped; the gallery is complete" in (tmp_path / "store1.log").read_text()
    assert not engine_processes(path) and sorted(p.name for p in tmp_path.glob("*g.db*")) == [
        "g.db"
    ]
    with GalleryIndex.open(path) as index:
        assert index.info().frames == 6


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_store_takes_its_engine_along(start_store, tmp_path):
    path = tmp_path / "g.db"
    process, _ = start_store(path)
    assert len(engine_processes(path)) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not engine_processes(path))
    # And the lock of the killed one keeps nobody out.
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        assert index.info().frames == 0


def test_a_port_in_use_is_refused_before_anything_is_made(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["store", str(tmp_path / "g.db"), "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 cannot be used" in message and "--port" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://127.0.0.1:1"], "is served already"),
        (["gallery.sqlite"], "expected a file ending in .db"),
        (["g.db", "--port", "70000"], "the port is 70000"),
        (["nowhere/g.db"], "there is no folder"),
    ],
)
def test_what_cannot_be_served_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["store", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
