"""Run a trained model in PyTorch, on a GPU or the CPU.

Letters: h, w height and width in resized pixels, N people of one image.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.config import config_to_pass_on, load_config
from person_search.importers import search_networks  # noqa: F401  (registers what it imports)
from person_search.inference.fingerprint import fingerprint_of, is_for_training
from person_search.inference.models import CONFIG_NAME
from person_search.inference.network import InputSettings, Limits
from person_search.inference.packed_file import WEIGHTS, to_metadata
from person_search.modeling.for_inference import copy_for_inference
from person_search.people import People
from reid_heads.safetensors_file import write_safetensors
from reid_heads.training.checkpoint import WeightCopyCheckpointer

META_ARCHITECTURE = "PersonSearchRCNN"
_DETECTIONS = ("test_topk_per_image", "detections_per_image")
"""Names under which heads keep ``TEST.DETECTIONS_PER_IMAGE``."""


def load_trained_model(
    config_file: str | Path, weights: str | Path, overrides: Sequence[str] = ()
) -> tuple[CfgNode, Any]:
    """Build a model on the CPU, in full precision and evaluation mode, with all of its weights.

    Args:
        config_file: YAML file that the weights were trained with.
        weights: checkpoint.
        overrides: alternating keys and values on top of the config.

    Raises:
        FileNotFoundError: if a file does not exist.
        KeyError: if the config or ``overrides`` name an unknown key.
        ValueError: if the config is of no person search model, or the weights are of another one.
    """
    cfg = load_config(str(config_file), list(overrides))
    if cfg.MODEL.META_ARCHITECTURE != META_ARCHITECTURE:
        raise ValueError(
            f"{config_file} describes a {cfg.MODEL.META_ARCHITECTURE}; searching people needs a "
            f"{META_ARCHITECTURE}, see configs/drawn_cuhk/slim_fpn.yaml"
        )
    cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    model = build_model(cfg)
    WeightCopyCheckpointer(model).load_whole_model(str(weights))
    return cfg, model.eval()


class TorchNetwork:
    """A person search model in PyTorch; a `person_search.inference.network.Network`."""

    def __init__(
        self,
        cfg: CfgNode,
        model: Any,
        *,
        device: str | None = None,
        half: bool | None = None,
    ):
        """Take a model over and move it to its device.

        Args:
            cfg: of the model.
            model: in full precision, on the CPU, with its weights.
            device: ``cuda``, ``cuda:1``, ``mps``, ``cpu``; None or ``auto`` is CUDA's if there is
                one.
            half: whether a GPU computes in half precision (autocast); None does so on a GPU. On the
                CPU it would be slower and less exact, so there True is refused.

        Raises:
            ValueError: if there is no such device, or half precision is asked for on the CPU.
        """
        chosen = choose_device(device)
        if half and chosen.type != "cuda":
            raise ValueError(
                f"half precision was asked for on {chosen}; it needs a GPU. Leave it out, or "
                "choose the device 'cuda'"
            )
        self.half = chosen.type == "cuda" if half is None else half
        self.device = chosen
        self.fingerprint = fingerprint_of(cfg, model.state_dict())
        self.embedding_dim = int(model.roi_heads.identity_branch.head.embedding_dim)
        self.settings = InputSettings(
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            image_format=cfg.INPUT.FORMAT,
            resize=cfg.INPUT.RESIZE,
        )
        self.min_score = float(cfg.TEST.SEARCH.SCORE_THRESHOLD)
        self.max_callers = 1
        self.limits = Limits(cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.TEST.DETECTIONS_PER_IMAGE)
        self.model = model.to(chosen).eval()
        """As it was trained; on the CPU a faster copy runs, made when it is first asked."""
        self._cfg = cfg

    @cached_property
    def _runner(self) -> Any:
        return self.model if self.device.type != "cpu" else copy_for_inference(self.model)

    def write(self, folder: Path) -> None:
        """Write weights and config into a folder, without what only training reads.

        Nothing in them names files or folders of this machine.

        Args:
            folder: that is there.

        Raises:
            ModuleNotFoundError: without the package ``safetensors``.
        """
        state = {k: v for k, v in self.model.state_dict().items() if not is_for_training(k)}
        write_safetensors(folder / WEIGHTS, state, to_metadata(self.fingerprint))
        cfg = config_to_pass_on(self._cfg)
        (folder / CONFIG_NAME).write_text(cfg.dump(), encoding="utf-8")

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes; see `Network.run`."""
        # The mapper's way: a copy whose channels come first.
        inputs = [{"image": torch.as_tensor(_channels_first(image))} for image in images]
        known = None
        if boxes is not None:
            known = [_as_instances(i, b) for i, b in zip(images, boxes, strict=True)]
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.float16, enabled=self.half),
        ):
            found = self._runner.inference(inputs, known, do_postprocess=False)
        return [_as_people(x) for x in found]

    def run_crowd(self, images: Sequence[np.ndarray]) -> list[People]:
        """Find people with raised limits; see `FindsCrowds.run_crowd`."""
        with _limits_of(self._runner, self.limits.raised()):
            return self.run(images)


@contextmanager
def _limits_of(model: Any, limits: Limits) -> Iterator[None]:
    """Give a model other limits while its one caller is inside."""
    proposals = model.proposal_generator.post_nms_topk
    usual = [
        (module, name, getattr(module, name))
        for module in model.roi_heads.modules()
        for name in _DETECTIONS
        if hasattr(module, name)
    ]
    model.proposal_generator.post_nms_topk = {**proposals, False: limits.proposals}
    for module, name, _ in usual:
        setattr(module, name, limits.detections)
    try:
        yield
    finally:
        model.proposal_generator.post_nms_topk = proposals
        for module, name, value in usual:
            setattr(module, name, value)


_DEVICES = "'auto', 'cuda', 'mps' or 'cpu'"


def choose_device(device: str | None) -> torch.device:
    """Return the device named, or for None and "auto" CUDA's if there is one, else the CPU.

    Raises:
        ValueError: if there is no such device here.
    """
    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is unknown; expected {_DEVICES}") from error
    if chosen.type not in ("cuda", "mps", "cpu"):
        raise ValueError(f"device {device!r} is not supported; expected {_DEVICES}")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps': there is no such GPU here; choose 'cpu' or 'auto'")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r}: PyTorch sees {torch.cuda.device_count()} GPUs here; choose 'cpu', "
            "or check the driver and that PyTorch was built for CUDA"
        )
    return chosen


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _as_instances(image: np.ndarray, boxes: np.ndarray) -> Instances:
    """Put given boxes (N, 4), resized pixels, into the form in which the model takes them."""
    count = len(boxes)
    return Instances(
        image.shape[:2],
        pred_boxes=Boxes(torch.as_tensor(np.asarray(boxes, np.float32).reshape(-1, 4))),
        scores=torch.ones(count),
        pred_classes=torch.zeros(count, dtype=torch.int64),
    )


def _as_people(found: Instances) -> People:
    return People(
        boxes=found.pred_boxes.tensor.float().cpu().numpy(),
        scores=found.scores.float().cpu().numpy(),
        embeddings=found.embeddings.float().cpu().numpy(),
    )
