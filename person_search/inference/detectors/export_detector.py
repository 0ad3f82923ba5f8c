"""The detector inside a model that ``person-search export`` wrote, without its embeddings."""

import hashlib
from pathlib import Path

import numpy as np

from person_search.inference.detectors.detector import Detections
from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.onnx_graphs import keep_outputs
from person_search.inference.onnx_network import EXPECTED, check_outputs
from reid_heads.onnx_files import import_package, read_onnx

_NO_BOXES = np.zeros((0, 4), np.float32)
_OUTPUTS = ["boxes", "scores"]


def is_export(path: str | Path) -> bool:
    """Say whether a file is an ONNX model that ``person-search export`` wrote."""
    try:
        model = import_package("onnx").load(str(path))
    # What is no ONNX model raises errors of many kinds; opening it will say what is wrong.
    except Exception:
        return False
    return any(entry.key == KEY for entry in model.metadata_props)


class ExportDetector:
    """A model of one step that only finds; a `Detector`."""

    def __init__(
        self,
        source: str | Path,
        *,
        min_score: float | None = None,
        device: str | None = None,
        threads: int | None = None,
    ):
        """Load the part of an exported file that finds people.

        Args:
            source: the file.
            min_score: least score, 0..1, in place of the one that the file names.
            device: see `person_search.inference.onnx_network.OnnxNetwork`.
            threads: likewise.

        Raises:
            ModuleNotFoundError: without the packages ``onnx`` and ``onnxruntime``.
            ValueError: if it is no such file, or its weights are NaN.
        """
        self._file = read_onnx(source, "exported model", is_finite=True)
        part = keep_outputs(self._file.content, _OUTPUTS)
        self._session = self._file.open(EXPECTED, device=device, threads=threads, content=part)
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        info = ExportInfo.from_json(text, self._file.name)
        self._inputs = {x.name for x in self._session.get_inputs()}
        self.settings = info.settings
        self.sight = info.settings.sight
        self.min_score = info.min_score if min_score is None else min_score
        self.fingerprint = hashlib.sha256(f"export {info.fingerprint}".encode()).hexdigest()

    def detect(self, image: np.ndarray) -> Detections:
        """Find people; see `person_search.inference.detectors.detector.Detector.detect`.

        Raises:
            ValueError: if the file gives NaN or infinity.
        """
        prepared = self.settings.prepare(image)
        pixels = np.ascontiguousarray(prepared.transpose(2, 0, 1))
        inputs = {"image": pixels, "given_boxes": _NO_BOXES}
        found = self._session.run(_OUTPUTS, {k: v for k, v in inputs.items() if k in self._inputs})
        boxes, scores = check_outputs(found, self._file.name)
        scale = np.array(image.shape[1::-1]) / np.array(prepared.shape[1::-1])
        keep = scores >= self.min_score
        rows = np.argsort(-scores[keep], kind="stable")
        boxes = (boxes[keep][rows] * np.tile(scale, 2)).astype(np.float32)
        return boxes, scores[keep][rows]
