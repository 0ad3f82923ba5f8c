import argparse
import os

import pytest

from person_search.commands import draw as command
from person_search.synthetic.output_folder import run_on_frames, usable_cores


def test_frames_of_a_camera_are_drawn_together_and_handed_back_in_order():
    world, drawn = object(), []

    def draw(seen, index, argument):
        assert seen is world
        drawn.append(index)
        return index, argument

    results = run_on_frames(lambda: world, draw, [5, 6, 7, 8], "abcd", 1, cameras=[2, 0, 2, 0])
    assert drawn == [6, 8, 5, 7]
    assert results == [(5, "a"), (6, "b"), (7, "c"), (8, "d")]


@pytest.mark.parametrize("name", ["drawn-cuhk", "drawn-faces", "tiny-town"])
def test_the_command_draws_on_every_core(name, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "usable_cores", lambda: 7)
    asked = []

    def write(spec, root, processes):
        asked.append((spec.name, processes))
        return root

    for writer in ("write_faces", "write_town"):
        monkeypatch.setattr(command, writer, write)
    monkeypatch.setitem(command.WRITERS, name, write)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for words in ([], ["--processes", "3"]):
        assert command.run(parser.parse_args(["--set", name, "--root", str(tmp_path), *words])) == 0
    assert asked == [(name, 7), (name, 3)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_cores_that_others_own_do_not_count():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores() == len(before)
