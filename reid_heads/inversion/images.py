"""Images from an embedding network: what makes it see a given identity, or a given embedding.

Letters: B images, D embedding size, P identities, H and W pixels.

Inversion of Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", TPAMI
2022, equation 8 and section 4.5: the network is given, its training images are not; images that
start as noise are changed by Adam until the network's own gradient is content with them, while the
statistics at its BatchNorms stay those of its training. In the paper: 20,000 steps at a rate of
0.25 for 256 identities at once, the statistics weighted by 0.05, total variation by 1e-3 and the
l2 norm by 1e-4. There is no published code. The paper does not give the formulas of the last two,
the schedule, Adam's betas, nor whether pixels are kept in their range; it names no flips or shifts.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.crop_reid import CropReID
from reid_heads.heads.features import HeadFeatures
from reid_heads.inversion.batch_statistics import BatchStatistics
from reid_heads.losses.domains import DomainSoftmaxLoss
from reid_heads.losses.identity_memory import OIMLoss
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.softmax import SoftmaxLoss

logger = logging.getLogger(__name__)

Objective = Callable[[HeadFeatures], Tensor]
"""From the features of the images, in their order, to a scalar that is to become small."""

FEW_IMAGES = 32
"""Below so many images a batch's statistics say more of each image than of a training set."""


@dataclass(frozen=True)
class InversionSettings:
    """How images are made; weights are those of terms of one sum."""

    iterations: int = 1000
    """The paper has 20,000, on photographs of faces."""
    learning_rate: float = 0.25
    """Of Adam. The paper's, on pixels in units of the normalised image."""
    schedule: str = "cosine"
    """Of the rate: "constant" or "cosine", to 0 at the end (our choice)."""
    objective_weight: float = 1.0
    statistics_weight: float = 0.05
    """Of the distance of BatchNorm statistics; 0: not computed."""
    variation_weight: float = 1e-3
    norm_weight: float = 1e-4
    flip_probability: float = 0.0
    """Of mirroring the whole batch in a step. Our option."""
    jitter: int = 0
    """Pixels by which the batch is shifted in a step, at most, each way around. Our option."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: for a value out of its range.
        """
        low = {
            name: getattr(self, name)
            for name in ("objective_weight", "statistics_weight", "variation_weight", "norm_weight")
            if not 0 <= getattr(self, name) < float("inf")
        }
        if low:
            raise ValueError(f"inversion got {low}; expected weights of 0 or more")
        if self.iterations < 1 or not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"inversion got iterations={self.iterations}, learning_rate={self.learning_rate}; "
                "expected at least 1 and more than 0"
            )
        if not 0 <= self.flip_probability <= 1 or self.jitter < 0:
            raise ValueError(
                f"inversion got flip_probability={self.flip_probability}, jitter={self.jitter}; "
                "expected 0 <= flip_probability <= 1 and jitter >= 0"
            )
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(
                f"inversion got schedule={self.schedule!r}; expected 'constant' or 'cosine'"
            )


@dataclass(frozen=True)
class Inversion:
    """The images, and the way there."""

    images: Tensor
    """(B, 3, H, W) uint8, in the network's order of channels."""
    history: list[dict[str, float]] = field(repr=False)
    """Of each step the unweighted terms: ``objective``, ``statistics`` where it has a weight,
    ``variation``, ``norm``."""


def classify_as(model: CropReID, pids: Tensor) -> Objective:
    """Return the closed-set objective: the network's own classification losses.

    Those are SOFTMAX, COSINE_SOFTMAX, OIM and DOMAIN_SOFTMAX of ``MODEL.REID_HEAD.LOSSES``, with
    their weights, margins and label smoothing, as the network was trained.

    Args:
        model: with the losses that it was trained with, in evaluation mode when this is called.
        pids: (B,) int64, 0..P-1.

    Raises:
        ValueError: if the network has no classifier, or for a person id that it does not know.
    """
    kinds = (SoftmaxLoss, CosineSoftmaxLoss, OIMLoss, DomainSoftmaxLoss)
    losses = getattr(model.losses, "losses", {})
    classifiers = {name: loss for name, loss in losses.items() if isinstance(loss, kinds)}
    if not classifiers:
        raise ValueError(
            f"the network was trained with {sorted(losses)}, none of which is a classifier of "
            "identities; invert embeddings instead (open set)"
        )
    known = min(_num_identities(loss) for loss in classifiers.values())
    unknown = sorted({pid for pid in pids.tolist() if not 0 <= pid < known})
    if unknown or not len(pids):
        raise ValueError(
            f"identities to invert: got {unknown or 'none'}; the network knows 0..{known - 1}"
        )

    def objective(features: HeadFeatures) -> Tensor:
        terms = []
        for name, loss in classifiers.items():
            is_memory = isinstance(loss, OIMLoss)
            seen = features.unit_embeddings if is_memory else features.classified
            terms.append(model.losses.weights[name] * loss(seen, pids.to(model.device)))
        return torch.stack(terms).sum()

    return objective


def _num_identities(loss: nn.Module) -> int:
    if isinstance(loss, OIMLoss):
        return len(loss.table)
    if isinstance(loss, DomainSoftmaxLoss):
        return loss.bounds[-1]
    assert isinstance(loss, SoftmaxLoss | CosineSoftmaxLoss)
    return loss.num_identities


