"""Training hooks that detectron2 lacks."""

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm


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
    """Keep the weights with the highest search mAP, also over a resume."""

    def __init__(self, eval_period: int, checkpointer, metric: str):
        """Follow ``metric`` of the event storage every ``eval_period`` iterations."""
        super().__init__(eval_period, checkpointer, metric, mode="max", file_prefix="model_best")

    def state_dict(self) -> dict:
        """Return the best value so far and its iteration."""
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state: dict) -> None:
        """Take up where ``state_dict`` left."""
        self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]
