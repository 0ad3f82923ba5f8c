"""Softmax over the cosines of very many identities: a part of them at a time, or divided.

Letters: R rows of this process, N labelled rows of all processes, d size of a feature, P
identities, K sub-centers of an identity, C classes that take part on this process.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reid_heads.distributed import (
    gather_rows,
    gather_rows_with_gradient,
    max_over_processes,
    mean_gradient,
    num_processes,
    process_rank,
    sum_over_processes,
)
from reid_heads.losses.labeled_rows import check_num_identities
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss, lengths
from reid_heads.losses.margins import Margin


class PartialFCLoss(CosineSoftmaxLoss):
    """``CosineSoftmaxLoss`` that need not hold, or compare with, all identities at once.

    Partial FC, An et al., "Killing Two Birds with One Stone", CVPR 2022. Two things, each by
    itself:

    *Sampling*: in training each batch is compared with the identities that occur in it, on any
    process, and with a random share of the others. Released code draws until the two together are
    that share of all. An identity that takes no part has a gradient of 0, but its weights may move
    by weight decay or an optimizer's momentum, from which released code spares them. Label
    smoothing is over the identities that take part. In evaluation all do. Draws come from torch's
    global generator, which ``ReseedEachIteration`` seeds: a resumed run draws as a straight one.

    *Dividing*: each process holds the weights of its own identities, P over the number of
    processes, and compares the rows of all processes with them; the softmax runs over all. Every
    process returns the same loss, the one of a single process with the joined batch, and after the
    average over processes that DistributedDataParallel takes, its gradients. The weights must not
    be in that average: `reid_heads.training.divided_training` sees to that, and to saving them.
    With sampling, each process draws among its own identities. In a single process there is nothing
    to divide. Divided weights are not in ``state_dict``, which only the main process saves; a
    ``state_dict`` of undivided ones loads, each process taking its own, and one without any leaves
    those that are there.

    Every rank must call ``forward`` and then ``backward``, with zero rows too.

    Examples:
        >>> loss = PartialFCLoss((8,), 1000, scale=30.0, sample_share=0.1)
        >>> pids = torch.tensor([0, 1, 999, 999])
        >>> loss([torch.ones(4, 8)], pids).shape  # compared with 100 of the identities
        torch.Size([])
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_identities: int,
        *,
        scale: float,
        margin: Margin | None = None,
        label_smoothing: float = 0.0,
        sub_centers: int = 1,
        intra: float = 0.0,
        inter: float = 0.0,
        sample_share: float = 1.0,
        is_sharded: bool = False,
    ):
        """Make the weights of this process's identities.

        Args:
            in_dims: as of ``CosineSoftmaxLoss``, like all up to ``inter``.
            num_identities: P of all processes.
            scale: s.
            margin: of any kind.
            label_smoothing: eps.
            sub_centers: K.
            intra: weight of the penalty.
            inter: must be 0, since no process sees all pairs of identities.
            sample_share: share of the identities that do not occur in a batch which take part, in
                (0, 1]; rounded up.
            is_sharded: whether identities are divided over the processes.

        Raises:
            ValueError: if a value is out of its range, or with fewer identities than processes.
        """
        check_num_identities(num_identities)
        if not 0 < sample_share <= 1:
            raise ValueError(
                f"PartialFCLoss got sample_share={sample_share}; expected 0 < sample_share <= 1 "
                "(MODEL.REID_HEAD.PARTIAL_FC.SAMPLE_SHARE)"
            )
        if inter > 0:
            raise ValueError(
                f"PartialFCLoss got inter={inter}; the penalty on the angles between identities "
                "needs all of them: set INTER to 0.0, or in MODEL.REID_HEAD.PARTIAL_FC "
                "SAMPLE_SHARE to 1.0 and SHARDED to False"
            )
        shard = (0, num_identities)
        if is_sharded:
            shard = shard_bounds(num_identities, num_processes(), process_rank())
        super().__init__(
            in_dims,
            num_identities,
            scale=scale,
            margin=margin,
            label_smoothing=label_smoothing,
            sub_centers=sub_centers,
            intra=intra,
            held_identities=shard[1] - shard[0],
        )
        self.sample_share = sample_share
        self.shard = shard
        self.is_divided = is_sharded and num_processes() > 1
        self.register_state_dict_post_hook(_leave_divided_weights_out)  # type: ignore[no-untyped-call]

    def _loss(
        self,
        rows: Sequence[Tensor],
        weights: Sequence[Tensor],
        pids: Tensor,
        logit_offsets: Tensor | None,
    ) -> Tensor:
        if self.is_divided:
            return self._divided_loss(rows, weights, gather_rows(pids), logit_offsets)
        if not self.training or self.sample_share == 1:
            return super()._loss(rows, weights, pids, logit_offsets)
        # The same classes on every process: their weights are, and the gradients are averaged.
        seed = gather_rows(_draw_seed().to(pids.device))[0]
        chosen = self._choose(gather_rows(pids), seed)
        offsets = None if logit_offsets is None else logit_offsets[chosen]
        weights = [self._rows_of(weight, chosen) for weight in weights]
        return super()._loss(rows, weights, torch.searchsorted(chosen, pids), offsets)

    def _choose(self, positives: Tensor, seed: Tensor) -> Tensor:
        return choose_classes(
            positives, self.shard[1] - self.shard[0], self.sample_share, int(seed)
        )

    def _rows_of(self, weight: Tensor, chosen: Tensor) -> Tensor:
        """Return the vectors (C K, d) of the chosen ones of this process's identities."""
        by_class = weight.view(-1, self.sub_centers, weight.shape[1])
        return by_class[chosen].flatten(0, 1)

    def _divided_loss(
        self,
        rows: Sequence[Tensor],
        weights: Sequence[Tensor],
        pids: Tensor,
        logit_offsets: Tensor | None,
    ) -> Tensor:
        """Return the joint loss of this process's rows and of pids (N,) of all processes."""
        if len(pids) == 0:
            # On every process at once, so that none waits for another.
            return torch.stack([x.sum() * 0.0 for x in (*rows, *weights)]).sum()
        start, stop = self.shard
        is_own = (pids >= start) & (pids < stop)
        chosen = torch.arange(stop - start, device=pids.device)
        if self.training and self.sample_share < 1:
            chosen = self._choose(pids[is_own] - start, _draw_seed()[0])
            weights = [self._rows_of(weight, chosen) for weight in weights]
        # Rows whose identity another process holds get a column, but nothing is put into it.
        columns = torch.where(is_own, torch.searchsorted(chosen, pids - start), 0)
        offsets = zeros = torch.zeros(self.num_identities, device=pids.device)
        if logit_offsets is not None:
            offsets = zeros + logit_offsets
        terms = [
            self._divided_rows(
                gather_rows_with_gradient(x),
                mean_gradient(weight),
                (columns[:, None], is_own[:, None]),
                (offsets[start:stop][chosen], offsets[pids]),
                self.margin_of(place),
            )
            for place, (x, weight) in enumerate(zip(rows, weights, strict=True))
        ]
        return torch.stack(terms).mean()

    def _divided_rows(
        self,
        rows: Tensor,
        weight: Tensor,
        targets: tuple[Tensor, Tensor],
        offsets: tuple[Tensor, Tensor],
        margin: Margin | None,
    ) -> Tensor:
        """Return the mean loss of the rows (N, d) of all processes for one feature.

        Args:
            rows: the same on every process.
            weight: (C K, d), of this process.
            targets: (N, 1) column of each row's identity, and whether it is here at all.
            offsets: of the logits: (C,) of the classes here and (N,) of each row's identity.
            margin: of this feature.
        """
        columns, is_own = targets
        cosines = self._cosines(rows, weight)
        target = sum_over_processes(torch.where(is_own, cosines.gather(1, columns), 0.0))
        norms = lengths(rows)
        shifted, others = target, cosines
        if margin is not None:
            if self.training:
                margin.observe(target.detach(), norms.detach())
            shifted = margin.shift(target, norms)
            others = margin.others(cosines, shifted.detach())
        own = torch.where(is_own, shifted, others.gather(1, columns))
        logits = self.scale * others.scatter(1, columns, own) + offsets[0].to(rows.dtype)
        true = self.scale * shifted[:, 0] + offsets[1].to(rows.dtype)
        losses = self._cross_entropies(logits, true)
        if self._has_penalties():
            losses = losses + self._penalties(norms, target, margin)
        return losses.mean()

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if self.is_divided:
            for place, weight in enumerate(self.weights):
                key = f"{prefix}weights.{place}"
                whole = state_dict.get(key)
                state_dict[key] = weight.detach().clone()
                if whole is not None and len(whole) == self.num_identities * self.sub_centers:
                    start, stop = (bound * self.sub_centers for bound in self.shard)
                    state_dict[key] = whole[start:stop]
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _cross_entropies(self, logits: Tensor, true: Tensor) -> Tensor:
        """Return the cross-entropies (N,) of logits (N, C) here and the true one's (N,)."""
        highest = max_over_processes(logits.amax(dim=1))
        sums = sum_over_processes((logits - highest[:, None]).exp().sum(dim=1))
        log_sums = sums.log() + highest
        eps = self.label_smoothing
        if eps == 0:
            return log_sums - true
        count = logits.new_tensor(logits.shape[1])
        means = sum_over_processes(logits.sum(dim=1)) / sum_over_processes(count)
        return log_sums - (1 - eps) * true - eps * means


