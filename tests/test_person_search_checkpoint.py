import pickle

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage

from reid_heads.training.checkpoint import WeightCopyCheckpointer

BOX_HEAD_PREFIX = "roi_heads.box_head."
IDENTITY_BRANCH_PREFIX = "roi_heads.identity_branch."


def caffe2_names(prefix, state, rng):
    """Random arrays for a detectron2 stage, under the names of the MSRA ImageNet pickles:
    ``res5.0.conv1.norm.weight`` is ``res5_0_branch2a_bn_s`` there."""
    branches = {
        "shortcut": "branch1",
        "conv1": "branch2a",
        "conv2": "branch2b",
        "conv3": "branch2c",
    }
    ends = {"weight": "w", "norm.weight": "bn_s", "norm.bias": "bn_b"}
    arrays = {}
    for name, value in state.items():
        block, conv, end = name.split(".", 2)
        if end in ends:  # the pickles have no running statistics
            key = f"{prefix}_{block}_{branches[conv]}_{ends[end]}"
            arrays[key] = rng.standard_normal(tuple(value.shape)).astype(np.float32)
    return arrays


@pytest.fixture
def imagenet_pickle(make_model, tmp_path):
    """An MSRA-style backbone checkpoint for the tiny C4 model."""
    model = make_model("c4")
    rng = np.random.default_rng(0)
    arrays = {
        "conv1_w": rng.standard_normal((8, 3, 7, 7)).astype(np.float32),
        "res_conv1_bn_s": rng.standard_normal(8).astype(np.float32),
        "res_conv1_bn_b": rng.standard_normal(8).astype(np.float32),
        "fc1000_w": rng.standard_normal((1000, 128)).astype(np.float32),
        "fc1000_b": rng.standard_normal(1000).astype(np.float32),
    }
    for stage in ("res2", "res3", "res4"):
        arrays |= caffe2_names(stage, getattr(model.backbone, stage).state_dict(), rng)
    arrays |= caffe2_names("res5", model.roi_heads.box_head.res5.state_dict(), rng)
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps(arrays))
    return path, arrays


def test_imagenet_weights_reach_both_copies_of_the_last_stage(imagenet_pickle, make_model):
    """detectron2 refuses to give one weight to two parameters, and stops."""
    path, arrays = imagenet_pickle
    model = make_model("c4")
    WeightCopyCheckpointer(model).load(str(path))
    state = model.state_dict()
    branches = {
        "shortcut": "branch1",
        "conv1": "branch2a",
        "conv2": "branch2b",
        "conv3": "branch2c",
    }
    loaded = 0
    for name, value in model.roi_heads.box_head.res5.state_dict().items():
        block, conv, end = name.split(".", 2)
        key = f"res5_{block}_{branches[conv]}_" + {
            "weight": "w",
            "norm.weight": "bn_s",
            "norm.bias": "bn_b",
        }.get(end, "absent")
        if key not in arrays:
            continue
        expected = torch.from_numpy(arrays[key])
        for prefix in (BOX_HEAD_PREFIX, IDENTITY_BRANCH_PREFIX + "body."):
            torch.testing.assert_close(state[f"{prefix}res5.{name}"], expected)
        torch.testing.assert_close(value, expected)
        loaded += 1
    assert loaded == 3 * 10  # three blocks of three convolutions, a shortcut; 3 arrays each
    assert loaded == sum(key.startswith("res5_") for key in arrays)


def test_imagenet_weights_reach_the_shared_stages(imagenet_pickle, make_model):
    path, arrays = imagenet_pickle
    model = make_model("c4")
    before = model.roi_heads.box_predictor.cls_score.weight.clone()
    WeightCopyCheckpointer(model).load(str(path))
    state = model.state_dict()
    for name, key in {
        "backbone.stem.conv1.weight": "conv1_w",
        "backbone.stem.conv1.norm.weight": "res_conv1_bn_s",
        "backbone.res2.0.conv1.weight": "res2_0_branch2a_w",
        "backbone.res4.1.conv2.norm.bias": "res4_1_branch2b_bn_b",
    }.items():
        torch.testing.assert_close(state[name], torch.from_numpy(arrays[key]))
    assert torch.equal(model.roi_heads.box_predictor.cls_score.weight, before)


def test_imagenet_weights_in_a_model_without_the_stage(imagenet_pickle, make_model):
    """A from-scratch branch of basic blocks takes nothing, and breaks nothing."""
    path, arrays = imagenet_pickle
    model = make_model("c4", MODEL__PERSON_SEARCH__IDENTITY_BRANCH__BODY="none")
    WeightCopyCheckpointer(model).load(str(path))
    expected = torch.from_numpy(arrays["res5_0_branch2a_w"])
    torch.testing.assert_close(model.roi_heads.box_head.res5[0].conv1.weight, expected)


@pytest.fixture
def trained(make_model, make_input, tmp_path):
    """A model after a step, and its checkpoint."""
    model = make_model()
    with EventStorage():
        model([make_input([0, 1, -1])])
    WeightCopyCheckpointer(model, str(tmp_path)).save("model_final")
    return model, tmp_path / "model_final.pth"


def test_whole_model_comes_back_with_its_memory(trained, make_model):
    model, path = trained
    other = make_model()
    WeightCopyCheckpointer(other).load_whole_model(str(path))
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert other.roi_heads.identity_losses.losses["OIM"].queue_pointer > 0


def test_another_architecture_is_refused(trained, make_model):
    _, path = trained
    with pytest.raises(ValueError, match=r"model_final\.pth is a checkpoint of another model") as e:
        WeightCopyCheckpointer(make_model("c4")).load_whole_model(str(path))
    assert "is missing there" in str(e.value) and "more" in str(e.value)
    assert len(str(e.value)) < 1000


def test_another_width_is_refused_with_both_shapes(trained, make_model):
    _, path = trained
    model = make_model(MODEL__REID_HEAD__OIM__QUEUE_SIZE=9)
    with pytest.raises(ValueError, match="checkpoint of another model") as error:
        WeightCopyCheckpointer(model).load_whole_model(str(path))
    assert "OIM.queue is (8, 16) there and (9, 16) here" in str(error.value)
    assert "missing" not in str(error.value)


@pytest.mark.parametrize("path", ["", "no/such/model.pth"])
def test_missing_checkpoint(path, make_model):
    with pytest.raises(FileNotFoundError, match=path or r"MODEL\.WEIGHTS"):
        WeightCopyCheckpointer(make_model()).load_whole_model(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("name", ["model.pth", "model.pkl"])
def test_file_that_is_no_checkpoint(name, content, make_model, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not a checkpoint"):
        WeightCopyCheckpointer(make_model()).load_whole_model(str(tmp_path / name))


def test_imagenet_weights_are_not_a_whole_model(imagenet_pickle, make_model):
    path, _ = imagenet_pickle
    with pytest.raises(ValueError, match=r"R-50\.pkl is a checkpoint of another model"):
        WeightCopyCheckpointer(make_model("c4")).load_whole_model(str(path))
