"""The evaluator through fake model outputs, in one process and in two."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers_processes import run_processes

from person_search.data.protocol import SearchProtocol
from person_search.evaluation import evaluator as module
from person_search.evaluation.context import ContextMatching
from person_search.evaluation.evaluator import PersonSearchEvaluator
from person_search.evaluation.predictions import load_predictions
from person_search.evaluation.rules import PLAIN, SearchRules, list_searches
from person_search.evaluation.scoring import score_predictions
from person_search.train_net import PersonSearchTrainer

NUM = 4
PERSON, COMPANION = [10.0, 10.0, 60.0, 160.0], [200.0, 10.0, 250.0, 160.0]


def make_protocol(num_queries=NUM):
    """Person i stands in frame i and in frame NUM + i; the query is the former."""
    boxes = np.float32([PERSON, COMPANION])
    mask = np.zeros((num_queries, 2 * NUM), dtype=bool)
    mask[:, NUM:] = True
    rows = np.arange(num_queries)
    return SearchProtocol(
        name="fake",
        frame_names=tuple(f"{i}.jpg" for i in range(2 * NUM)),
        frame_boxes=(boxes,) * 2 * NUM,
        frame_pids=tuple(np.array([i % NUM, -1]) for i in range(2 * NUM)),
        query_frames=rows,
        query_boxes=np.repeat(boxes[:1], num_queries, axis=0),
        query_pids=rows,
        gallery_mask=mask,
        true_queries=rows,
        true_frames=rows + NUM,
        true_boxes=np.repeat(boxes[:1], num_queries, axis=0),
    )


def make_output(frame, dtype=torch.float32, scale=1.0):
    """What a perfect model says of one frame: input and output dict."""
    unit = torch.eye(NUM + 1, dtype=dtype) * scale
    instances = Instances(
        (200, 300),
        pred_boxes=Boxes(torch.tensor([COMPANION, PERSON])),
        scores=torch.tensor([0.75, 1.0]),
        pred_classes=torch.zeros(2, dtype=torch.int64),
        embeddings=unit[[NUM, frame % NUM]],
    )
    output = {"instances": instances}
    if frame < NUM:
        output["queries"] = Instances(
            (200, 300),
            pred_boxes=Boxes(torch.tensor([PERSON])),
            embeddings=unit[[frame]],
            query_ids=torch.tensor([frame]),
        )
    return {"file_name": f"/data/{frame}.jpg", "image_id": f"{frame}.jpg"}, output


def feed(evaluator, frames, **options):
    for frame in frames:
        given, output = make_output(frame, **options)
        evaluator.process([given], [output])


PERFECT = {"mAP": 100.0, "top1": 100.0, "top5": 100.0, "top10": 100.0}


def test_a_perfect_model(tmp_path):
    part = replace(make_protocol(3), name="some of the queries")
    evaluator = PersonSearchEvaluator(
        lambda subset=None: part if subset else make_protocol(),
        tmp_path / "inference",
        searches=[PLAIN, SearchRules(context=ContextMatching(10, 3)), SearchRules(subset="part")],
    )
    evaluator.reset()
    feed(evaluator, [5, 0, 7, 2, 1, 3, 4, 6])
    results = evaluator.evaluate()
    assert set(results) == {"detection", "search", "search_cbgm", "search_part", "bbox"}
    assert next(iter(results)) == "detection"
    assert results["detection"] == {"ap": 100.0, "recall": 100.0, "recall_labeled": 100.0}
    assert results["search"] == results["search_part"] == PERFECT
    # The companion is the same in every frame, so that every frame's largest matched edge is 1:
    # four frames tie, AP = 1/4, and only the first query's own frame comes first.
    tied = {"mAP": 25.0, "top1": 25.0, "top5": 100.0, "top10": 100.0}
    assert results["search_cbgm"] == pytest.approx(tied)
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert not any("-" in name for group in results.values() for name in group)
    assert sorted(os.listdir(tmp_path / "inference")) == ["predictions.npz", "results.json"]
    assert json.loads((tmp_path / "inference/results.json").read_text()) == results


def test_each_gallery_is_read_once():
    """The largest takes a minute; the first serves to put the frames in order too."""
    asked = []

    def load(**options):
        asked.append(options)
        return make_protocol()

    galleries = [PLAIN, SearchRules(subset="other")]
    searches = list_searches(galleries, confidence_weighting=True, context=ContextMatching(2, 2))
    evaluator = PersonSearchEvaluator(load, searches=searches)
    feed(evaluator, range(8))
    results = evaluator.evaluate()
    assert len(results) == 2 + 2 * 3
    assert asked == [{}, {"subset": "other"}]
    predictions = module.merge_frames(evaluator._frames, make_protocol())
    assert score_predictions(load, searches, predictions) == results
    assert asked == 2 * [{}, {"subset": "other"}]


def test_results_by_frequency(tmp_path):
    """Identity 0 stands in three frames more, identity 3 in none but its query's."""
    pids = [i % NUM for i in range(2 * NUM)]
    pids[7] = -1
    protocol = make_protocol()
    protocol = replace(
        protocol, frame_pids=tuple(np.array([p, 0 if i < 3 else -1]) for i, p in enumerate(pids))
    )
    evaluator = PersonSearchEvaluator(
        lambda subset=None: make_protocol() if subset else protocol,
        tmp_path,
        searches=list_searches([PLAIN, SearchRules(subset="other")], by_frequency=True),
    )
    # Frames 4 and 5 of persons 0 and 1 were not run.
    feed(evaluator, [0, 1, 2, 3, 6, 7])
    results = evaluator.evaluate()
    assert list(results) == [
        "detection", "search", "search_head", "search_middle", "search_tail", "search_other",
        "bbox",
    ]  # fmt: skip
    none = dict.fromkeys(PERFECT, 0.0)
    assert results["search_head"] == {**none, "queries": 1}
    half = {name: value / 2 for name, value in PERFECT.items()}
    assert results["search_middle"] == {**half, "queries": 2}
    assert results["search_tail"] == {**PERFECT, "queries": 1}
    assert results["search"] == half
    assert json.loads((tmp_path / "results.json").read_text()) == results


