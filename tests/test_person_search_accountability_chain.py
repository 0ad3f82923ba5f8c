"""Chains of entries: what is found of tampering, and what a killed process leaves."""

import json
import os
import random
import threading
import time

import pytest
from helpers_log import LogWriter

from person_search.accountability.chain_file import ChainFile
from person_search.accountability.errors import LogError
from person_search.accountability.verifying import parse_head, verify_chain


@pytest.fixture
def chain(tmp_path):
    chain = ChainFile(tmp_path / "log.jsonl")
    for number in range(5):
        chain.append({"action": "search", "end": float(number), "user": "ünï"})
    return chain


def _head(chain):
    last = chain.last()
    return last["seq"], last["hash"]


def test_entries_follow_one_another(chain):
    report = verify_chain(chain, {"me": _head(chain)})
    assert (report.entries, report.problems, report.notes) == (5, [], [])
    assert report.head == f"4:{chain.last()['hash']}" and parse_head(report.head) == _head(chain)
    assert [entry["user"] for entry in chain.entries()] == ["ünï"] * 5
    assert chain.path.stat().st_mode & 0o777 == 0o600
    # Each line is what another program finds by the rule of the docs.
    import hashlib

    first, second = map(json.loads, chain.path.read_text().splitlines()[:2])
    said = {key: value for key, value in first.items() if key != "hash"}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == first["hash"] == second["previous"]


def test_tampering_with_any_byte_is_found(tmp_path):
    chain = ChainFile(tmp_path / "log.jsonl")
    for number in range(2):
        chain.append({"action": "search", "end": float(number)})
    whole = chain.path.read_bytes()
    known = {"me": _head(chain)}
    for place in range(len(whole)):
        harms = [bytes([whole[place] ^ 1]), b"", b" " + whole[place : place + 1]]
        for harm in harms if place % 9 == 0 else harms[:1]:
            chain.path.write_bytes(whole[:place] + harm + whole[place + 1 :])
            assert verify_chain(chain, known).problems, (place, harm)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [lines[0], *lines[2:]], "entries are missing"),
        (lambda lines: [*lines, lines[-1]], "entries come again"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "entries are missing"),
        (lambda lines: lines[1:], "entries are missing"),
        (lambda lines: lines[:-1], "its end was cut off behind entry 3"),
        (lambda lines: [], "there is no entry in it"),
    ],
)
def test_lines_taken_away_or_moved_are_found(chain, change, words):
    known = {"me": _head(chain)}
    lines = chain.path.read_bytes().splitlines(keepends=True)
    chain.path.write_bytes(b"".join(change(lines)))
    assert words in " ".join(verify_chain(chain, known).problems)


def test_a_chain_written_anew_is_found_by_a_head_alone(chain, tmp_path):
    """What no chain can prove by itself."""
    known = _head(chain)
    chain.path.unlink()
    for number in range(6):
        chain.append({"action": "search", "end": float(number)})
    assert verify_chain(chain).problems == []
    (problem,) = verify_chain(chain, {"the court": known}).problems
    assert "entry 4" in problem and "the court knows of" in problem and "written anew" in problem


def test_an_unfinished_line_is_ended_and_said(chain):
    with chain.path.open("ab") as file:
        file.write(b'{"action":"sea')
    assert "the last one: it is no JSON" in verify_chain(chain).problems[0]
    assert chain.last()["seq"] == 4
    entry = chain.append({"action": "search"})
    assert entry["seq"] == 5 and entry["broken"]["bytes"] == 14
    report = verify_chain(chain)
    assert report.problems == [] and "unfinished line of 14 bytes" in report.notes[0]
    # Nobody may change the unfinished line afterwards.
    chain.path.write_bytes(chain.path.read_bytes().replace(b'"sea\n', b'"sex\n'))
    assert len(verify_chain(chain).problems) == 1


def test_a_damaged_end_is_no_unfinished_one(chain):
    lines = chain.path.read_bytes().splitlines(keepends=True)
    chain.path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"search", b"export")]))
    chain.append({"action": "search"})
    assert "was damaged when it was written" in verify_chain(chain).problems[0]


def test_a_log_that_was_cut_off_says_so_for_ever(chain):
    from person_search.accountability.chain_file import Known

    known = Known(*_head(chain))
    lines = chain.path.read_bytes().splitlines(keepends=True)
    chain.path.write_bytes(b"".join(lines[:2]))
    chain.append({"action": "search"}, known)
    assert "had ended later, at entry 4" in verify_chain(chain).problems[0]
    chain.path.unlink()
    assert chain.append({"action": "search"}, known)["seq"] == 5
    assert "entry 5 follows entry -1: entries are missing" in verify_chain(chain).problems[0]