def _leave_divided_weights_out(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: Any
) -> None:
    assert isinstance(module, PartialFCLoss)
    if module.is_divided:
        for place in range(len(module.weights)):
            del state_dict[f"{prefix}weights.{place}"]


def shard_bounds(num_identities: int, num_shards: int, shard: int) -> tuple[int, int]:
    """Return the first identity of a shard and the one after its last.

    Shards are as even as can be; the first ones have one more.

    Raises:
        ValueError: with fewer identities than shards.
    """
    if num_identities < num_shards:
        raise ValueError(
            f"got {num_identities} identities for {num_shards} processes; set "
            "MODEL.REID_HEAD.PARTIAL_FC.SHARDED to False: it is for very many identities"
        )
    size, rest = divmod(num_identities, num_shards)
    start = shard * size + min(shard, rest)
    return start, start + size + (shard < rest)


def choose_classes(positives: Tensor, num_classes: int, share: float, seed: int) -> Tensor:
    """Return every positive class and a random share of the others, rising.

    Args:
        positives: any shape, int64, 0..num_classes-1; may repeat and may be empty.
        num_classes: at least 1.
        share: of the others, in (0, 1]; their number is rounded up.
        seed: decides the draw, on one kind of device.

    Returns:
        (C,) int64, at least one class.
    """
    device = positives.device
    generator = torch.Generator(device).manual_seed(seed)
    priority = torch.rand(num_classes, generator=generator, device=device)
    priority[positives.flatten()] = 2.0
    num_positives = int((priority == 2).sum())
    count = num_positives + math.ceil(share * (num_classes - num_positives))
    return priority.topk(count).indices.sort().values


def _draw_seed() -> Tensor:
    """Draw a seed (1,) from torch's global generator of the CPU."""
    return torch.randint(2**62, (1,))
