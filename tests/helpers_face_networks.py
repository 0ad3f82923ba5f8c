"""ONNX files with the names and shapes of public face networks, and made-up weights."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halve(path):
    """Write a graph anew with inputs, weights and outputs of half precision."""
    model = onnx.load(path)
    for value in model.graph.initializer:
        if value.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(value).astype(np.float16)
            value.CopyFrom(numpy_helper.from_array(half, value.name))
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    return path


CELL = 28
"""Pixels a side over which the made-up face net takes a weighted sum."""


def save_graph(path, nodes, inputs, outputs, weights, metadata=None):
    """Write a graph of nodes; inputs and outputs are name -> shape, weights name -> array."""
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in x.items()]
        for x in (inputs, outputs)
    ]
    values = [numpy_helper.from_array(np.asarray(x), name) for name, x in weights.items()]
    graph = helper.make_graph(nodes, "made up", *ends, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_arcface(
    path, batch="None", size=512, normalises=False, spoil=None, seed=0, metadata=None
):
    """A file with insightface's names: "input.1" (N, 3, 112, 112) -> "683" (N, D).

    Returns:
        The weights: convolution (4, 3, 28, 28) and projection (D, 64).
    """
    rng = np.random.default_rng(seed)
    conv = rng.normal(0, 0.02, (4, 3, CELL, CELL)).astype(np.float32)
    project = rng.normal(size=(size, 64)).astype(np.float32)
    if spoil is not None:
        project[:] = spoil
    weights = {"conv": conv, "project": project}
    nodes, first = [], "input.1"
    if normalises:
        # As files from MXNet begin.
        weights |= {"m": np.float32(127.5), "s": np.float32(1 / 127.5)}
        nodes.append(helper.make_node("Sub", ["input.1", "m"], ["a"], name="_minusscalar0"))
        nodes.append(helper.make_node("Mul", ["a", "s"], ["b"], name="_mulscalar0"))
        first = "b"
    nodes += [
        helper.make_node("Conv", [first, "conv"], ["c"], name="Conv_0", strides=[CELL, CELL]),
        helper.make_node("Flatten", ["c"], ["d"], name="Flatten_1"),
        helper.make_node("Gemm", ["d", "project"], ["683"], name="Gemm_2", transB=1),
    ]
    ends = {"input.1": [batch, 3, 112, 112]}, {"683": [batch, size]}
    save_graph(path, nodes, *ends, weights, metadata)
    return conv, project


def arcface_rows(conv, project, faces, mean=127.5, std=127.5):
    """What the made-up net gives for faces (N, 112, 112, 3) uint8, cell by cell."""
    rows = []
    for face in faces:
        values = (face.astype(np.float64) - mean) / std
        sums = [
            (kernel * values[y : y + CELL, x : x + CELL].transpose(2, 0, 1)).sum()
            for kernel in conv
            for y in range(0, 112, CELL)
            for x in range(0, 112, CELL)
        ]
        rows.append(project @ np.array(sums))
    return np.array(rows)


SCRFD_NAMES = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
"""Of det_10g.onnx: scores, boxes and points at strides 8, 16 and 32."""

YUNET_NAMES = tuple(f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in (8, 16, 32))

FACE = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]]) / 112 - 0.5
"""Five points of a face of width 1 around its middle."""


def write_detector(path, kind="scrfd", size=(64, 96), seed=0, spoil=None, has_points=True):
    """A detector that looks at the mean colour of each cell; bright cells are faces.

    Args:
        path: of the file.
        kind: "scrfd", two places a cell, or "yunet".
        size: height and width of the input, or two names for axes that are open.
        seed: of the weights.
        spoil: what takes the place of the biases of the boxes.
        has_points: without them it is one of SCRFD's files without kps.
    """
    rng = np.random.default_rng(seed)
    is_scrfd = kind == "scrfd"
    parts = {"score": 1, "bbox": 4, "kps": 10} if is_scrfd else dict(cls=1, obj=1, bbox=4, kps=10)
    if not has_points:
        del parts["kps"]
    names = iter(SCRFD_NAMES if is_scrfd else YUNET_NAMES)
    places = 2 if is_scrfd else 1
    weights, nodes, outputs = {}, [], {}
    first = "input.1" if is_scrfd else "input"
    for stride in (8, 16, 32):
        nodes.append(
            helper.make_node(
                "AveragePool",
                [first],
                [f"p{stride}"],
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            )
        )
    for part, width in parts.items():
        weights[f"shape_{part}"] = np.array([-1, width] if is_scrfd else [1, -1, width])
        for stride in (8, 16, 32):
            name, label = f"{part}{stride}", next(names)
            spread = 0.1 if is_scrfd else 0.1 / 128
            kernel = rng.normal(0, spread, (places * width, 3, 1, 1))
            bias = rng.normal(0, 0.1, (places, width))
            if part == "bbox":
                bias += 2 if is_scrfd else np.log(4) * np.array([0, 0, 1, 1])
                bias = bias if spoil is None else np.full_like(bias, spoil)
            elif part == "kps":
                bias += 4 * FACE.ravel()
            else:
                # Of a bright cell 0.8 to 1, of a dark one 0.
                kernel = np.abs(kernel) + (8 if is_scrfd else 8 / 128)
                bias -= 10 if is_scrfd else 38
            weights[f"w_{name}"] = kernel.astype(np.float32)
            weights[f"b_{name}"] = bias.ravel().astype(np.float32)
            nodes.append(
                helper.make_node("Conv", [f"p{stride}", f"w_{name}", f"b_{name}"], [f"c_{name}"])
            )
            last = f"c_{name}"
            if width == 1:
                nodes.append(helper.make_node("Sigmoid", [last], [f"s_{name}"]))
                last = f"s_{name}"
            nodes.append(helper.make_node("Transpose", [last], [f"t_{name}"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [f"t_{name}", f"shape_{part}"], [label]))
            outputs[label] = ["n", width] if is_scrfd else [1, f"n{stride}", width]
    return save_graph(path, nodes, {first: [1, 3, *size]}, outputs, weights)


def draw_bright_cells(size, places):
    """A dark picture (h, w, 3) uint8 RGB with bright spots: (x, y, side) each."""
    picture = np.random.default_rng(0).integers(0, 40, (*size, 3), dtype=np.uint8)
    for number, (x, y, side) in enumerate(places):
        picture[y : y + side, x : x + side] = 250 - 9 * number
    return picture
