"""Test-time contract of the model: fields, frames of reference, one pass per frame."""

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

SIZE = (96, 160)


def query_instances(boxes, size=SIZE, first_id=40):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Instances(
        size,
        pred_boxes=Boxes(boxes),
        query_ids=torch.arange(first_id, first_id + len(boxes)),
    )


def given_instances(boxes, size=SIZE):
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Instances(
        size,
        pred_boxes=Boxes(boxes),
        scores=torch.ones(len(boxes)),
        pred_classes=torch.zeros(len(boxes), dtype=torch.int64),
    )


@pytest.fixture
def frame(make_input):
    """A test frame whose original is twice as large as the network's input."""
    image = make_input([0, 1, 2])
    del image["instances"]
    return {**image, "height": 2 * SIZE[0], "width": 2 * SIZE[1]}


@pytest.fixture(params=["fpn", "c4"])
def model(request, make_model):
    """An untrained model that keeps every score, so that there are detections to look at."""
    return make_model(request.param, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0).eval()


def run(model, inputs):
    with torch.no_grad():
        return model(inputs)


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_output_contract(model, frame):
    (output,) = run(model, [frame])
    assert set(output) == {"instances"}
    found = output["instances"]
    assert set(found.get_fields()) == {"pred_boxes", "scores", "pred_classes", "embeddings"}
    assert len(found) > 0
    assert found.image_size == (192, 320)
    assert found.embeddings.shape == (len(found), 16)
    assert found.embeddings.dtype == found.scores.dtype == torch.float32
    torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(len(found)))
    assert (found.pred_classes == 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_detections_are_in_original_pixels(model, frame):
    """Twice the size of what the network sees, apart from clipping at the border."""
    with torch.no_grad():
        (raw,) = model.inference([frame], do_postprocess=False)
    resized = raw.pred_boxes.tensor.clone()
    (output,) = run(model, [frame])
    torch.testing.assert_close(output["instances"].pred_boxes.tensor, 2 * resized)
    torch.testing.assert_close(output["instances"].embeddings, raw.embeddings)


def test_queries_share_the_frames_one_pass(model, frame):
    calls = count_calls(model.backbone)
    boxes = [[10.0, 10, 30, 60], [50, 20, 75, 80]]
    (output,) = run(model, [{**frame, "queries": query_instances(boxes)}])
    assert len(calls) == 1
    queries = output["queries"]
    assert queries.query_ids.tolist() == [40, 41]
    assert queries.image_size == (192, 320)
    assert queries.embeddings.shape == (2, 16)
    # Original pixels: twice the resized ones.
    assert queries.pred_boxes.tensor.tolist() == [[20, 20, 60, 120], [100, 40, 150, 160]]


def test_query_box_of_a_detection_has_its_embedding(model, frame):
    with torch.no_grad():
        (raw,) = model.inference([frame], do_postprocess=False)
    queries = query_instances(raw.pred_boxes.tensor.clone())
    (output,) = run(model, [{**frame, "queries": queries}])
    torch.testing.assert_close(
        output["queries"].embeddings, output["instances"].embeddings, rtol=1e-4, atol=1e-5
    )


def test_embedding_depends_on_the_box(model, frame):
    boxes = [[10.0, 10, 30, 60], [90, 20, 125, 90]]
    (output,) = run(model, [{**frame, "queries": query_instances(boxes)}])
    first, second = output["queries"].embeddings
    assert not torch.allclose(first, second, atol=1e-4)


def test_callers_boxes_stay_as_they_are(model, frame):
    """detector_postprocess scales pred_boxes in place (trap 3)."""
    queries = query_instances([[10.0, 10, 30, 60]])
    given = given_instances([[50.0, 20, 75, 80]])
    inputs = [{**frame, "queries": queries, "given_boxes": given}]
    first = run(model, inputs)[0]
    assert queries.pred_boxes.tensor.tolist() == [[10, 10, 30, 60]]
    assert given.pred_boxes.tensor.tolist() == [[50, 20, 75, 80]]
    assert not queries.has("embeddings") and not given.has("embeddings")
    second = run(model, inputs)[0]
    for name in ("queries", "instances"):
        torch.testing.assert_close(first[name].embeddings, second[name].embeddings)
        assert torch.equal(first[name].pred_boxes.tensor, second[name].pred_boxes.tensor)


def test_given_boxes_replace_the_detector(model, frame):
    calls = count_calls(model.proposal_generator)
    boxes = [[50.0, 20, 75, 80], [10, 10, 30, 60]]
    (output,) = run(model, [{**frame, "given_boxes": given_instances(boxes)}])
    found = output["instances"]
    assert calls == []
    assert found.pred_boxes.tensor.tolist() == [[100, 40, 150, 160], [20, 20, 60, 120]]
    assert found.scores.tolist() == [1, 1]
    assert found.embeddings.shape == (2, 16)
    (again,) = run(model, [{**frame, "queries": query_instances(boxes)}])
    torch.testing.assert_close(again["queries"].embeddings, found.embeddings, rtol=1e-4, atol=1e-5)


def test_no_given_boxes(model, frame):
    (output,) = run(model, [{**frame, "given_boxes": given_instances([])}])
    assert len(output["instances"]) == 0
    assert output["instances"].embeddings.shape == (0, 16)


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_no_detections(kind, make_model, frame):
    model = make_model(kind, MODEL__ROI_HEADS__SCORE_THRESH_TEST=1.1).eval()
    queries = query_instances([[10.0, 10, 30, 60]])
    (output,) = run(model, [{**frame, "queries": queries}])
    found = output["instances"]
    assert len(found) == 0
    assert found.embeddings.shape == (0, 16)
    assert found.pred_boxes.tensor.shape == (0, 4)
    assert len(output["queries"]) == 1


def test_query_ids_stay_with_their_rows(model, frame):
    """detector_postprocess drops empty boxes (trap 3): ids travel with the rows that remain."""
    boxes = [[10.0, 10, 30, 60], [40, 40, 40, 90], [50, 20, 75, 80]]
    (output,) = run(model, [{**frame, "queries": query_instances(boxes)}])
    assert output["queries"].query_ids.tolist() == [40, 42]
    (alone,) = run(model, [{**frame, "queries": query_instances(boxes[2:])}])
    torch.testing.assert_close(
        output["queries"].embeddings[1], alone["queries"].embeddings[0], rtol=1e-4, atol=1e-5
    )


def test_batch_of_frames_with_and_without_queries(model, frame, make_input):
    other = make_input([3, 1], size=(80, 128), seed=5)
    del other["instances"]
    queries = query_instances([[10.0, 10, 30, 60]], size=(80, 128))
    plain, asked = run(model, [frame, {**other, "queries": queries}])
    assert "queries" not in plain
    assert asked["queries"].query_ids.tolist() == [40]
    # The batch pads the smaller frame; what it sees inside a box stays nearly the same.
    (alone,) = run(model, [{**other, "queries": queries}])
    similarity = (alone["queries"].embeddings * asked["queries"].embeddings).sum()
    assert similarity > 0.9


def test_sizes_default_to_the_networks_input(model, frame):
    plain = {"image": frame["image"], "queries": query_instances([[10.0, 10, 30, 60]])}
    (output,) = run(model, [plain])
    assert output["instances"].image_size == SIZE
    assert output["queries"].pred_boxes.tensor.tolist() == [[10, 10, 30, 60]]


def test_evaluation_changes_no_state(model, frame, make_input):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    run(model, [{**frame, "queries": query_instances([[10.0, 10, 30, 60]])}])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_config_is_not_needed_after_construction(make_model, make_input):
    """Rule 6 of the style: no cfg on any module."""
    model = make_model()
    for name, module in model.named_modules():
        assert not hasattr(module, "cfg"), name
    with EventStorage():
        model([make_input([0])])


def test_images_are_padded_to_a_multiple(make_model):
    key = "MODEL__PERSON_SEARCH__SIZE_DIVISIBILITY"
    frame = {"image": torch.zeros(3, 50, 129, dtype=torch.uint8)}
    for kind, multiple, expected in (
        ("c4", 0, (50, 129)),
        ("c4", 32, (64, 160)),
        ("fpn", 64, (64, 192)),
    ):
        model = make_model(kind, **{key: multiple})
        images = model.preprocess_image([frame])
        assert images.tensor.shape[-2:] == expected
        assert images.image_sizes == [(50, 129)]
        assert (images.tensor[:, :, 50:] == 0).all(), "the mean pixel"
    with pytest.raises(ValueError, match="SIZE_DIVISIBILITY is 24; expected 0 or a multiple of 32"):
        make_model("fpn", **{key: 24})
