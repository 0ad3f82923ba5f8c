"""Draw a set by two processes that start at once."""

import multiprocessing
from types import SimpleNamespace
from unittest import mock

from helpers_processes import run_processes

from person_search.synthetic import output_folder


def write_by_two_processes(write, spec, root):
    """Call ``write(spec, root, processes=2)`` with forked drawing processes; return ``root``.

    Spawned ones, which all but tests use, import the packages for a second each.
    """
    run_processes(_write, 1, write, spec, root)
    return root


def _write(rank, write, spec, root):
    forking = SimpleNamespace(get_context=lambda _: multiprocessing.get_context("fork"))
    with mock.patch.object(output_folder, "multiprocessing", forking):
        write(spec, root, processes=2)
