import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("milvus_lite", reason="needs the extra gallery")

from person_search.cli import main
from person_search.gallery import milvus_parts
from person_search.gallery.engine import GalleryError, connect, disconnect
from reid_heads.library_parts import MissingPartError


def test_an_engine_is_known_while_it_runs(tmp_path):
    path = tmp_path / "a.db"
    assert not milvus_parts.has_server(path) and not milvus_parts.is_server_running(path)
    engine = connect(path)
    try:
        assert milvus_parts.has_server(path) and milvus_parts.is_server_running(path)
        assert milvus_parts.has_engine(path)
        assert not milvus_parts.has_engine(tmp_path / "b.db")
        assert milvus_parts.lock_of(path).is_file()
    finally:
        disconnect(engine)
    assert not milvus_parts.has_server(path) and not milvus_parts.is_server_running(path)


@pytest.fixture
def other_version(monkeypatch):
    """A Milvus Lite whose servers are called something else."""
    from milvus_lite import server_manager

    manager = SimpleNamespace(engines={}, release_server=None)
    monkeypatch.setattr(server_manager, "server_manager_instance", manager)


def test_another_version_is_refused_with_what_to_install(other_version, tmp_path):
    wanted = (
        r"person_search/gallery/milvus_parts.py leans on types.SimpleNamespace._servers, which "
        r"milvus-lite [\d.]+ does not have; it is known to work with 2.5.1: "
        r"pip install milvus-lite==2.5.1"
    )
    with pytest.raises(GalleryError, match=wanted):
        connect(tmp_path / "a.db")
    assert not list(tmp_path.iterdir())


def test_a_program_that_has_moved(monkeypatch, tmp_path, capsys):
    """The engine that `person-search store` starts; its command ends with the message alone."""
    package = SimpleNamespace(__file__=str(tmp_path / "milvus_lite/__init__.py"))
    monkeypatch.setitem(sys.modules, "milvus_lite", package)
    with pytest.raises(MissingPartError, match=r"leans on the program .*/milvus_lite/lib/milvus, "):
        milvus_parts.engine_command(tmp_path / "a.db", "127.0.0.1:1")
    assert main(["store", str(tmp_path / "a.db"), "--port", "0"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("person-search store: ") and printed.count("\n") == 1
    assert "known to work with 2.5.1: pip install milvus-lite==2.5.1" in printed