@pytest.mark.parametrize("by_frequency", [False, True])
def test_the_config_asks_for_results_by_frequency(by_frequency, tiny_cfg, tmp_path):
    name = "toy_frequency"
    MetadataCatalog.get(name).set(layout="prw", load_protocol=make_protocol)
    cfg = tiny_cfg(TEST__SEARCH__BY_FREQUENCY=by_frequency, OUTPUT_DIR=str(tmp_path))
    try:
        evaluator = PersonSearchTrainer.build_evaluator(cfg, name)
    finally:
        MetadataCatalog.remove(name)
    feed(evaluator, range(8))
    # Everybody stands in two frames: there is neither head nor tail.
    groups = {"search_middle": {**PERFECT, "queries": NUM}} if by_frequency else {}
    results = evaluator.evaluate()
    assert {name: results[name] for name in results if "search_" in name} == groups


def test_several_test_sets_do_not_write_over_each_other(tiny_cfg, tmp_path):
    """The scores of the last one were all that was left."""
    names = ("toy_first", "toy_second")
    cfg = tiny_cfg(DATASETS__TEST=str(names), OUTPUT_DIR=str(tmp_path))
    for name in names:
        MetadataCatalog.get(name).set(layout="prw", load_protocol=make_protocol)
    try:
        evaluators = [PersonSearchTrainer.build_evaluator(cfg, name) for name in names]
    finally:
        for name in names:
            MetadataCatalog.remove(name)
    for evaluator, name in zip(evaluators, names, strict=True):
        evaluator.record = {"dataset": name}
        feed(evaluator, range(8))
        evaluator.evaluate()
    for name in names:
        folder = tmp_path / "inference" / name
        assert sorted(os.listdir(folder)) == ["predictions.npz", "results.json"]
        assert json.loads((folder / "results.json").read_text())["record"]["dataset"] == name
    assert sorted(os.listdir(tmp_path / "inference")) == sorted(names)


