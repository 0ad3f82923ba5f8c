"""Training hooks that detectron2 lacks."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reid_heads.atomic_file import atomic_file
from reid_heads.losses.intra_class import IntraClassAugmentedLoss
from reid_heads.training.checkpoint_files import BEST_NAME


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
        super().__init__(eval_period, checkpointer, metric, mode="max", file_prefix=BEST_NAME)
        self.metric = metric
        self.record = Path(checkpointer.save_dir) / f"{BEST_NAME}.json"

    def before_train(self) -> None:
        """Take up the record of the run that is resumed."""
        if self.trainer.start_iter > 0 and self.record.is_file():
            best = json.loads(self.record.read_text())
            self.best_metric, self.best_iter = best["value"], best["iteration"]

    def _update_best(self, val: float, iteration: int) -> bool:
        is_number = super()._update_best(val, iteration)
        if is_number:
            best = {"metric": self.metric, "value": val, "iteration": iteration}
            with atomic_file(self.record, is_durable=True) as file:
                file.write((json.dumps(best) + "\n").encode())
        return is_number


class WeightAverage(HookBase):
    """Keep an exponential moving average of a model's parameters.

    After each step ``average <- decay * average + (1 - decay) * value``; buffers (running
    statistics, memories) are taken as they are. The average is part of the checkpoints, so training
    resumes exactly, and what is evaluated and kept as the result is the average.
    """

    def __init__(self, model: nn.Module, decay: float):
        """Prepare.

        Args:
            model: the one that is trained, not wrapped for several processes.
            decay: share of the old average, 0 < decay < 1.

        Raises:
            ValueError: if the decay is out of its range.
        """
        if not 0 < decay < 1:
            raise ValueError(
                f"SOLVER.EMA_DECAY is {decay}; expected 0 (no average) or more, and less than 1"
            )
        self.model = model
        self.decay = decay
        self._averaged: AveragedModel | None = None
        self._of_checkpoint: dict[str, Tensor] = {}

    @property
    def averaged_model(self) -> nn.Module:
        """A copy of the model with the averaged parameters and the model's own buffers."""
        assert self._averaged is not None, "training has not begun"
        module: nn.Module = self._averaged.module
        return module

    @torch.no_grad()
    def before_train(self) -> None:
        """Start the average at the loaded weights, or at the average of a checkpoint.

        Raises:
            ValueError: if the checkpoint's average is of another model.
        """
        self._averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay))
        # Otherwise the first step would be taken as the start, without the loaded weights.
        self._averaged.n_averaged.fill_(1)
        if not self._of_checkpoint:
            return
        own = dict(self.averaged_model.named_parameters())
        if own.keys() != self._of_checkpoint.keys():
            names = sorted(own.keys() ^ self._of_checkpoint.keys())
            raise ValueError(
                f"the checkpoint holds the moving average of another model: {names[:5]} are in one "
                "of them only. Resume with the config and the version that it was trained with"
            )
        for name, parameter in own.items():
            parameter.copy_(self._of_checkpoint[name])

    def after_step(self) -> None:
        """Blend the new weights in."""
        assert self._averaged is not None
        self._averaged.update_parameters(self.model)

    def state_dict(self) -> dict:
        """Return what a checkpoint holds of this hook: the averaged parameters by name."""
        own = self.averaged_model.named_parameters()
        return {"average": {name: parameter.detach() for name, parameter in own}}

    def load_state_dict(self, state: dict) -> None:
        """Take up the average of a checkpoint when training begins."""
        self._of_checkpoint = state["average"]


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
