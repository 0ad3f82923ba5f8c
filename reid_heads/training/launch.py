"""What every detectron2-style entry point of this project does before and around training."""

import contextlib
import logging
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing.spawn import ProcessExitedException

from reid_heads.training.lifeline import lifeline
from reid_heads.training.stopping import SIGNALS, STOPPING, TrainingStoppedError
from reid_heads.training.told_errors import STATUS, run_and_tell
from reid_heads.trust import add_trust_argument, trusted_files

FAILURE = 1


def use_available_device(cfg: CfgNode, is_training: bool) -> None:
    """Fall back to the CPU where there is no GPU.

    Raises:
        ValueError: if training is to be in mixed precision without a GPU.
    """
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE == "cpu" and is_training:
        raise ValueError(
            "SOLVER.AMP.ENABLED is True, but detectron2's mixed precision needs a GPU and none is "
            "in use; add SOLVER.AMP.ENABLED False"
        )


def set_up_output(cfg: CfgNode, args: Any) -> None:
    """Make the output folder with its log and the config; log this project's modules too."""
    default_setup(cfg, args)
    for name in ("person_search", "reid_heads"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name, abbrev_name=name)


def parse_and_launch(main: Callable[[Any], Any]) -> None:
    """Parse detectron2's command line and launch ``main`` in a process for each GPU.

    SIGTERM and SIGINT end a training after the step that is being done, with a checkpoint; the
    exit status is 128 and the signal's number. If one of several processes dies, all end. An error
    of what was given is told in a line, with status 2.
    """
    parser = default_argument_parser()
    add_trust_argument(parser)
    args = parser.parse_args()
    # One process alone is this one, and hears for itself.
    forwarding = forward_signals() if args.num_gpus * args.num_machines > 1 else None
    with forwarding or contextlib.nullcontext([]) as received:
        try:
            launch(
                partial(_run, main),
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(args,),
            )
        except ProcessExitedException as error:
            sys.exit(explain(error, received))


@contextlib.contextmanager
def forward_signals() -> Iterator[list[int]]:
    """Tell the processes that this one has started what it is told.

    Yields:
        The signals that came, first the first.
    """
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        is_second = number == signal.SIGINT and bool(received)
        received.append(number)
        # It tells of each process that it ends, of which one line tells already.
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
        processes = multiprocessing.active_children()
        for process in processes:
            # A terminal's Ctrl-C reaches them as well; a second one here ends them.
            (process.kill if is_second else process.terminate)()
        if not processes:
            sys.exit(128 + number)

    before = {number: signal.signal(number, forward) for number in STOPPING}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def explain(error: ProcessExitedException, received: list[int]) -> int:
    """Say how a process ended without an error of its own.

    Args:
        error: that the launcher raised.
        received: signals that came before.

    Returns:
        The exit status.
    """
    # Whoever ended so has said why.
    if error.exit_code in [128 + number for number in STOPPING]:
        return 128 + received[0] if received else int(error.exit_code)
    if received:
        name = signal.Signals(received[0]).name
        print(f"stopped by {name}, without a checkpoint of the last steps", file=sys.stderr)
        return 128 + received[0]
    if error.exit_code == STATUS:
        return STATUS
    how = error.signal_name or f"status {error.exit_code}"
    print(
        f"process {error.error_index} ended by {how}, and the others were ended; go on from the "
        "last checkpoint with --resume",
        file=sys.stderr,
    )
    return FAILURE


def _run(main: Callable[[Any], Any], args: Any) -> None:
    """Run ``main`` in one of the processes, until it ends or is told to."""
    with SIGNALS, trusted_files(args.trust_this_file), lifeline(args.dist_url):
        try:
            run_and_tell(main, args)
            return
        except TrainingStoppedError:
            outcome = SIGNALS.outcome
        except KeyboardInterrupt:
            outcome = "at once, without a checkpoint of the last steps"
        except Exception:
            if not SIGNALS.received or comm.get_world_size() > 1:
                raise
            # Such as a process that loads data and was sent the same signal; logged by detectron2.
            outcome = "in the midst of an iteration; go on from the last checkpoint with --resume"
        if comm.is_main_process():
            print(f"stopped by {SIGNALS.name} {outcome}", file=sys.stderr, flush=True)
        sys.exit(SIGNALS.status)
