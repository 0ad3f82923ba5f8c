"""Train and evaluate person search, launched the detectron2 way.

python -m person_search.train_net --config-file configs/drawn_cuhk/slim_fpn.yaml
"""

import difflib
import logging
import os
import weakref
from collections import OrderedDict
from functools import partial

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from detectron2.engine import (
    DefaultTrainer,
    default_argument_parser,
    default_setup,
    hooks,
    launch,
)
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.checkpoint import PersonSearchCheckpointer
from person_search.config import add_person_search_config
from person_search.data import register_coco_person
from person_search.data.loaders import build_test_loader, build_train_loader
from person_search.evaluation import PersonSearchEvaluator
from person_search.hooks import BestSearchCheckpointer, ReseedEachIteration
from person_search.solver import build_optimizer

logger = logging.getLogger(__name__)


class PersonSearchTrainer(DefaultTrainer):
    """detectron2's trainer with this project's data, checkpoints, scorer and exact resume."""

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        """Build the resumable training loader."""
        loader, sampler = build_train_loader(cfg)
        # DefaultTrainer keeps only what it gets back; the sampler travels with the loader until
        # resume_or_load needs it.
        loader.resumable_sampler = sampler
        return loader

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        """Build the loader of one test set."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> PersonSearchEvaluator:
        """Build the scorer of one test set."""
        return build_evaluator(cfg, dataset_name)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Build the optimizer that ``cfg.SOLVER`` names."""
        return build_optimizer(cfg, model)

    def build_hooks(self) -> list[hooks.HookBase]:
        """Add reseeding and the best checkpoint to detectron2's hooks."""
        # DefaultTrainer makes its checkpointer just before the hooks that keep it.
        self.checkpointer = PersonSearchCheckpointer(
            self.model, self.cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        built = super().build_hooks()
        built.insert(0, ReseedEachIteration(self.cfg.SEED))
        if comm.is_main_process() and self.cfg.TEST.EVAL_PERIOD > 0:
            best = BestSearchCheckpointer(
                self.cfg.TEST.EVAL_PERIOD, self.checkpointer, _metric_name(self.cfg)
            )
            # After the evaluation, before the writers, which detectron2 keeps last.
            built.insert(len(built) - 1, best)
        return built

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue after the last checkpoint with the very next batch, or load weights."""
        super().resume_or_load(resume)
        self.data_loader.resumable_sampler.start_iteration = self.start_iter


def _metric_name(cfg: CfgNode) -> str:
    """Name of the main metric in the event storage.

    detectron2 prefixes the data set where there are several.
    """
    prefix = f"{cfg.DATASETS.TEST[0]}/" if len(cfg.DATASETS.TEST) > 1 else ""
    return f"{prefix}search/mAP"


def build_evaluator(cfg: CfgNode, dataset_name: str) -> PersonSearchEvaluator:
    """Build the scorer of a registered test set with the settings of ``cfg.TEST.SEARCH``."""
    search = cfg.TEST.SEARCH
    metadata = MetadataCatalog.get(dataset_name)
    context = None
    if search.CONTEXT.ENABLED:
        context = {"k1": search.CONTEXT.K1, "k2": search.CONTEXT.K2}
    return PersonSearchEvaluator(
        protocols=_build_protocols(search, metadata),
        output_dir=f"{cfg.OUTPUT_DIR}/inference",
        score_threshold=search.SCORE_THRESHOLD,
        confidence_weighting=search.CONFIDENCE_WEIGHTING,
        context=context,
    )


def _build_protocols(search: CfgNode, metadata) -> dict:
    """Return each protocol that the config asks for, by the name of its group of results."""
    if metadata.layout == "cuhk_sysu":
        first, *more = search.GALLERY_SIZES
        protocols = {"search": partial(metadata.load_protocol, gallery_size=first)}
        for size in more:
            name = "search_full" if size == -1 else f"search_g{size}"
            protocols[name] = partial(metadata.load_protocol, gallery_size=size)
        for subset in search.SUBSETS:
            protocols[f"search_{subset}"] = partial(metadata.load_protocol, subset=subset)
        return protocols
    protocols = {"search": metadata.load_protocol}
    if search.MULTI_VIEW:
        protocols["search_multi_view"] = partial(metadata.load_protocol, multi_view=True)
    return protocols


def load_config(config_file: str, overrides: list[str] | None = None) -> CfgNode:
    """Read a config with this project's keys.

    Args:
        config_file: a YAML file, or "" for the defaults.
        overrides: alternating keys and values, as on the command line.

    Returns:
        The config, not frozen.

    Raises:
        FileNotFoundError: if there is no such file.
        KeyError: for an unknown key; the message suggests the nearest known ones.
    """
    if config_file and not os.path.isfile(config_file):
        raise FileNotFoundError(f"there is no config file {config_file}; check --config-file")
    cfg = get_cfg()
    add_person_search_config(cfg)
    known = list(_flat_keys(cfg))
    try:
        if config_file:
            cfg.merge_from_file(config_file)
        cfg.merge_from_list(overrides or [])
    except (KeyError, AssertionError) as error:
        name = str(error).rsplit(" ", 1)[-1].strip("'\"")
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        where = config_file or "the command line"
        raise KeyError(f"in {where} or its overrides: {error.args[0]}{hint}") from error
    return cfg


def _flat_keys(node: CfgNode, prefix: str = ""):
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, CfgNode):
            yield from _flat_keys(value, f"{prefix}{key}.")


def register_own_data(cfg: CfgNode) -> None:
    """Register the data sets that ``cfg.DATASETS.COCO_PERSON`` lists.

    Raises:
        ValueError: if an entry is not (name, JSON file, image folder, split).
    """
    for entry in cfg.DATASETS.COCO_PERSON:
        if isinstance(entry, str) or len(entry) != 4:
            raise ValueError(
                f"DATASETS.COCO_PERSON has {entry!r}; expected (name, JSON file, image folder, "
                "'train' or 'test')"
            )
        register_coco_person(*entry)


def setup(args) -> CfgNode:
    """Read the config, choose the device, set logging up, write the config to the output."""
    cfg = load_config(args.config_file, args.opts)
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    if cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE == "cpu" and not args.eval_only:
        raise ValueError(
            "SOLVER.AMP.ENABLED is True, but detectron2's mixed precision needs a GPU and none is "
            "in use; add SOLVER.AMP.ENABLED False"
        )
    cfg.freeze()
    register_own_data(cfg)
    default_setup(cfg, args)
    for name in ("person_search", "reid_heads"):
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name, abbrev_name=name)
    return cfg


def main(args) -> OrderedDict | None:
    """Train, or evaluate with ``--eval-only``; return the results on the main process."""
    cfg = setup(args)
    if args.eval_only:
        model = PersonSearchTrainer.build_model(cfg)
        PersonSearchCheckpointer(model, cfg.OUTPUT_DIR).load_whole_model(cfg.MODEL.WEIGHTS)
        return PersonSearchTrainer.test(cfg, model)
    trainer = PersonSearchTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def parse_and_launch() -> None:
    """Parse detectron2's command line and launch a process for each GPU."""
    args = default_argument_parser().parse_args()
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


if __name__ == "__main__":
    parse_and_launch()
