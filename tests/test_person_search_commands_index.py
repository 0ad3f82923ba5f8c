"""What `person-search index` says at its end, with a finder that knows colours."""

import cv2
import numpy as np
import pytest
from helpers_demo import ColorFinder, draw_colors
from PIL import Image

from person_search.cli import main
from person_search.commands import index as command
from person_search.gallery.index import GalleryIndex


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Index a folder; return the status, the output and the messages."""
    monkeypatch.setattr(command, "load_finder", lambda *_: ColorFinder())

    def call(*arguments):
        gallery = str(tmp_path / "g.db")
        status = main(["index", str(tmp_path / "footage"), "--gallery", gallery, *arguments])
        return status, *capsys.readouterr()

    return call


def _save(tmp_path, *names):
    pixels = draw_colors(["red", "green"])
    for name in names:
        path = tmp_path / "footage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            Image.fromarray(pixels).save(path)
        elif path.suffix == ".avi":
            size = pixels.shape[1::-1]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 1.0, size)
            for _ in range(2):
                writer.write(np.ascontiguousarray(pixels[:, :, ::-1]))
            writer.release()
        else:
            path.write_bytes(b"something else")


def test_the_last_line_counts_what_was_passed_over_and_what_has_no_time(run, tmp_path):
    _save(tmp_path, "a-20250602-100000.jpg", "b.jpg", "c.avi", "d-20250602-110000.avi")
    _save(tmp_path, "notes.txt", "more/x.xyz", "more/y.txt")
    status, out, talk = run("--time-from", "name:%Y%m%d-%H%M%S")
    assert status == 0 and "broken" not in talk
    assert out.count("\n") == 1
    assert "added 6 frames with 12 people" in out and ", 3 without a time, 0 unchanged" in out
    assert out.endswith("; passed over 3 files (.txt 2, .xyz 1)\n")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        times = [frame.timestamp for frame in index.frames()]
    assert sorted(time is None or time < 1e9 for time in times) == [False] * 3 + [True] * 3


def test_without_a_wish_for_times_none_is_missed(run, tmp_path):
    _save(tmp_path, "b.jpg")
    status, out, _ = run()
    assert status == 0 and "without a time" not in out and "passed over" not in out


@pytest.mark.parametrize(("good", "status"), [(2, 0), (1, 1)])
def test_more_broken_than_read_is_status_1_and_each_is_named_once(run, tmp_path, good, status):
    """Four of five were broken, each was named twice in a line of the output, and all was well."""
    _save(tmp_path, *(f"{n}.jpg" for n in range(good)))
    for name in ("x.jpg", "y.png"):
        (tmp_path / "footage" / name).write_bytes(b"no picture")
    got, out, talk = run()
    assert got == status and "2 broken" in out and out.count("\n") == 1
    assert talk.count(str(tmp_path / "footage" / "x.jpg")) == 1
    assert talk.count("broken: ") == 2


def test_one_start_for_two_videos_is_refused_before_a_model_is_loaded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load_finder", lambda *_: pytest.fail("loaded"))
    _save(tmp_path, "a.avi", "b.avi")
    status, out, talk = run("--start", "2025-06-02T14:00:00")
    assert (status, out) == (2, "") and "one start is given for 2 videos" in talk


def test_a_folder_with_a_line_break_in_its_name_does_not_end_the_run(run, tmp_path):
    _save(tmp_path, "a\nb/1.jpg", "c/1.jpg", "d/1.jpg")
    status, out, talk = run("--camera-from", "folder")
    assert status == 0 and "added 2 frames" in out and "1 broken" in out
    assert r"the name of its camera, 'a\nb', has control characters; rename the folder" in talk


def test_links_to_nothing_and_files_that_are_no_pictures_do_not_end_the_run(run, tmp_path):
    """One of either ended it, and nothing was indexed."""
    _save(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "footage" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "footage" / "loop").symlink_to(tmp_path / "footage")
    signed = cv2.imencode(".tiff", np.full((4, 4, 3), -5, np.int16))[1]
    (tmp_path / "footage" / "signed.tif").write_bytes(signed.tobytes())
    status, out, talk = run()
    assert status == 0 and "added 3 frames with 6 people" in out and "2 broken" in out
    assert "gone.jpg: " in talk and "signed.tif: has int16 values -5..-5" in talk
