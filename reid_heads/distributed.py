"""The collective operations that losses with a memory, or with divided classes, need.

Operations with a gradient differentiate the sum of the losses of all processes: where each process
computes the same loss from what was gathered or summed, every gradient is that of the number of
processes times this loss. For parameters that DistributedDataParallel averages over processes that
is what it takes; a parameter of one process alone undoes it with ``mean_gradient``.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def num_processes() -> int:
    """Return how many processes train together; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes in rank order, however many each has.

    Args:
        rows: (R, ...), the same trailing shape and type everywhere; R may differ and be 0.

    Returns:
        (sum of R, ...), the same on every process, without gradient. Every process must call this.
    """
    if num_processes() == 1:
        return rows
    return torch.cat(_gather_parts(rows))


def _gather_parts(rows: Tensor) -> list[Tensor]:
    counts = [
        torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(num_processes())
    ]
    dist.all_gather(counts, torch.tensor(len(rows), device=rows.device))
    most = max(int(count) for count in counts)
    padded = rows.new_zeros((most, *rows.shape[1:]))
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return [part[: int(count)] for part, count in zip(gathered, counts, strict=True)]


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a scalar over all processes. Every process must call this."""
    if num_processes() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / num_processes()


def max_over_processes(values: Tensor) -> Tensor:
    """Return the largest of each value over all processes, without gradient.

    Every process must call this, with the same shape.
    """
    values = values.detach()
    if num_processes() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        parts = _gather_parts(rows.detach())
        rank = process_rank()
        start = sum(len(part) for part in parts[:rank])
        ctx.own = slice(start, start + len(parts[rank]))  # type: ignore[attr-defined]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own]


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.detach().contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class _MeanGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] / num_processes()


def gather_rows_with_gradient(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes as ``gather_rows`` does, with a gradient.

    Every process must call this and then ``backward``, also with rows that need no gradient.
    """
    if num_processes() == 1:
        return rows
    if torch.is_grad_enabled() and not rows.requires_grad:
        # backward is a collective call too: this process must not leave it out.
        rows = rows.detach().requires_grad_()
    result: Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
    return result


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum of each value over all processes, with a gradient.

    Every process must call this, with the same shape, and then ``backward``.
    """
    if num_processes() == 1:
        return values
    result: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return result


def mean_gradient(values: Tensor) -> Tensor:
    """Return the values, with a gradient divided by the number of processes."""
    if num_processes() == 1:
        return values
    result: Tensor = _MeanGradient.apply(values)  # type: ignore[no-untyped-call]
    return result
