"""Crop ReID in two gloo processes."""

import pytest
import torch
from conftest import CONFIGS, overrides_of, shallow_resnets
from helpers_processes import run_processes
from test_reid_heads_train_net import TINY
from torch.nn.parallel import DistributedDataParallel

STEPS = 2
# The two identities, three crops each, that either process has.
SHARES = ([0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3])
METHODS = {
    "Base-BagOfTricks.yaml": "",
    "Base-MGN.yaml": "MODEL.REID_HEAD.MGN.REDUCTION_DIM 8",
    "Base-JointReID.yaml": "MODEL.REID_HEAD.ATTRIBUTES.CLASSES (2,3)",
}


def build(config, overrides, num_processes):
    from detectron2.modeling import build_model

    from reid_heads.config import load_config

    settings = [word.strip() for word in overrides_of(TINY) + overrides_of(overrides)]
    cfg = load_config(str(CONFIGS / config), settings)
    torch.manual_seed(0)
    with shallow_resnets():  # in the other processes too
        model = build_model(cfg)
    if num_processes > 1:
        # As detectron2's create_ddp_model does, which needs GPUs; an unused parameter stops it.
        model = DistributedDataParallel(model, broadcast_buffers=False)
    return model


def make_batch(pids, step):
    batch = []
    for place, pid in enumerate(pids):
        generator = torch.Generator().manual_seed(100 * step + 10 * pid + place % 3)
        image = torch.randint(0, 256, (3, 96, 32), generator=generator, dtype=torch.uint8)
        attributes = torch.tensor([pid % 2, pid % 3])
        batch.append({"image": image, "person_id": pid, "attributes": attributes})
    return batch


def train(rank, config, overrides, num_processes):
    model = build(config, overrides, num_processes)
    inner = model.module if num_processes > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    pids = SHARES[rank] if num_processes > 1 else SHARES[0] + SHARES[1]
    history = []
    for step in range(STEPS):
        losses = model(make_batch(pids, step))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    centers = {name: b for name, b in inner.named_buffers() if name.endswith("centers")}
    return {"history": history, "weights": dict(inner.state_dict()), "centers": centers}


@pytest.mark.parametrize("config", METHODS)
def test_processes_keep_the_same_weights(config):
    """Batch statistics are each process's own; everything else must stay in step."""
    first, second = run_processes(train, 2, config, METHODS[config], 2)
    for name, value in first["weights"].items():
        if "running_" not in name:
            assert torch.equal(value, second["weights"][name]), name
    start = build(config, METHODS[config], 1).state_dict()
    moved = [
        name for name, value in start.items() if not torch.equal(value, first["weights"][name])
    ]
    assert any(name.startswith("backbone.") for name in moved)
    assert any(name.startswith("losses.") for name in moved)


def test_two_processes_train_as_one_with_the_joined_batch():
    """Without batch statistics, and without the triplet, which mines in each process's own rows."""
    overrides = """
MODEL.RESNETS.NORM FrozenBN
MODEL.REID_HEAD.BATCH_NORM False
MODEL.REID_HEAD.LOSSES.TRIPLET 0.0
"""
    config = "Base-BagOfTricks.yaml"
    first, second = run_processes(train, 2, config, overrides, 2)
    alone = train(0, config, overrides, 1)
    for step, expected in enumerate(alone["history"]):
        for name, loss in expected.items():
            mean = (first["history"][step][name] + second["history"][step][name]) / 2
            assert mean == pytest.approx(loss, rel=1e-3), (step, name)
    for name, value in alone["weights"].items():
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert set(alone["centers"]) == {"losses.losses.CENTER.0.centers"}
