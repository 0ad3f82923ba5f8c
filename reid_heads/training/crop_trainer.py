"""The trainer of crop ReID: its data, its loop, its scorer."""

from collections import OrderedDict
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.solver import LRMultiplier
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import reid_heads.crop_reid  # noqa: F401  (registers the model)
from reid_heads.data.loaders import (
    build_scan_loader,
    build_test_loader,
    build_train_loader,
    iterations_per_epoch,
    load_train_crops,
)
from reid_heads.detectron2_parts import replace_loop
from reid_heads.evaluation.evaluator import ReIDEvaluator
from reid_heads.evaluation.image_evaluator import MAIN_METRICS, ImageEvaluator
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.losses.intra_class import IntraClassAugmentedLoss
from reid_heads.training.hooks import UpdateIntraClass
from reid_heads.training.meta_learning import MetaLearningTrainer, check_meta_learning
from reid_heads.training.solver import build_lr_scheduler, build_optimizer
from reid_heads.training.trainer import ResumableTrainer
from reid_heads.training.trial_runs import average_trials, fill_in


class CropReIDTrainer(ResumableTrainer):
    """The resumable trainer with the data and the scorer of crop ReID."""

    @property
    def main_metric(self) -> str:
        """Name of the metric of the first test set by which the best weights are kept."""
        first = fill_in(self.cfg.DATASETS.TEST, self.cfg.DATASETS.TRIALS)[0]
        protocol = MetadataCatalog.get(first).protocol
        return MAIN_METRICS.get(protocol, "reid/mAP")

    def __init__(self, cfg: CfgNode):
        """Build everything; the loop is that of meta-learning where the config says so.

        Raises:
            ValueError: if the config cannot be meta-learned.
        """
        check_meta_learning(cfg)
        super().__init__(cfg)
        meta = cfg.SOLVER.META_LEARNING
        if meta.ENABLED:
            loop = MetaLearningTrainer(
                self.model,
                self.data_loader,
                self.optimizer,
                beta=meta.BETA,
                inner_optimizer=meta.INNER_OPTIMIZER,
                seed=cfg.SEED,
            )
            replace_loop(self, loop)

    def build_hooks(self) -> list[HookBase]:
        """Add the estimates of intra-class augmentation, where a loss has it."""
        built = super().build_hooks()
        settings = self.cfg.MODEL.REID_HEAD.INTRA_CLASS
        model = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
        if not any(isinstance(module, IntraClassAugmentedLoss) for module in model.modules()):
            return built
        crops = load_train_crops(self.cfg)
        epoch = iterations_per_epoch(self.cfg)
        update = UpdateIntraClass(
            model,
            lambda: build_scan_loader(self.cfg, crops),
            start=settings.START_EPOCH * epoch,
            period=settings.UPDATE_EPOCHS * epoch,
        )
        return [update, *built]

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> Optimizer:
        """Build the optimizer, the backbone's rate scaled by ``SOLVER.REID.BACKBONE_LR_FACTOR``."""
        return build_optimizer(cfg, model, cfg.SOLVER.REID.BACKBONE_LR_FACTOR)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        """Build the resumable training loader."""
        return build_train_loader(cfg)[0]

    @classmethod
    def training_pids(cls, cfg: CfgNode) -> list[int]:
        """Return the person id of each training crop."""
        return [crop["person_id"] for crop in load_train_crops(cfg)]

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        """Build the loader of one test set."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Optimizer) -> LRMultiplier:
        """Build the schedule, by epoch or by iteration."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def test(cls, cfg: CfgNode, model: torch.nn.Module, evaluators=None) -> OrderedDict:
        """Test on each set of ``cfg.DATASETS.TEST``, the mean over its trials where it has some."""
        test = partial(super().test, model=model, evaluators=evaluators)
        return average_trials(cfg, test) if cfg.DATASETS.TRIALS else test(cfg)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> ReIDEvaluator | ImageEvaluator:
        """Build the scorer of one test set."""
        return build_evaluator(cfg, dataset_name)


def build_evaluator(cfg: CfgNode, dataset_name: str) -> ReIDEvaluator | ImageEvaluator:
    """Build the scorer of a registered test set with the settings of ``cfg.TEST.REID``.

    What the numbers depend on beside the model, such as whether MSMT17's validation images were
    trained on, is recorded with them.
    """
    # Several test sets must not write over each other.
    folder = "inference" if len(cfg.DATASETS.TEST) == 1 else f"inference/{dataset_name}"
    metadata = MetadataCatalog.get(dataset_name)
    common = {
        "protocol": metadata.protocol,
        "output_dir": f"{cfg.OUTPUT_DIR}/{folder}",
        "record": {
            "test_set": _describe(dataset_name),
            "training_sets": [_describe(name) for name in cfg.DATASETS.TRAIN],
            "flip_test": cfg.MODEL.CROP_REID.FLIP_TEST,
            "input_size": list(cfg.INPUT.REID.SIZE),
            "seed": cfg.SEED,
        },
    }
    if metadata.protocol in MAIN_METRICS:
        return ImageEvaluator(load_pairs=metadata.get("load_pairs"), **common)
    return ReIDEvaluator(
        **common,
        rules=read_rules(cfg.TEST.REID),
        load_permutations=metadata.get("load_permutations"),
    )


def read_rules(test: CfgNode) -> ReIDRules:
    """Translate ``cfg.TEST.REID``.

    Raises:
        ValueError: If a value is out of its range.
    """
    reranking = expansion = None
    if test.RERANKING.ENABLED:
        node = test.RERANKING
        reranking = Reranking(k1=node.K1, k2=node.K2, lambda_value=node.LAMBDA)
    if test.QUERY_EXPANSION.ENABLED:
        node = test.QUERY_EXPANSION
        expansion = QueryExpansion(neighbours=node.NEIGHBOURS, alpha=node.ALPHA)
    return ReIDRules(
        reranking=reranking,
        query_expansion=expansion,
        single_shot_repeats=test.SINGLE_SHOT_REPEATS,
        gallery_trials=test.GALLERY_TRIALS,
        multi_shots=test.MULTI_SHOTS,
    )


def _describe(dataset_name: str) -> str:
    """Return a set's name, with what was found on disk (version, split) where that varies."""
    describe = MetadataCatalog.get(dataset_name).get("describe")
    try:
        return dataset_name if describe is None else f"{dataset_name}: {describe()}"
    except FileNotFoundError:
        # A model may be evaluated where its training set is not at hand.
        return dataset_name
