"""Open ONNX files in onnxruntime; neither PyTorch nor detectron2 is needed."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.file_kinds import name_kind

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Kinds of numbers by onnxruntime's names, single and half precision."""

_PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


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


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was read, and whose weights are numbers."""

    path: Path | None
    """None if only what it holds is known."""

    name: str
    """For messages."""

    content: bytes
    """With the weights that it keeps in files beside it."""

    def open(
        self,
        expected: str,
        *,
        device: str | None,
        threads: int | None,
        content: bytes | None = None,
    ) -> Any:
        """Load the model, or another one made of it, in onnxruntime.

        Args:
            expected: what the file should have been, for messages.
            device: see `choose_providers`.
            threads: how many compute on the CPU; None takes ``$OMP_NUM_THREADS``, as PyTorch does,
                and without it as many as there are cores.
            content: of the other model.

        Raises:
            ModuleNotFoundError: without the package ``onnxruntime``.
            ValueError: if it is no ONNX model, or one that onnxruntime cannot run, or the device is
                not there.
        """
        onnxruntime = import_package("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _thread_count() if threads is None else threads
        options.log_severity_level = 3  # errors only
        providers, model = choose_providers(device), content or self.content
        try:
            return onnxruntime.InferenceSession(model, options, providers=providers)
        # Its many exceptions have nothing but Exception in common.
        except Exception as error:
            kind = name_kind(self.content[:32])
            why = f"it is {kind}" if kind else str(error).rstrip(".")
            raise ValueError(
                f"{self.name} is no ONNX model that onnxruntime {onnxruntime.__version__} can "
                f"load: {why}. Expected {expected}"
            ) from error


def read_onnx(
    source: str | Path | bytes, what: str, advice: str = "", *, is_finite: bool = False
) -> OnnxFile:
    """Read an ONNX file whole: also weights that it keeps in files beside it.

    Args:
        source: the file, or what it holds.
        what: it is, such as "detector".
        advice: what to do where there is no such file.
        is_finite: whether infinity is no weight of it either. Foreign files may have it: RT-DETR's
            anchors where there are none.

    Raises:
        FileNotFoundError: if there is no such file, or none of its weights' beside it.
        ModuleNotFoundError: without the package ``onnx``.
        ValueError: if weights are no numbers, which names some, or cannot be read.
    """
    path = None if isinstance(source, bytes) else Path(source)
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"there is no {what} {path}{advice}")
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = f"the {what}" if path is None else str(path)
    onnx = import_package("onnx")
    try:
        model = onnx.load_from_string(content)
    # What is no ONNX model raises errors of many kinds; opening it will say what is wrong.
    except Exception:
        return OnnxFile(path, name, content)
    if path is not None and _add_weights_beside(model, path):
        content = bytes(model.SerializeToString())
    # Else onnxruntime would look for them in the working folder.
    if left := _find_outside(model):
        raise ValueError(
            f"{name} keeps {left[0].name or 'a constant'} in another file, which belongs to no "
            "file that was given; write the model as one file"
        )
    _check_weights(model, name, np.isfinite if is_finite else lambda x: ~np.isnan(x))
    return OnnxFile(path, name, content)


def _add_weights_beside(model: Any, path: Path) -> bool:
    """Read the weights that a model keeps in files beside it; say whether there are any."""
    onnx = import_package("onnx")
    outside = _find_outside(model)
    names = {y.value for x in outside for y in x.external_data if y.key == "location"}
    for name in sorted(names):
        if not (path.parent / name).is_file():
            raise FileNotFoundError(f"{path} keeps its weights in {name}, which is not beside it")
    if outside:
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        # Of many kinds: a place outside of the folder, a link, an offset beyond the end.
        except Exception as error:
            raise ValueError(
                f"{path} keeps its weights in {', '.join(sorted(names))}, and they cannot be read: "
                f"{error}. Copy both again, as regular files in one folder"
            ) from error
    return bool(outside)


def _find_outside(model: Any) -> list[Any]:
    """List the tensors of a model that are in other files: weights, and constants in its nodes."""
    onnx = import_package("onnx")
    graphs, tensors = [model.graph], []
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes += graph.node
            tensors += graph.initializer
            tensors += [part for x in graph.sparse_initializer for part in (x.values, x.indices)]
            continue
        for attribute in nodes.pop().attribute:
            graphs += [attribute.g, *attribute.graphs]
            sparse = [attribute.sparse_tensor, *attribute.sparse_tensors]
            tensors += [attribute.t, *attribute.tensors]
            tensors += [part for x in sparse for part in (x.values, x.indices)]
    return [x for x in tensors if x.data_location == onnx.TensorProto.EXTERNAL]


def _check_weights(model: Any, name: str, is_good: Callable[[np.ndarray], np.ndarray]) -> None:
    """Refuse broken weights, with which most detectors find nobody, without a word."""
    onnx = import_package("onnx")
    kinds = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE
    try:
        broken = [
            x.name
            for x in model.graph.initializer
            if x.data_type in kinds and not is_good(onnx.numpy_helper.to_array(x)).all()
        ]
    # There are fewer or more bytes than the shape says.
    except ValueError as error:
        raise ValueError(
            f"{name} holds weights that are damaged: {error}; copy it again"
        ) from error
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ValueError(
            f"{name} holds weights that are NaN or infinite: {', '.join(broken[:3])}{more}. The "
            "training that made them had diverged, or the file is damaged: export it anew from an "
            "earlier checkpoint, or copy it again"
        )


def run_model(session: Any, names: list[str] | None, inputs: dict[str, Any], name: str) -> Any:
    """Run a model that was opened.

    Args:
        session: as `OnnxFile.open` returns it.
        names: of the outputs; None for all.
        inputs: arrays by name.
        name: of the model, for messages.

    Returns:
        The outputs' arrays.

    Raises:
        ValueError: if it cannot be run, such as a graph whose sizes do not fit each other.
    """
    try:
        return session.run(names, inputs)
    # Its many exceptions have nothing but Exception in common.
    except Exception as error:
        shapes = ", ".join(f"{key} {value.shape}" for key, value in inputs.items())
        raise ValueError(f"{name} cannot be run on {shapes}: {error}") from error


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


def _thread_count() -> int:
    """Return ``$OMP_NUM_THREADS``, or 0: as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0
