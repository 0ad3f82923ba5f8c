"""What is being written stays, what a killed process left goes, and nothing of others does."""

import fcntl
import os
import subprocess
import sys

import pytest

from reid_heads import unfinished as module
from reid_heads.unfinished import (
    is_being_written,
    is_unfinished,
    remove_unfinished,
    unfinished,
)

LEFT = ".case.zip.person-search-9-0123abcd.part"


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("is_folder", [False, True])
def test_it_lies_beside_what_it_becomes_for_its_owner_alone(tmp_path, is_folder):
    with unfinished(tmp_path / "case.zip", is_folder=is_folder) as made:
        assert (
            made.parent == tmp_path
            and made.name.startswith(".case.zip.")
            and is_folder == (made.is_dir())
        )
        assert made.stat().st_mode & 0o777 == (0o700 if is_folder else 0o600)
        assert is_unfinished(made.name) and f"-{os.getpid()}-" in made.name
        assert remove_unfinished(tmp_path) == 0 and made.exists(), "it is being written"
        assert is_being_written(tmp_path / "case.zip")
        assert not is_being_written(tmp_path / "case") and not is_being_written(
            tmp_path / "ase.zip"
        )
        made.rename(tmp_path / "case.zip")
    assert names(tmp_path) == ["case.zip"]
    assert not is_being_written(tmp_path / "case.zip")
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "b", is_folder=is_folder):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["case.zip"]


def test_a_gallery_goes_with_what_sqlite_puts_beside_it(tmp_path):
    with unfinished(tmp_path / "t.db", is_gallery=True) as made:
        assert made.suffix == ".db"
        for ending in ("-wal", "-shm"):
            made.with_name(f"{made.name}{ending}").touch()
        assert remove_unfinished(tmp_path) == 0 and len(names(tmp_path)) == 3
    assert names(tmp_path) == []


def test_what_a_killed_process_left_goes_with_the_next_one_that_writes_there(tmp_path, caplog):
    program = (
        "import os, sys\nfrom reid_heads.unfinished import unfinished\n"
        "with unfinished(sys.argv[1], is_folder=True) as made:\n"
        "    (made / 'face.jpg').touch(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "case")], timeout=60)
    (left,) = tmp_path.iterdir()
    assert done.returncode == -9 and (left / "face.jpg").exists()
    with unfinished(tmp_path / "other"):
        assert not left.exists()
    assert f"had left unfinished in {tmp_path}" in caplog.text and names(tmp_path) == []
    (tmp_path / LEFT).touch()
    with unfinished(tmp_path / "again"):
        assert (tmp_path / LEFT).exists(), "a folder is looked into once"


def test_what_is_not_certainly_ours_and_left_stays(tmp_path, monkeypatch):
    stay = [".case.zip.part", "tmpabc.part", ".a.person-search-x-0123abcd.part", f"{LEFT}.db-old"]
    for name in stay:
        (tmp_path / name).touch()
    (tmp_path / LEFT).symlink_to(tmp_path / "elsewhere")
    assert remove_unfinished(tmp_path) == 0 and names(tmp_path) == sorted([*stay, LEFT])
    (tmp_path / LEFT).unlink()
    # Of another user, as in a shared folder, whose lock may have been lost.
    (tmp_path / LEFT).mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
        assert remove_unfinished(tmp_path) == 0
    # Where a file system has no locks nobody can tell.
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", raise_no_locks)
        with unfinished(tmp_path / "b") as made:
            assert remove_unfinished(tmp_path) == 0 and made.exists()
            assert not is_being_written(tmp_path / "b") and not is_being_written("/nowhere/b")
    (tmp_path / f"{LEFT}.db-wal").touch()
    assert remove_unfinished(tmp_path) == 2 and names(tmp_path) == sorted(stay)
    assert remove_unfinished(tmp_path / "nowhere") == 0


def raise_no_locks(*_):
    raise OSError(95, "Operation not supported")


def test_one_that_was_taken_for_left_before_its_lock_is_made_again(tmp_path, monkeypatch):
    flock, made = fcntl.flock, []

    def take_away(lock, how):
        if not made:
            made.append(*tmp_path.iterdir())
            made[0].unlink()
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", take_away)
    with unfinished(tmp_path / "a") as again:
        assert again.exists() and again != made[0]


def test_a_long_name_is_cut(tmp_path):
    with unfinished(tmp_path / ("ü" * 127)) as made:
        made.rename(tmp_path / ("ü" * 127))
    assert names(tmp_path) == ["ü" * 127]


def test_one_for_a_server_that_hides_hidden_files(tmp_path):
    with unfinished(tmp_path / "uploads", is_folder=True, is_hidden=False) as made:
        assert made.name.startswith("uploads.person-search-") and is_unfinished(made.name)
