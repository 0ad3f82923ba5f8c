"""Write a network as an ONNX graph, layer by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""Version of ONNX's operators, of 2022: old enough for every program that reads ONNX."""
_IR_VERSION = 8


class GraphWriter:
    """Collects the layers of a network and makes a file of them."""

    def __init__(self) -> None:
        """Begin an empty graph."""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Add a constant; returns its name."""
        name = f"constant_{len(self._constants)}"
        # Of a shape (), too, which ascontiguousarray would make (1,).
        self._constants.append(numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node of one output.

        Args:
            op: the operator, by ONNX's name.
            inputs: names of what it reads; "" for one that is left out.
            output: name of what it gives, where that matters.
            attributes: of the operator.

        Returns:
            The name of the output.
        """
        output = output or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def add_constant(self, op: str, x: str, value: Any, **attributes: Any) -> str:
        """Add a node whose second input is a constant of float32."""
        return self.add(op, x, self.constant(value), **attributes)

    def convolve(
        self, x: str, weights: np.ndarray, bias: np.ndarray, *, groups: int = 1, **attributes: Any
    ) -> str:
        """Add a convolution.

        Args:
            x: name of (N, C, H, W).
            weights: (out, C / groups, kh, kw).
            bias: (out,).
            groups: of channels.
            attributes: others of ``Conv``: ``strides``, and ``pads`` or ``auto_pad``.
        """
        constants = self.constant(weights), self.constant(bias)
        kernel = list(weights.shape[2:])
        return self.add("Conv", x, *constants, group=groups, kernel_shape=kernel, **attributes)

    def relu6(self, x: str) -> str:
        """Add min(max(x, 0), 6)."""
        return self.add("Clip", x, self.constant(0.0), self.constant(6.0))

    def to_bytes(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
        metadata: Mapping[str, str],
        name: str,
    ) -> bytes:
        """Return the content of an ONNX file.

        Args:
            inputs: shapes by name, all float32; a text is an axis of any length.
            outputs: likewise.
            metadata: texts to keep in the file.
            name: of the graph.

        Raises:
            ValueError: if the graph is not valid.
        """
        ends = _describe(inputs), _describe(outputs)
        graph = helper.make_graph(self._nodes, name, *ends, initializer=self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="person-search"
        )
        helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
        except onnx.checker.ValidationError as error:
            raise ValueError(f"the graph {name} is not valid: {error}") from error
        content: bytes = model.SerializeToString()
        return content


def _describe(shapes: Mapping[str, Sequence[int | str]]) -> list[onnx.ValueInfoProto]:
    float32 = TensorProto.FLOAT
    return [helper.make_tensor_value_info(key, float32, list(s)) for key, s in shapes.items()]


def fold_batch_norm(
    weights: np.ndarray, norm: Sequence[np.ndarray], epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Make one convolution of a convolution without bias and the batch normalisation after it.

    Args:
        weights: (out, in, kh, kw).
        norm: its factors, summands, running means and running variances, each (out,).
        epsilon: added to the variance.

    Returns:
        Weights and bias (out,), computed in float64, as float32.
    """
    gamma, beta, mean, variance = norm
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    bias = beta - mean * scale
    return (weights * scale[:, None, None, None]).astype(np.float32), bias.astype(np.float32)
