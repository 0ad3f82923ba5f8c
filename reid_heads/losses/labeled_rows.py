"""Which rows of a batch count in a loss, and the mean over them.

Letters: R rows, P identities.
"""

import torch
from torch import Tensor

from reid_heads.distributed import mean_over_processes
from reid_heads.labels import UNLABELED_PID


def labeled_rows(pids: Tensor, num_identities: int) -> Tensor:
    """Return which rows have an identity: bool (R,).

    Args:
        pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``.
        num_identities: P.

    Raises:
        ValueError: for any other id.
    """
    if pids.numel() > 0:
        low, high = torch.stack(torch.aminmax(pids)).tolist()
        if low < UNLABELED_PID or high >= num_identities:
            raise ValueError(
                f"got person ids from {low} to {high}, but the loss knows 0..{num_identities - 1} "
                f"and {UNLABELED_PID} for unlabelled people; set MODEL.REID_HEAD.NUM_IDENTITIES to "
                "the number of identities of the training set"
            )
    return pids != UNLABELED_PID


def check_num_identities(num_identities: int) -> None:
    """Raise a ValueError for less than one identity: 0 is the config's default."""
    if num_identities < 1:
        raise ValueError(
            f"got num_identities={num_identities}; set MODEL.REID_HEAD.NUM_IDENTITIES to the "
            "number of identities of the training set"
        )


def mean_over_rows(total: Tensor, num_rows: Tensor) -> Tensor:
    """Divide sums over this process's rows by the mean number of rows of all processes.

    The mean of the result over processes, and of its gradients as DDP takes it, is then that of one
    process with the joined batch, however unequal the processes' shares are.

    Args:
        total: any shape.
        num_rows: the same shape, any number type; 0 where ``total`` is 0.

    Returns:
        The shape of ``total``; 0, still connected, where no process has a row. Every process must
        call this.
    """
    num_rows = mean_over_processes(num_rows.to(total.dtype))
    return total / torch.where(num_rows > 0, num_rows, 1)
