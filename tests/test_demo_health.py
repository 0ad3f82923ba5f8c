"""A page that goes on: galleries that vanish and come back, a queue that stops, what is said."""

import functools
import platform
import shutil
import ssl
import subprocess
import sys
import time

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_door import call_api, client_of, make_users, serve_page
from PIL import Image

from demo import health
from demo.additions import index_uploads
from demo.handlers import Handlers
from person_search.footage.files import FootageOptions
from person_search.gallery.checking import back_up
from person_search.gallery.index import GalleryIndex

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve a gallery of one frame; yield the service, a client, and the file."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
    monkeypatch.setattr(health, "_CHECKED_FOR", 0.0)
    path = tmp_path / "g.db"
    app, service, url = serve_page(
        ColorFinder(), {"town": GalleryIndex.create(path, **MODEL)}, tmp_path
    )
    Image.fromarray(draw_colors(["red"])).save(tmp_path / "a.png")
    index_uploads(service, service.gallery(None), [tmp_path / "a.png"], FootageOptions())
    with client_of(url) as client:
        yield service, client, path, app
    app.close(verbose=False)
    service.galleries["town"].index.close()


def test_threads_share_their_memory_where_the_library_can():
    """In a process of its own, as it cannot be taken back."""
    said = "from demo.memory import share_arenas; print(share_arenas())"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


def move(source, target):
    for end in ("", "-wal", "-shm"):
        shutil.move(f"{source}{end}", f"{target}{end}")


def test_a_gallery_that_vanishes_is_said_and_used_again_when_it_is_back(served, tmp_path):
    service, client, path, _ = served
    assert client.get("health").json() == {
        "status": "ok", "faults": [], "galleries": {"town": "ok"}, "queue_restarts": 0,
    }  # fmt: skip
    move(path, tmp_path / "away.db")
    answer = client.get("health")
    assert answer.status_code == 503 and answer.json()["status"] == "degraded"
    assert "the gallery g.db is no longer there" in answer.json()["galleries"]["town"]
    went_well, said = call_api(client, "galleries")
    assert not went_well and "g.db is no longer there" in str(said)
    assert str(tmp_path) not in str(said) + answer.text
    summary, _ = Handlers(service).describe("town")
    assert "no longer there" in summary and "ps-note" in summary
    move(tmp_path / "away.db", path)
    assert client.get("health").status_code == 200
    assert call_api(client, "galleries")[1]["galleries"][0]["frames"] == 1


@pytest.mark.slow
def test_a_gallery_that_is_replaced_is_opened_anew(served, tmp_path):
    service, client, path, _ = served
    back_up(path, tmp_path / "copy.db")
    before = service.galleries["town"].index
    for end in ("", "-wal", "-shm"):
        (path.parent / f"g.db{end}").unlink()
    shutil.move(tmp_path / "copy.db", path)
    assert client.get("health").status_code == 200
    assert call_api(client, "galleries")[1]["galleries"][0]["frames"] == 1
    assert service.galleries["town"].index is not before


@pytest.mark.slow
def test_a_gallery_of_another_model_is_not_taken(served, tmp_path):
    _, client, path, _ = served
    for end in ("", "-wal", "-shm"):
        (path.parent / f"g.db{end}").unlink()
    GalleryIndex.create(path, fingerprint="d1" * 32, embedding_dim=EMBEDDING_DIM).close()
    answer = client.get("health")
    assert answer.status_code == 503 and "of another model" in answer.text


@pytest.mark.slow
def test_a_queue_that_stopped_is_started_again(served):
    _, client, _, app = served
    app._queue.stopped = True
    ends = time.monotonic() + 30
    while not client.get("health").json()["queue_restarts"] and time.monotonic() < ends:
        time.sleep(0.1)
    assert client.get("health").json()["queue_restarts"] == 1
    assert call_api(client, "galleries")[0]


def test_whoever_is_not_signed_in_is_told_little(tmp_path):
    app = type("App", (), {"is_running": True})()
    users = make_users(ann="admin")
    service = type("Service", (), {"galleries": {}})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "has_stopped", lambda app: False)
        patch.setattr(health, "longest_running", lambda app, line, now: 1e4)
        found = health.Health(app, service, users)
        assert found.report(False) == (False, {"status": "degraded"})
        (fault,) = found.report(True)[1]["faults"]
        assert "has worked on one picture for 10000 s" in fault
