"""What the benchmarks of vector stores and gallery are judged by: data, true answers, verdicts."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks, which are scripts and no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load_module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load_module


def test_rows_do_not_depend_on_where_one_starts(load):
    rows = load("vector_store_rows")
    whole, part = rows.make_rows(0, 3000), rows.make_rows(2000, 1000)
    np.testing.assert_array_equal(whole.vectors[2000:], part.vectors)
    np.testing.assert_allclose(np.linalg.norm(part.vectors, axis=1), 1, atol=1e-6)
    assert whole.frames[2000:] == part.frames and whole.cameras[2000:] == part.cameras
    assert len(set(whole.cameras)) == rows.CAMERAS


@pytest.mark.parametrize("kind", ["no filter", "camera", "time", "camera and time"])
def test_true_answers_and_numpy_agree_with_a_plain_loop(load, kind):
    rows, baseline = load("vector_store_rows"), load("vector_store_baseline")
    size, count = 2000, 3
    people = rows.make_rows(0, size)
    truth = rows.true_answers(size, count)[kind]
    cameras = np.array([name.encode() for name in people.cameras])
    for question, answer in zip(rows.make_questions(kind, count, size), truth, strict=True):
        expected = []
        for row in range(size):
            if question.camera not in (None, people.cameras[row]):
                continue
            start, end = question.window or (-np.inf, np.inf)
            if start <= people.timestamps[row] < end:
                expected.append((float(people.vectors[row] @ question.vector), row))
        expected.sort(reverse=True)
        wanted = [row for _, row in expected[: rows.TOP]]
        allowed = baseline.choose_rows(question, cameras, people.timestamps)
        ranked = baseline.rank_rows(people.vectors, question.vector, allowed, rows.TOP)
        assert list(answer)[: rows.TOP] == wanted
        assert [row for row, _ in ranked] == wanted


def test_recall_counts_ties_with_the_last_row(load):
    rows = load("vector_store_rows")
    # 100 are wanted; rows 99 and 100 tie for the last place, 101 is worse.
    truth = {row: 1.0 - row / 1000 for row in range(100)}
    truth |= {100: truth[99], 101: 0.5}
    assert rows.recall(list(range(100)), truth) == 1
    assert rows.recall([*range(99), 100], truth) == 1
    assert rows.recall([*range(99), 101], truth) == 0.99
    assert rows.recall([0] * 100, truth) == 0.01
    assert rows.recall([], {}) == 1 and rows.recall([7], {}) == 0


def test_the_quietest_round_counts_for_times_and_the_worst_for_answers(load):
    rounds = [
        {"p50_ms": 3.0, "p95_ms": 4.0, "cpu_ms": 1.0, "recall": 1.0, "wrong_payloads": 0},
        {"p50_ms": 2.0, "p95_ms": 9.0, "cpu_ms": 7.0, "recall": 0.9, "wrong_payloads": 1},
        {"p50_ms": 5.0, "p95_ms": 5.0, "cpu_ms": 2.0, "recall": 1.0, "wrong_payloads": 2},
    ]
    assert load("vector_store_worker").choose_round(rounds) == {
        "p50_ms": 2.0,
        "p95_ms": 9.0,
        "cpu_ms": 2.0,
        "p50_ms_of_rounds": [3.0, 2.0, 5.0],
        "recall": 0.9,
        "wrong_payloads": 3,
    }


def test_trials_say_what_became_of_the_batch_in_flight(load):
    common = {"acked": 2, "locked_seconds": 0.0, "writes_again": True, "answers": 100}
    counts = {"doubled": 0, "corrupt": 0}
    trials = [
        {**common, **counts, "lost": 0, "in_flight": 0, "open_seconds": 1.0},
        {**common, **counts, "lost": 7, "in_flight": 10, "open_seconds": 3.0},
        {**common, **counts, "lost": 0, "in_flight": 4, "open_seconds": 2.0},
        {"acked": 1, "locked_seconds": 120.0, "error": "database is locked"},
    ]
    assert load("vector_store_table").describe_trials(trials, batch=10) == [
        "4, 1 not opened",
        "70",
        "7",
        "0",
        "0",
        "1 absent, 1 whole, 1 torn",
        "3 of 3",
        "2.0, 3.0",
    ]


def test_descendants_are_found_and_others_not(load):
    worker = load("vector_store_worker")
    wait = "import sys; sys.stdin.read()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {wait!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        while not (grandchildren := worker.find_children(child.pid)):
            assert child.poll() is None
        assert child.pid in worker.find_children(os.getpid())
        assert set(grandchildren) <= set(worker.find_children(os.getpid()))
        assert os.getpid() not in worker.find_children(child.pid)
        assert worker.read_resident(child.pid) > 1
        child.stdin.close()


def test_answers_are_compared_place_by_place(load):
    compare = load("vector_store_agreement").compare_answers
    theirs = [(3, 0.9), (1, 0.5), (7, 0.5), (4, 0.25)]
    same = list(theirs)
    swapped = [(1, 0.875), *theirs[:1], *theirs[2:]]
    other = [*theirs[:3], (5, 0.25)]
    assert compare([same, swapped, other], [theirs] * 3) == {
        "questions": 3,
        "same_people": 2,
        "same_order": 1,
        "ties": 3,
        "swapped_within": 0.4,
        "largest_difference": 0.375,
    }


def test_the_gallery_as_a_store_finds_the_true_rows_with_what_belongs_to_them(load, tmp_path):
    rows, worker = load("vector_store_rows"), load("vector_store_worker")
    store = load("vector_store_sqlite").GalleryStore(tmp_path)
    store.create()
    store.insert(rows.make_rows(0, 1000))
    store.finish()
    store.close()
    store.open()
    assert store.count() == 1000
    for kind in rows.KINDS:
        question = rows.make_questions(kind, 1, 1000)[0]
        truth = rows.true_answers(1000, 1)[kind][0]
        answer = store.search(question)
        assert [row for row, _, _ in answer] == list(truth)[: len(answer)]
        assert len(answer) == min(rows.TOP, len(truth))
        assert all(worker.is_payload(row, payload) for row, _, payload in answer)
    assert worker.compare_batch(store, 0, 1004) == (1000, 0)
    store.close()


def test_rounded_rows_find_nearly_what_is_true(load, tmp_path):
    rows, module = load("vector_store_rows"), load("vector_store_sqlite")
    store = module.SimsimdStore(tmp_path)
    store.create()
    store.insert(rows.make_rows(0, 2000))
    store.finish()
    store.open()
    for kind in rows.KINDS:
        question, truth = rows.make_questions(kind, 1, 2000)[0], rows.true_answers(2000, 1)[kind][0]
        answer = store.search(question)
        assert rows.recall([row for row, _, _ in answer], truth) > 0.9
        assert all(abs(value - truth[row]) < 0.02 for row, value, _ in answer if row in truth)
