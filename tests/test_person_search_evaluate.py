"""The command that scores saved predictions, on tiny sets in the official layouts."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers_layouts import make_cuhk_sysu, make_prw, write_coco_person

from person_search.data.coco_person import load_coco_person_protocol
from person_search.data.cuhk_sysu import load_cuhk_sysu_protocol
from person_search.data.prw import load_prw_protocol
from person_search.evaluate import main
from person_search.evaluation.alignment import select_queries
from person_search.evaluation.context import ContextMatching
from person_search.evaluation.detection import coco_box_ap, evaluate_detection
from person_search.evaluation.predictions import Predictions, save_predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.search import evaluate_search, search_each_query


def predict(protocol, seed=0):
    """Every annotated box as a detection, with random embeddings and scores."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate(protocol.frame_boxes)
    counts = [len(b) for b in protocol.frame_boxes]
    num_queries = len(protocol.query_frames)

    def unit(rows):
        values = rng.standard_normal((rows, 4)).astype(np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    names = np.array(protocol.frame_names)
    asked = unit(num_queries)
    others = protocol.query_boxes + np.float32([50, 0, 50, 0])
    return Predictions(
        image_names=names,
        image_index=np.repeat(np.arange(len(names)), counts),
        boxes=boxes,
        scores=rng.choice([0.3, 0.6, 0.9], len(boxes)).astype(np.float32),
        embeddings=unit(len(boxes)),
        query_names=names[protocol.query_frames],
        query_boxes=protocol.query_boxes,
        query_embeddings=asked,
        context_query_index=np.tile(np.arange(num_queries), 2),
        context_boxes=np.concatenate([protocol.query_boxes, others]),
        context_scores=np.repeat(np.float32([1, 0.8]), num_queries),
        context_embeddings=np.concatenate([asked, unit(num_queries)]),
    )


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def cuhk(tmp_path):
    root = make_cuhk_sysu(tmp_path / "CUHK-SYSU")
    protocol = load_cuhk_sysu_protocol(root)
    predictions = predict(protocol)
    save_predictions(tmp_path / "predictions.npz", predictions)
    return root, predictions


@pytest.fixture
def prw(tmp_path):
    root = make_prw(tmp_path / "PRW")
    predictions = predict(load_prw_protocol(root))
    save_predictions(tmp_path / "predictions.npz", predictions)
    return root, predictions


def score(tmp_path, dataset, root, *options):
    """Run the command and read its JSON."""
    out = tmp_path / "results" / "out.json"
    file = tmp_path / "predictions.npz"
    code = run("--dataset", dataset, "--root", root, "--predictions", file, "--json", out, *options)
    assert code == 0
    results = json.loads(out.read_text())
    # Nobody said which model the predictions are of.
    record = results.pop("record")
    assert (record["model"], record["dataset"]) == ("", dataset)
    return results


def test_cuhk_sysu(tmp_path, cuhk, capsys):
    root, predictions = cuhk
    results = score(tmp_path, "cuhk_sysu", root)
    protocol = load_cuhk_sysu_protocol(root, gallery_size=100)
    assert results == {
        "detection": evaluate_detection(protocol, predictions),
        "search": evaluate_search(protocol, predictions),
        "bbox": coco_box_ap(protocol, predictions),
    }
    printed = capsys.readouterr().out
    for word in ("mAP", "top1", "recall_labeled", "AP50", f"{results['search']['mAP']:.2f}"):
        assert word in printed
    # A drawn set has the same layout.
    assert score(tmp_path, "drawn_cuhk", root) == results


@pytest.mark.parametrize("size", [50, -1])
def test_gallery_size(tmp_path, cuhk, size):
    root, predictions = cuhk
    protocol = load_cuhk_sysu_protocol(root, gallery_size=size)
    results = score(tmp_path, "cuhk_sysu", root, "--gallery-size", size)
    name = {50: "search_g50", -1: "search_full"}[size]
    assert list(results) == ["detection", name, "bbox"]
    assert results[name] == evaluate_search(protocol, predictions)


def test_all_gallery_sizes_that_are_there(tmp_path, cuhk):
    root, predictions = cuhk
    results = score(tmp_path, "cuhk_sysu", root, "--all-gallery-sizes")
    assert list(results) == ["detection", "search", "search_g50", "search_full", "bbox"]
    for name, size in (("search", 100), ("search_g50", 50), ("search_full", -1)):
        protocol = load_cuhk_sysu_protocol(root, gallery_size=size)
        assert results[name] == evaluate_search(protocol, predictions)


@pytest.mark.parametrize("subset", ["occlusion", "resolution"])
def test_subsets_pick_their_queries(tmp_path, cuhk, subset):
    root, predictions = cuhk
    protocol = load_cuhk_sysu_protocol(root, subset=subset)
    chosen = select_queries(predictions, protocol)
    assert len(chosen.query_names) == {"occlusion": 1, "resolution": 2}[subset]
    results = score(tmp_path, "cuhk_sysu", root, "--subset", subset)
    assert list(results) == ["detection", "search", f"search_{subset}", "bbox"]
    assert results[f"search_{subset}"] == evaluate_search(protocol, chosen)


def test_prw(tmp_path, prw):
    root, predictions = prw
    protocol, multi_view = (load_prw_protocol(root, multi_view=m) for m in (False, True))
    expected = {
        "detection": evaluate_detection(protocol, predictions),
        "search": evaluate_search(protocol, predictions),
        "search_multi_view": evaluate_search(multi_view, predictions),
        "bbox": coco_box_ap(protocol, predictions),
    }
    for dataset in ("prw", "drawn_prw"):
        assert score(tmp_path, dataset, root, "--multi-view") == expected
    expected.pop("search_multi_view")
    assert score(tmp_path, "prw", root) == expected


def test_scoring_options(tmp_path, prw):
    root, predictions = prw
    protocol = load_prw_protocol(root)
    results = score(tmp_path, "prw", root, "--score-threshold", 0.8, "--confidence-weighting")
    rules = SearchRules(score_threshold=0.8)
    weighted = replace(rules, confidence_weighting=True)
    assert results == {
        "detection_score0.8": evaluate_detection(protocol, predictions, 0.8),
        "search_score0.8": evaluate_search(protocol, predictions, rules),
        "search_score0.8_weighted": evaluate_search(protocol, predictions, weighted),
        "bbox": coco_box_ap(protocol, predictions),
    }


@pytest.mark.parametrize(
    ("options", "expected"), [((), ContextMatching(30, 4)), ((1, 2), ContextMatching(1, 2))]
)
def test_context_matching(tmp_path, prw, options, expected):
    root, predictions = prw
    results = score(tmp_path, "prw", root, "--cbgm", *options)
    protocol = load_prw_protocol(root)
    assert results["search"] == evaluate_search(protocol, predictions)
    reranked = evaluate_search(protocol, predictions, SearchRules(context=expected))
    assert results["search_cbgm"] == reranked


def test_by_frequency_on_prw(tmp_path, prw, capsys):
    """Person 30 has four boxes in the test frames, person 40 three; a query each."""
    root, predictions = prw
    results = score(tmp_path, "prw", root, "--by-frequency")
    assert list(results) == ["detection", "search", "search_head", "search_tail", "bbox"]
    each = search_each_query(load_prw_protocol(root), predictions)
    for name, query in (("search_head", each[0]), ("search_tail", each[1])):
        assert results[name]["mAP"] == pytest.approx(100 * query.average_precision)
        assert results[name]["queries"] == 1
    lines = capsys.readouterr().out.splitlines()
    (header,) = [line for line in lines if "mAP" in line]
    assert header.split() == ["search", "mAP", "top1", "top5", "top10", "queries"]
    assert [line.split()[-1] for line in lines if line.startswith("search_")] == ["1", "1"]
    plain = score(tmp_path, "prw", root)
    assert plain == {name: group for name, group in results.items() if name in plain}


def test_by_frequency_on_cuhk_sysu(tmp_path, cuhk):
    """p7 and p8 have two labelled boxes, p9 has one; further protocols are not parted."""
    root, predictions = cuhk
    results = score(tmp_path, "cuhk_sysu", root, "--by-frequency", "--all-gallery-sizes")
    assert list(results)[:5] == ["detection", "search", "search_head", "search_tail", "search_g50"]
    assert results["search_head"]["queries"] == 2
    assert results["search_tail"]["queries"] == 1
    each = search_each_query(load_cuhk_sysu_protocol(root), predictions)
    assert results["search_tail"]["mAP"] == pytest.approx(100 * each[2].average_precision)


def test_own_data(tmp_path):
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48, "cam_id": i} for i in (1, 2)
    ]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 20, 40], "person_id": 9}
        for i in (1, 2)
    ]
    file = write_coco_person(tmp_path, images, annotations)
    protocol = load_coco_person_protocol(file, tmp_path)
    save_predictions(tmp_path / "predictions.npz", predict(protocol))
    results = score(tmp_path, str(file), tmp_path)
    assert results["search"] == evaluate_search(protocol, predict(protocol))
    out = tmp_path / "default_root.json"
    assert (
        run(
            "--dataset", file, "--predictions", tmp_path / "predictions.npz", "--json", out
        ) == 0
    )  # fmt: skip
    written = json.loads(out.read_text())
    assert written.pop("record")["dataset"] == str(file) and written == results
    results = score(tmp_path, str(file), tmp_path, "--by-frequency")
    assert results["search_middle"] == {**results["search"], "queries": 1}


