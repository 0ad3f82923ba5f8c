"""Several processes that index one archive together, as ``torchrun`` starts them."""

import dataclasses
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from person_search.gallery.add_footage import IndexReport

Item = TypeVar("Item")

PATIENCE = timedelta(days=30)
"""How long the first to finish waits for the last: an archive takes as long as it takes."""


@dataclasses.dataclass(frozen=True)
class Workers:
    """This process among those that work together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Number of this process among those of its machine."""

    @classmethod
    def from_environment(cls) -> "Workers":
        """Read RANK, WORLD_SIZE and LOCAL_RANK; without them this process works alone.

        Raises:
            ValueError: They are no numbers, or contradict each other.
        """
        values = {}
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)):
            text = os.environ.get(name, str(default))
            if not text.isdigit():
                raise ValueError(f"the environment variable {name} is {text!r}, expected a number")
            values[name] = int(text)
        if values["RANK"] >= values["WORLD_SIZE"]:
            raise ValueError(
                f"RANK is {values['RANK']} and WORLD_SIZE {values['WORLD_SIZE']}; expected a rank "
                "below the size"
            )
        return cls(values["RANK"], values["WORLD_SIZE"], values["LOCAL_RANK"])

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def take_share(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's share: every ``count``-th item. The shares make up the whole."""
        return list(items[self.rank :: self.count])

    def choose_device(self) -> str | None:
        """Return a GPU of its own for each process of a machine; None where there is no choice."""
        if self.count == 1:
            return None
        import torch

        if not torch.cuda.is_available():
            return None
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    def connect(self) -> None:
        """Meet the other processes; they must all call it."""
        if self.count == 1:
            return
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=PATIENCE)

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.count == 1:
            return
        import torch.distributed as dist

        dist.barrier()

    def sum_reports(self, report: "IndexReport") -> "IndexReport":
        """Return what all did together; all must call it, and part afterwards.

        The seconds are those of the slowest.
        """
        if self.count == 1:
            return report
        import torch.distributed as dist

        reports: list[IndexReport] = [report] * self.count
        dist.all_gather_object(reports, report)
        dist.destroy_process_group()
        return sum_reports(reports)


def sum_reports(reports: Sequence["IndexReport"]) -> "IndexReport":
    """Add up what processes did that worked at the same time."""
    return dataclasses.replace(
        reports[0],
        frames_added=sum(r.frames_added for r in reports),
        people_added=sum(r.people_added for r in reports),
        appearances_added=sum(r.appearances_added for r in reports),
        frames_unchanged=sum(r.frames_unchanged for r in reports),
        broken=[broken for r in reports for broken in r.broken],
        left_out=[one for r in reports for one in r.left_out],
        frames_without_time=sum(r.frames_without_time for r in reports),
        seconds=max(r.seconds for r in reports),
    )
