"""The evaluator through fake model outputs, in one process and in two."""

import json
import os

import numpy as np
import pytest
import torch
from helpers_processes import run_processes

from reid_heads.evaluation.evaluator import ReIDEvaluator
from reid_heads.evaluation.features import load_features
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.evaluation.scoring import score_features

NUM = 6


def make_crops(seed=0):
    """Persons 0..5, a query in camera 0, two gallery crops in 1 and 2; the last has no match."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((NUM, 8))
    inputs, outputs = [], []
    for split, cameras in (("query", (0,)), ("gallery", (1, 2))):
        for person in range(NUM):
            for camera in cameras:
                person_id = 99 if split == "query" and person == NUM - 1 else person
                # One name for a query and a gallery crop: they are still two crops.
                name = f"{person:04}_c{min(camera, 1)}.jpg" if camera < 2 else f"{person}_other.jpg"
                inputs.append(
                    {"image_id": name, "person_id": person_id, "cam_id": camera, "split": split}
                )
                vector = torch.from_numpy(centers[person] + rng.standard_normal(8)).float()
                outputs.append({"embedding": torch.nn.functional.normalize(vector, dim=0)})
    return inputs, outputs


def feed(evaluator, inputs, outputs, batch=4):
    for start in range(0, len(inputs), batch):
        evaluator.process(inputs[start : start + batch], outputs[start : start + batch])


def test_features_results_and_record(tmp_path):
    inputs, outputs = make_crops()
    rules = ReIDRules(reranking=Reranking(3, 2, 0.3), query_expansion=QueryExpansion(2, 1.0))
    record = {"training_sets": ["market1501_train"], "config_file": "a.yaml"}
    evaluator = ReIDEvaluator("market1501", tmp_path, record=record, rules=rules)
    evaluator.reset()
    feed(evaluator, inputs, outputs)
    results = evaluator.evaluate()
    assert list(results) == ["reid", "reid_expanded", "reid_reranked"]

    features = load_features(tmp_path / "features.npz")
    embeddings = torch.stack([output["embedding"] for output in outputs]).numpy()
    np.testing.assert_array_equal(features.query_features, embeddings[:NUM])
    np.testing.assert_array_equal(features.gallery_features, embeddings[NUM:])
    assert features.query_pids.tolist() == [0, 1, 2, 3, 4, 99]
    assert features.gallery_camids.tolist() == [1, 2] * NUM
    scored = score_features(features, "market1501", rules)
    assert results == {name: result.metrics() for name, result in scored.items()}

    written = json.loads((tmp_path / "results.json").read_text())
    assert written["reid"] == results["reid"]
    assert written["record"] == record
    assert (written["num_skipped_queries"], written["num_queries"]) == (1, NUM)
    facts = {
        "protocol": "market1501",
        "reranking": {"k1": 3, "k2": 2, "lambda_value": 0.3},
        "query_expansion": {"neighbours": 2, "alpha": 1.0},
        "single_shot_repeats": 10,
        "gallery_trials": 10,
        "multi_shots": 10,
    }
    assert {name: written[name] for name in facts} == facts


def test_plain_and_classic_without_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs, outputs = make_crops()
    for protocol in ("cuhk03", "cuhk03_classic"):
        evaluator = ReIDEvaluator(protocol, rules=ReIDRules(single_shot_repeats=3))
        feed(evaluator, inputs, outputs)
        results = evaluator.evaluate()
        assert list(results) == ["reid"]
        assert set(results["reid"]) == {"mAP", "mINP", "top1", "top5", "top10"}
    assert not os.listdir(tmp_path)


def test_sysu_mm01_uses_the_permutations_of_its_data_set(tmp_path):
    rows = [(split, p, c) for split, c in (("query", 3), ("gallery", 1)) for p in (1, 2)]
    rows += [("gallery", p, 4) for p in (1, 2) for _ in range(3)]
    permutations = {(1, p): np.zeros((10, 1), int) for p in (1, 2)}
    permutations |= {(4, p): np.tile([2, 0, 1], (10, 1)) for p in (1, 2)}
    rng = np.random.default_rng(0)
    inputs, outputs = [], []
    for number, (split, person, camera) in enumerate(rows):
        inputs.append(
            {"image_id": f"{number}.jpg", "person_id": person, "cam_id": camera, "split": split}
        )
        outputs.append({"embedding": torch.from_numpy(rng.standard_normal(4))})
    evaluator = ReIDEvaluator(
        "sysu_mm01",
        tmp_path,
        rules=ReIDRules(multi_shots=2),
        load_permutations=lambda: permutations,
    )
    feed(evaluator, inputs, outputs)
    results = evaluator.evaluate()
    scored = score_features(
        load_features(tmp_path / "features.npz"),
        "sysu_mm01",
        ReIDRules(multi_shots=2),
        permutations=permutations,
    )
    assert results == {name: result.metrics() for name, result in scored.items()}
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["rankings"]["reid"]["gallery_sampling"] == "official"
    assert written["rankings"]["reid_all_multi_agw"]["shots"] == written["multi_shots"] == 2
    assert written["rankings"]["reid"]["num_valid_queries"] == 2

    alone = ReIDEvaluator("sysu_mm01", load_permutations=lambda: None)
    feed(alone, inputs, outputs)
    assert alone.evaluate()["reid"] == alone.evaluate()["reid_all_single_agw"]
    with pytest.raises(ValueError, match="leave both out"):
        ReIDEvaluator("sysu_mm01", rules=ReIDRules(reranking=Reranking()))


def test_a_crop_seen_twice_counts_once_and_reset_forgets():
    inputs, outputs = make_crops()
    evaluator = ReIDEvaluator("market1501")
    feed(evaluator, inputs, outputs)
    expected = evaluator.evaluate()
    feed(evaluator, inputs[3:9], outputs[3:9])
    assert evaluator.evaluate() == expected
    evaluator.reset()
    with pytest.raises(ValueError, match="got 0 crops, none of them of the query split"):
        evaluator.evaluate()


def _evaluate_share(rank, folder, spans):
    inputs, outputs = make_crops()
    start, stop = spans[rank]
    evaluator = ReIDEvaluator("market1501", folder)
    feed(evaluator, inputs[start:stop], outputs[start:stop])
    return dict(evaluator.evaluate())


def test_two_processes_give_what_one_gives(tmp_path):
    """Uneven shares that overlap, as padded samplers deal them out."""
    inputs, outputs = make_crops()
    alone = ReIDEvaluator("market1501", tmp_path / "one")
    feed(alone, inputs, outputs)
    expected = alone.evaluate()
    spans = [(0, 11), (9, len(inputs))]
    main, other = run_processes(_evaluate_share, 2, tmp_path / "two", spans)
    assert (main, other) == (dict(expected), {})
    one, two = (load_features(tmp_path / name / "features.npz") for name in ("one", "two"))
    np.testing.assert_array_equal(one.gallery_features, two.gallery_features)
    np.testing.assert_array_equal(one.query_pids, two.query_pids)


def test_bad_input_is_named(tmp_path):
    inputs, outputs = make_crops()
    evaluator = ReIDEvaluator("market1501")
    for given, output, message in (
        ({"split": "train"}, {}, "0000_c0.jpg: split is 'train', expected 'query' or 'gallery'"),
        ({"split": None}, {}, "split is None"),
        ({}, {"embedding": torch.tensor([1.0, float("nan")])}, "vector of finite"),
        ({}, {"embedding": torch.ones(1, 8)}, r"shape \(1, 8\)"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluator.process([{**inputs[0], **given}], [{**outputs[0], **output}])
    with pytest.raises(ValueError, match="no 'embedding'"):
        evaluator.process(inputs[:1], [{"logits": 1}])
    evaluator.process(inputs[:1], outputs[:1])
    with pytest.raises(ValueError, match="has 3 values, those before it 8"):
        evaluator.process(inputs[1:2], [{"embedding": torch.ones(3)}])
    with pytest.raises(ValueError, match="got 1 crops, none of them of the gallery split"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match="protocol: got 'market', expected one of market1501"):
        ReIDEvaluator("market")


def test_features_are_kept_when_they_cannot_be_scored(tmp_path):
    inputs, outputs = make_crops()
    evaluator = ReIDEvaluator("market1501", tmp_path)
    feed(evaluator, [{**crop, "cam_id": 0} for crop in inputs], outputs)
    with pytest.raises(ValueError, match="has a match"):
        evaluator.evaluate()
    assert load_features(tmp_path / "features.npz").gallery_camids.tolist() == [0] * 2 * NUM
