import subprocess
import sys
from collections import Counter

import pytest

from person_search.commands.workers import Workers, sum_reports
from person_search.footage.files import BrokenFile
from person_search.gallery.add_footage import IndexReport
from person_search.gallery.index import GalleryIndex
from person_search.synthetic.cuhk_writer import write_cuhk_sysu
from person_search.synthetic.world_spec import PRESETS


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_make_up_the_whole(count):
    items = list(range(7))
    shares = [Workers(rank, count).take_share(items) for rank in range(count)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_ranks_come_from_the_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Workers.from_environment() == Workers(0, 1, 0)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert Workers.from_environment() == Workers(5, 8, 1)
    assert not Workers.from_environment().is_first


@pytest.mark.parametrize(("rank", "size"), [("two", "4"), ("4", "4"), ("-1", "4")])
def test_ranks_without_sense_are_refused(monkeypatch, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(ValueError, match=r"expected a (number|rank)"):
        Workers.from_environment()


def test_each_process_of_a_machine_gets_its_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = [Workers(rank, 6, rank % 3).choose_device() for rank in range(6)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0"] * 2
    assert Workers().choose_device() is None


def test_reports_are_summed():
    reports = [
        IndexReport(3, 7, 1, [BrokenFile("a", "x")], 2.0, 1),
        IndexReport(4, 9, 0, [BrokenFile("b", "y")], 5.0, 2),
    ]
    broken = [BrokenFile("a", "x"), BrokenFile("b", "y")]
    assert sum_reports(reports) == IndexReport(7, 16, 1, broken, 5.0, 3)


@pytest.mark.slow
def test_two_processes_index_each_frame_once(tmp_path):
    """The example of docs/own_footage.md: torchrun and a broken file; twice."""
    root = write_cuhk_sysu(
        PRESETS["drawn-cuhk"].scaled(0.02), tmp_path / "drawn-cuhk", splits=("test",)
    )
    footage = root / "Image/SSM"
    (footage / "broken.jpg").write_bytes(b"not a picture")
    names = sorted(str(path) for path in footage.glob("s*.jpg"))
    gallery = str(tmp_path / "g.db")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "person_search.cli", "index", str(footage), "--gallery", gallery),
        *("--device", "cpu"),
    ]
    for added, unchanged in ((len(names), 0), (0, len(names))):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert f"added {added} frames" in done.stdout and f"{unchanged} unchanged" in done.stdout
        assert "by 2 processes" in done.stdout
        assert done.stderr.count("broken: ") == 1, "only the first process speaks"
        with GalleryIndex.open(gallery) as index:
            counts = Counter(frame.name for frame in index.frames())
            assert sorted(counts) == names and set(counts.values()) == {1}
