"""detectron2's trainer with exact resume, a best checkpoint, and averaged weights on request."""

import argparse
import weakref
from collections import OrderedDict
from collections.abc import Iterable

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, hooks
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from reid_heads.detectron2_parts import keep_results, last_results
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import ReIDLosses
from reid_heads.training.checkpoint import WeightCopyCheckpointer, warn_of_other_settings
from reid_heads.training.divided_training import (
    SaveDividedParameters,
    check_divided_training,
    divided_parameters,
    undivided_parameters_only,
)
from reid_heads.training.hooks import BestMetricCheckpointer, ReseedEachIteration, WeightAverage
from reid_heads.training.resume_record import KEY, ResumeRecord
from reid_heads.training.solver import build_optimizer
from reid_heads.training.stopping import StopWhenTold


class ResumableTrainer(DefaultTrainer):
    """detectron2's trainer whose interrupted runs end as straight ones.

    A subclass builds the loaders; the sampler of the training loader is a ``ResumableSampler``,
    whose ``start_iteration`` is set before the first batch.
    """

    main_metric: str
    """Name of the metric, among the results of a test set, by which the best weights are kept."""

    @classmethod
    def run(cls, cfg: CfgNode, args: argparse.Namespace) -> OrderedDict | None:
        """Train, or evaluate with ``--eval-only``; return the results on the main process.

        Args:
            cfg: frozen.
            args: detectron2's command line.
        """
        if args.eval_only:
            model = cls.build_model(cfg)
            checkpointer = WeightCopyCheckpointer(model, cfg.OUTPUT_DIR)
            checkpointer.load_whole_model(cfg.MODEL.WEIGHTS)
            warn_of_other_settings(cfg, checkpointer.imported)
            return cls.test(cfg, model)
        trainer = cls(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> torch.nn.Module:
        """Build the model, ready to be wrapped for several processes.

        Raises:
            ValueError: for divided classes with a setting that they do not go with.
        """
        check_divided_training(cfg)
        model = super().build_model(cfg)
        undivided_parameters_only(model)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Build the optimizer that ``cfg.SOLVER`` names."""
        return build_optimizer(cfg, model)

    def build_hooks(self) -> list[hooks.HookBase]:
        """Add reseeding, stopping, the best checkpoint and the weight average to the hooks."""
        # DefaultTrainer makes its checkpointer just before the hooks that keep it.
        self.checkpointer = WeightCopyCheckpointer(
            self.model, self.cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self._record = ResumeRecord(self.cfg)
        self.checkpointer.add_checkpointable(KEY, self._record)
        built = super().build_hooks()
        built.insert(0, ReseedEachIteration(self.cfg.SEED))
        if comm.is_main_process() and self.cfg.TEST.EVAL_PERIOD > 0 and self.cfg.DATASETS.TEST:
            best = BestMetricCheckpointer(
                self.cfg.TEST.EVAL_PERIOD, self.checkpointer, self.metric_name()
            )
            # After the evaluation, before the writers, which detectron2 keeps last.
            built.insert(len(built) - 1, best)
        self._divided = self._build_divided_hook()
        if self._divided is not None:
            # Before the hook that saves checkpoints: a checkpoint without these is of no use.
            built.insert(1, self._divided)
        stop = StopWhenTold(
            self.checkpointer,
            self.cfg.SOLVER.CHECKPOINT_PERIOD,
            self._divided,
            torch.device(self.cfg.MODEL.DEVICE),
        )
        first = next(i for i, hook in enumerate(built) if isinstance(hook, hooks.EvalHook))
        built.insert(first, stop)
        decay = self.cfg.SOLVER.EMA_DECAY
        return built if decay == 0 else self._with_weight_average(built, decay)

    def _build_divided_hook(self) -> SaveDividedParameters | None:
        model = self.model
        if isinstance(model, DistributedDataParallel):
            model = model.module
        if not divided_parameters(model):
            return None
        if self.cfg.SOLVER.EMA_DECAY > 0:
            raise ValueError(
                f"SOLVER.EMA_DECAY is {self.cfg.SOLVER.EMA_DECAY}, but checkpoints cannot hold the "
                "moving average of classes which are divided over processes; set it to 0.0 or "
                "MODEL.REID_HEAD.PARTIAL_FC.SHARDED to False"
            )
        solver = self.cfg.SOLVER
        return SaveDividedParameters(
            model, self.optimizer, self.cfg.OUTPUT_DIR, solver.CHECKPOINT_PERIOD
        )

    def _with_weight_average(
        self, built: list[hooks.HookBase], decay: float
    ) -> list[hooks.HookBase]:
        """Average the weights before the hooks that save and evaluate, and evaluate the average."""
        model = self.model
        average = WeightAverage(
            model.module if isinstance(model, DistributedDataParallel) else model, decay
        )

        def test_average() -> OrderedDict:
            results = self.test(self.cfg, average.averaged_model)
            keep_results(self, results)
            return results

        evaluate = hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, test_average)
        others = [evaluate if isinstance(hook, hooks.EvalHook) else hook for hook in built]
        return [average, *others]

    def metric_name(self) -> str:
        """Return the main metric's name in the event storage.

        detectron2 prefixes the data set where there are several.
        """
        tests = self.cfg.DATASETS.TEST
        return f"{tests[0]}/{self.main_metric}" if len(tests) > 1 else self.main_metric

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue after the last checkpoint with the very next batch, or load weights.

        Raises:
            ValueError: the checkpoint is of other data or another batch size.
        """
        self._record.sampler = self.data_loader.sampler
        super().resume_or_load(resume)
        self._record.check(self.start_iter)
        warn_of_other_settings(self.cfg, self.checkpointer.imported)
        if resume and self.start_iter >= self.max_iter:
            self.checkpointer.complete_final(self.start_iter - 1)
        if self._divided is not None and self.start_iter > 0:
            self._divided.load(self.start_iter - 1)
        self.data_loader.sampler.start_iteration = self.start_iter

    @classmethod
    def training_pids(cls, cfg: CfgNode) -> Iterable[int]:
        """Return the person id of each box or crop of the training sets, as the model sees it.

        Only logit adjustment asks for them. ``UNLABELED_PID`` may be among them.
        """
        raise NotImplementedError(
            f"{cls.__name__} cannot train with MODEL.REID_HEAD.LOGIT_ADJUSTMENT"
        )

    def _set_identity_counts(self) -> None:
        """Tell logit adjustment how often each identity occurs in the data that is trained on."""
        head = self.cfg.MODEL.REID_HEAD
        if head.LOGIT_ADJUSTMENT == 0:
            return
        pids = torch.tensor(list(self.training_pids(self.cfg)), dtype=torch.int64)
        counts = torch.bincount(pids[pids != UNLABELED_PID], minlength=head.NUM_IDENTITIES)
        for module in self.model.modules():
            if isinstance(module, ReIDLosses):
                module.set_identity_counts(counts)

    def train(self) -> OrderedDict | None:
        """Train; return the last results on the main process.

        detectron2 returns them only where ``TEST.EXPECTED_RESULTS`` says what they should be.
        """
        # After the weights are loaded: a checkpoint of other data brings counts of its own.
        self._set_identity_counts()
        super().train()
        return last_results(self) if comm.is_main_process() else None
