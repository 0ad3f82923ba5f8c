"""A meta step against two steps written by hand on copies of the model."""

import copy

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import get_cfg
from detectron2.utils.events import EventStorage
from helpers_processes import run_processes
from torch import nn

from reid_heads.augmentation.style_jitter import StyleJitter, add_style_jitter, style_jitter_off
from reid_heads.config import add_crop_reid_config
from reid_heads.training.meta_learning import MetaLearningTrainer
from reid_heads.training.solver import OPTIMIZERS, build_optimizer

INNER = sorted(OPTIMIZERS)
DIM = 4


class Stages(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.stem = nn.Conv2d(3, DIM, 3, bias=False)
        self.norm = nn.BatchNorm2d(DIM) if norm else nn.Identity()

    def forward(self, x):
        return self.norm(self.stem(x)).relu()


class TwoDomainNet(nn.Module):
    """A backbone with jitter, a global classifier, one a domain, one never used, one frozen."""

    def __init__(self, norm=True, jitter=True, connected=False):
        super().__init__()
        self.connected = connected
        self.backbone = Stages(norm)
        add_style_jitter(self.backbone, ("stem",) if jitter else (), mix_range=(0.2, 1.0))
        self.scale = nn.Parameter(torch.ones(DIM), requires_grad=False)
        self.common = nn.Linear(DIM, 6, bias=False)
        self.own = nn.ModuleList(nn.Linear(DIM, 2, bias=False) for _ in range(3))
        self.unused = nn.Linear(DIM, 2)

    def forward(self, batch):
        images = torch.stack([x["image"] for x in batch])
        pids = torch.tensor([x["person_id"] for x in batch])
        features = self.backbone(images).mean(dim=(2, 3)) * self.scale
        own = []
        for domain, classifier in enumerate(self.own):
            rows = pids // 2 == domain
            if self.connected:
                logits = classifier(features[rows])
                loss = F.cross_entropy(logits, pids[rows] - 2 * domain, reduction="sum")
                own.append(loss / max(int(rows.sum()), 1))
            elif rows.any():
                own.append(F.cross_entropy(classifier(features[rows]), pids[rows] - 2 * domain))
        return {
            "loss_common": F.cross_entropy(self.common(features), pids),
            "loss_own": torch.stack(own).mean(),
        }


def make_model(**settings):
    torch.manual_seed(0)
    return TwoDomainNet(**settings).double().train()


def make_batch(step, pids=(0, 0, 1, 2, 3, 3, 4, 5, 5, 5)):
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(len(pids), 3, 6, 5, generator=generator, dtype=torch.float64)
    return [
        {"image": image, "person_id": pid, "domain": pid // 2}
        for image, pid in zip(images, pids, strict=True)
    ]


def make_outer(model, kind="Adam", **settings):
    weights = [p for p in model.parameters() if p.ndim > 1 and p.requires_grad]
    others = [p for p in model.parameters() if p.ndim == 1 and p.requires_grad]
    # Two groups of their own rate and decay, as with a bias factor.
    groups = [{"params": weights}, {"params": others, "lr": 0.03, "weight_decay": 0.0}]
    return OPTIMIZERS[kind](groups, lr=0.02, weight_decay=0.01, **settings)


def make_trainer(model, batches, outer=None, **settings):
    outer = make_outer(model) if outer is None else outer
    return MetaLearningTrainer(model, batches, outer, **settings)


def run(trainer, steps, before=lambda iteration: torch.manual_seed(iteration)):
    with EventStorage() as storage:
        for iteration in range(steps):
            storage.iter = trainer.iter = iteration
            before(iteration)
            trainer.run_step()
    return storage


def step_by_hand(model, outer, batch, drawn, inner_kind, beta):
    """First-order MLDG on a copy, as the published code does it."""
    train = [x for x in batch if x["domain"] != drawn]
    test = [x for x in batch if x["domain"] == drawn]
    count = len({x["domain"] for x in batch})
    inner = copy.deepcopy(model)
    of = dict(zip(model.parameters(), inner.parameters(), strict=True))
    settings = {}
    if inner_kind == "SGD" and "momentum" in outer.defaults:
        settings = {k: outer.defaults[k] for k in ("momentum", "nesterov")}
    groups = [
        {
            "params": [of[p] for p in g["params"]],
            "lr": g["lr"],
            "weight_decay": g["weight_decay"],
        }
        for g in outer.param_groups
    ]
    inner_optimizer = OPTIMIZERS[inner_kind](groups, **settings)
    inner.zero_grad(set_to_none=True)
    sum(inner(train).values()).backward()
    for parameter in inner.parameters():
        if parameter.grad is not None and not parameter.grad.any():
            parameter.grad = None
    first = {p: of[p].grad for p in model.parameters()}
    inner_optimizer.step()
    inner.zero_grad(set_to_none=True)
    with style_jitter_off(inner):
        sum(inner(test).values()).backward()
    for parameter in model.parameters():
        a, b = first[parameter], of[parameter].grad
        parameter.grad = None
        if a is not None or b is not None:
            zero = torch.zeros_like(parameter)
            parameter.grad = (
                (zero if a is None else a) + beta * (zero if b is None else b)
            ) / count
    for mine, theirs in zip(model.buffers(), inner.buffers(), strict=True):
        mine.copy_(theirs)
    outer.step()


@pytest.mark.parametrize(
    ("outer_kind", "settings", "connected"),
    [
        ("Adam", {}, False),
        ("Adam", {}, True),
        ("SGD", {"momentum": 0.9}, False),
        ("SGD", {"momentum": 0.9, "nesterov": True}, True),
    ],
)
@pytest.mark.parametrize("inner", INNER)
def test_equals_two_steps_by_hand(inner, outer_kind, settings, connected):
    mine, theirs = make_model(connected=connected), make_model(connected=connected)
    batches = [make_batch(step) for step in range(3)]
    outer = make_outer(mine, outer_kind, **settings)
    trainer = make_trainer(mine, batches, outer, inner_optimizer=inner, beta=0.7, seed=5)
    run(trainer, 3)
    outer = make_outer(theirs, outer_kind, **settings)
    for step, batch in enumerate(batches):
        trainer.iter = step
        drawn = trainer.split(batch)[1][0]["domain"]
        torch.manual_seed(step)
        step_by_hand(theirs, outer, batch, drawn, inner, 0.7)
    start = make_model().state_dict()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)
        is_still = name.startswith(("unused", "scale"))
        assert torch.equal(mine.state_dict()[name], start[name]) == is_still, name
    # Both passes of each of the three steps.
    assert mine.backbone.norm.num_batches_tracked == 6


def test_by_hand_in_one_dimension():
    """Meta-train loss w^2 / 2 of domain 0, meta-test loss (w - 3)^2 / 2 of domain 1."""

    class Parabola(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

        def forward(self, batch):
            return {"loss": sum((self.w - 3 * x["domain"]) ** 2 / 2 for x in batch)}

    model = Parabola()
    outer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = MetaLearningTrainer(
        model, [[{"domain": 0}, {"domain": 1}]], outer, inner_optimizer="SGD", beta=0.5
    )
    trainer.split = lambda data: (data[:1], data[1:], 2)
    run(trainer, 1)
    # g = 2; w' = 2 - 0.2 = 1.8; g' = 1.8 - 3 = -1.2; (2 - 0.6) / 2 = 0.7; w = 2 - 0.07.
    assert model.w.item() == pytest.approx(1.93, abs=1e-12)


def test_jitter_is_on_for_meta_train_and_off_for_meta_test():
    model, seen = make_model(), []
    (jitter,) = (m for m in model.modules() if isinstance(m, StyleJitter))
    jitter.register_forward_pre_hook(lambda m, inputs: seen.append((m.is_on, len(inputs[0]))))
    trainer = make_trainer(model, [make_batch(0)])
    run(trainer, 1)
    train, test, count = trainer.split(make_batch(0))
    assert seen == [(True, len(train)), (False, len(test))] and count == 3
    assert jitter.is_on


def test_the_model_keeps_its_own_parameters():
    """functional_call must not leave the stepped weights behind; hooks hold the parameters."""
    model = make_model()
    before = {name: id(p) for name, p in model.named_parameters()}
    run(make_trainer(model, [make_batch(0)]), 1)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert all(p.is_leaf for p in model.parameters())


def test_each_domain_is_drawn_alike_by_seed_and_iteration_alone():
    def draws(seed, count):
        trainer, drawn = make_trainer(make_model(), [], seed=seed), []
        batch = make_batch(0)
        for trainer.iter in range(count):
            torch.manual_seed(trainer.iter + 10 * seed)
            drawn.append(trainer.split(batch)[1][0]["domain"])
        return drawn

    first = draws(1, 240)
    # 80 on average, deviation 7.3.
    assert all(55 < first.count(domain) < 105 for domain in range(3))
    assert first == draws(1, 240) and first != draws(2, 240)


def test_the_log_has_both_losses_and_their_sums():
    storage = run(make_trainer(make_model(), [make_batch(0)]), 1)
    latest = {name: value for name, (value, _) in storage.latest().items()}
    for prefix in ("", "meta_test/"):
        parts = [latest[f"{prefix}loss_common"], latest[f"{prefix}loss_own"]]
        assert latest[f"{prefix}total_loss"] == pytest.approx(sum(parts))
    assert latest["data_time"] >= 0


@pytest.mark.parametrize("domain", [0, 1, 2])
def test_a_loss_that_is_not_finite_stops_training(domain):
    batch = make_batch(0)
    for entry in batch:
        if entry["domain"] == domain:
            entry["image"] = entry["image"] * float("nan")
    model = make_model()
    before = model.common.weight.detach().clone()
    with pytest.raises(FloatingPointError, match="infinite or NaN"):
        run(make_trainer(model, [batch]), 1)
    assert torch.equal(model.common.weight, before)


def test_gradients_are_clipped_by_the_optimizer():
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY = 1.0, 0.0, 0.0
    clip = cfg.SOLVER.CLIP_GRADIENTS
    clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE = True, "full_model", 1e-3
    model = make_model()
    outer = build_optimizer(cfg, model)
    before = copy.deepcopy(model)
    run(make_trainer(model, [make_batch(0)], outer, inner_optimizer="SGD"), 1)
    pairs = zip(model.parameters(), before.parameters(), strict=True)
    moved = torch.cat([(a - b).detach().flatten() for a, b in pairs])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("pids", [(2, 3, 3), (4,)])
def test_a_batch_of_one_domain_is_refused(pids):
    with pytest.raises(ValueError, match=r"alone; .*two in DATASETS\.TRAIN"):
        run(make_trainer(make_model(), [make_batch(0, pids)]), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": -0.1}, r"BETA is -0\.1"),
        ({"inner_optimizer": "LBFGS"}, r"'LBFGS'; expected one of \['Adam', 'AdamW', 'SGD'\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(make_model(), [], **settings)


def test_unseeded_runs_draw_their_own_seed():
    seeds = {make_trainer(make_model(), [], seed=-1).seed for _ in range(3)}
    assert len(seeds) == 3 and min(seeds) >= 0


# --- two processes ---------------------------------------------------------------------------

# Two crops of each person on either rank.
PIDS = (0, 1, 2, 3, 4, 5)


def _train(rank, inner, num_processes):
    # Batch statistics and donors are each process's own.
    model = make_model(norm=False, jitter=False)
    wrapped = model
    if num_processes > 1:
        wrapped = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    halves = [(make_batch(2 * step, PIDS), make_batch(2 * step + 1, PIDS)) for step in range(3)]
    batches = [pair[rank] if num_processes > 1 else pair[0] + pair[1] for pair in halves]
    trainer = make_trainer(wrapped, batches, make_outer(model), inner_optimizer=inner, seed=2)
    run(trainer, 3)
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("inner", ["SGD", "Adam"])
def test_two_processes_step_as_one_with_the_joined_batch(inner):
    first, second = run_processes(_train, 2, inner, 2)
    alone, start = _train(0, inner, 1), make_model(norm=False).state_dict()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=0, atol=1e-9, msg=name)
        assert torch.equal(value, start[name]) == name.startswith(("unused", "scale")), name
