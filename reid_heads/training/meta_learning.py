"""First-order meta-learning over training sets, as a detectron2 training loop.

Letters: S training sets (domains) of a batch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parallel import DistributedDataParallel

from reid_heads.augmentation.style_jitter import style_jitter_off
from reid_heads.detectron2_parts import next_batch
from reid_heads.distributed import mean_over_processes

Group = dict[str, Any]
"""A parameter group of an optimizer."""
Batch = list[dict[str, Any]]

ADAM_EPS = 1e-8
"""Of the inner Adam and AdamW: torch's default."""
META_TEST = "meta_test/"
"""Prefix of the meta-test losses in the log."""


def check_meta_learning(cfg: CfgNode) -> None:
    """Find out whether a config can be meta-learned; nothing where it does not ask for it.

    Raises:
        ValueError: for one training set only, batches that may lack a set, mixed precision, or a
            value out of range.
    """
    meta = cfg.SOLVER.META_LEARNING
    if not meta.ENABLED:
        return
    if len(cfg.DATASETS.TRAIN) < 2:
        raise ValueError(
            f"DATASETS.TRAIN is {tuple(cfg.DATASETS.TRAIN)}; SOLVER.META_LEARNING needs two "
            "training sets at least: one to step on and another to test the step on"
        )
    if not cfg.DATALOADER.REID.DOMAIN_BALANCED:
        raise ValueError(
            "SOLVER.META_LEARNING needs crops of every training set in each batch; set "
            "DATALOADER.REID.DOMAIN_BALANCED to True"
        )
    if cfg.MODEL.REID_HEAD.PARTIAL_FC.SHARDED:
        raise ValueError(
            "SOLVER.META_LEARNING averages all gradients over processes; set "
            "MODEL.REID_HEAD.PARTIAL_FC.SHARDED to False"
        )
    if cfg.SOLVER.AMP.ENABLED:
        raise ValueError(
            "SOLVER.META_LEARNING takes its inner step in full precision; set SOLVER.AMP.ENABLED "
            "to False"
        )
    _check_settings(meta.BETA, meta.INNER_OPTIMIZER)


