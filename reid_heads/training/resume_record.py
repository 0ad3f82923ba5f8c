"""What a checkpoint says of the data that its iterations went through, for a run that resumes it.

An iteration has no meaning of its own: a run of 8 images an iteration that is resumed with 16 has
come half as far in the data as its number says, or is done before it begins.
"""

import logging
from typing import Any

from detectron2.config import CfgNode

from reid_heads.data.samplers import ResumableSampler

logger = logging.getLogger(__name__)

KEY = "training_data"
"""Under which a checkpoint keeps the record."""

_NOT_THE_TRAINING = (
    *("OUTPUT_DIR", "MODEL.WEIGHTS", "MODEL.DEVICE", "TEST.", "VIS_PERIOD", "CUDNN_BENCHMARK"),
    *("DATASETS.", "DATALOADER.NUM_WORKERS", "SOLVER.IMS_PER_BATCH", "SOLVER.CHECKPOINT_PERIOD"),
    # A longer schedule is what many a training is resumed for; epochs make steps of their own.
    *("SOLVER.MAX_ITER", "SOLVER.REID.EPOCHS", "SOLVER.STEPS", "SOLVER.REFERENCE_WORLD_SIZE"),
)
"""Settings, or how they begin, that may change, or that are compared as data and batch size."""
_IDENTITIES = "MODEL.REID_HEAD.NUM_IDENTITIES"
_CONSEQUENCES = {
    "SEED": "the order of the samples is another one from here on",
    "SOLVER.BASE_LR": "the learning rate goes on as the checkpoint has it, whatever is given",
}
_TOLD = 5
"""Changed settings that are named."""


class ResumeRecord:
    """Kept in each checkpoint of a run, and compared with the run that resumes it."""

    def __init__(self, cfg: CfgNode, sampler: ResumableSampler | None = None):
        """Describe a run.

        Args:
            cfg: of the run.
            sampler: of its training data; may be set later, before the first checkpoint.
        """
        self.cfg = cfg
        self.sampler = sampler
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the record: plain numbers and texts."""
        if self.sampler is None:
            raise RuntimeError("no sampler was set before the first checkpoint")
        return {
            "samples_per_iteration": self.sampler.batch_size,
            "num_processes": self.sampler.num_processes,
            "data_sets": list(self.cfg.DATASETS.TRAIN),
            "num_samples": self.sampler.size,
            "settings": _settings(self.cfg),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the record of a checkpoint, for `check`."""
        self._loaded = dict(state)

    def check(self, start_iteration: int) -> None:
        """Compare the run that is resumed with this one, and say how much there is to do.

        Another number of processes is no other training: they share each batch.

        Args:
            start_iteration: the first of this run; 0 for one that resumes nothing.

        Raises:
            ValueError: the run was of other data or another batch size; says what to do.
        """
        if start_iteration == 0:
            return
        if self._loaded is None:
            logger.warning(
                "the checkpoint does not say what data and batch size its %d iterations were of; "
                "resume it with the very same",
                start_iteration,
            )
        else:
            self._refuse_others(self._loaded, start_iteration)
        if start_iteration >= self.cfg.SOLVER.MAX_ITER:
            logger.warning(
                "nothing is left to train: the checkpoint has done %d iterations, and "
                "SOLVER.MAX_ITER is %d; raise it, or SOLVER.REID.EPOCHS, to train on",
                start_iteration,
                self.cfg.SOLVER.MAX_ITER,
            )

    def _refuse_others(self, loaded: dict[str, Any], start_iteration: int) -> None:
        now = self.state_dict()
        before, after = (r["samples_per_iteration"] for r in (loaded, now))
        done = start_iteration * before
        instead = (
            "or start a new training from its weights: without --resume, with MODEL.WEIGHTS and "
            "another OUTPUT_DIR"
        )
        processes = loaded["num_processes"]
        if before != after and processes != now["num_processes"]:
            # SOLVER.REFERENCE_WORLD_SIZE scales the batch.
            instead = f"or resume on {processes} processes, with which it was trained, {instead}"
        if before != after:
            raise ValueError(
                f"the run to resume took {before} samples an iteration and has seen {done:,}; "
                f"SOLVER.IMS_PER_BATCH is now {after}, with which its {start_iteration} iterations "
                f"would be {start_iteration * after:,}. Set it to {before}, {instead}"
            )
        data = [(r["data_sets"], r["num_samples"]) for r in (loaded, now)]
        if data[0] != data[1]:
            was, is_now = (f"{' + '.join(names)} of {size:,} samples" for names, size in data)
            raise ValueError(
                f"the run to resume was of {was}, this one is of {is_now}, in which its "
                f"{start_iteration} iterations mean something else. Give it the same data, "
                f"{instead}"
            )
        self._compare_settings(loaded, now, instead)
        if loaded["num_processes"] != now["num_processes"]:
            logger.warning(
                "the run to resume had %d processes, this one has %d: each batch is the same, but "
                "what normalises over a process's share of it is not",
                loaded["num_processes"],
                now["num_processes"],
            )

    @staticmethod
    def _compare_settings(loaded: dict[str, Any], now: dict[str, Any], instead: str) -> None:
        # Checkpoints of former versions say nothing of them.
        before, after = loaded.get("settings", now["settings"]), now["settings"]
        changed = [key for key in after if key in before and before[key] != after[key]]
        if _IDENTITIES in changed:
            raise ValueError(
                f"the run to resume was of {before[_IDENTITIES]} identities, this one is of "
                f"{after[_IDENTITIES]} ({_IDENTITIES}): what it learned of each is of no use. Give "
                f"it the same identities, {instead}"
            )
        if changed:
            named = [f"{key} {after[key]} instead of {before[key]}" for key in changed]
            more = f" and {len(named) - _TOLD} more" if len(named) > _TOLD else ""
            means = "".join(f"; {said}" for key, said in _CONSEQUENCES.items() if key in changed)
            logger.warning(
                "other settings than those of the run to resume: %s%s%s. For a training of its own "
                "with them start anew from its weights: without --resume, with MODEL.WEIGHTS and "
                "another OUTPUT_DIR",
                *(", ".join(named[:_TOLD]), more, means),
            )


def _settings(node: CfgNode, above: str = "") -> dict[str, str]:
    """Return the settings of a training by their keys, as text."""
    found: dict[str, str] = {}
    for name, value in node.items():
        key = f"{above}{name}"
        if isinstance(value, CfgNode):
            found |= _settings(value, f"{key}.")
        elif not key.startswith(_NOT_THE_TRAINING):
            found[key] = repr(value)
    return found