def resemble(targets: Tensor) -> Objective:
    """Return the open-set objective: the squared distance to given embeddings on the unit sphere.

    The mean over images of ||x - t||^2 = 2 - 2 cos. The paper has an L2 loss between features, and
    does not say whether they are normalised; comparison at test is by the cosine.

    Args:
        targets: (B, D), not zero; one an image.

    Raises:
        ValueError: for targets that are no such rows.
    """
    if targets.ndim != 2 or not len(targets) or not bool(targets.isfinite().all()):
        raise ValueError(
            f"target embeddings: got shape {tuple(targets.shape)}; expected (B, D), B at least 1, "
            "all finite"
        )
    units = F.normalize(targets.detach().float())
    if not bool(targets.any(dim=1).all()):
        raise ValueError("target embeddings: got a row of zeros, which has no direction")

    def objective(features: HeadFeatures) -> Tensor:
        embeddings = features.unit_embeddings
        if embeddings.shape != units.shape:
            raise ValueError(
                f"target embeddings have shape {tuple(units.shape)}, those of the images "
                f"{tuple(embeddings.shape)}; they must be of this network, one an image"
            )
        return (embeddings - units.to(embeddings)).square().sum(dim=1).mean()

    return objective


def total_variation(images: Tensor) -> Tensor:
    """Return the mean over images of the sum of the differences to the right and lower neighbour.

    Absolute differences over all channels of (B, 3, H, W); a scalar.
    """
    across = (images[..., 1:] - images[..., :-1]).abs().sum()
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum()
    return (across + down) / len(images)


def mean_norm(images: Tensor) -> Tensor:
    """Return the mean over images (B, 3, H, W) of the Euclidean norm of all pixels; a scalar."""
    return torch.linalg.vector_norm(images.flatten(1), dim=1).mean()


def invert(
    model: CropReID,
    objective: Objective,
    batch_size: int,
    size: tuple[int, int],
    settings: InversionSettings,
) -> Inversion:
    """Make images from noise that fulfil an objective.

    Equal seeds give equal images on the same machine. The network comes back as it was. Whatever
    autocast is on around this, everything is computed in float32: gradients through dozens of
    layers to single pixels are too small for half precision.

    Args:
        model: trained.
        objective: ``classify_as(model, pids)`` or ``resemble(targets)``, of B images.
        batch_size: B; from different identities, as their statistics are compared with those of the
            training set.
        size: (H, W), the network's input, ``INPUT.REID.SIZE``.
        settings: of the optimisation.

    Raises:
        ValueError: if the network has no BatchNorm with statistics, or is not in float32.
        FloatingPointError: if the images are not finite in the end.
    """
    others = {p.dtype for p in model.parameters()} - {torch.float32}
    if others:
        raise ValueError(
            f"the network has parameters in {sorted(map(str, others))}; inversion needs float32, "
            "call model.float()"
        )
    if batch_size < FEW_IMAGES and settings.statistics_weight > 0:
        logger.warning(
            "%d images have statistics of their own; the comparison with those of the training "
            "set means most from about %d different identities on",
            batch_size,
            FEW_IMAGES,
        )
    watch = BatchStatistics(model)
    was_training = model.training
    model.eval()
    try:
        is_watched = settings.statistics_weight > 0
        with (
            watch if is_watched else contextlib.nullcontext(),
            torch.autocast(model.device.type, enabled=False),
        ):
            return _optimise(model, watch, objective, (batch_size, 3, *size), settings)
    finally:
        model.train(was_training)


def _optimise(
    model: CropReID,
    watch: BatchStatistics,
    objective: Objective,
    shape: tuple[int, ...],
    settings: InversionSettings,
) -> Inversion:
    # Drawn on the CPU, so that the noise does not depend on the device.
    generator = torch.Generator().manual_seed(settings.seed)
    images = torch.randn(shape, generator=generator).to(model.device).requires_grad_()
    low, high = (((value - model.pixel_mean) / model.pixel_std) for value in (0.0, 255.0))
    optimizer = torch.optim.Adam([images], lr=settings.learning_rate)
    scheduler = None
    if settings.schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.iterations)
    history = []
    for _ in range(settings.iterations):
        with torch.enable_grad():
            terms = _terms(model, watch, objective, images, settings, generator)
            total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        # Of the images alone: the network's own gradients stay as they are.
        (images.grad,) = torch.autograd.grad(total, images)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        with torch.no_grad():
            # The way back to pixels cuts them off here too (our choice).
            images.clamp_(low, high)
        history.append({name: term.item() for name, (_, term) in terms.items()})
    if not images.isfinite().all():
        raise FloatingPointError(
            "the images hold NaN; are the network's weights finite? Else lower the learning rate, "
            f"which is {settings.learning_rate}, or the weights of the terms"
        )
    pixels = (images.detach() * model.pixel_std + model.pixel_mean).round().clamp(0, 255)
    return Inversion(pixels.to(torch.uint8), history)


def _terms(
    model: CropReID,
    watch: BatchStatistics,
    objective: Objective,
    images: Tensor,
    settings: InversionSettings,
    generator: torch.Generator,
) -> dict[str, tuple[float, Tensor]]:
    """Return the weight and the value of each term of one step."""
    seen = _move(images, settings, generator)
    features = model.features(seen.contiguous(memory_format=torch.channels_last))
    terms = {"objective": (settings.objective_weight, objective(features))}
    if settings.statistics_weight > 0:
        terms["statistics"] = (settings.statistics_weight, watch.take())
    terms["variation"] = (settings.variation_weight, total_variation(images))
    terms["norm"] = (settings.norm_weight, mean_norm(images))
    return terms


def _move(images: Tensor, settings: InversionSettings, generator: torch.Generator) -> Tensor:
    """Mirror and shift the batch as the settings say; pixels that leave come in on the far side."""
    if settings.flip_probability > 0:
        is_flipped = torch.rand((), generator=generator) < settings.flip_probability
        images = images.flip(-1) if is_flipped else images
    if settings.jitter > 0:
        reach = settings.jitter
        down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        images = images.roll((down, right), (-2, -1))
    return images
