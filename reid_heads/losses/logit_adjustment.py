"""Logit adjustment for the long tail of identities.

Letters: P identities.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class LogitAdjustment(nn.Module):
    """Offsets of the logits that make up for how often each identity is trained.

    Menon et al., "Long-tail learning via logit adjustment", ICLR 2021: in training, tau times the
    logarithm of the share of identity c among the training boxes is added to its logit, so that a
    rare identity has to win by more than a frequent one.

    Here the share is taken relative to an even one, 1 / P: o_c = tau log(P n_c / sum n), n_c the
    boxes of identity c. A softmax over identities alone does not see the difference, a constant.
    OIM does, whose softmax also runs over the slots of its queue: those get no offset, which is our
    choice since the paper knows no queue, and so count as identities of average frequency. With
    the bare share every identity would fall behind the queue by log P, 8.6 for CUHK-SYSU.

    The counts are part of the checkpoints. A checkpoint without them, of a training without
    adjustment, still loads.

    Examples:
        >>> LogitAdjustment(tau=1.0, num_identities=3).identity_counts.shape
        torch.Size([3])
    """

    identity_counts: Tensor

    def __init__(self, tau: float, num_identities: int):
        """Make an adjustment whose counts are not set yet.

        Args:
            tau: strength, at least 0; at 1 every identity counts the same in the end, whatever its
                share.
            num_identities: P.

        Raises:
            ValueError: if tau is out of its range.
        """
        super().__init__()
        if not 0 <= tau < math.inf:
            raise ValueError(
                f"LogitAdjustment got tau={tau}; expected 0 (none) or more "
                "(MODEL.REID_HEAD.LOGIT_ADJUSTMENT)"
            )
        self.tau = tau
        # Zeros: not set.
        self.register_buffer("identity_counts", torch.zeros(num_identities, dtype=torch.int64))

    @torch.no_grad()
    def set_identity_counts(self, counts: Tensor) -> None:
        """Take up how many training boxes each identity has.

        Args:
            counts: (P,) int64, each at least 1: the logarithm of a share of 0 is infinite.

        Raises:
            ValueError: for another shape or type, or an identity without a box.
        """
        expected = self.identity_counts
        if counts.shape != expected.shape or counts.dtype != expected.dtype:
            raise ValueError(
                f"got identity counts of shape {tuple(counts.shape)} and type {counts.dtype}; "
                f"expected ({len(expected)},) and {expected.dtype}, one number for each of "
                "MODEL.REID_HEAD.NUM_IDENTITIES"
            )
        without = (counts < 1).nonzero().flatten().tolist()
        if without:
            raise ValueError(
                f"{len(without)} of {len(counts)} identities have no training box, the first ones "
                f"are {without[:5]}; logit adjustment needs one of each: number the person ids "
                "without gaps, or set MODEL.REID_HEAD.LOGIT_ADJUSTMENT to 0.0"
            )
        self.identity_counts.copy_(counts)

    def forward(self) -> Tensor:
        """Return the offsets (P,) float32.

        Raises:
            RuntimeError: if the counts are not set.
        """
        counts = self.identity_counts.float()
        mean = counts.mean()
        if mean == 0:
            raise RuntimeError(
                f"MODEL.REID_HEAD.LOGIT_ADJUSTMENT is {self.tau}, but the losses do not know how "
                "many training boxes each identity has; call set_identity_counts of the model's "
                "ReIDLosses before training, as the trainers do"
            )
        return self.tau * (counts / mean).log()

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
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        # A model that was trained without adjustment is no other model, and keeps its counts.
        if prefix + "identity_counts" in missing_keys:
            missing_keys.remove(prefix + "identity_counts")
