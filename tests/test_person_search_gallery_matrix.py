"""A search of rounded rows must return what a search of the exact ones does, whatever they are."""

import dataclasses
import sys

import numpy as np
import pytest
from helpers_gallery import unit

from person_search.gallery import matrix as matrix_module
from person_search.gallery.matrix import Block, FrameTable, empty
from person_search.gallery.matrix_search import _multiply, find_best
from person_search.gallery.sqlite_search import frame_keys, person_keys


def _matrix(embeddings, counts):
    count = len(counts)
    table = FrameTable.of([(i + 1, i, None, None, n) for i, n in enumerate(counts)])
    assert table.counts.sum() == len(embeddings) and len(table) == count
    # In pieces, as indexing adds them.
    half = len(embeddings) // 2
    blocks = [Block.of(embeddings[:half]), Block.of(embeddings[half:])]
    return empty(0, 0).grown(table, blocks, 1)


def _exact(embeddings, query):
    return (embeddings.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)


def _expect(similar, frames, allowed, top, one_per_frame):
    """Return rows by a full sort in float64, with the ties of the last one."""
    order = [r for r in np.lexsort((np.arange(len(similar)), -similar)) if allowed[frames[r]]]
    if one_per_frame:
        _, first = np.unique(frames[order], return_index=True)
        order = [order[place] for place in sorted(first)]
    if len(order) > top:
        order = [row for row in order if similar[row] >= similar[order[top - 1]]]
    return order


def _keys(built, one_per_frame):
    keys = frame_keys if one_per_frame else person_keys
    return keys(None, built)


