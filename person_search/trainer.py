"""The trainer of person search: its data, its scorer, its start."""

from dataclasses import replace

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, get_detection_dataset_dicts
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.data.loaders import build_test_loader, build_train_loader
from person_search.evaluation.context import ContextMatching, published_context
from person_search.evaluation.evaluator import PersonSearchEvaluator
from person_search.evaluation.results_file import command_line
from person_search.evaluation.rules import SearchRules, list_searches
from person_search.importers import search_networks  # noqa: F401  (registers what it imports)
from person_search.inference.fingerprint import fingerprint_of
from person_search.transfer import transfer_weights
from reid_heads.training.trainer import ResumableTrainer


class PersonSearchTrainer(ResumableTrainer):
    """The resumable trainer with the data and the scorer of person search."""

    @property
    def main_metric(self) -> str:
        """Name of the metric of the first test set by which the best weights are kept.

        It is of the first gallery, with weighted similarities where the config has them, without
        context matching.
        """
        search = self.cfg.TEST.SEARCH
        layout = MetadataCatalog.get(self.cfg.DATASETS.TEST[0]).layout
        first = read_searches(search, layout)[0]
        return f"{replace(first, confidence_weighting=search.CONFIDENCE_WEIGHTING).name}/mAP"

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue after the last checkpoint, or load weights, then those of stage 1 over them."""
        super().resume_or_load(resume)
        stl = self.cfg.MODEL.PERSON_SEARCH.STL
        if stl.WEIGHTS and not (resume and self.checkpointer.has_checkpoint()):
            # The checkpointer's model is the one inside DistributedDataParallel.
            transfer_weights(
                self.checkpointer.model, stl.WEIGHTS, stl.TRANSFER_NECK, stl.TRANSFER_DETECTOR
            )

    @classmethod
    def build_train_loader(cls, cfg: CfgNode):
        """Build the resumable training loader."""
        return build_train_loader(cfg)[0]

    @classmethod
    def training_pids(cls, cfg: CfgNode) -> list[int]:
        """Return the person id of each box of the training frames that the mapper keeps."""
        frames = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=False)
        people = [person for frame in frames for person in frame["annotations"]]
        return [person["person_id"] for person in people if not person.get("iscrowd", 0)]

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str):
        """Build the loader of one test set."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators=None):
        """Score a model on every test set; the files say which model it was, and how it was run."""
        if evaluators is None:
            plain = model.module if isinstance(model, DistributedDataParallel) else model
            record = {"model": fingerprint_of(cfg, plain.state_dict()), "command": command_line()}
            evaluators = [cls.build_evaluator(cfg, name) for name in cfg.DATASETS.TEST]
            for evaluator, name in zip(evaluators, cfg.DATASETS.TEST, strict=True):
                evaluator.record = {**record, "dataset": name}
        return super().test(cfg, model, evaluators)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> PersonSearchEvaluator:
        """Build the scorer of one test set."""
        return build_evaluator(cfg, dataset_name)


def build_evaluator(cfg: CfgNode, dataset_name: str) -> PersonSearchEvaluator:
    """Build the scorer of a registered test set with the settings of ``cfg.TEST.SEARCH``.

    Of several sets each writes into a folder of its own.
    """
    folder = "inference" if len(cfg.DATASETS.TEST) <= 1 else f"inference/{dataset_name}"
    metadata = MetadataCatalog.get(dataset_name)
    return PersonSearchEvaluator(
        metadata.load_protocol,
        f"{cfg.OUTPUT_DIR}/{folder}",
        searches=read_searches(cfg.TEST.SEARCH, metadata.layout),
    )


def read_searches(search: CfgNode, layout: str) -> list[SearchRules]:
    """Translate ``cfg.TEST.SEARCH`` into the searches of a data set.

    Args:
        search: The node.
        layout: The data set's, as its metadata have it.

    Raises:
        ValueError: If a value is out of its range, or there is no gallery to search.
    """
    plain = SearchRules(score_threshold=search.SCORE_THRESHOLD)
    galleries = [plain]
    if layout == "cuhk_sysu":
        if not search.GALLERY_SIZES:
            raise ValueError("TEST.SEARCH.GALLERY_SIZES: got none, expected one size or more")
        galleries = [replace(plain, gallery_size=size) for size in search.GALLERY_SIZES]
        galleries += [replace(plain, subset=subset) for subset in search.SUBSETS]
    elif search.MULTI_VIEW:
        galleries.append(replace(plain, multi_view=True))
    context = None
    if search.CONTEXT.ENABLED:
        published = published_context(layout)
        context = ContextMatching(
            k1=search.CONTEXT.K1 or published.k1, k2=search.CONTEXT.K2 or published.k2
        )
    return list_searches(
        galleries,
        confidence_weighting=search.CONFIDENCE_WEIGHTING,
        context=context,
        by_frequency=search.BY_FREQUENCY,
    )