def test_what_it_writes(tmp_path):
    evaluator = PersonSearchEvaluator(make_protocol, tmp_path)
    feed(evaluator, [6, 5, 4, 3, 2, 1, 0])  # frame 7 was not run
    evaluator.evaluate()
    found = load_predictions(tmp_path / "predictions.npz")
    assert found.image_names.tolist() == [f"{i}.jpg" for i in range(7)]
    assert found.image_index.tolist() == np.repeat(np.arange(7), 2).tolist()
    assert found.boxes[:2].tolist() == [COMPANION, PERSON]
    assert found.query_names.tolist() == [f"{i}.jpg" for i in range(NUM)]
    assert np.array_equal(found.query_embeddings, np.eye(NUM + 1, dtype=np.float32)[:NUM])
    # Around each query: itself, then the companion; the detection under the query is gone.
    assert found.context_query_index.tolist() == np.repeat(np.arange(NUM), 2).tolist()
    assert found.context_scores.tolist() == [1.0, 0.75] * NUM
    assert found.context_boxes[:2].tolist() == [PERSON, COMPANION]
    assert np.array_equal(found.context_embeddings[::2], found.query_embeddings)
    assert found.boxes.dtype == found.scores.dtype == found.embeddings.dtype == np.float32


def test_context_comes_by_falling_score():
    evaluator = PersonSearchEvaluator(lambda: make_protocol(1))
    given, output = make_output(0)
    shifts = torch.tensor([[0.0], [100.0], [200.0], [300.0]])
    output["instances"] = Instances(
        (200, 600),
        pred_boxes=Boxes(torch.tensor([PERSON]) + shifts * torch.tensor([1.0, 0, 1, 0])),
        scores=torch.tensor([0.99, 0.2, 0.9, 0.6]),
        embeddings=torch.eye(NUM + 1)[:4],
    )
    evaluator.process([given], [output])
    found = module.merge_frames(evaluator._frames, make_protocol(1))
    assert found.context_scores == pytest.approx([1, 0.9, 0.6, 0.2])
    assert np.argmax(found.context_embeddings, axis=1).tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize(("bottom", "is_beside"), [(310, True), (309, False)])
def test_a_detection_under_the_query_is_not_beside_it(bottom, is_beside):
    """The query is 50 x 150 = 7500 pixels; 7500 / (50 * 300) is half, 7500 / (50 * 299) is more."""
    evaluator = PersonSearchEvaluator(lambda: make_protocol(1))
    given, output = make_output(0)
    output["instances"].pred_boxes = Boxes(torch.tensor([COMPANION, [10.0, 10.0, 60.0, bottom]]))
    evaluator.process([given], [output])
    found = module.merge_frames(evaluator._frames, make_protocol(1))
    assert len(found.context_scores) == 2 + is_beside


def test_the_context_that_a_model_tells_counts():
    """Whom the query hides from the suppression hid nobody; only the model knows who that is."""
    evaluator = PersonSearchEvaluator(lambda: make_protocol(1))
    given, output = make_output(0)
    query = int(output["queries"].query_ids[0])
    beside = [[30.0, 10.0, 80.0, 160.0], COMPANION]
    output["context"] = {
        query: Instances(
            (200, 600),
            pred_boxes=Boxes(torch.tensor(beside)),
            scores=torch.tensor([0.75, 0.5]),
            embeddings=torch.eye(NUM + 1)[1:3],
        )
    }
    evaluator.process([given], [output])
    found = module.merge_frames(evaluator._frames, make_protocol(1))
    assert found.context_boxes.tolist() == [PERSON, *beside]
    assert found.context_scores.tolist() == [1.0, 0.75, 0.5]
    assert np.argmax(found.context_embeddings[1:], axis=1).tolist() == [1, 2]
    output["context"][query].embeddings = 2 * torch.eye(NUM + 1)[1:3]
    with pytest.raises(ValueError, match="embeddings of the model's context have norms 2"):
        evaluator.process([given], [output])


def test_reset_forgets():
    evaluator = PersonSearchEvaluator(make_protocol)
    feed(evaluator, range(8))
    evaluator.reset()
    with pytest.raises(ValueError, match="no frames"):
        evaluator.evaluate()


def test_nobody_found():
    evaluator = PersonSearchEvaluator(
        make_protocol, searches=list_searches([PLAIN], context=ContextMatching(2, 2))
    )
    for frame in range(8):
        given, output = make_output(frame)
        output["instances"] = output["instances"][:0]
        evaluator.process([given], [output])
    results = evaluator.evaluate()
    assert results["search"]["mAP"] == results["search_cbgm"]["mAP"] == 0
    assert results["detection"]["recall"] == 0


def test_half_precision_outputs():
    evaluator = PersonSearchEvaluator(make_protocol)
    feed(evaluator, range(8), dtype=torch.bfloat16)
    assert evaluator.evaluate()["search"] == PERFECT


