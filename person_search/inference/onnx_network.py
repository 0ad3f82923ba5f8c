"""Run an exported model in onnxruntime; neither PyTorch nor detectron2 is needed.

Letters: h, w height and width in resized pixels, N people of one image.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from person_search.inference.export_info import KEY, ExportInfo
from person_search.inference.model_card import ModelCard
from person_search.people import People

_NO_BOXES = np.zeros((0, 4), np.float32)
_GIVEN_EMBEDDINGS = "given_embeddings"
_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


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
                or the device is not there.
        """
        providers = choose_providers(device)
        name = "the exported model" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise FileNotFoundError(
                f"there is no exported model {source}; make one with `person-search export`"
            )
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        count = thread_count() if threads is None else threads
        self._whole = open_session(content, name, count, providers)
        text = self._whole.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise ValueError(_say_what_it_is(self._whole, name))
        info = ExportInfo.from_json(text, name)
        self._embedding = open_session(
            keep_outputs(content, (_GIVEN_EMBEDDINGS,)), name, count, providers
        )
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
        """Find people, or embed given boxes, one image after the other; see `Network.run`."""
        if boxes is None:
            return [self._find(image) for image in images]
        return [self._embed(image, known) for image, known in zip(images, boxes, strict=True)]

    def _find(self, image: np.ndarray) -> People:
        inputs = {"image": _channels_first(image), "given_boxes": _NO_BOXES}
        return People(*self._whole.run(["boxes", "scores", "embeddings"], inputs))

    def _embed(self, image: np.ndarray, boxes: np.ndarray) -> People:
        known = np.asarray(boxes, np.float32).reshape(-1, 4)
        inputs = {"image": _channels_first(image), "given_boxes": known}
        (embeddings,) = self._embedding.run([_GIVEN_EMBEDDINGS], inputs)
        return People(known, np.ones(len(known), np.float32), embeddings)


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


def choose_providers(device: str | None) -> list[tuple[str, dict[str, str]]]:
    """Return onnxruntime's names of a device with their options, by falling preference.

    Args:
        device: ``auto``, ``cuda``, ``cuda:1``, ``mps`` or ``cpu``; None is ``auto``.

    Raises:
        ModuleNotFoundError: without the package ``onnxruntime``.
        ValueError: if there is no such device here.
    """
    there = import_package("onnxruntime").get_available_providers()
    if device is None or device == "auto":
        device = "cuda" if _PROVIDERS["cuda"] in there else "cpu"
    kind, _, number = device.partition(":")
    if kind not in _PROVIDERS or (number and not (kind == "cuda" and number.isdecimal())):
        raise ValueError(f"device {device!r} is unknown; expected auto, cuda, mps or cpu")
    provider = _PROVIDERS[kind]
    if provider not in there:
        raise ValueError(
            f"device {device!r}: onnxruntime has {', '.join(there)} here; choose 'cpu' or 'auto', "
            "or for CUDA install onnxruntime-gpu in place of onnxruntime"
        )
    chosen = [(provider, {"device_id": number} if number else {})]
    # What the GPU's part of onnxruntime has no operator for runs on the CPU.
    return chosen if kind == "cpu" else [*chosen, (_PROVIDERS["cpu"], {})]


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


def read_model(path: str | Path) -> bytes:
    """Read an ONNX file whole: also weights that it keeps in files beside it.

    Raises:
        FileNotFoundError: if a file beside it is missing.
        ModuleNotFoundError: without the package ``onnx``.
    """
    content = Path(path).read_bytes()
    onnx = import_package("onnx")
    try:
        model = onnx.load_from_string(content)
    # What is no ONNX model raises errors of many kinds; opening it will say what is wrong.
    except Exception:
        return content
    outside = [x for x in model.graph.initializer if x.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return content
    names = {y.value for x in outside for y in x.external_data if y.key == "location"}
    for name in sorted(names):
        if not (Path(path).parent / name).is_file():
            raise FileNotFoundError(f"{path} keeps its weights in {name}, which is not beside it")
    onnx.load_external_data_for_model(model, str(Path(path).parent))
    return bytes(model.SerializeToString())


def open_session(
    content: bytes,
    name: str,
    threads: int,
    providers: list[tuple[str, dict[str, str]]],
    expected: str = "a file of `person-search export --format onnx`",
) -> Any:
    """Load a model in onnxruntime.

    Args:
        content: of the ONNX file.
        name: of it, for messages.
        threads: how many compute on the CPU; 0: as many as there are cores.
        providers: as `choose_providers` gives them.
        expected: what the file should have been, for messages.

    Raises:
        ModuleNotFoundError: without the package ``onnxruntime``.
        ValueError: if it is no ONNX model, or one that onnxruntime cannot run.
    """
    onnxruntime = import_package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    # Its many exceptions have nothing but Exception in common.
    except Exception as error:
        raise ValueError(
            f"{name} is no ONNX model that onnxruntime {onnxruntime.__version__} can load: "
            f"{str(error).rstrip('.')}. Expected {expected}"
        ) from error


def keep_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """Return the part of a model that leads to some of its outputs.

    onnxruntime computes the whole graph whatever outputs are asked for.

    Args:
        content: of the ONNX file.
        names: of the outputs.
    """
    model = import_package("onnx").load_from_string(content)
    graph = model.graph
    needed = set(names)
    kept = []
    # Nodes are in an order of computation.
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= _names_read(node)
    weights = [weight for weight in graph.initializer if weight.name in needed]
    outputs = [output for output in graph.output if output.name in names]
    parts = ((graph.node, kept[::-1]), (graph.initializer, weights), (graph.output, outputs))
    for field, items in parts:
        del field[:]
        field.extend(items)
    return bytes(model.SerializeToString())


def _names_read(node: Any) -> set[str]:
    """Return what a node reads, also inside the branches of a condition."""
    names = set(node.input)
    for attribute in node.attribute:
        for branch in (attribute.g, *attribute.graphs):
            names |= {output.name for output in branch.output}
            names = names.union(*(_names_read(inner) for inner in branch.node))
    return names


def import_package(name: str) -> Any:
    """Import a package that running ONNX files needs.

    Raises:
        ModuleNotFoundError: without it; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"an exported model needs {name}; install it with: pip install {name}",
            name=name,
        ) from error


def thread_count() -> int:
    """Return ``$OMP_NUM_THREADS``, or 0: as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0
