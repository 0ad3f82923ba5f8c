"""Training hooks that detectron2 lacks."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from reid_heads.losses.intra_class import IntraClassAugmentedLoss


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


class BestMetricCheckpointer(hooks.BestCheckpointer):
    """Keep the weights with the highest value of a metric, also over a resume.

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


class WeightAverage(HookBase):
    """Keep an exponential moving average of a model's parameters.

    After each step ``average <- decay * average + (1 - decay) * value``; buffers (running
    statistics, memories) are taken as they are. The average is part of the checkpoints, so training
    resumes exactly, and what is evaluated and kept as the result is the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        """Start from the model's present parameters.

        Args:
            model: the one that is trained, not wrapped for several processes.
            decay: share of the old average, 0 < decay < 1.

        Raises:
            ValueError: if the decay is out of its range.
        """
        if not 0 < decay < 1:
            raise ValueError(
                f"MODEL.CROP_REID.EMA_DECAY is {decay}; expected 0 (no average) or less than 1"
            )
        self.model = model
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def before_train(self) -> None:
        """Start the average at the loaded weights, unless a checkpoint brought one."""
        if not self.average:
            self.average = {k: p.detach().clone() for k, p in self.model.named_parameters()}

    @torch.no_grad()
    def after_step(self) -> None:
        """Blend the new weights in."""
        for name, parameter in self.model.named_parameters():
            self.average[name].lerp_(parameter, 1 - self.decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the context."""
        own = {k: p.detach().clone() for k, p in self.model.named_parameters()}
        self._copy_into_model(self.average)
        try:
            yield
        finally:
            self._copy_into_model(own)

    @torch.no_grad()
    def _copy_into_model(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(values[name])

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of this hook."""
        return {"average": self.average}

    def load_state_dict(self, state: dict) -> None:
        """Take up the average of a checkpoint."""
        device = next(self.model.parameters()).device
        self.average = {k: v.to(device) for k, v in state["average"].items()}


class UpdateIntraClass(HookBase):
    """Estimate how each identity varies, for intra-class augmentation, every few epochs.

    The training crops are streamed through the model as at test, without augmentation, and their
    moments gathered; what is kept is per identity and lies in buffers of the losses. It is done
    before an iteration is seeded, so that nothing in training depends on what the pass draws.
    """

    def __init__(
        self,
        model: nn.Module,
        make_batches: Callable[[], Iterable[Sequence[dict]]],
        start: int,
        period: int,
    ):
        """Find the augmented losses of a model.

        Args:
            model: a ``CropReID``, not wrapped for several processes.
            make_batches: starts a pass over this process's share of the mapped training crops.
            start: iteration of the first estimate; before it the losses are plain.
            period: iterations from one estimate to the next, at least 1.

        Raises:
            ValueError: for a period below 1 or a negative start.
        """
        if period < 1 or start < 0:
            raise ValueError(
                f"intra-class augmentation starts at iteration {start} and updates every {period}; "
                "expected MODEL.REID_HEAD.INTRA_CLASS.START_EPOCH of 0 or more and UPDATE_EPOCHS "
                "of 1 or more"
            )
        self.model = model
        self.losses = [m for m in model.modules() if isinstance(m, IntraClassAugmentedLoss)]
        self.make_batches = make_batches
        self.start = start
        self.period = period

    def before_step(self) -> None:
        """Update where it is due, or where a resumed run brought no estimate."""
        iteration = self.trainer.iter
        is_waiting = iteration < self.start
        for loss in self.losses:
            loss.is_waiting = is_waiting
        is_due = (iteration - self.start) % self.period == 0
        if not is_waiting and (is_due or not all(loss.is_estimated for loss in self.losses)):
            self._update()

    @torch.no_grad()
    def _update(self) -> None:
        was_training = self.model.training
        self.model.eval()
        moments = [loss.new_moments() for loss in self.losses]
        for batch in self.make_batches():
            pids = torch.tensor([crop["person_id"] for crop in batch], device=self.model.device)
            features = self.model.batch_features(batch).metric
            for loss, own in zip(self.losses, moments, strict=True):
                loss.collect(own, features, pids)
        self.model.train(was_training)
        for loss, own in zip(self.losses, moments, strict=True):
            loss.update(own)
