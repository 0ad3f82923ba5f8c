"""Optimizers, clipping of the whole gradient, and schedules counted in epochs."""

import itertools
from bisect import bisect_right
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier
from detectron2.solver import build_lr_scheduler as build_detectron2_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from fvcore.common.param_scheduler import ParamScheduler

OPTIMIZERS = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}


def build_optimizer(
    cfg: CfgNode, model: torch.nn.Module, backbone_lr_factor: float = 1.0
) -> torch.optim.Optimizer:
    """Build ``cfg.SOLVER.OPTIMIZER`` with detectron2's parameter groups.

    The parameters below ``model.backbone`` have ``backbone_lr_factor`` times the learning rate.

    ``SOLVER.CLIP_GRADIENTS.CLIP_TYPE`` may be detectron2's "value" or "norm", which treat each
    parameter alone, or "full_model": the norm of the whole gradient, as SeqNet clips.

    Raises:
        ValueError: for an unknown optimizer.
    """
    name = cfg.SOLVER.OPTIMIZER
    if name not in OPTIMIZERS:
        raise ValueError(f"SOLVER.OPTIMIZER is {name!r}; expected one of {sorted(OPTIMIZERS)}")
    groups = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=lambda name: backbone_lr_factor if name.startswith("backbone.") else 1.0,
    )
    options = {"lr": cfg.SOLVER.BASE_LR, "weight_decay": cfg.SOLVER.WEIGHT_DECAY}
    if name == "SGD":
        options |= {"momentum": cfg.SOLVER.MOMENTUM, "nesterov": cfg.SOLVER.NESTEROV}
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE == "full_model":
        optimizer = _clip_whole_gradient(OPTIMIZERS[name], clip.CLIP_VALUE, clip.NORM_TYPE)
    else:
        optimizer = maybe_add_gradient_clipping(cfg, OPTIMIZERS[name])
    return optimizer(groups, **options)


def _clip_whole_gradient(
    base: type[torch.optim.Optimizer], max_norm: float, norm_type: float
) -> type[torch.optim.Optimizer]:
    """Return an optimizer class that clips the norm of all its gradients together before a step.

    Inside ``step`` the gradients are final under mixed precision too: the scaler has divided them.
    """

    def step(self, closure=None):
        parameters = itertools.chain.from_iterable(g["params"] for g in self.param_groups)
        torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        return base.step(self, closure)

    return type(f"{base.__name__}WithWholeGradientClip", (base,), {"step": step})


class WarmupStepsByEpoch(ParamScheduler):
    """The multiplier of the learning rate, constant within each epoch.

    Epochs are counted from 1. In epoch t < ``warmup_epochs`` it is ``f (1 - a) + a`` with a = t /
    warmup_epochs and f = ``warmup_factor``; after that ``gamma`` to the number of step epochs <= t.
    This is the schedule of the published code of Bag of Tricks (Luo et al., CVPRW 2019), which
    advances at the start of an epoch: its first epoch already has a = 1/10.
    """

    def __init__(
        self,
        max_iter: int,
        epochs: int,
        step_epochs: Sequence[int],
        gamma: float,
        warmup_epochs: int,
        warmup_factor: float,
    ):
        """Set the schedule up.

        Args:
            max_iter: iterations of the whole training, a multiple of ``epochs``.
            epochs: number of epochs.
            step_epochs: epochs, rising, at whose start the rate is multiplied by ``gamma``.
            gamma: factor of a step.
            warmup_epochs: 0 for none.
            warmup_factor: where the warm-up starts, 0..1.

        Raises:
            ValueError: if the steps do not rise or the epochs do not divide the iterations.
        """
        if list(step_epochs) != sorted(set(step_epochs)):
            raise ValueError(
                f"SOLVER.REID.STEP_EPOCHS is {tuple(step_epochs)}; expected them to rise"
            )
        if epochs < 1 or max_iter % epochs:
            raise ValueError(f"{max_iter} iterations do not divide into {epochs} epochs")
        self.max_iter = max_iter
        self.iterations_per_epoch = max_iter // epochs
        self.step_epochs = list(step_epochs)
        self.gamma = gamma
        self.warmup_epochs = warmup_epochs
        self.warmup_factor = warmup_factor

    def __call__(self, where: float) -> float:
        """Return the multiplier at a share ``where`` of the training, 0..1."""
        # ``where`` is iteration / max_iter; rounding undoes the division exactly.
        epoch = round(where * self.max_iter) // self.iterations_per_epoch + 1
        factor = self.gamma ** bisect_right(self.step_epochs, epoch)
        if epoch < self.warmup_epochs:
            share = epoch / self.warmup_epochs
            factor *= self.warmup_factor * (1 - share) + share
        return factor


def set_epochs(cfg: CfgNode, iterations_per_epoch: int) -> None:
    """Fill in detectron2's keys in iterations from ``SOLVER.REID``; nothing if EPOCHS is 0.

    Args:
        cfg: not frozen; ``SOLVER.MAX_ITER``, ``SOLVER.CHECKPOINT_PERIOD`` and ``TEST.EVAL_PERIOD``
            are set.
        iterations_per_epoch: of the training data under the configured sampler.
    """
    epochs = cfg.SOLVER.REID
    if epochs.EPOCHS == 0:
        return
    cfg.SOLVER.MAX_ITER = epochs.EPOCHS * iterations_per_epoch
    # 0 would ask detectron2 for a division by it; the end always has a checkpoint.
    cfg.SOLVER.CHECKPOINT_PERIOD = (
        epochs.CHECKPOINT_EPOCHS or epochs.EPOCHS
    ) * iterations_per_epoch
    cfg.TEST.EVAL_PERIOD = (epochs.EVAL_EPOCHS or epochs.EPOCHS) * iterations_per_epoch


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """Build the schedule: by epoch where ``SOLVER.REID.EPOCHS`` says so, else detectron2's."""
    epochs = cfg.SOLVER.REID
    if epochs.EPOCHS == 0:
        return build_detectron2_lr_scheduler(cfg, optimizer)
    multiplier = WarmupStepsByEpoch(
        max_iter=cfg.SOLVER.MAX_ITER,
        epochs=epochs.EPOCHS,
        step_epochs=epochs.STEP_EPOCHS,
        gamma=cfg.SOLVER.GAMMA,
        warmup_epochs=epochs.WARMUP_EPOCHS,
        warmup_factor=cfg.SOLVER.WARMUP_FACTOR,
    )
    return LRMultiplier(optimizer, multiplier, max_iter=cfg.SOLVER.MAX_ITER)