def _check(embeddings, queries, tops=(1, 10), share=None, counts=None):
    """Compare with brute force; return the largest share of rows that were read exactly."""
    rng = np.random.default_rng(len(embeddings))
    if counts is None:
        places = rng.integers(0, len(embeddings) // 3 + 1, len(embeddings))
        counts = np.bincount(places, minlength=len(embeddings) // 3 + 1)
    built = _matrix(embeddings, counts)
    frames = np.repeat(np.arange(len(counts)), counts)
    allowed = None if share is None else rng.random(len(counts)) < share
    are_allowed = np.ones(len(counts), bool) if allowed is None else allowed
    most = 0.0
    for query in queries:
        similar = _exact(embeddings, query)
        for top in tops:
            for one in (False, True):
                read = []

                def fetch(rows, similar=similar, read=read):
                    read.extend(rows.tolist())
                    return similar[rows]

                rows, found = find_best(built, query, allowed, top, _keys(built, one), fetch)
                expected = _expect(similar, frames, are_allowed, top, one)
                assert rows.tolist() == expected, (top, one)
                assert found.tolist() == similar[expected].tolist()
                assert len(set(read)) == len(read), "each row is read once"
                most = max(most, len(read) / max(len(embeddings), 1))
    return most


def _near(rng, count, dim, spread):
    """Rows that differ from each other by about ``spread``."""
    return unit(unit(rng.normal(size=dim)) + spread * rng.normal(size=(count, dim)))


def _one_huge(rng, count, dim):
    """Rows of one large number; the small ones, which decide, are lost in rounding."""
    rows = rng.normal(size=(count, dim)) * 1e-3
    rows[:, 0] = 1
    return unit(rows)


def _half_steps(rng, count, dim):
    """Rows whose numbers lie halfway between two codes: rounding takes the most it can."""
    rows = (rng.integers(-126, 126, (count, dim)) + 0.5) / 127
    rows[:, 0] = 1
    return unit(rows)


def _constant(rng, count, dim):
    """Rows of nearly equal numbers: sums of float32 err to one side."""
    return unit(np.full((count, dim), 1 / np.sqrt(dim)) + 1e-5 * rng.normal(size=(count, dim)))


KINDS = {
    "drawn": lambda rng: unit(rng.normal(size=(600, 64))),
    "near, 1e-3": lambda rng: _near(rng, 600, 64, 1e-3),
    "near, 1e-7": lambda rng: _near(rng, 400, 64, 1e-7),
    "one huge": lambda rng: _one_huge(rng, 600, 64),
    "half steps": lambda rng: _half_steps(rng, 600, 32),
    "constant": lambda rng: _constant(rng, 300, 2048),
    "wide": lambda rng: _near(rng, 200, 2048, 0.02),
    "sparse": lambda rng: unit(rng.normal(size=(600, 64)) * (rng.random((600, 64)) < 0.05) + 1e-9),
    "line": lambda rng: np.float32(rng.choice([-1, 1], (700, 1))),
    "two numbers": lambda rng: unit(rng.normal(size=(600, 2))),
    "duplicates": lambda rng: unit(rng.normal(size=(5, 16)))[rng.integers(0, 5, 900)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_are_those_of_brute_force(kind):
    rng = np.random.default_rng(3)
    rows = KINDS[kind](rng)
    queries = [unit(rng.normal(size=rows.shape[1])), rows[7], -rows[8], unit(rows[9] + rows[10])]
    _check(rows, queries)
    _check(rows, queries[:2], tops=(3,), share=0.1)
    _check(rows, queries[:2], tops=(3,), share=0.7)


def test_few_rows_are_read_where_rounding_can_tell_them_apart():
    rng = np.random.default_rng(4)
    rows = unit(rng.normal(size=(3000, 128)))
    assert _check(rows, [rows[0], unit(rng.normal(size=128))]) < 0.05


@pytest.mark.parametrize("kind", ["near, 1e-3", "half steps"])
def test_a_bound_ten_times_too_small_would_be_noticed(kind, monkeypatch):
    """Otherwise these tests would show nothing."""
    honest = Block.of.__func__

    def of(cls, embeddings):
        block = honest(cls, embeddings)
        return dataclasses.replace(block, losses=block.losses / 10)

    rng = np.random.default_rng(3)
    rows = KINDS[kind](rng)
    queries = [unit(rows[n] + rows[n + 1]) for n in range(0, 20, 2)]
    _check(rows, queries)
    monkeypatch.setattr(Block, "of", classmethod(of))
    monkeypatch.setattr(matrix_module, "_SLACK", 0)
    with pytest.raises(AssertionError):
        _check(rows, queries)


def test_the_loss_of_each_row_is_a_bound_of_what_rounding_took():
    rng = np.random.default_rng(5)
    for make in KINDS.values():
        rows = make(rng)
        block = Block.of(rows)
        kept = block.codes.astype(np.float64) * block.scales.astype(np.float64)[:, None]
        assert (np.linalg.norm(rows.astype(np.float64) - kept, axis=1) < block.losses).all()


def test_sums_in_float32_err_less_than_is_allowed_for():
    """Sums of thousands of products of one sign, which some kernels add up in few chains."""
    rng = np.random.default_rng(8)
    for dim in (256, 2048, 8192):
        for _ in range(10):
            query = unit(1 + 1e-3 * rng.normal(size=dim))
            built = _matrix(unit(1 + np.abs(rng.normal(size=(32, dim)))), [32])
            block = built.blocks[0]
            (similar, _) = _multiply(built, np.arange(32), query)
            true = (block.codes.astype(np.float64) @ query.astype(np.float64)) * block.scales
            assert np.abs(similar - true).max() < (4e-6 + 4e-9 * dim) / 2


def test_frames_without_people_and_one_frame_of_all():
    rng = np.random.default_rng(6)
    rows = unit(rng.normal(size=(2000, 16)))
    _check(rows, rows[:2], tops=(1, 5, 16_384), counts=[0, 0, 2000, 0])
    _check(rows[:3], rows[:2], tops=(1, 3, 16_384), counts=[0, 1, 0, 2, 0])
    _check(rows[:0], rows[:2], tops=(1,), counts=[0, 0])


def test_the_many_ties_of_a_still_picture_are_read_in_few_pieces():
    """A camera that shows the same picture for hours: reading 128 rows at a time took minutes."""
    rng = np.random.default_rng(7)
    rows = np.repeat(unit(rng.normal(size=(1, 16))), 10_000, axis=0)
    calls = []

    def fetch(places):
        calls.append(len(places))
        return np.ones(len(places), np.float32)

    built = _matrix(rows, [1] * len(rows))
    found, _ = find_best(built, rows[0], None, 10, _keys(built, True), fetch)
    assert found.tolist() == list(range(len(rows)))
    assert len(calls) < 12


def test_searching_does_not_use_up_none():
    """A C function that returns a None that it does not own ends the process after some hours."""
    embeddings = unit(np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32))
    built, query = _matrix(embeddings, [1] * 50), embeddings[0]
    before = sys.getrefcount(None)
    for _ in range(200):
        find_best(built, query, None, 1, lambda r: r, lambda rows: _exact(embeddings[rows], query))
    assert abs(sys.getrefcount(None) - before) < 100
