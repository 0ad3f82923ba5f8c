"""The two collective operations that losses with a memory need."""

import torch
import torch.distributed as dist
from torch import Tensor


def _num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order, however many each has.

    Args:
        rows: (R, ...), the same trailing shape and type everywhere; R may differ and be 0.

    Returns:
        (sum of R, ...), the same on every process, without gradient. Every process must call this.
    """
    if _num_processes() == 1:
        return rows
    counts = [
        torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(_num_processes())
    ]
    dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
    most = max(int(count) for count in counts)
    padded = rows.new_zeros((most, *rows.shape[1:]))
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a scalar over all processes. Every process must call this."""
    if _num_processes() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / _num_processes()
