"""What MODEL.WEIGHTS takes: public files under this project's names, and nothing by halves."""

import logging

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from test_reid_heads_importers_crop_resnets import (
    fast_reid,
    save,
    strong_baseline,
    torchreid,
    undrawn_weights,  # noqa: F401
)

from reid_heads.config import load_config
from reid_heads.safetensors_file import write_safetensors
from reid_heads.training.checkpoint import (
    WeightCopyCheckpointer,
    loss_prefixes,
    warn_of_other_settings,
)

pytestmark = pytest.mark.usefixtures("shallow", "undrawn_weights")

TINY = """
MODEL.DEVICE cpu
MODEL.RESNETS.STEM_OUT_CHANNELS 4
MODEL.RESNETS.RES2_OUT_CHANNELS 16
MODEL.RESNETS.WIDTH_PER_GROUP 4
MODEL.REID_HEAD.NUM_IDENTITIES 3
"""


def make_cfg(*overrides):
    return load_config("configs/market1501/bag_of_tricks_r50.yaml", [*TINY.split(), *overrides])


def make_model(*overrides):
    return build_model(make_cfg(*overrides))


def test_training_starts_from_a_public_file(tmp_path, caplog):
    state = fast_reid(people=5)
    model = make_model()
    checkpointer = WeightCopyCheckpointer(model)
    with caplog.at_level(logging.INFO):
        checkpointer.load(str(save(tmp_path, state)))
        warn_of_other_settings(make_cfg(), checkpointer.imported)
    assert torch.equal(model.backbone.stem.conv1.weight, state["backbone.conv1.weight"])
    assert torch.equal(model.head.neck.running_var, state["heads.bottleneck.0.running_var"])
    # Its people are others than those that are trained on.
    assert len(model.losses.losses["SOFTMAX"].weights[0]) == 3
    assert "is of fast-reid BoT, the network of configs/market1501/bag_of" in caplog.text
    (warning,) = [r.getMessage() for r in caplog.records if "to have the same" in r.getMessage()]
    assert warning.endswith(
        "add: MODEL.CROP_REID.STEM_RELU True MODEL.CROP_REID.STEM_POOL ceil "
        "INPUT.REID.INTERPOLATION bicubic"
    )


def test_a_public_file_is_a_whole_model_but_for_what_only_training_has(tmp_path):
    path = str(save(tmp_path, strong_baseline(people=5)))
    checkpointer = WeightCopyCheckpointer(make_model("MODEL.REID_HEAD.NUM_IDENTITIES", "5"))
    checkpointer.load_whole_model(path)
    assert checkpointer.imported.untouched == ["losses.losses.CENTER.0.centers"]
    with pytest.raises(
        ValueError, match=r"SOFTMAX.*\(5, 128\) there and \(3, 128\) here.*use conf"
    ):
        WeightCopyCheckpointer(make_model()).load_whole_model(path)


def test_a_file_with_a_number_of_numpys_is_read(tmp_path):
    """torchreid's keep the rank-1 rate; they were called a part of a checkpoint."""
    state = torchreid()
    path = tmp_path / "model.pth.tar-60"
    torch.save({"state_dict": state, "epoch": 60, "rank1": np.float64(0.9)}, path)
    model = make_model()
    WeightCopyCheckpointer(model).load(str(path))
    assert torch.equal(model.backbone.stem.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"net.0.weight": torch.ones(2), "net.0.bias": torch.ones(2)},
            r"0 of its 2 tensors find a place. It holds net\.0\.weight, net\.0\.bias; the model "
            r"expects backbone\.stem\.conv1\.weight",
        ),
        ({"optimizer": {"state": {}, "param_groups": []}, "iteration": 3}, "no weights of a net"),
    ],
)
def test_a_file_that_would_load_nothing_is_an_error(tmp_path, content, message):
    """It was a line in the log, and training began from random weights."""
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message):
        WeightCopyCheckpointer(make_model()).load(str(tmp_path / "other.pth"))


def test_another_width_is_an_error_although_counts_of_batches_fit(tmp_path):
    wide = make_model(
        *["MODEL.RESNETS.STEM_OUT_CHANNELS", "8", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32"]
    )
    torch.save({"model": wide.state_dict()}, tmp_path / "wide.pth")
    narrow = make_model(*["MODEL.RESNETS.WIDTH_PER_GROUP", "2"])
    with pytest.raises(ValueError, match=r"with other shapes backbone\.res2"):
        WeightCopyCheckpointer(narrow).load(str(tmp_path / "wide.pth"))


def test_a_public_file_of_another_network_says_which_config_it_has(tmp_path):
    words = ["MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "12"]
    with pytest.raises(ValueError, match=r"network of reid-strong.*use configs/market1501/bag_of"):
        WeightCopyCheckpointer(make_model(*words)).load(str(save(tmp_path, strong_baseline())))


def test_a_model_that_was_passed_on_lacks_only_what_losses_read(tmp_path):
    model, other = make_model(), make_model()
    losses = loss_prefixes(model)
    assert losses == ("losses.",)
    state = {
        name: torch.ones_like(value)
        for name, value in model.state_dict().items()
        if not name.startswith(losses)
    }
    passed_on, checkpoint = tmp_path / "x.safetensors", tmp_path / "x.pth"
    write_safetensors(passed_on, state, {})
    torch.save({"model": state}, checkpoint)
    WeightCopyCheckpointer(other).load_whole_model(str(passed_on))
    assert all(torch.equal(other.state_dict()[name], value) for name, value in state.items())
    # Of a checkpoint that is an accident.
    with pytest.raises(ValueError, match="is missing there"):
        WeightCopyCheckpointer(other).load_whole_model(str(checkpoint))
    del state["head.neck.weight"]
    write_safetensors(passed_on, state, {})
    with pytest.raises(ValueError, match=r"another model: head\.neck\.weight is missing there"):
        WeightCopyCheckpointer(other).load_whole_model(str(passed_on))
