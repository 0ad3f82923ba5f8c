"""The drawn town on disk: videos, true tracks, tables; the same bytes, or nothing."""

import configparser
import csv
import dataclasses
import hashlib
import json
from datetime import datetime, timedelta

import numpy as np
import pytest
from helpers_drawing import plain_people, write_by_two_processes

from person_search.commands import draw as command
from person_search.footage.files import FootageOptions, iterate_files, list_footage
from person_search.footage.video import decode_frames, read_clock
from person_search.synthetic import town_writer
from person_search.synthetic.town.spec import TOWN_PRESETS
from person_search.synthetic.town_writer import write_town

TINY = dataclasses.replace(TOWN_PRESETS["tiny-town"], seconds=40, identities=4, rate=5)


@pytest.fixture(scope="module", autouse=True)
def plain_walkers():
    with plain_people():
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_town(TINY, tmp_path_factory.mktemp("town") / "tiny-town")


def read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return len(files), total.hexdigest()


def test_every_clip_is_a_video_with_its_tracks(drawn):
    videos = sorted((drawn / "footage").rglob("*.mp4"))
    assert {video.parent.name for video in videos} == {"station", "market"}
    for video in videos:
        folder = drawn / "tracks" / f"{video.parent.name}-{video.stem}"
        info = configparser.ConfigParser()
        info.read(folder / "seqinfo.ini")
        sequence = info["Sequence"]
        assert (sequence["name"], sequence["imDir"]) == (
            folder.name, f"../../footage/{video.parent.name}/{video.name}",
        )  # fmt: skip
        clock = read_clock(video)
        assert len(clock.times) == int(sequence["seqLength"])
        assert np.allclose(np.diff(clock.times), 0.2, atol=1e-6)
        (_, pixels), = decode_frames(video, [0])  # fmt: skip
        assert pixels.shape == (180, 320, 3)
        rows = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",", ndmin=2)
        assert rows.shape[1] == 9 and 1 <= rows[:, 0].min() <= rows[:, 0].max() <= len(clock.times)
        assert set(rows[:, 1]) <= {1, 2, 3, 4}
        assert (rows[:, 2:4] >= 0).all() and (rows[:, 2] + rows[:, 4] <= 320).all()
        assert (rows[:, 6:8] == 1).all() and rows[:, 8].min() >= 0 and rows[:, 8].max() == 1
    record = json.loads((drawn / "drawn.json").read_text())
    assert (record["clips"], record["layout"]) == (len(videos), "MOT Challenge, videos")


def test_stays_tell_who_was_where_when_and_with_whom(drawn):
    stays = read_table(drawn / "stays.csv")
    people = {row["identity"]: row for row in read_table(drawn / "people.csv")}
    lead = [row for row in stays if row["identity"] == "1"]
    assert people["1"]["look"].startswith("yellow coat")
    assert lead[0]["camera"] == "station" and lead[0]["with"] == people["1"]["friends"]
    # Each person is at one place at a time, and in each place with those who say so too.
    for one in stays:
        for other in stays:
            if one is not other and one["identity"] == other["identity"]:
                assert one["end"] < other["start"] or other["end"] < one["start"]
        for name in one["with"].split():
            assert any(
                (o["identity"], o["camera"], o["clip"]) == (name, one["camera"], one["clip"])
                and one["identity"] in o["with"].split()
                and o["start"] < one["end"] and one["start"] < o["end"]
                for o in stays
            )  # fmt: skip


def test_times_of_stays_are_those_of_the_named_clip(drawn):
    for stay in read_table(drawn / "stays.csv"):
        first = datetime.strptime(stay["clip"], "%Y-%m-%d_%H-%M-%S.mp4")
        for when, frame in (("start", "first_frame"), ("end", "last_frame")):
            moment = first + timedelta(seconds=int(stay[frame]) / 5)
            assert datetime.fromisoformat(stay[when]) == moment
        stem = stay["clip"].removesuffix(".mp4")
        rows = np.loadtxt(
            drawn / "tracks" / f"{stay['camera']}-{stem}" / "gt" / "gt.txt", delimiter=",", ndmin=2
        )
        mine = rows[rows[:, 1] == int(stay["identity"])]
        assert {int(stay["first_frame"]) + 1, int(stay["last_frame"]) + 1} <= set(mine[:, 0])


def test_indexing_knows_cameras_and_times_by_the_names(drawn):
    options = FootageOptions(camera_from="folder", time_from="name", every=100)
    frames = list(iterate_files(list_footage([drawn]), options, lambda frame: False))
    assert {frame.camera for frame in frames} == {"station", "market"}
    for frame in frames:
        start = datetime.strptime(frame.name.split("/")[-1], "%Y-%m-%d_%H-%M-%S.mp4#frame=0")
        assert frame.timestamp == start.timestamp()


def test_same_bytes_with_two_processes_and_never_twice(drawn, tmp_path):
    again = write_by_two_processes(write_town, TINY, tmp_path / "tiny-town")
    assert digest(again) == digest(drawn)
    before = {path: path.stat().st_mtime_ns for path in again.rglob("*")}
    write_town(TINY, again)
    assert before == {path: path.stat().st_mtime_ns for path in again.rglob("*")}
    with pytest.raises(FileExistsError, match="does not hold tiny-town with seed 10"):
        write_town(dataclasses.replace(TINY, seed=10), again)


def test_a_stopped_drawing_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(town_writer, "_write_stays", fail)
    short = dataclasses.replace(TINY, seconds=25, identities=2)
    with pytest.raises(OSError, match=r"cannot write the drawn set to .*town"):
        write_town(short, tmp_path / "town")
    assert list(tmp_path.iterdir()) == []


def test_the_command_draws_a_town(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(command.TOWN_PRESETS, "tiny-town", TINY)
    asked = []
    monkeypatch.setattr(
        command, "write_town", lambda *args, **more: asked.append((args, more)) or args[1]
    )
    from person_search.cli import main

    line = ["draw", "--set", "tiny-town", "--root", str(tmp_path), "--scale", "0.5", "--seed", "3"]
    assert main(line) == 0
    ((spec, root), more), = asked  # fmt: skip
    assert (spec.identities, spec.seconds, spec.seed) == (2, 40, 3)
    assert (root, more) == (tmp_path / "tiny-town", {"processes": 2})
    assert "tiny-town is in" in capsys.readouterr().out
    assert main([*line[:5], "--preview", "4"]) == 0
    assert (tmp_path / "tiny-town-frames.png").exists()
