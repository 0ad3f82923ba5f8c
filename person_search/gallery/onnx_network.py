"""Run an exported model in onnxruntime, on the CPU; neither PyTorch nor detectron2 is needed.

Letters: h, w height and width in resized pixels, N people of one image.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from person_search.gallery.export_info import KEY, ExportInfo
from person_search.gallery.people import People

_NO_BOXES = np.zeros((0, 4), np.float32)


class OnnxNetwork:
    """An exported model; a `person_search.gallery.network.Network`.

    Attributes:
        threshold: similarity, -1..1, from which on a match is probably right, as it was known when
            the model was exported; None if it was not.
    """

    def __init__(self, source: str | Path | bytes, *, threads: int | None = None):
        """Load a file that ``person-search export --format onnx`` wrote.

        Args:
            source: the file, or what it holds.
            threads: how many compute; None takes ``$OMP_NUM_THREADS``, as PyTorch does, and without
                it as many as there are cores.

        Raises:
            FileNotFoundError: if there is no such file.
            ModuleNotFoundError: without the package ``onnxruntime``.
            ValueError: if the file is no ONNX model, or none that ``person-search export`` wrote.
        """
        self._session, self._path_only = _open_session(source, threads)
        name = "the exported model" if isinstance(source, bytes) else str(source)
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        info = ExportInfo.from_json(text, name)
        self.fingerprint = info.fingerprint
        self.embedding_dim = info.embedding_dim
        self.settings = info.settings
        self.min_score = info.min_score
        self.threshold = info.threshold

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes, one image after the other; see `Network.run`."""
        if boxes is None:
            return [self._find(image) for image in images]
        return [self._embed(image, known) for image, known in zip(images, boxes, strict=True)]

    def _find(self, image: np.ndarray) -> People:
        return People(*self._compute(["boxes", "scores", "embeddings"], image, _NO_BOXES))

    def _embed(self, image: np.ndarray, boxes: np.ndarray) -> People:
        known = np.asarray(boxes, np.float32).reshape(-1, 4)
        (embeddings,) = self._compute(["given_embeddings"], image, known)
        return People(known, np.ones(len(known), np.float32), embeddings)

    def _compute(self, outputs: list[str], image: np.ndarray, boxes: np.ndarray) -> Any:
        inputs = {"image": np.ascontiguousarray(image.transpose(2, 0, 1)), "given_boxes": boxes}
        return self._session.run(outputs, inputs, self._path_only)


def _open_session(source: str | Path | bytes, threads: int | None) -> tuple[Any, Any]:
    """Return the session, and the options to run only what leads to the outputs asked for."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "an exported model needs onnxruntime; install it with: "
            "pip install 'person-search[export]'",
            name="onnxruntime",
        ) from error
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise FileNotFoundError(
            f"there is no exported model {source}; make one with `person-search export`"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _thread_count() if threads is None else threads
    options.log_severity_level = 3  # errors only
    run_options = onnxruntime.RunOptions()
    run_options.log_severity_level = 3
    run_options.only_execute_path_to_fetches = True
    content = source if isinstance(source, bytes) else str(source)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # Its many exceptions have nothing but Exception in common.
    except Exception as error:
        raise ValueError(
            f"{'the content' if isinstance(source, bytes) else source} is no ONNX model that "
            f"onnxruntime {onnxruntime.__version__} can load: {error}. Expected a file of "
            "`person-search export --format onnx`"
        ) from error
    return session, run_options


def _thread_count() -> int:
    """Return ``$OMP_NUM_THREADS``, or 0: as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0