class MetaLearningTrainer(SimpleTrainer):
    """First-order MLDG over the training sets of each batch (SVIL).

    Chen et al., arXiv 2209.05235 (2022; ACM TOMM 2024), whose authors' code is followed: Li et al.,
    "Learning to Generalize" (AAAI 2018), without second derivatives. In each iteration one of the S
    sets, drawn at random, is for meta-test and the others are for meta-train:

        g  = gradient of the meta-train loss at the weights w, style jitter on
        w' = the first step of a fresh inner optimizer from w along g
        g' = gradient of the meta-test loss at w', style jitter off
        the outer optimizer steps from w along (g + beta g') / S.

    The inner step is a function of w and g: the model is never copied, and the meta-test pass runs
    the same modules with w' in place of w. So running statistics of norms see the meta-train crops,
    then the meta-test crops, as they would carry over from the copy of the published code; the
    state of OIM and of center loss is updated by both passes too.

    Not clipped: the inner gradient. The outer one is, where the optimizer clips. Frozen parameters
    take no part. A parameter that the meta-train loss leaves alone, say the classifier of the set
    for meta-test, is not moved by the inner step, weight decay included.

    Several processes each split their own crops, by the same set, and average both gradients, so
    that they step as one process with the joined batch would. The model may be wrapped for that;
    its wrapper's ``forward`` is not used.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        beta: float = 0.5,
        inner_optimizer: str = "Adam",
        seed: int = 0,
        **kwargs: Any,
    ):
        """Set the loop up.

        Args:
            model: maps a batch to a dict of losses.
            data_loader: gives lists of dicts with ``domain``, the number of a crop's training set;
                each batch holds the same sets, two at least.
            optimizer: of the outer step. Its groups give the inner step its present rate, weight
                decay and Nesterov momentum.
            beta: weight of the meta-test gradient, 0 or more. Published: 0.5.
            inner_optimizer: "SGD", "Adam" (published) or "AdamW".
            seed: of the choice of sets, which depends on it and on the iteration alone. Negative:
                drawn anew, the same for all processes.
            **kwargs: see ``SimpleTrainer``.

        Raises:
            ValueError: for a value out of range.
        """
        super().__init__(model, data_loader, optimizer, **kwargs)
        _check_settings(beta, inner_optimizer)
        self.module: nn.Module = (
            model.module if isinstance(model, DistributedDataParallel) else model
        )
        self.beta = beta
        self.first_step = FIRST_STEPS[inner_optimizer]
        self.seed = seed if seed >= 0 else comm.shared_random_seed()

    def run_step(self) -> None:
        """Take one meta step.

        Raises:
            ValueError: for a batch of fewer than two training sets.
            FloatingPointError: for a loss that is not finite.
        """
        assert self.module.training, "[MetaLearningTrainer] model was changed to eval mode!"
        start = time.perf_counter()
        data = next_batch(self)
        data_time = time.perf_counter() - start

        train_batch, test_batch, num_domains = self.split(data)
        weights = {k: p for k, p in self.module.named_parameters() if p.requires_grad}
        train_losses: dict[str, Tensor] = self.module(train_batch)
        gradients = _gradients(train_losses, list(weights.values()))
        stepped = self.step_from(weights, gradients)
        with style_jitter_off(self.module):
            test_losses: dict[str, Tensor] = functional_call(self.module, stepped, (test_batch,))
        test_gradients = _gradients(test_losses, list(stepped.values()))
        for parameter, first, second in zip(
            weights.values(), gradients, test_gradients, strict=True
        ):
            parameter.grad = _combine(first, second, self.beta, num_domains)
        self.after_backward()

        if (self.iter + 1) % self.gather_metric_period == 0:
            self.write_metrics(train_losses, data_time, self.iter)
            named = {META_TEST + name: loss for name, loss in test_losses.items()}
            self.write_metrics(named, data_time, self.iter, prefix=META_TEST)
        self.optimizer.step()

    def split(self, data: Batch) -> tuple[Batch, Batch, int]:
        """Split a batch into meta-train and meta-test by the iteration's draw.

        Returns:
            (crops of the other sets, crops of the drawn one, S).

        Raises:
            ValueError: for a batch of fewer than two training sets.
        """
        domains = sorted({entry["domain"] for entry in data})
        if len(domains) < 2:
            raise ValueError(
                f"got a batch of the training sets {domains} alone; meta-learning needs two in "
                "each batch: name two in DATASETS.TRAIN and set DATALOADER.REID.DOMAIN_BALANCED"
            )
        # A generator of its own: each process seeds the global one by its rank.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.iter)
        drawn = domains[int(torch.randint(len(domains), (), generator=generator))]
        train = [entry for entry in data if entry["domain"] != drawn]
        return train, [entry for entry in data if entry["domain"] == drawn], len(domains)

    @torch.no_grad()
    def step_from(
        self, weights: dict[str, Tensor], gradients: Sequence[Tensor | None]
    ) -> dict[str, Tensor]:
        """Return the weights after the first step of a fresh inner optimizer.

        Args:
            weights: by name; unchanged.
            gradients: one for each, None where the loss does not reach it.

        Returns:
            New leaves by name, which want gradients.
        """
        groups = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        stepped = {}
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            group = groups.get(id(weight))
            if gradient is None or group is None:
                new = weight.detach().clone()
            else:
                # Losses without rows give zero gradients rather than none. Adam's step would be the
                # full rate along the weight decay alone there.
                is_reached = (gradient != 0).any()
                new = torch.where(is_reached, self.first_step(weight, gradient, group), weight)
            stepped[name] = new.requires_grad_()
        return stepped


def sgd_first_step(weight: Tensor, gradient: Tensor, group: Group) -> Tensor:
    """Return a weight after the first step of ``torch.optim.SGD``.

    A fresh momentum buffer is the gradient itself, so only Nesterov's variant feels the momentum.
    """
    direction = gradient.add(weight, alpha=group["weight_decay"])
    is_nesterov = group.get("nesterov", False)
    return weight.sub(direction, alpha=group["lr"] * (1 + is_nesterov * group.get("momentum", 0.0)))


def adam_first_step(weight: Tensor, gradient: Tensor, group: Group) -> Tensor:
    """Return a weight after the first step of ``torch.optim.Adam``.

    With the bias corrected, both moments are those of the one gradient: the step is w - rate * g /
    (|g| + eps), g with the weight decay in it, whatever the betas are.
    """
    direction = gradient.add(weight, alpha=group["weight_decay"])
    return weight.addcdiv(direction, direction.abs().add_(ADAM_EPS), value=-group["lr"])


def adamw_first_step(weight: Tensor, gradient: Tensor, group: Group) -> Tensor:
    """Return a weight after the first step of ``torch.optim.AdamW``: the decay stands apart."""
    decayed = weight.mul(1 - group["lr"] * group["weight_decay"])
    return decayed.addcdiv_(gradient, gradient.abs().add_(ADAM_EPS), value=-group["lr"])


FIRST_STEPS: dict[str, Callable[[Tensor, Tensor, Group], Tensor]] = {
    "SGD": sgd_first_step,
    "Adam": adam_first_step,
    "AdamW": adamw_first_step,
}


def _check_settings(beta: float, inner_optimizer: str) -> None:
    if beta < 0:
        raise ValueError(f"SOLVER.META_LEARNING.BETA is {beta}; expected 0 or more")
    if inner_optimizer not in FIRST_STEPS:
        raise ValueError(
            f"SOLVER.META_LEARNING.INNER_OPTIMIZER is {inner_optimizer!r}; expected one of "
            f"{sorted(FIRST_STEPS)}"
        )


def _gradients(losses: dict[str, Tensor], weights: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradient of the summed losses for each weight, averaged over processes.

    None stands for a weight that the losses reach in no process.
    """
    total: Tensor = sum(losses.values())
    gradients = list(torch.autograd.grad(total, weights, allow_unused=True))
    if comm.get_world_size() == 1:
        return gradients
    reached = torch.tensor([g is not None for g in gradients], device=total.device)
    filled = [
        torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
    ]
    flat = mean_over_processes(torch.cat([g.flatten() for g in filled] + [reached.to(filled[0])]))
    return list(_unflatten(flat, weights))


def _unflatten(flat: Tensor, weights: Sequence[Tensor]) -> Iterator[Tensor | None]:
    sizes = [w.numel() for w in weights]
    *parts, reached = flat.split([*sizes, len(weights)])
    for part, weight, is_reached in zip(parts, weights, reached.tolist(), strict=True):
        yield part.view_as(weight) if is_reached else None


def _combine(
    first: Tensor | None, second: Tensor | None, beta: float, num_domains: int
) -> Tensor | None:
    """Return (first + beta second) / S, None where neither is there."""
    if first is None and second is None:
        return None
    if second is None or first is None:
        only, factor = (first, 1.0) if second is None else (second, beta)
        return only * (factor / num_domains)
    return first.add(second, alpha=beta).div_(num_domains)
