"""The protocols of SYSU-MM01 and RegDB against loops written from their texts."""

import random

import numpy as np
import pytest
from helpers_cross_modality import draw_permutations

from reid_heads.evaluation.cross_modality import (
    Search,
    draw_gallery,
    evaluate_sysu,
    group_gallery,
)
from reid_heads.evaluation.features import ReIDFeatures
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.evaluation.scoring import describe_settings, score_features
from reid_heads.evaluation.similarity import normalize_rows

CAMERAS_OF = {"all": (1, 2, 4, 5), "indoor": (1, 2)}


def make_problem(seed, num_people=8, values=40, most=6):
    """Random labels and similarities of few values, so that many tie; not everybody everywhere."""
    rng = np.random.default_rng(seed)
    images = {}
    for camera in range(1, 7):
        for person in rng.choice(50, num_people, replace=False) // 4 + 1:
            images[camera, int(person)] = int(rng.integers(1, most))
    rows = {
        side: np.array(
            sorted(
                (person, camera)
                for (camera, person), count in images.items()
                if camera in cameras
                for _ in range(count)
            )
        )
        for side, cameras in (("query", (3, 6)), ("gallery", (1, 2, 4, 5)))
    }
    similarities = (
        rng.integers(-values, values, (len(rows["query"]), len(rows["gallery"]))) / values
    )
    return images, rows["query"], rows["gallery"], similarities.astype(np.float32)


def slow_galleries(gallery, images, mode, shots, sampling, permutations, trials):
    """Draw as the public code does, with names in place of files: (person, camera, number)."""
    first = {}
    for row, key in enumerate(map(tuple, gallery.tolist())):
        first.setdefault(key, row)
    drawn = []
    for trial in range(trials):
        random.seed(trial)
        rows = []
        for person in sorted({person for _, person in images}):
            for camera in CAMERAS_OF[mode]:
                if (camera, person) not in images:
                    continue
                files = [first[person, camera] + n for n in range(images[camera, person])]
                if sampling == "official":
                    rows += [files[n - 1] for n in permutations[camera, person][trial][:shots]]
                elif shots == 1:
                    rows.append(random.choice(files))
                else:
                    rows += random.sample(files, min(shots, len(files)))
        drawn.append(rows)
    return drawn


def slow_ranking(row, person, camera, gallery, drawn):
    """Rank one probe's gallery: (place of the person, AP, INP), None without a match."""
    seen = [g for g in drawn if not (camera == 3 and gallery[g, 1] == 2)]
    ranked = sorted(seen, key=lambda g: (-row[g], g))
    people = list(dict.fromkeys(gallery[g, 0] for g in ranked))
    hits = [place for place, g in enumerate(ranked, 1) if gallery[g, 0] == person]
    if not hits:
        return None
    precision = sum(n / place for n, place in enumerate(hits, 1)) / len(hits)
    return people.index(person) + 1, precision, len(hits) / hits[-1]


def blocks(similarities, size=7):
    return (similarities[start : start + size] for start in range(0, len(similarities), size))


@pytest.mark.parametrize("seed", range(4))
def test_all_ways_equal_the_loop(seed):
    images, query, gallery, similarities = make_problem(seed)
    drawn = draw_permutations(images, trials=4, seed=seed)
    permutations = {key: numbers - 1 for key, numbers in drawn.items()}
    before = similarities.copy()
    results = evaluate_sysu(
        blocks(similarities),
        *(query[:, 0], query[:, 1], gallery[:, 0], gallery[:, 1]),
        permutations=permutations,
        trials=3,
        multi_shots=4,
    )
    np.testing.assert_array_equal(similarities, before)
    assert list(results) == [
        f"{mode}_{name}_{sampling}"
        for sampling in ("official", "agw")
        for mode in ("all", "indoor")
        for name in ("single", "multi")
    ]
    has_skipped = set()
    for name, result in results.items():
        mode, kind, sampling = name.split("_")
        shots = {"single": 1, "multi": 4}[kind]
        galleries = slow_galleries(gallery, images, mode, shots, sampling, drawn, trials=3)
        expected = {}
        for number, (person, camera) in enumerate(query.tolist()):
            ranked = [
                slow_ranking(similarities[number], person, camera, gallery, rows)
                for rows in galleries
            ]
            if ranked[0] is not None:
                expected[number] = np.array(ranked)
        assert result.queries.tolist() == list(expected)
        assert result.num_skipped == len(query) - len(expected)
        scores = np.stack(list(expected.values()))
        np.testing.assert_array_equal(result.first_ranks, scores[:, :, 0])
        np.testing.assert_allclose(result.average_precisions, scores[:, :, 1].mean(1), rtol=1e-12)
        np.testing.assert_allclose(result.inverse_penalties, scores[:, :, 2].mean(1), rtol=1e-12)
        assert result.setting == {
            **{"mode": mode, "shots": shots, "gallery_sampling": sampling, "trials": 3}
        }
        has_skipped.add(result.num_skipped > 0)
    assert has_skipped >= {True}


