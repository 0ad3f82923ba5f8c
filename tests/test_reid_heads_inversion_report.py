import numpy as np
import pytest

from reid_heads.inversion.report import draw_grid, format_report, measure_similarity


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_loops(embeddings, identities, real, real_identities, rows_of_real=None):
    """The definitions of ``measure_similarity``, one pair at a time."""
    found = {"own_identity": [], "own_crops": [], "other_identities": [], "nearest_is_own": []}
    for n, (x, identity) in enumerate(zip(embeddings, identities, strict=True)):
        skipped = None if rows_of_real is None else rows_of_real[n]
        cosines = {}
        for person in sorted(set(real_identities)):
            own = [
                real[g]
                for g in range(len(real))
                if real_identities[g] == person and not (person == identity and g == skipped)
            ]
            if own:
                mean = np.mean(own, axis=0)
                cosines[person] = float(x @ (mean / np.linalg.norm(mean)))
            if own and person == identity:
                found["own_crops"].append(np.mean([x @ row for row in own]))
        if identity not in cosines:
            continue
        found["own_identity"].append(cosines[identity])
        found["other_identities"] += [c for p, c in cosines.items() if p != identity]
        found["nearest_is_own"].append(100 * (max(cosines, key=cosines.get) == identity))
    return {name: float(np.mean(values)) for name, values in found.items()}


def example():
    rng = np.random.default_rng(0)
    real_identities = [5, 5, 5, 7, 7, 2, 2, 2, 2, 9]
    return unit(rng.standard_normal((10, 6))), real_identities, rng


def test_similarities_are_those_of_a_loop():
    real, real_identities, rng = example()
    embeddings, identities = unit(rng.standard_normal((5, 6))), [7, 2, 5, 5, 9]
    got = measure_similarity(embeddings, identities, real, real_identities)
    assert got == pytest.approx(by_loops(embeddings, identities, real, real_identities), rel=1e-5)


def test_a_real_crop_is_not_compared_with_itself():
    real, real_identities, _ = example()
    rows = [0, 1, 2, 3, 4, 9]
    identities = [real_identities[k] for k in rows]
    got = measure_similarity(real[rows], identities, real, real_identities, rows)
    expected = by_loops(real[rows], identities, real, real_identities, rows)
    # Identity 9 has a single crop, which is left out.
    assert got == pytest.approx(expected, rel=1e-5)


def test_a_hand_computed_case():
    """Own crops at 0 and 90 degrees: their mean is at 45; a crop at 45 has cosine 1 and 0.7071."""
    real = unit([[1, 0], [0, 1], [-1, 0]])
    got = measure_similarity(unit([[1, 1]]), [0], real, [0, 0, 1])
    assert got == pytest.approx(
        {
            "own_identity": 1.0,
            "own_crops": 0.5**0.5,
            "other_identities": -(0.5**0.5),
            "nearest_is_own": 100.0,
        }
    )


def test_nobody_else_to_compare_with_is_not_a_number():
    real = unit([[1, 0], [0, 1]])
    assert np.isnan(measure_similarity(real, [0, 0], real, [0, 0])["other_identities"])


def test_what_cannot_be_compared_is_refused():
    real = unit([[1, 0], [0, 1]])
    with pytest.raises(ValueError, match=r"no real crop to compare with of \[4\]"):
        measure_similarity(real[:1], [4], real, [0, 1])
    with pytest.raises(ValueError, match="single real crop"):
        measure_similarity(real, [0, 1], real, [0, 1], [0, 1])


def test_the_report_has_a_table_for_each_network():
    similarity = {
        "own_identity": 0.8,
        "own_crops": 0.6,
        "other_identities": 0.1,
        "nearest_is_own": 95.0,
    }
    rows = {
        "inverted": {"statistics": 3.25, "same network": similarity},
        "real crops": {"statistics": 40.0, "same network": {**similarity, "own_identity": 0.7}},
    }
    text = format_report({"title": "T", "settings": {"seed": 1}, "rows": rows})
    assert "| inverted | 3.2 |" in text
    assert "| real crops | 0.700 | 0.600 | 0.100 | 95.0 |" in text
    assert "second network" not in text
    bare = {"title": "T", "settings": {}, "rows": {"inverted": {"statistics": 3.25}}}
    assert "No real crops are at hand" in format_report(bare)


def test_the_grid_has_each_picture_in_its_place():
    reds = [np.full((6, 4, 3), (200 + k, 0, 0), np.uint8) for k in range(3)]
    blues = [np.full((6, 4, 3), (0, 0, 200), np.uint8), None, None]
    sheet = draw_grid({"a": reds, "b": blues}, blocks=2)
    step_x, step_y, block, top = 4 + 2, 6 + 2, 2 * (4 + 2) + 6, 14
    assert sheet.shape == (top + 2 * step_y, 2 * block, 3)
    for k, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        y, x = top + row * step_y, column * block
        np.testing.assert_array_equal(sheet[y : y + 6, x : x + 4], reds[k])
    np.testing.assert_array_equal(sheet[top : top + 6, step_x : step_x + 4], blues[0])
    assert (sheet[top : top + 6, block + step_x : block + step_x + 4] == 255).all()


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [np.zeros((2, 2, 3), np.uint8)], "b": []},
        {"a": [np.zeros((2, 2, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)]},
        {"a": [None]},
    ],
)
def test_grids_that_do_not_fit_are_refused(columns):
    with pytest.raises(ValueError, match="expected one number and one size"):
        draw_grid(columns)
