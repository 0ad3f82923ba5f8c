"""The rules of a search and their names, and one meaning of them in training and in the command."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers_layouts import make_cuhk_sysu, make_prw

from person_search.data.cuhk_sysu import load_cuhk_sysu_protocol
from person_search.data.prw import load_prw_protocol
from person_search.evaluate import main
from person_search.evaluation.context import ContextMatching, published_context
from person_search.evaluation.rules import PLAIN, SearchRules, list_searches
from person_search.trainer import PersonSearchTrainer, build_evaluator, read_searches

CBGM = ContextMatching(10, 3)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "search"),
        ({"gallery_size": 100}, "search"),
        ({"gallery_size": 50}, "search_g50"),
        ({"gallery_size": -1}, "search_full"),
        ({"subset": "occlusion"}, "search_occlusion"),
        ({"multi_view": True}, "search_multi_view"),
        ({"score_threshold": 0.8}, "search_score0.8"),
        ({"score_threshold": 0}, "search_score0"),
        ({"confidence_weighting": True}, "search_weighted"),
        ({"context": CBGM}, "search_cbgm"),
        ({"by_frequency": True}, "search"),
        (
            {
                "gallery_size": 50,
                "score_threshold": 0.25,
                "confidence_weighting": True,
                "context": CBGM,
            },
            "search_g50_score0.25_weighted_cbgm",
        ),
    ],
)
def test_names(options, name):
    rules = SearchRules(**options)
    assert rules.name == name
    threshold = options.get("score_threshold", 0.5)
    expected = "detection" if threshold == 0.5 else f"detection_score{threshold}"
    assert rules.detection_name == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": -0.1}, "score_threshold: got -0.1, expected 0..1"),
        ({"score_threshold": 1.1}, "score_threshold: got 1.1, expected 0..1"),
        ({"score_threshold": float("nan")}, "score_threshold: got nan"),
        ({"gallery_size": 0}, "gallery_size: got 0, expected 1 or more frames, or -1"),
        ({"gallery_size": -2}, "gallery_size: got -2"),
        ({"gallery_size": 100, "subset": "occlusion"}, "gallery_size and subset: expected one"),
        ({"subset": "occlusion", "multi_view": True}, "subset and multi_view: expected one"),
    ],
)
def test_rules_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SearchRules(**options)


def test_only_what_is_chosen_is_asked_of_the_loader():
    asked = []
    for options in ({}, {"gallery_size": -1}, {"subset": "resolution"}, {"multi_view": True}):
        SearchRules(**options).load_protocol(lambda **given: asked.append(given))
        assert asked.pop() == options


def test_every_gallery_is_scored_plainly_and_in_every_other_way():
    galleries = [SearchRules(gallery_size=size) for size in (50, 100)]
    # 100 frames are what the plain protocol searches.
    searches = list_searches(
        [*galleries, PLAIN], confidence_weighting=True, context=CBGM, by_frequency=True
    )
    assert [rules.name for rules in searches] == [
        f"search{gallery}{ranking}"
        for gallery in ("_g50", "")
        for ranking in ("", "_weighted", "_weighted_cbgm")
    ]
    assert [rules.by_frequency for rules in searches] == [True] * 3 + [False] * 3
    assert list_searches(galleries[:1], context=CBGM)[1] == SearchRules(50, context=CBGM)


def feed(evaluator, protocol, seed=0):
    """Give the evaluator every annotated box as a detection, with random embeddings and scores."""
    generator = torch.Generator().manual_seed(seed)

    def found(boxes):
        embeddings = torch.randn(len(boxes), 4, generator=generator)
        return Instances(
            (48, 64),
            pred_boxes=Boxes(torch.as_tensor(boxes)),
            embeddings=torch.nn.functional.normalize(embeddings),
        )

    for frame, name in enumerate(protocol.frame_names):
        instances = found(protocol.frame_boxes[frame])
        instances.scores = torch.rand(len(instances), generator=generator)
        rows = np.flatnonzero(protocol.query_frames == frame)
        queries = found(protocol.query_boxes[rows])
        queries.query_ids = torch.as_tensor(rows)
        evaluator.process([{"image_id": name}], [{"instances": instances, "queries": queries}])


# Of the two people who are asked for in the tiny PRW, one is seen more often.
PARTS = ("", "_head", "_tail")
SETS = {
    "cuhk_sysu": (make_cuhk_sysu, load_cuhk_sysu_protocol),
    "prw": (make_prw, load_prw_protocol),
}


@pytest.mark.parametrize(
    ("dataset", "keys", "options", "expected"),
    [
        ("cuhk_sysu", {}, "", ["search"]),
        (
            "cuhk_sysu",
            {
                "GALLERY_SIZES": (100, 50, -1),
                "SUBSETS": ("occlusion",),
                "CONFIDENCE_WEIGHTING": True,
                "CONTEXT__ENABLED": True,
            },
            "--all-gallery-sizes --subset occlusion --confidence-weighting --cbgm",
            [
                f"search{gallery}{ranking}"
                for gallery in ("", "_g50", "_full", "_occlusion")
                for ranking in ("", "_weighted", "_weighted_cbgm")
            ],
        ),
        ("cuhk_sysu", {"GALLERY_SIZES": (50,)}, "--gallery-size 50", ["search_g50"]),
        (
            "prw",
            {
                "SCORE_THRESHOLD": 0.1,
                "CONTEXT__ENABLED": True,
                "CONTEXT__K1": 9,
                "CONTEXT__K2": 2,
            },
            "--score-threshold 0.1 --cbgm 9 2",
            ["search_score0.1", "search_score0.1_cbgm"],
        ),
        (
            "prw",
            {"MULTI_VIEW": True, "BY_FREQUENCY": True, "CONTEXT__ENABLED": True},
            "--multi-view --by-frequency --cbgm",
            [
                *(f"search{ranking}{part}" for ranking in ("", "_cbgm") for part in PARTS),
                *("search_multi_view", "search_multi_view_cbgm"),
            ],
        ),
    ],
)
def test_training_and_the_command_give_the_same(
    dataset, keys, options, expected, tiny_cfg, tmp_path
):
    make, load = SETS[dataset]
    root = make(tmp_path / dataset)
    name = f"both_ways_{dataset}"
    MetadataCatalog.get(name).set(layout=dataset, load_protocol=lambda **o: load(root, **o))
    cfg = tiny_cfg(
        OUTPUT_DIR=str(tmp_path), **{f"TEST__SEARCH__{key}": value for key, value in keys.items()}
    )
    try:
        evaluator = build_evaluator(cfg, name)
    finally:
        MetadataCatalog.remove(name)
    feed(evaluator, load(root))
    trained = evaluator.evaluate()
    detection = "detection" if "SCORE_THRESHOLD" not in keys else "detection_score0.1"
    assert list(trained) == [detection, *expected, "bbox"]

    folder, out = tmp_path / "inference", tmp_path / "out.json"
    given = ["--dataset", dataset, "--root", root, "--json", out, *options.split()]
    predictions = ["--predictions", folder / "predictions.npz"]
    assert main([str(word) for word in (*given, *predictions)]) == 0
    scored = json.loads(out.read_text())
    assert scored.pop("record")["dataset"] == dataset
    assert list(scored) == list(trained)
    assert scored == trained == json.loads((folder / "results.json").read_text())
    # What is asked for beyond the plain search changes numbers, so that no name hides another's.
    assert len({tuple(scored[name].values()) for name in expected}) > 1 or len(expected) == 1


@pytest.mark.parametrize(
    ("layout", "sizes"), [("cuhk_sysu", (10, 3)), ("prw", (30, 4)), ("coco_person", (30, 4))]
)
def test_context_sizes_are_those_published_for_the_layout(layout, sizes, tiny_cfg):
    assert published_context(layout) == ContextMatching(*sizes)
    search = tiny_cfg(TEST__SEARCH__CONTEXT__ENABLED=True).TEST.SEARCH
    assert read_searches(search, layout)[-1].context == ContextMatching(*sizes)
    search.CONTEXT.K2 = 2
    assert read_searches(search, layout)[-1].context == ContextMatching(sizes[0], 2)
    search.CONTEXT.K1, search.CONTEXT.K2 = 7, 0
    assert read_searches(search, layout)[-1].context == ContextMatching(7, sizes[1])


def test_a_config_without_a_gallery_is_refused(tiny_cfg):
    search = tiny_cfg(TEST__SEARCH__GALLERY_SIZES=()).TEST.SEARCH
    with pytest.raises(ValueError, match=r"TEST\.SEARCH\.GALLERY_SIZES: got none"):
        read_searches(search, "cuhk_sysu")
    assert read_searches(search, "prw") == [PLAIN]


@pytest.mark.parametrize(
    ("keys", "metric"),
    [
        ({}, "search/mAP"),
        ({"CONTEXT__ENABLED": True}, "search/mAP"),
        ({"CONFIDENCE_WEIGHTING": True, "CONTEXT__ENABLED": True}, "search_weighted/mAP"),
        ({"GALLERY_SIZES": (50, 100)}, "search_g50/mAP"),
    ],
)
def test_the_best_weights_are_kept_by_a_metric_that_is_there(keys, metric, tiny_cfg):
    cfg = tiny_cfg(**{f"TEST__SEARCH__{key}": value for key, value in keys.items()})
    cfg.DATASETS.TEST = ("drawn_cuhk_test",)
    trainer = PersonSearchTrainer.__new__(PersonSearchTrainer)
    trainer.cfg = cfg
    assert trainer.metric_name() == metric
    names = [rules.name for rules in read_searches(cfg.TEST.SEARCH, "cuhk_sysu")]
    assert metric.removesuffix("/mAP") in names