def refuse(capsys, *arguments):
    """Run a command that argparse refuses; return what it said."""
    with pytest.raises(SystemExit) as stop:
        run("--predictions", "p.npz", *arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "cuhk"), "--dataset: got 'cuhk', expected one of cuhk_sysu"),
        (("--dataset", "prw", "--gallery-size", "50"), "--gallery-size belongs to CUHK-SYSU"),
        (("--dataset", "prw", "--subset", "occlusion"), "--subset belongs to CUHK-SYSU"),
        (("--dataset", "a.json", "--all-gallery-sizes"), "--all-gallery-sizes belongs to"),
        (("--dataset", "cuhk_sysu", "--multi-view"), "--multi-view belongs to PRW and JSON"),
        (("--dataset", "prw", "--cbgm", "3"), "--cbgm: got 1 numbers"),
        (("--score-threshold", "50"), "score_threshold: got 50.0, expected 0..1"),
        (("--cbgm", "0", "3"), "k1 and k2: got 0 and 3"),
        (("--gallery-size", "0"), "gallery_size: got 0, expected 1 or more frames, or -1"),
    ],
)
def test_options_that_make_no_sense(tmp_path, capsys, arguments, message):
    if "--dataset" not in arguments:
        arguments = ("--dataset", "cuhk_sysu", "--root", tmp_path, *arguments)
    assert message in refuse(capsys, *arguments)


