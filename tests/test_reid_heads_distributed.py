import torch
from helpers_processes import run_processes

from reid_heads.distributed import gather_rows, mean_over_processes


def test_one_process_changes_nothing():
    rows = torch.arange(6.0).reshape(3, 2)
    assert gather_rows(rows) is rows
    assert mean_over_processes(torch.tensor(5.0)).item() == 5.0


def _gather(rank):
    rows = torch.full((2 * rank, 3), float(rank))  # rank 0 has none
    count = torch.tensor(4.0 * rank)
    mean = mean_over_processes(count)
    return {
        "rows": gather_rows(rows),
        "ids": gather_rows(torch.arange(rank + 1)),
        "mean": mean,
        "argument": count,
    }


def test_two_processes_gather_in_rank_order():
    for result in run_processes(_gather, 2):
        assert torch.equal(result["rows"], torch.ones(2, 3))
        assert result["ids"].tolist() == [0, 0, 1]
        assert result["ids"].dtype == torch.int64
        assert result["mean"].item() == 2.0
    assert result["argument"].item() == 4.0
