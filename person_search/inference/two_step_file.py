"""The file ``model.json`` of a model of two steps: which detector, which crop network."""

from dataclasses import dataclass
from pathlib import Path

from person_search.inference.detectors.load import is_of_zoo
from person_search.inference.json_object import check_names, parse_object
from person_search.inference.two_step import TwoStepNetwork, load_two_step
from reid_heads.atomic_file import save_json


@dataclass(frozen=True)
class _Parts:
    """What the file says."""

    detector: str
    crop_net: str


def save_two_step_file(path: Path, detector: str, crop_net: str) -> None:
    """Write the file.

    Args:
        path: ``model.json`` in the model's folder.
        detector: an ONNX file in that folder, by its name; or ``torchvision:NAME`` or
            ``detectron2:CONFIG``.
        crop_net: an ONNX file in that folder, by its name.
    """
    save_json(path, {"detector": detector, "crop_net": crop_net})


def load_two_step_file(
    path: Path,
    *,
    min_score: float | None = None,
    device: str | None = None,
    threads: int | None = None,
    max_callers: int = 1,
) -> TwoStepNetwork:
    """Load the model that a file of `save_two_step_file` names.

    Args:
        path: of the file; the networks' files are beside it.
        min_score: see `load_two_step`.
        device: likewise.
        threads: likewise.
        max_callers: likewise.

    Raises:
        FileNotFoundError: if a network's file is missing.
        ModuleNotFoundError: without a package that is needed.
        ValueError: if the file, or a network in it, is not understood.
    """
    content = check_names(parse_object(path.read_bytes(), str(path)), str(path), _Parts)
    if not all(isinstance(part, str) for part in content.values()):
        raise ValueError(f"{path} holds {content!r}; expected names of files")
    detector, crop_net = content["detector"], content["crop_net"]
    if not is_of_zoo(detector):
        detector = str(path.parent / detector)
    return load_two_step(
        detector,
        path.parent / crop_net,
        min_score=min_score,
        device=device,
        threads=threads,
        max_callers=max_callers,
    )