def test_mistakes_end_with_one_line(tmp_path, prw, capsys):
    root, predictions = prw
    file, out = tmp_path / "predictions.npz", tmp_path / "out.json"
    common = ("--dataset", "prw", "--json", out)
    assert run(*common, "--root", root, "--predictions", tmp_path / "no.npz") == 1
    assert "no.npz: no such predictions file" in capsys.readouterr().err
    assert run(*common, "--root", tmp_path / "none", "--predictions", file) == 1
    assert "none: no such folder" in capsys.readouterr().err
    cuhk = make_cuhk_sysu(tmp_path / "CUHK-SYSU")
    assert run("--dataset", "cuhk_sysu", "--root", cuhk, "--predictions", file) == 1
    assert "image_names: 5 of 5 frames are not in CUHK-SYSU" in capsys.readouterr().err
    fields = Predictions.__dataclass_fields__
    arrays = {name: getattr(predictions, name) for name in fields if "context" not in name}
    save_predictions(file, Predictions(**arrays))
    assert run(*common, "--root", root, "--predictions", file, "--cbgm") == 1
    assert "context_query_index: absent" in capsys.readouterr().err
    assert not out.exists()


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        run("--help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for option in ("--dataset", "--gallery-size", "--cbgm", "--multi-view", "--json"):
        assert option in printed
