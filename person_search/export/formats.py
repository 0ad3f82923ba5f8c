"""The two file formats: ONNX and TorchScript, each made in memory."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.onnx import symbolic_helper

from person_search.export.graph import SearchGraph, example_inputs, ready_to_trace
from person_search.inference.export_info import KEY, ExportInfo

OPSET = 17
"""The ONNX operators' version: RoIAlign with the half-pixel correction needs 16."""

INPUTS = ("image", "given_boxes")
OUTPUTS = ("boxes", "scores", "embeddings", "given_embeddings")
_DYNAMIC = {
    "image": {1: "height", 2: "width"},
    "given_boxes": {0: "given"},
    "boxes": {0: "people"},
    "scores": {0: "people"},
    "embeddings": {0: "people"},
    "given_embeddings": {0: "given"},
}
_USE = """Person search: finds people in an image and embeds them for comparison by cosine.
image: {info.input}. boxes: {info.boxes}. given_boxes: boxes to embed beside those found; zero rows
where there are none. The metadata property "{key}" holds the details as JSON.
"""


def to_onnx(graph: SearchGraph, info: ExportInfo) -> bytes:
    """Return the model as an ONNX file.

    One graph has inputs ``image`` (3, h, w), of the type that ``info.input`` says, and
    ``given_boxes`` (M, 4) float32 and outputs ``boxes`` (N, 4), ``scores`` (N,), ``embeddings``
    (N, D) and ``given_embeddings`` (M, D). Two graphs would double the file. Zero given boxes cost
    next to nothing; who has no use for the detections can cut the detector off, as ``OnnxNetwork``
    does when it loads the file.

    It is made by tracing, torch's ``dynamo=False``: its newer exporter stops at detectron2's
    ``find_top_rpn_proposals``, where Python branches on the values of a tensor.

    Raises:
        ModuleNotFoundError: without the package ``onnx``.
        ValueError: if a layer of the model has no counterpart in ONNX.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ONNX export needs onnx; install it with: pip install onnx",
            name="onnx",
        ) from error
    file = io.BytesIO()
    try:
        with ready_to_trace(graph), _stable_argsort():
            torch.onnx.export(
                graph,
                example_inputs(info.resize),
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                dynamic_axes=_DYNAMIC,
            )
    except torch.onnx.OnnxExporterError as error:
        raise _cannot_export(graph, "ONNX", error) from error
    model = onnx.load_from_string(file.getvalue())
    _describe(model, info)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def to_torchscript(graph: SearchGraph, info: ExportInfo) -> bytes:
    """Return the model as a TorchScript file.

    ``torch.jit.load`` reads it, torchvision must be imported before (its operators are used). The
    module's method ``find(image)`` returns boxes (N, 4), scores (N,) and embeddings (N, D),
    ``embed(image, given_boxes)`` the embeddings (M, D) of given boxes.

    Raises:
        ValueError: if the model cannot be traced.
    """
    image, boxes = example_inputs(info.resize)
    try:
        with ready_to_trace(graph):
            traced = torch.jit.trace_module(
                graph, {"find": image, "embed": (image, boxes)}, check_trace=False
            )
    except RuntimeError as error:
        raise _cannot_export(graph, "TorchScript", error) from error
    file = io.BytesIO()
    torch.jit.save(traced, file, _extra_files={f"{KEY}.json": info.to_json()})
    return file.getvalue()


def _cannot_export(graph: SearchGraph, name: str, error: Exception) -> ValueError:
    return ValueError(
        f"a model with {type(graph.model.roi_heads).__name__} cannot be written as {name}: {error}"
    )


def _describe(model: Any, info: ExportInfo) -> None:
    """Add what the file says about itself, and the sizes that the exporter leaves open."""
    model.doc_string = _USE.format(info=info, key=KEY)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, info.to_json()
    columns = {"boxes": 4, "embeddings": info.embedding_dim, "given_embeddings": info.embedding_dim}
    for output in model.graph.output:
        if output.name in columns:
            output.type.tensor_type.shape.dim[1].dim_value = columns[output.name]


@contextmanager
def _stable_argsort() -> Iterator[None]:
    """Teach the exporter the stable ``argsort`` by which norm-aware scores order people.

    ONNX's TopK gives the earlier of two equal values first, which is just that.
    """

    @symbolic_helper.parse_args("v", "i", "i")
    def top_k(g: Any, values: Any, axis: int, largest: int) -> Any:
        shape = g.op("Shape", values)
        count = g.op("Gather", shape, g.op("Constant", value_t=torch.tensor([axis])), axis_i=0)
        return g.op("TopK", values, count, axis_i=axis, largest_i=largest, outputs=2)[1]

    def argsort(g: Any, values: Any, *settings: Any) -> Any:
        # With and without the argument ``stable``, which comes before these two.
        dim, descending = settings[-2:]
        return top_k(g, values, dim, descending)

    torch.onnx.register_custom_op_symbolic("aten::argsort", argsort, OPSET)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic("aten::argsort", OPSET)
