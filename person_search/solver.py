"""Optimizers: detectron2's SGD, AdamW, and clipping of the whole model's gradient."""

import itertools

import torch
from detectron2.config import CfgNode
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping

OPTIMIZERS = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}


def build_optimizer(cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Build ``cfg.SOLVER.OPTIMIZER`` with detectron2's parameter groups.

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
