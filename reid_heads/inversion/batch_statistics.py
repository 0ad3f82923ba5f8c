"""How far a batch's activations are from the statistics that a network's BatchNorms remember.

Letters: B images, C channels, H and W feature cells.
"""

from types import TracebackType
from typing import Any, Self

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class BatchStatistics:
    """Watches every BatchNorm of a network while it is a context.

    Deng et al., "ArcFace", TPAMI 2022, equation 8: the sum over all BatchNorm layers of
    ||mu~ - mu||^2 + ||sigma~ - sigma||^2, with the means and standard deviations over the batch of
    what enters the layer, and those that the layer remembers of the training set. Layers of all
    dimensions count, frozen ones too; what does not remember statistics is passed over.

    The standard deviations are the root of variance + eps, by which the layer divides; so they have
    a gradient where a channel is constant. The variance of a batch is the unbiased one, as it is
    what running averages hold; of a single value it is 0.

    In a context, after a forward pass in evaluation mode::

        with BatchStatistics(model) as statistics:
            model.features(images)
            loss = statistics.take()
    """

    def __init__(self, model: nn.Module):
        """Find the layers.

        Raises:
            ValueError: if there is none with statistics.
        """
        self.layers = {
            name: module for name, module in model.named_modules() if has_statistics(module)
        }
        if not self.layers:
            raise ValueError(
                f"{type(model).__name__} has no BatchNorm that remembers the statistics of its "
                "training, which inversion matches; use a network with MODEL.RESNETS.NORM 'BN' or "
                "'SyncBN', or one that was trained with it before it was frozen"
            )
        self._distances: list[tuple[str, Tensor]] = []
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        """Start to watch."""
        for name, layer in self.layers.items():

            def watch(layer: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
                self._distances.append((name, statistics_distance(layer, inputs[0])))

            self._handles.append(layer.register_forward_pre_hook(watch))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the network as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._distances.clear()

    def take(self) -> Tensor:
        """Return the distance, a scalar, over the layers of the forward passes since the last call.

        Raises:
            RuntimeError: if no layer was passed.
        """
        if not self._distances:
            raise RuntimeError(
                "no BatchNorm was passed since the last call; run the network within the context"
            )
        total = torch.stack([distance for _, distance in self._distances]).sum()
        self._distances.clear()
        return total


def has_statistics(module: nn.Module) -> bool:
    """Tell whether a module is a BatchNorm that remembers statistics of its training.

    A frozen one whose mean is 0 and variance 1 in every channel does not: in weights that come from
    Caffe2, such as MSRA's R-50, they were multiplied into scale and bias.
    """
    if isinstance(module, FrozenBatchNorm2d):
        # A new layer has a variance of 1 - eps, a loaded one may have 1.
        is_folded = not module.running_mean.any() and torch.allclose(
            module.running_var, torch.ones_like(module.running_var), rtol=0, atol=2 * module.eps
        )
        return not is_folded
    return isinstance(module, BATCH_NORMS) and module.running_mean is not None


def statistics_distance(layer: Any, inputs: Tensor) -> Tensor:
    """Return ||mu~ - mu||^2 + ||sigma~ - sigma||^2 of one BatchNorm, a scalar.

    Args:
        layer: has ``running_mean`` and ``running_var`` (C,) and ``eps``.
        inputs: (B, C) or (B, C, H, W), what enters the layer; taken in float32 at least.
    """
    values = inputs if inputs.dtype == torch.float64 else inputs.float()
    all_but_channels = [0, *range(2, values.ndim)]
    correction = 1 if values[:, 0].numel() > 1 else 0
    variances, means = torch.var_mean(values, dim=all_but_channels, correction=correction)
    stds = (variances + layer.eps).sqrt()
    running_stds = (layer.running_var + layer.eps).sqrt()
    of_means: Tensor = (means - layer.running_mean).square().sum()
    of_stds: Tensor = (stds - running_stds).square().sum()
    return of_means + of_stds