def test_empty_query_instances_are_fine():
    evaluator = PersonSearchEvaluator(make_protocol)
    feed(evaluator, range(7))
    given, output = make_output(7)
    output["queries"] = make_output(0)[1]["queries"][:0]
    evaluator.process([given], [output])
    assert evaluator.evaluate()["search"] == PERFECT


@pytest.mark.parametrize("scale", [2.0, float("nan")])
def test_bad_norms_stop_at_the_first_frame(scale):
    evaluator = PersonSearchEvaluator(make_protocol)
    with pytest.raises(ValueError, match=r"3\.jpg: embeddings of the model's instances have norms"):
        feed(evaluator, [3], scale=scale)


def test_a_plain_detector_is_refused():
    evaluator = PersonSearchEvaluator(make_protocol)
    given, output = make_output(5)
    output["instances"].remove("embeddings")
    with pytest.raises(ValueError, match=r"5\.jpg: the model's instances have no field embeddings"):
        evaluator.process([given], [output])


def test_missing_and_unknown_queries_and_frames():
    evaluator = PersonSearchEvaluator(make_protocol)
    feed(evaluator, [0, 1, 3, 4, 5, 6, 7])
    with pytest.raises(ValueError, match=r"1 of 4 have no embedding.* query 2 in '2\.jpg'"):
        evaluator.evaluate()
    evaluator = PersonSearchEvaluator(lambda: make_protocol(2))
    feed(evaluator, [0, 1, 2])
    with pytest.raises(ValueError, match=r"query_ids: 2\.jpg has query 2"):
        evaluator.evaluate()
    given, output = make_output(4)
    evaluator.reset()
    evaluator.process([given | {"image_id": "other.jpg"}], [output])
    with pytest.raises(ValueError, match=r"the frame 'other\.jpg' is not in fake"):
        evaluator.evaluate()


def test_no_search_and_two_of_one_name_are_refused():
    with pytest.raises(ValueError, match="searches: got none"):
        PersonSearchEvaluator(make_protocol, searches=[])
    twice = [SearchRules(context=ContextMatching(k1, 2)) for k1 in (1, 2)]
    with pytest.raises(ValueError, match="searches: got two named 'search_cbgm'"):
        PersonSearchEvaluator(make_protocol, searches=twice)


def test_predictions_are_kept_when_a_protocol_does_not_fit(tmp_path):
    boxes = np.float32([[0, 0, 5, 5]])
    other = replace(make_protocol(1), query_boxes=boxes, name="other queries")
    evaluator = PersonSearchEvaluator(
        lambda subset=None: other if subset else make_protocol(),
        tmp_path,
        searches=[PLAIN, SearchRules(subset="other")],
    )
    feed(evaluator, range(8))
    with pytest.raises(ValueError, match="no row for query 0 of other queries"):
        evaluator.evaluate()
    assert os.listdir(tmp_path) == ["predictions.npz"]


def test_other_processes_return_nothing(tmp_path, monkeypatch):
    fake = SimpleNamespace(
        synchronize=lambda: None, gather=lambda data, dst: [], is_main_process=lambda: False
    )
    monkeypatch.setattr(module, "comm", fake)
    evaluator = PersonSearchEvaluator(make_protocol, tmp_path)
    feed(evaluator, [0])
    assert evaluator.evaluate() == {}
    assert os.listdir(tmp_path) == []


def _evaluate_share(rank, folder):
    evaluator = PersonSearchEvaluator(make_protocol, folder)
    # Frames 3 and 4 come twice, as from a sampler that pads.
    feed(evaluator, [0, 1, 2, 3, 4] if rank == 0 else [7, 6, 5, 4, 3])
    return json.dumps(evaluator.evaluate())


def test_two_processes(tmp_path):
    main, other = run_processes(_evaluate_share, 2, tmp_path / "out")
    assert json.loads(other) == {}
    single = PersonSearchEvaluator(make_protocol, tmp_path / "single")
    feed(single, range(8))
    expected = single.evaluate()
    assert json.loads(main) == expected
    ours = load_predictions(tmp_path / "out/predictions.npz")
    reference = load_predictions(tmp_path / "single/predictions.npz")
    for name in type(ours).__dataclass_fields__:
        assert np.array_equal(getattr(ours, name), getattr(reference, name)), name