def test_threads_take_turns(chain):
    def write():
        for _ in range(10):
            chain.append({"action": "search"})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = verify_chain(chain)
    assert (report.entries, report.problems) == (45, [])


def test_who_waits_while_it_is_cut_writes_into_the_new_file(chain):
    """The file that was opened before is another one then."""
    done = threading.Event()

    def write():
        while not done.is_set():
            chain.append({"action": "search", "end": 0.0})

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    removed = 0
    for _ in range(8):
        time.sleep(0.02)
        removed += chain.cut(lambda e: e["action"] == "search", {"end": 9.0}, {"settings": {}})
        removed += chain.cut(lambda e: e["end"] == 9.0, {"end": 9.0}, {"settings": {}})
    done.set()
    for thread in threads:
        thread.join()
    report = verify_chain(chain)
    assert report.problems == [] and removed > 10
    assert report.last["seq"] + 1 == removed + report.entries


def test_an_entry_longer_than_what_is_read_at_once(chain):
    chain.append({"action": "search", "text": "x" * 700_000})
    assert chain.append({"action": "search"})["seq"] == 6
    assert verify_chain(chain).problems == []


def test_the_oldest_part_is_cut_and_the_chain_holds(chain):
    known = {"me": _head(chain)}
    first = chain.last()["previous"]
    said = {"end": 9.0, "rule": "log 2 days"}
    assert chain.cut(lambda e: e["end"] < 3, said, {"settings": {}}) == 3
    assert [e["action"] for e in chain.entries()] == ["search", "search", "cut"]
    report = verify_chain(chain, known)
    assert report.problems == [] and report.removed["removed"] == 3
    assert report.removed["through"]["seq"] == 2 and report.first["seq"] == 3
    assert chain.append({"action": "search", "end": 10.0})["seq"] == 6
    assert chain.cut(lambda e: e["end"] < 4, said, {"settings": {}}) == 1
    assert chain.cut(lambda e: e["end"] < 4, said, {"settings": {}}) == 0
    assert verify_chain(chain).problems == []
    (problem,) = verify_chain(chain, {"me": (3, first)}).problems or ["-"]
    assert problem == "-", "the last entry removed is still named"
    # An anchor alone proves nothing: whoever cuts by hand has no entry that says so.
    lines = chain.path.read_bytes().splitlines(keepends=True)
    chain.path.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert verify_chain(chain).problems
    chain.path.write_bytes(b"".join(lines[1:]))
    assert "entries are missing" in verify_chain(chain).problems[0]


def test_what_was_written_while_the_clock_was_wrong_goes_with_what_follows(tmp_path):
    chain = ChainFile(tmp_path / "log.jsonl")
    for end in (1.0, 9e9, 2.0, 9e9, 7.0, 1.0):
        chain.append({"action": "search", "end": end})
    ages = {1.0: True, 2.0: True, 7.0: False, 9e9: None}
    assert chain.cut(lambda e: ages[e["end"]], {"end": 7.0}, {"settings": {}}) == 3
    assert [entry["seq"] for entry in chain.entries()] == [3, 4, 5, 6]
    assert verify_chain(chain).problems == []


def test_a_log_that_cannot_be_written_says_what_to_do(tmp_path):
    chain = ChainFile(tmp_path / "gone" / "log.jsonl")
    with pytest.raises(LogError, match=r"cannot be written.*person-search log off"):
        chain.append({"action": "search"})
    with pytest.raises(ValueError, match="expected NUMBER:HASH"):
        parse_head("4:abc")


def test_a_full_disk_leaves_no_half_line(chain, monkeypatch):
    write = os.write

    def fill(file, data):
        if chain.path.stat().st_size > len(before):
            raise OSError(28, "No space left on device")
        return write(file, data[:20])

    before = chain.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill)
        with pytest.raises(LogError, match="No space left"):
            chain.append({"action": "search"})
    assert chain.path.read_bytes() == before


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_chain_that_holds(tmp_path):
    """20 trials of one or two writers; what they were told is written, is."""
    rng = random.Random(5)
    chain, told = ChainFile(tmp_path / "log.jsonl"), set()
    for trial in range(20):
        count = 1 + trial % 2
        writers = [LogWriter(chain.path, tmp_path / f"told-{trial}-{k}") for k in range(count)]
        deadline = time.monotonic() + 20
        while not all(writer.numbers() for writer in writers):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        for writer in writers:
            writer.kill()
            told |= set(writer.numbers())
        chain.append({"action": "search"})
        report = verify_chain(chain)
        assert report.problems == []
    assert report.notes, "some were killed in the middle of an entry"
    assert told <= {entry["seq"] for entry in chain.entries()}
