"""Trainings that end when they are told to: with a checkpoint, one line, and a status."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer

from reid_heads.distributed import num_processes
from reid_heads.training.divided_training import SaveDividedParameters

STOPPING = (signal.SIGTERM, signal.SIGINT)
"""What a service's manager and Ctrl-C send."""


NOTHING = "with nothing to keep"
"""What a signal finds before a training."""


class TrainingStoppedError(BaseException):
    """A signal asked to end; no mistake, so not among the exceptions that are logged as such."""


class StopSignals:
    """What this process was told while the context lasts.

    A signal ends what can be begun anew, such as reading data, at once. A step of the training ends
    first: it cannot be undone, nor done half. A second Ctrl-C ends everything.
    """

    def __init__(self) -> None:
        """Know of no signal yet."""
        self.received = 0
        """Number of the first signal; 0 for none."""
        self.outcome = NOTHING
        """Where the training stands, and what is kept of it."""
        self.may_interrupt = True
        """Whether a signal ends at once what is being done."""
        self._before: dict[int, Any] = {}
        self._process = 0

    def __enter__(self) -> "StopSignals":
        """Listen; only in the main thread, as Python has it."""
        self.received, self.may_interrupt = 0, True
        self.outcome = NOTHING
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do as before, unless this process is about to end: nothing shall cut that short."""
        if not self.received:
            for number, before in self._before.items():
                signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # A process that loads data has this handler from its parent, which tells it what to do.
        if os.getpid() != self._process:
            return
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.received:
            self.received = number
            if self.may_interrupt:
                raise TrainingStoppedError

    @property
    def name(self) -> str:
        """The signal's name, as SIGTERM."""
        return signal.Signals(self.received or signal.SIGTERM).name

    @property
    def status(self) -> int:
        """The exit status that says so: 128 and the signal's number, as shells have it."""
        return 128 + (self.received or signal.SIGTERM)


SIGNALS = StopSignals()
"""Of this process."""


class StopWhenTold(HookBase):
    """Write a checkpoint and end, after the step in which a signal arrived.

    It stands before the evaluation. One process alone ends an evaluation, too, which can be made
    anew; several cannot, since some of them wait for what others would not send.
    """

    def __init__(
        self,
        checkpointer: Checkpointer,
        period: int,
        divided: SaveDividedParameters | None,
        device: torch.device,
    ):
        """Prepare.

        Args:
            checkpointer: of the training.
            period: iterations between checkpoints that are written anyway.
            divided: saves each process's own classes, where there are such.
            device: on which processes tell each other.
        """
        self.checkpointer = checkpointer
        self.period = period
        self.divided = divided
        self.device = device
        self._is_between = False

    def before_train(self) -> None:
        """Let no signal interrupt the steps."""
        SIGNALS.may_interrupt = False
        SIGNALS.outcome = f"before the first iteration, {NOTHING}"

    def before_step(self) -> None:
        """Begin what must end."""
        SIGNALS.may_interrupt = self._is_between = False

    def after_step(self) -> None:
        """End where a process was told to."""
        done, end = self.trainer.iter + 1, self.trainer.max_iter
        self._is_between = True
        if done < end and self._is_told():
            self._save()
            raise TrainingStoppedError
        if done < end and num_processes() == 1:
            SIGNALS.may_interrupt = True
            # What came between the question and here.
            if SIGNALS.received:
                raise TrainingStoppedError

    def after_train(self) -> None:
        """Write the checkpoint of a training that was ended in an evaluation, or before the last.

        Raises:
            TrainingStoppedError: where only the last evaluation is missing.
        """
        if self.trainer.iter >= self.trainer.max_iter:
            SIGNALS.outcome = self._say(self.trainer.iter, "model_final.pth")
            if self._is_told():
                raise TrainingStoppedError
            SIGNALS.may_interrupt = num_processes() == 1
        elif SIGNALS.received and self._is_between:
            self._save()

    def _is_told(self) -> bool:
        """Ask all processes: they end after the same iteration."""
        if num_processes() == 1:
            return bool(SIGNALS.received)
        # A launcher passes Ctrl-C on as SIGTERM: the later of the two says what it was.
        numbers = [0, *STOPPING]
        told = torch.tensor(numbers.index(SIGNALS.received), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        SIGNALS.received = int(numbers[int(told)])
        return bool(SIGNALS.received)

    def _save(self) -> None:
        self._is_between = False
        iteration = self.trainer.iter
        name = f"model_{iteration:07d}"
        if (iteration + 1) % self.period:
            if self.divided is not None:
                self.divided.save(iteration)
            comm.synchronize()
            self.checkpointer.save(name, iteration=iteration)
        # No process ends, which would end the others, before all is written.
        comm.synchronize()
        SIGNALS.outcome = self._say(iteration + 1, f"{name}.pth")

    def _say(self, done: int, file: str) -> str:
        path = Path(self.checkpointer.save_dir) / file
        return (
            f"after iteration {done} of {self.trainer.max_iter}: {path} is written, go on with "
            "--resume"
        )
