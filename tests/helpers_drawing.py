"""Draw sets quickly: by two processes that start at once, and with people of two rectangles."""

import contextlib
import multiprocessing
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
from helpers_processes import run_processes

from person_search.synthetic import output_folder, world
from person_search.synthetic.canvas import Sprite
from person_search.synthetic.town import sprites


@contextlib.contextmanager
def plain_people():
    """Paint whoever is drawn meanwhile as two rectangles, which is 50 times quicker.

    For tests of who stands where and of what is written about it, not of what people look like.
    """
    with (
        mock.patch.object(world, "paint_person", _paint_plainly),
        mock.patch.object(sprites, "paint_person", _paint_plainly),
    ):
        yield


def _paint_plainly(identity, pose, height_px, light):
    height = round(height_px)
    width = round(0.34 * identity.girth * height)
    bgra = np.full((height, width, 4), 255, np.uint8)
    bgra[: height // 2, :, :3] = identity.upper_colour[::-1]
    bgra[height // 2 :, :, :3] = identity.lower_colour[::-1]
    return Sprite(bgra, -(width // 2), -height)


def write_by_two_processes(write, spec, root):
    """Call ``write(spec, root, processes=2)`` with forked drawing processes; return ``root``.

    Spawned ones, which all but tests use, import the packages for a second each. The people are
    those of ``plain_people``.
    """
    run_processes(_write, 1, write, spec, root)
    return root


def _write(rank, write, spec, root):
    # Threads that have painted here would be missing in the forked processes, which wait for them.
    cv2.setNumThreads(1)
    forking = SimpleNamespace(get_context=lambda _: multiprocessing.get_context("fork"))
    with mock.patch.object(output_folder, "multiprocessing", forking), plain_people():
        write(spec, root, processes=2)
