"""Write a finder's model to a file, and check it before it takes its place."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  (its operators are in the TorchScript file)

from person_search.export.comparison import Differences, Runner, check, compare
from person_search.export.formats import to_onnx, to_torchscript
from person_search.export.graph import SearchGraph
from person_search.inference.export_info import ExportInfo
from person_search.inference.finder import PersonFinder
from person_search.inference.onnx_network import OnnxNetwork
from person_search.inference.torch_network import TorchNetwork
from person_search.people import People
from reid_heads.atomic_file import atomic_file


@dataclass(frozen=True)
class Export:
    """A file that was written."""

    path: Path
    size: int
    """Bytes."""
    info: ExportInfo
    differences: Differences


class TorchScriptRunner:
    """Run a TorchScript export; what `comparison.compare` needs of a network."""

    def __init__(self, content: bytes):
        """Load what a file holds."""
        self._module = torch.jit.load(io.BytesIO(content), map_location="cpu")

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """See `person_search.inference.network.Network.run`."""
        tensors = [torch.as_tensor(image.transpose(2, 0, 1).copy()) for image in images]
        with torch.inference_mode():
            if boxes is None:
                found = [self._module.find(image) for image in tensors]
                return [People(*(x.numpy() for x in rows)) for rows in found]
            return [
                People(
                    known,
                    np.ones(len(known), np.float32),
                    self._module.embed(image, torch.as_tensor(known)).numpy(),
                )
                for image, known in zip(tensors, boxes, strict=True)
            ]


_Writer = Callable[[SearchGraph, ExportInfo], bytes]
FORMATS: dict[str, tuple[_Writer, Callable[[bytes], Runner]]] = {
    "onnx": (to_onnx, OnnxNetwork),
    "torchscript": (to_torchscript, TorchScriptRunner),
}


def export_finder(
    finder: PersonFinder,
    output: str | Path,
    format: str = "onnx",
    *,
    pictures: Sequence[np.ndarray],
) -> Export:
    """Write the model of a finder as one file that runs without this code.

    The file is compared with the model before it takes the place of ``output``: if anything fails,
    what stood there is still there.

    Args:
        finder: one that ``PersonFinder.from_config`` loaded with ``device="cpu"``.
        output: file to write; its folder is made if missing.
        format: ``onnx``, which ``PersonFinder.load`` reads, or ``torchscript``.
        pictures: RGB uint8 (H, W, 3) to compare on, at least one; with people and without.

    Raises:
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
        OSError: if the file cannot be written.
        ValueError: if the model cannot be exported, there is no picture, or the file does not do
            the same.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if len(pictures) == 0:
        raise ValueError("there is no picture to compare on; expected at least one")
    output, network = Path(output), finder.network
    if not isinstance(network, TorchNetwork):
        raise ValueError(
            f"the finder runs its model by {type(network).__name__}; only one that "
            "PersonFinder.from_config loaded can be exported"
        )
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder; expected the name of a file to write")
    write, load = FORMATS[format]
    info = ExportInfo(
        fingerprint=network.fingerprint,
        embedding_dim=network.embedding_dim,
        image_format=network.settings.image_format,
        min_size=network.settings.min_size,
        max_size=network.settings.max_size,
        min_score=network.min_score,
        threshold=finder.threshold,
        card=finder.card,
        resize=network.settings.resize,
        proposals=network.limits.proposals,
        detections=network.limits.detections,
    )
    content = write(SearchGraph(network.model), info)
    differences = compare(network, load(content), network.settings, pictures)
    check(differences)
    with atomic_file(output) as file:
        file.write(content)
    return Export(output, len(content), info, differences)
