"""Two gloo processes with one frame each against one process with both frames."""

import pickle
from unittest import mock

import pytest
import torch
from conftest import draw_scene, overrides_of, pickled_tiny_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers_processes import run_processes
from torch.nn.parallel import DistributedDataParallel

import person_search.config
import person_search.modeling  # noqa: F401  (here, or each forked process imports them anew)
from reid_heads.labels import UNLABELED_PID

SIZE = (96, 160)
# The people of each step's two frames; one process has nobody in the third.
STEPS = [
    ([0, 1, UNLABELED_PID], [2, 1, 3]),
    ([2, 0, 1], [UNLABELED_PID, 3, UNLABELED_PID]),
    ([], [1, 0]),
    ([3, 2], [0]),
]
# No statistics over a batch: those of two processes differ from those of one.
NO_BATCH_STATISTICS = """
MODEL.FPN.NORM ''
MODEL.RESNETS.NORM FrozenBN
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BASIC_BLOCKS.NORM FrozenBN
MODEL.REID_HEAD.BATCH_NORM False
"""


def build(num_processes):
    cfg = pickle.loads(pickled_tiny_cfg("fpn"))
    cfg.merge_from_list(overrides_of(NO_BATCH_STATISTICS))
    torch.manual_seed(0)
    model = build_model(cfg)
    if num_processes > 1:
        # As detectron2's create_ddp_model does, which needs GPUs.
        model = DistributedDataParallel(model, broadcast_buffers=False)
    return model


def make_frame(pids, seed):
    image, boxes = draw_scene(pids, SIZE, seed)
    targets = Instances(
        SIZE,
        gt_boxes=Boxes(torch.as_tensor(boxes, dtype=torch.float32)),
        gt_classes=torch.zeros(len(pids), dtype=torch.int64),
        gt_pids=torch.tensor(pids, dtype=torch.int64),
    )
    return {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "instances": targets}


def train(rank, steps, num_processes):
    """Train; return the losses of each step, the gradients of the last and the memory."""
    model = build(num_processes)
    inner = model.module if num_processes > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    history = []
    # Sampled in order instead of at random, or no two layouts could be compared.
    in_order = mock.patch("torch.randperm", lambda n, device=None: torch.arange(n, device=device))
    with EventStorage(), in_order:
        for step, frames in enumerate(steps):
            batch = [make_frame(pids, seed=2 * step + i) for i, pids in enumerate(frames)]
            losses = model(batch[rank : rank + 1] if num_processes > 1 else batch)
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            history.append({name: loss.item() for name, loss in losses.items()})
    return {
        "history": history,
        "gradients": {name: p.grad for name, p in inner.named_parameters() if p.requires_grad},
        "weights": {name: p.detach() for name, p in inner.named_parameters()},
        "memory": inner.roi_heads.identity_losses.losses["OIM"].state_dict(),
    }


def test_two_processes_train_as_one_with_both_frames():
    """Every rank must call the losses, with nobody in its frames too, and gather before it updates
    the memory: detectron2 builds DDP with broadcast_buffers=False (trap 5)."""
    first, second = run_processes(train, 2, STEPS, 2)
    alone = train(0, STEPS, 1)
    for step, expected in enumerate(alone["history"]):
        for name, loss in expected.items():
            mean = (first["history"][step][name] + second["history"][step][name]) / 2
            assert mean == pytest.approx(loss, rel=1e-3, abs=1e-6), (step, name)
    for name, gradient in alone["gradients"].items():
        assert gradient is not None, name
        scale = gradient.abs().max().item()
        for rank in (first, second):
            torch.testing.assert_close(
                rank["gradients"][name], gradient, rtol=1e-2, atol=1e-3 * scale + 1e-7, msg=name
            )
    for name, value in first["memory"].items():
        assert torch.equal(value, second["memory"][name]), name
        torch.testing.assert_close(value, alone["memory"][name], rtol=1e-3, atol=1e-4)
    assert first["memory"]["table"].norm(dim=1).min() > 0.99
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
