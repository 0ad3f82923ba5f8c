"""Load a detector from a file, or by its name in PyTorch's zoos."""

from pathlib import Path

from person_search.inference.detectors.detector import Detector
from person_search.inference.detectors.export_detector import ExportDetector, is_export
from person_search.inference.detectors.onnx_detector import OnnxDetector

ZOOS = ("detectron2:", "torchvision:")
"""Beginnings of detectors' names; what follows is a name in that library."""


def is_of_zoo(source: str | Path) -> bool:
    """Say whether this is a detector's name in one of PyTorch's zoos, not a file."""
    return str(source).startswith(ZOOS)


def load_detector(
    source: str | Path,
    *,
    min_score: float | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Detector:
    """Load a detector.

    Args:
        source: an ONNX file, ``detectron2:CONFIG`` or ``torchvision:NAME``; see
            `person_search.inference.two_step.load_two_step`.
        min_score: least score, 0..1, of people; None: the usual one of the detector.
        device: see `person_search.inference.onnx_network.OnnxNetwork`.
        threads: likewise; for ONNX files.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without a package that is needed.
        ValueError: if the file or name is not understood.
    """
    if is_of_zoo(source):
        zoo, _, name = str(source).partition(":")
        # Needs PyTorch, which ONNX files do not.
        from person_search.inference.detectors.torch_detectors import load_from_zoo

        return load_from_zoo(zoo, name, min_score=min_score, device=device)
    kind = ExportDetector if Path(source).is_file() and is_export(source) else OnnxDetector
    return kind(source, min_score=min_score, device=device, threads=threads)