def test_by_hand():
    """Person 1: cameras 1, 2, 4; person 2: cameras 2, 5. One image each, so nothing is random."""
    gallery = np.array([(1, 1), (1, 2), (1, 4), (2, 2), (2, 5)])
    query = np.array([(1, 3), (1, 6), (2, 3), (2, 6)])
    similarities = np.array(
        [
            # Camera 3 does not see rows 1 and 3. All: row 4, 0, 2 -> person 2, then 1: rank 2;
            # matches at 2, 3: AP (1/2 + 2/3) / 2, INP 2/3. Indoor: row 0 alone: rank 1.
            [0.5, 0.9, 0.1, 0.8, 0.6],
            # All: rows 3, 4, 1, 0, 2 -> rank 2; matches at 3, 4, 5. Indoor: 3, 1, 0.
            [0.5, 0.6, 0.1, 0.9, 0.8],
            # All: rows 0, 2, 4 -> matches at 3, persons 1, 2: rank 2. Indoor: no match.
            [0.9, 0.1, 0.8, 0.9, 0.7],
            # Row 3 ties with row 2 and comes behind. All: 2, 3, 0, 1, 4: rank 2, matches at 2, 5.
            # Indoor: 3, 0, 1: rank 1.
            [0.5, 0.4, 0.7, 0.7, 0.1],
        ]
    )
    labels = (query[:, 0], query[:, 1], gallery[:, 0], gallery[:, 1])
    results = evaluate_sysu([similarities], *labels, trials=2)
    everywhere, indoor = results["all_single_agw"], results["indoor_single_agw"]
    assert everywhere.first_ranks.tolist() == [[2, 2]] * 4
    precisions = [(1 / 2 + 2 / 3) / 2, (1 / 3 + 2 / 4 + 3 / 5) / 3, 1 / 3, (1 / 2 + 2 / 5) / 2]
    np.testing.assert_allclose(everywhere.average_precisions, precisions)
    np.testing.assert_allclose(everywhere.inverse_penalties, [2 / 3, 3 / 5, 1 / 3, 2 / 5])
    assert (indoor.queries.tolist(), indoor.num_skipped) == ([0, 1, 3], 1)
    assert indoor.first_ranks[:, 0].tolist() == [1, 2, 1]
    np.testing.assert_allclose(indoor.average_precisions, [1, (1 / 2 + 2 / 3) / 2, 1])
    assert everywhere.metrics()["top1"] == 0 and everywhere.metrics()["top20"] == 100
    # Whoever has one image a camera has the same gallery with more shots.
    for mode in ("all", "indoor"):
        multi, single = results[f"{mode}_multi_agw"], results[f"{mode}_single_agw"]
        np.testing.assert_array_equal(multi.average_precisions, single.average_precisions)


def test_blocks_do_not_matter():
    _, query, gallery, similarities = make_problem(11)
    labels = (query[:, 0], query[:, 1], gallery[:, 0], gallery[:, 1])
    one, other = (
        evaluate_sysu(blocks(similarities, size), *labels, trials=2) for size in (1, 1000)
    )
    for name, result in one.items():
        np.testing.assert_array_equal(result.queries, other[name].queries)
        np.testing.assert_array_equal(result.first_ranks, other[name].first_ranks)
        np.testing.assert_array_equal(result.average_precisions, other[name].average_precisions)


def test_the_order_of_persons_in_the_gallery_does_not_change_a_draw():
    """Rows of one person and camera keep their order; where they lie does not matter."""
    images, query, gallery, similarities = make_problem(5, values=10**6)
    permutations = {key: p - 1 for key, p in draw_permutations(images).items()}
    order = np.argsort(-gallery[:, 0] * 10 + gallery[:, 1], kind="stable")
    assert not np.array_equal(order, np.arange(len(order)))
    results = [
        evaluate_sysu(
            [similarities[:, rows]],
            *(query[:, 0], query[:, 1], gallery[rows, 0], gallery[rows, 1]),
            permutations=permutations,
        )
        for rows in (np.arange(len(order)), order)
    ]
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name].first_ranks, results[1][name].first_ranks)


