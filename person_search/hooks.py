"""Training hooks that detectron2 lacks."""

import json
from pathlib import Path

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer


class ReseedEachIteration(HookBase):
    """Seed torch by the iteration's number, so that a resumed run draws as a straight one does.

    detectron2's checkpoints hold no generator state. Does nothing where the config asks for no
    seed.
    """

    def __init__(self, seed: int):
        """Keep ``cfg.SEED``; negative means unseeded."""
        self.seed = seed

    def before_step(self) -> None:
        """Seed this iteration; each process differently."""
        if self.seed >= 0:
            torch.manual_seed((self.seed * 1_000_003 + self.trainer.iter) * 1_009 + comm.get_rank())


class BestSearchCheckpointer(hooks.BestCheckpointer):
    """Keep the weights with the highest search mAP, also over a resume.

    The highest value stands in ``model_best.json`` beside the weights and not in the checkpoints:
    detectron2 saves those before it evaluates, so a resumed run would not know of the evaluation
    that followed the checkpoint it starts from, and could replace the best weights by worse ones.
    """

    def __init__(self, eval_period: int, checkpointer: Checkpointer, metric: str):
        """Follow ``metric`` of the event storage every ``eval_period`` iterations."""
        super().__init__(eval_period, checkpointer, metric, mode="max", file_prefix="model_best")
        self.record = Path(checkpointer.save_dir) / "model_best.json"

    def before_train(self) -> None:
        """Take up the record of the run that is resumed."""
        if self.trainer.start_iter > 0 and self.record.is_file():
            best = json.loads(self.record.read_text())
            self.best_metric, self.best_iter = best["value"], best["iteration"]

    def _update_best(self, val: float, iteration: int) -> bool:
        is_number = super()._update_best(val, iteration)
        if is_number:
            best = {"metric": self._val_metric, "value": val, "iteration": iteration}
            self.record.write_text(json.dumps(best) + "\n")
        return is_number
