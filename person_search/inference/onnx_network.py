"""Run an exported model in onnxruntime; neither PyTorch nor detectron2 is needed.

Letters: h, w height and width in resized pixels, N people of one image.
"""

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.model_card import ModelCard
from person_search.inference.onnx_graphs import keep_outputs, raise_limits
from person_search.people import People
from reid_heads.onnx_files import import_package, read_onnx

_NO_BOXES = np.zeros((0, 4), np.float32)
_GIVEN_EMBEDDINGS = "given_embeddings"
EXPECTED = "a file of `person-search export --format onnx`"


class OnnxNetwork:
    """An exported model; a `person_search.inference.network.Network`.

    Attributes:
        threshold: similarity, -1..1, from which on a match is probably right, as it was known when
            the model was exported; None if it was not.
        card: what the model is, if it had a card then.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        *,
        device: str | None = None,
        threads: int | None = None,
        max_callers: int = 1,
    ):
        """Load a file that ``person-search export --format onnx`` wrote.

        Args:
            source: the file, or what it holds.
            device: ``cpu``, ``cuda`` (with onnxruntime-gpu) or ``mps`` (Core ML); None or ``auto``
                is the GPU where onnxruntime can use one.
            threads: how many compute on the CPU; None takes ``$OMP_NUM_THREADS``, as PyTorch does,
                and without it as many as there are cores.
            max_callers: how many threads may call `run` at once. On a CPU two callers with one
                thread each take three quarters of the time of one with two, and twice the memory.

        Raises:
            FileNotFoundError: if there is no such file.
            ModuleNotFoundError: without the packages ``onnx`` and ``onnxruntime``.
            ValueError: if the file is no ONNX model, or none that ``person-search export`` wrote,
                its weights are NaN, or the device is not there.
        """
        advice = "; make one with `person-search export`"
        self._file = read_onnx(source, "exported model", advice, is_finite=True)
        self._open = functools.partial(self._file.open, EXPECTED, device=device, threads=threads)
        self._whole = self._open()
        text = self._whole.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise ValueError(_say_what_it_is(self._whole, self._file.name))
        info = ExportInfo.from_json(text, self._file.name)
        # Opened when they are needed: one is a tenth of the time of a search from the shell.
        self._embedding: Any = None
        self._crowd: Any = None
        self._lock = threading.Lock()
        self.fingerprint = info.fingerprint
        self.embedding_dim = info.embedding_dim
        self.settings = info.settings
        self.min_score = info.min_score
        self.threshold = info.threshold
        self.card = info.card
        self.max_callers = max_callers
        self.limits = info.limits

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """Find people, or embed given boxes, one image after the other; see `Network.run`.

        Raises:
            ValueError: if the file gives NaN or infinity.
        """
        if boxes is None:
            return [self._find(self._whole, image) for image in images]
        return [self._embed(image, known) for image, known in zip(images, boxes, strict=True)]

    def run_crowd(self, images: Sequence[np.ndarray]) -> list[People]:
        """Find people with raised limits; see `FindsCrowds.run_crowd`."""
        with self._lock:
            if self._crowd is None:
                raised = self.limits and raise_limits(self._file.content, self.limits)
                self._crowd = self._open(content=raised) if raised else self._whole
        return [self._find(self._crowd, image) for image in images]

    def _find(self, session: Any, image: np.ndarray) -> People:
        inputs = {"image": _channels_first(image), "given_boxes": _NO_BOXES}
        outputs = session.run(["boxes", "scores", "embeddings"], inputs)
        return People(*check_outputs(outputs, self._file.name))

    def _embed(self, image: np.ndarray, boxes: np.ndarray) -> People:
        known = np.asarray(boxes, np.float32).reshape(-1, 4)
        inputs = {"image": _channels_first(image), "given_boxes": known}
        with self._lock:
            if self._embedding is None:
                kept = keep_outputs(self._file.content, (_GIVEN_EMBEDDINGS,))
                self._embedding = self._open(content=kept)
        outputs = self._embedding.run([_GIVEN_EMBEDDINGS], inputs)
        (embeddings,) = check_outputs(outputs, self._file.name)
        return People(known, np.ones(len(known), np.float32), embeddings)


def check_outputs(outputs: Sequence[np.ndarray], name: str) -> Sequence[np.ndarray]:
    """Return what a file gives, or refuse NaN and infinity.

    Raises:
        ValueError: names the file.
    """
    if not all(np.isfinite(values).all() for values in outputs):
        raise ValueError(
            f"{name} gives NaN or infinity: the training that made it had diverged, or it is "
            "damaged. Export it anew from an earlier checkpoint, or copy it again"
        )
    return outputs


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _say_what_it_is(session: Any, name: str) -> str:
    """Say of a file that is no export what to do with it: most are a half of a model."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    takes_pictures = len(inputs) == 1 and len(inputs[0].shape) == 4
    gives_rows = len(outputs) == 1 and set(outputs[0].shape[2:]) <= {1}
    start = "make it a model with `person-search models import"
    if takes_pictures and gives_rows:
        what = "a crop network: it embeds people and finds none"
        advice = f"{start} {name} --detector D`, which names what finds them"
    else:
        what = "no file of `person-search export`: it does not say which model it holds"
        advice = f"if it is a detector, {start} CROP_NETWORK --detector {name}`"
    return f"{name} is {what}; {advice}"


def read_export_card(path: str | Path) -> ModelCard | None:
    """Read the card inside an export, without loading the model.

    Returns:
        None where there is none, also in what is no export: loading it says what is wrong.

    Raises:
        ModuleNotFoundError: without the package ``onnx``.
    """
    onnx = import_package("onnx")
    try:
        model = onnx.load(str(path), load_external_data=False)
        text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
        return ExportInfo.from_json(text, str(path)).card
    # What is no ONNX model raises errors of many kinds.
    except Exception:
        return None
