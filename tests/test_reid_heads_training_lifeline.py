import os
import signal
import socket
import threading
import time

import pytest
from helpers_processes import run_processes

from reid_heads.training import lifeline as lifeline_module
from reid_heads.training.lifeline import Connection, Listener, lifeline

HOST = "127.0.0.1"


class Deaths:
    """Keeps which deaths an end was told of."""

    def __init__(self):
        self.ranks, self._told = [], threading.Event()

    def __call__(self, rank):
        self.ranks.append(rank)
        self._told.set()

    def wait(self):
        assert self._told.wait(10)
        return self.ranks


def die(connection):
    """Close as the system does for a process that is gone."""
    connection._socket.shutdown(socket.SHUT_RDWR)
    connection._socket.close()


@pytest.fixture
def ends():
    """A listener and two others' connections, and what each is told."""
    told = [Deaths() for _ in range(3)]
    listener = Listener(HOST, 2, told[0])
    address = (HOST, listener.port)
    others = [Connection(address, listener.token, rank, told[rank]) for rank in (1, 2)]
    listener.wait_for(2)
    yield (listener, *others), told
    for end in (listener, *others):
        end.close()


def test_the_first_process_is_told_who_died(ends):
    (_, _, second), told = ends
    die(second)
    assert told[0].wait() == [2] and not told[1].ranks


def test_the_others_are_told_that_the_first_one_died(ends):
    (listener, *_), told = ends
    for connection in listener._connections:
        connection.shutdown(socket.SHUT_RDWR)
    assert told[1].wait() == [0] and told[2].wait() == [0]


def test_a_farewell_is_no_death(ends):
    (listener, first, second), told = ends
    second.close()
    die(first)
    assert told[0].wait() == [1]
    listener.close()
    assert not told[2].ranks


def test_who_does_not_know_the_token_is_not_listened_to():
    deaths = Deaths()
    listener = Listener(HOST, 1, deaths)
    stranger = Connection((HOST, listener.port), bytes(16), 1, Deaths())
    assert stranger._socket.recv(1) == b""
    process = Connection((HOST, listener.port), listener.token, 1, Deaths())
    die(process)
    assert deaths.wait() == [1]
    listener.close()


def wait_or_die(rank, way):
    lifeline_module._DELAY = 0.05
    with lifeline("auto"):
        if rank == 0:
            # As in a library that knows nothing of the other's end.
            time.sleep(60)
        if way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a mistake of one process")


@pytest.mark.parametrize(("way", "status"), [("killed", -9), ("failed", 1)])
def test_a_process_that_waits_for_a_dead_one_ends(way, status):
    started = time.monotonic()
    with pytest.raises(AssertionError, match=rf"exit codes by rank: \[1, {status}\]"):
        run_processes(wait_or_die, 2, way)
    assert time.monotonic() - started < 30


def leave(rank):
    with lifeline("auto"):
        time.sleep(0.1 * rank)
    return rank


def test_processes_that_end_one_after_the_other_all_end_well():
    assert run_processes(leave, 2) == [0, 1]
