import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_shipped import WEIGHTS
from PIL import Image

from demo import search_drawn_gallery as demo
from demo.shrink_weights import main as shrink_main
from demo.shrink_weights import shrink
from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.search import search_each_query


def _one_query():
    """One query in frame a, true in frame b; the model found it there and somebody else in c."""
    box = np.array([[10, 10, 30, 60]], np.float32)
    protocol = SearchProtocol(
        name="toy",
        frame_names=("a.jpg", "b.jpg", "c.jpg"),
        frame_boxes=(box, box, box),
        frame_pids=(np.array([0]), np.array([0]), np.array([1])),
        query_frames=np.array([0]),
        query_boxes=box,
        query_pids=np.array([0]),
        gallery_mask=np.array([[False, True, True]]),
        true_queries=np.array([0]),
        true_frames=np.array([1]),
        true_boxes=box,
    )
    unit = np.eye(2, dtype=np.float32)
    predictions = Predictions(
        image_names=np.array(["b.jpg", "c.jpg"]),
        image_index=np.array([0, 1]),
        boxes=np.repeat(box, 2, axis=0),
        scores=np.array([0.9, 0.8], np.float32),
        embeddings=unit,
        query_names=np.array(["a.jpg"]),
        query_boxes=box,
        query_embeddings=unit[:1],
    )
    return protocol, predictions


def test_a_ranking_names_files_and_says_who_is_right():
    protocol, predictions = _one_query()
    (result,) = search_each_query(protocol, predictions, num_top=2)
    ranking = demo.to_ranking(protocol, predictions, result, Path("frames"))
    assert ranking.query_image == "frames/a.jpg"
    assert [m.image for m in ranking.matches] == ["frames/b.jpg", "frames/c.jpg"]
    assert ranking.is_right == [True, False]
    assert ranking.matches[0].similarity == pytest.approx(1.0)
    assert ranking.matches[0].box_xyxy == (10, 10, 30, 60)


def test_a_missing_model_is_named_before_anything_is_drawn(tmp_path, capsys):
    arguments = ["--model", str(tmp_path / "gone.onnx"), "--output", str(tmp_path / "out")]
    assert demo.main(arguments) == 2
    assert "gone.onnx" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shipped_weights_are_small_and_in_half_precision():
    assert WEIGHTS.stat().st_size < 12 * 2**20
    model = torch.load(WEIGHTS, weights_only=True)["model"]
    assert {v.dtype for v in model.values() if v.is_floating_point()} == {torch.float16}


def test_shrinking_keeps_the_model_and_drops_the_rest(tmp_path):
    state = {"w": torch.tensor([0.5, 1000.0]), "n": torch.tensor(3)}
    torch.save({"model": state, "optimizer": {"lr": 1}}, tmp_path / "full.pth")
    shrink(tmp_path / "full.pth", tmp_path / "small.pth")
    small = torch.load(tmp_path / "small.pth", weights_only=True)
    assert set(small) == {"model"}
    assert small["model"]["w"].tolist() == [0.5, 1000.0]
    assert small["model"]["n"].dtype == torch.int64


def test_shrinking_refuses_what_half_precision_cannot_hold(tmp_path, capsys):
    torch.save({"model": {"w": torch.tensor([1e6])}}, tmp_path / "full.pth")
    assert shrink_main([str(tmp_path / "full.pth"), str(tmp_path / "small.pth")]) == 2
    assert "w does not fit" in capsys.readouterr().err
    assert not (tmp_path / "small.pth").exists()


@pytest.mark.slow
def test_the_whole_demonstration(tmp_path, capsys):
    assert demo.main(["--output", str(tmp_path), "--num-queries", "2", "--top", "3"]) == 0
    printed = capsys.readouterr().out
    assert "top-1" in printed and printed.count("person ") >= 2
    results = json.loads((tmp_path / "inference/results.json").read_text())
    assert results["detection"]["ap"] > 85
    assert results["search"]["top1"] > 80
    assert Image.open(tmp_path / "ranking.png").width > 400