def test_indoor_search_draws_anew_and_shots_are_distinct():
    gallery = np.array([(p, c) for p in (1, 2, 3) for c in (1, 2, 4, 5) for _ in range(30)])
    cells = group_gallery(gallery[:, 0], gallery[:, 1])
    assert list(cells) == [(p, c) for p in (1, 2, 3) for c in (1, 2, 4, 5)]
    indoors = Search("indoor", 1, "agw")
    random.seed(6)
    first = [random.choice(range(30)) for _ in range(6)]
    starts = [cells[p, c][0] for p in (1, 2, 3) for c in (1, 2)]
    assert (draw_gallery(cells, indoors, 6) - starts).tolist() == first
    many = draw_gallery(cells, Search("all", 10, "agw"), 0)
    assert len(set(many.tolist())) == len(many) == 120
    assert len(draw_gallery(cells, Search("all", 99, "agw"), 0)) == len(gallery)
    state = random.getstate()
    draw_gallery(cells, indoors, 6)
    assert random.getstate() == state


def make_features(query, gallery, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((60, 6))
    draw = {
        side: centers[rows[:, 0]] + rng.standard_normal((len(rows), 6))
        for side, rows in (("query", query), ("gallery", gallery))
    }
    return ReIDFeatures(
        query_features=draw["query"].astype(np.float32),
        query_pids=query[:, 0],
        query_camids=query[:, 1],
        gallery_features=draw["gallery"].astype(np.float32),
        gallery_pids=gallery[:, 0],
        gallery_camids=gallery[:, 1],
    )


def test_reid_is_all_single_official_if_the_draws_are_known():
    images, query, gallery, _ = make_problem(2)
    features = make_features(query, gallery)
    permutations = {key: p - 1 for key, p in draw_permutations(images).items()}
    results = score_features(features, "sysu_mm01", permutations=permutations)
    assert results["reid"] is results["reid_all_single_official"]
    assert len(results) == 9
    similarities = (
        normalize_rows(features.query_features) @ normalize_rows(features.gallery_features).T
    )
    direct = evaluate_sysu(
        [similarities],
        *(query[:, 0], query[:, 1], gallery[:, 0], gallery[:, 1]),
        permutations=permutations,
    )
    for name, result in direct.items():
        assert results[f"reid_{name}"].metrics() == result.metrics()
    without = score_features(features, "sysu_mm01", ReIDRules(gallery_trials=3, multi_shots=2))
    assert without["reid"] is without["reid_all_single_agw"]
    assert len(without) == 5
    rankings = describe_settings(without)["rankings"]
    assert rankings["reid"] == {
        **{"mode": "all", "shots": 1, "gallery_sampling": "agw", "trials": 3},
        "num_valid_queries": len(without["reid"].queries),
        "num_skipped_queries": without["reid"].num_skipped,
    }
    assert rankings["reid_indoor_multi_agw"]["shots"] == 2
    assert describe_settings(score_features(features, "market1501")) == {}


def test_bad_sysu_input_is_named():
    images, query, gallery, similarities = make_problem(3)
    labels = (query[:, 0], query[:, 1], gallery[:, 0], gallery[:, 1])
    permutations = {key: p - 1 for key, p in draw_permutations(images, trials=2).items()}
    person, camera = gallery[0].tolist()
    short = {**permutations, (camera, person): permutations[camera, person][:, :0]}
    gone = {key: p for key, p in permutations.items() if key != (camera, person)}
    count = images[camera, person]
    for changes, message in (
        ({"permutations": short, "trials": 2}, f"0 images of identity {person} in camera {camera}"),
        ({"permutations": gone, "trials": 2}, f"camera {camera}, but the gallery {count}:"),
        ({"permutations": permutations, "trials": 3}, "trials: got 3, but the .* file has 2"),
        ({"trials": 0}, "trials: got 0, expected at least 1"),
        ({"multi_shots": 0}, "multi_shots: got 0, expected at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_sysu([similarities], *labels, **changes)
    with pytest.raises(ValueError, match="official draws need the permutations"):
        draw_gallery(group_gallery(*labels[2:]), Search("all", 1, "official"), 0)
    swapped = (labels[2], labels[3], labels[0], labels[1])
    with pytest.raises(ValueError, match=r"query_camids: got camera 1, expected .* 3, 6:"):
        evaluate_sysu([similarities.T], *swapped)
    with pytest.raises(ValueError, match=r"gallery_camids: got camera 3, expected .* 1, 2, 4, 5:"):
        evaluate_sysu([similarities], *labels[:3], np.full(len(gallery), 3))
    with pytest.raises(ValueError, match="NaN in the row of query 0"):
        evaluate_sysu([similarities * np.nan], *labels)
    with pytest.raises(ValueError, match=r"got 1 rows, expected"):
        evaluate_sysu([similarities[:1]], *labels)
    outdoors = gallery[:, 1] > 2
    with pytest.raises(ValueError, match=r"indoor search: none of the .* queries has a match"):
        evaluate_sysu([similarities[:, outdoors]], *labels[:2], *gallery[outdoors].T)
    features = make_features(query, gallery)
    for rules in (ReIDRules(reranking=Reranking()), ReIDRules(query_expansion=QueryExpansion())):
        with pytest.raises(ValueError, match="sysu_mm01 is scored on drawn galleries"):
            score_features(features, "sysu_mm01", rules)


def make_regdb_features(seed=0):
    rows = [np.array([(p, camera) for p in range(6) for _ in range(3)]) for camera in (1, 2)]
    # Person 6 is visible only.
    return make_features(np.append(rows[0], [(6, 1)], axis=0), rows[1], seed)


def slow_regdb(queries, gallery, query_pids, gallery_pids):
    ranked = []
    for row, person in zip(queries @ gallery.T, query_pids, strict=True):
        order = sorted(range(len(row)), key=lambda g: (-row[g], g))
        hits = [place for place, g in enumerate(order, 1) if gallery_pids[g] == person]
        if hits:
            precision = np.mean([n / place for n, place in enumerate(hits, 1)])
            ranked.append((hits[0], precision, len(hits) / hits[-1]))
    return np.array(ranked)


def test_regdb_searches_both_ways():
    features = make_regdb_features()
    results = score_features(features, "regdb")
    assert list(results) == ["reid", "reid_visible_to_thermal", "reid_thermal_to_visible"]
    assert results["reid"] is results["reid_visible_to_thermal"]
    query, gallery = (
        normalize_rows(array) for array in (features.query_features, features.gallery_features)
    )
    pids = (features.query_pids, features.gallery_pids)
    for name, expected in (
        ("reid_visible_to_thermal", slow_regdb(query, gallery, *pids)),
        ("reid_thermal_to_visible", slow_regdb(gallery, query, *pids[::-1])),
    ):
        result = results[name]
        np.testing.assert_array_equal(result.first_ranks[:, 0], expected[:, 0])
        np.testing.assert_allclose(result.average_precisions, expected[:, 1])
        np.testing.assert_allclose(result.inverse_penalties, expected[:, 2])
        assert set(result.metrics()) == {"mAP", "mINP", "top1", "top5", "top10", "top20"}
    assert results["reid"].num_skipped == 1
    assert results["reid_thermal_to_visible"].num_skipped == 0
    rankings = describe_settings(results)["rankings"]
    assert rankings["reid"] == {
        **{"direction": "visible_to_thermal", "num_valid_queries": 18, "num_skipped_queries": 1}
    }


def test_regdb_reranks_and_expands_both_ways():
    features = make_regdb_features()
    rules = ReIDRules(reranking=Reranking(3, 2, 0.3), query_expansion=QueryExpansion(2, 1.0))
    results = score_features(features, "regdb", rules)
    expected = score_features(features, "market1501", rules)
    for kind in ("", "_expanded", "_reranked"):
        forward = results[f"reid_visible_to_thermal{kind}"]
        np.testing.assert_array_equal(forward.first_ranks, expected[f"reid{kind}"].first_ranks)
        assert f"reid_thermal_to_visible{kind}" in results
    assert len(results) == 7


def test_regdb_sides_must_not_be_swapped():
    features = make_regdb_features()
    swapped = ReIDFeatures(
        *(features.gallery_features, features.gallery_pids, features.gallery_camids),
        *(features.query_features, features.query_pids, features.query_camids),
    )
    with pytest.raises(ValueError, match="query_camids: got camera 2, expected 1 only"):
        score_features(swapped, "regdb")
