"""Classes divided over two processes in whole trainings: DDP, checkpoints, resuming."""

import copy
import tempfile
from types import SimpleNamespace

import pytest
import torch
from conftest import CONFIGS, overrides_of, shallow_resnets
from helpers_processes import run_processes
from test_reid_heads_distributed_training import SHARES, make_batch
from test_reid_heads_train_net import TINY
from torch.nn.parallel import DistributedDataParallel

from reid_heads.config import load_config
from reid_heads.train_net import CropReIDTrainer
from reid_heads.training.divided_training import (
    SaveDividedParameters,
    check_divided_training,
    divided_parameters,
)

# Without batch statistics, which are each process's own.
PLAIN = """
MODEL.RESNETS.NORM FrozenBN
MODEL.REID_HEAD.BATCH_NORM False
MODEL.REID_HEAD.LOSSES.SOFTMAX 0.0
MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING 0.0
MODEL.REID_HEAD.LOSSES.TRIPLET 0.0
MODEL.REID_HEAD.LOSSES.CENTER 0.0
MODEL.REID_HEAD.LOSSES.COSINE_SOFTMAX 1.0
MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.NAME curricularface
MODEL.REID_HEAD.COSINE_SOFTMAX.SUB_CENTERS 2
"""
SHARDED = ["MODEL.REID_HEAD.PARTIAL_FC.SHARDED", "True"]
CLASSES = "losses.losses.COSINE_SOFTMAX.weights.0"


def config(*overrides):
    settings = [word.strip() for word in overrides_of(TINY) + overrides_of(PLAIN)]
    return load_config(str(CONFIGS / "Base-BagOfTricks.yaml"), [*settings, *overrides])


def build(*overrides):
    with shallow_resnets():  # in the other processes too
        return CropReIDTrainer.build_model(config(*overrides))


def whole_model():
    torch.manual_seed(0)
    return build()


def step(model, optimizer, pids, number):
    losses = model(make_batch(pids, number))
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()
    return {name: loss.item() for name, loss in losses.items()}


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def _train_divided(rank, folder):
    """Two steps, a checkpoint, a third step; and the third step again from the checkpoint."""
    torch.manual_seed(rank)
    inner = build(*SHARDED)
    again = copy.deepcopy(inner)
    inner.load_state_dict(whole_model().state_dict())
    model = DistributedDataParallel(inner, broadcast_buffers=False)
    optimizer = sgd(model)
    saver = SaveDividedParameters(inner, optimizer, folder, period=2)
    history = []
    for number in range(2):
        history.append(step(model, optimizer, SHARES[rank], number))
        saver.trainer = SimpleNamespace(iter=number, max_iter=9)
        saver.after_step()
    # A checkpoint is the main process's; the other one sees it in the same place.
    gathered = [copy.deepcopy((inner.state_dict(), optimizer.state_dict()))]
    torch.distributed.broadcast_object_list(gathered, src=0)
    history.append(step(model, optimizer, SHARES[rank], 2))

    resumed = DistributedDataParallel(again, broadcast_buffers=False)
    second = sgd(resumed)
    again.load_state_dict(gathered[0][0])
    second.load_state_dict(gathered[0][1])
    loader = SaveDividedParameters(again, second, folder, period=2)
    loader.load(1)
    repeated = step(resumed, second, SHARES[rank], 2)
    try:
        loader.load(0)
        missing = ""
    except FileNotFoundError as error:
        missing = str(error)
    return {
        "history": history,
        "repeated": repeated,
        "names": list(gathered[0][0]),
        "classes": inner.get_parameter(CLASSES).detach(),
        "classes_again": again.get_parameter(CLASSES).detach(),
        "weights": inner.state_dict(),
        "weights_again": again.state_dict(),
        "missing": missing,
    }


def test_two_processes_with_divided_classes_train_as_one():
    with tempfile.TemporaryDirectory() as folder:
        first, second = run_processes(_train_divided, 2, folder)
    alone = whole_model()
    optimizer = sgd(alone)
    for number in range(3):
        losses = step(alone, optimizer, SHARES[0] + SHARES[1], number)
        for name, value in losses.items():
            assert first["history"][number][name] == second["history"][number][name]
            assert first["history"][number][name] == pytest.approx(value, rel=1e-3)
    expected = alone.state_dict()
    start = whole_model().state_dict()
    classes = torch.cat([first["classes"], second["classes"]])
    assert [len(x["classes"]) for x in (first, second)] == [6, 6]
    assert not torch.equal(start[CLASSES], expected[CLASSES])
    torch.testing.assert_close(classes, expected[CLASSES], rtol=1e-3, atol=1e-5)
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-4, msg=name)
    # The checkpoint has everything but the classes; those are in the files of the processes.
    assert set(expected) - set(first["names"]) == {CLASSES}
    for result in (first, second):
        assert result["repeated"] == result["history"][2]
        assert torch.equal(result["classes_again"], result["classes"])
        for name, value in result["weights"].items():
            assert torch.equal(value, result["weights_again"][name]), name
        assert "on as many processes" in result["missing"]


def test_one_process_divides_nothing():
    model = build(*SHARDED)
    assert divided_parameters(model) == {}
    assert set(model.state_dict()) == set(whole_model().state_dict())


def test_clipping_the_whole_gradient_is_refused():
    clip = ["SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE"]
    check_divided_training(config(*clip, "full_model"))
    check_divided_training(config(*SHARDED, *clip, "norm"))
    with pytest.raises(ValueError, match=r"full_model.*SHARDED to False"):
        CropReIDTrainer.build_model(config(*SHARDED, *clip, "full_model"))
