"""ONNX graphs, written operator by operator.

Torch's exporter traces a network with symbolic shapes, which takes longer than the training of a small one
(docs/decisions/0027-onnx-by-hand.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import torch
from torch import nn

from relsql.registry.components.component_checks import FLOAT, Tensor

OPSET = 18
IR_VERSION = 10
"""onnxruntime 1.18 and newer reads it."""

LAST = 2**63 - 1
"""As the end of a slice: the end of the axis."""

Operand = str | float | list[int] | torch.Tensor
"""What an operator reads: the name of a value, a number (int64 or float32), a list of int64, or a weight."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a component, and the names of its axes whose length depends on the batch."""

    tensor: Tensor
    names: tuple[str, ...]

    def info(self) -> onnx.ValueInfoProto:
        """Name, type and shape in the form of ONNX."""
        kind = onnx.TensorProto.FLOAT if self.tensor.type == FLOAT else onnx.TensorProto.INT64
        names = iter(self.names)
        shape = [next(names) if length is None else length for length in self.tensor.shape]
        return onnx.helper.make_tensor_value_info(self.tensor.name, kind, shape)


class OnnxGraph:
    """Collects the operators of a component; each operator returns the name of its result.

    Args:
        module: the torch module that has the weights; they keep their names.
        prefix: the text put before these names.
    """

    def __init__(self, module: nn.Module, prefix: str) -> None:
        self._module = module
        # named_buffers() also lists the buffers that a state dict leaves out.
        named = [*module.named_parameters(), *module.named_buffers()]
        self._weight_names = {id(weight): prefix + name for name, weight in named}
        self._weights: dict[str, onnx.TensorProto] = {}
        self._constants: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def op(self, kind: str, *operands: Operand, **attributes: int | float | list[int]) -> str:
        """Add an operator; returns the name of its result."""
        inputs = [self._name(operand) for operand in operands]
        return self._add(kind, inputs, **attributes)

    def linear(self, rows: str, layer: nn.Linear) -> str:
        """A linear map of rows."""
        bias = [] if layer.bias is None else [layer.bias]
        return self.op("Gemm", rows, layer.weight, *bias, transB=1)

    def layer_norm(self, rows: str, layer: nn.LayerNorm) -> str:
        """Rows of mean 0 and deviation 1, then scaled and shifted."""
        return self.op("LayerNormalization", rows, layer.weight, layer.bias, axis=-1, epsilon=layer.eps)

    def gather(self, rows: Operand, positions: Operand, axis: int = 0) -> str:
        """The entries at some positions of an axis; a single number as position removes the axis."""
        return self.op("Gather", rows, positions, axis=axis)

    def slice(self, rows: str, start: int, end: int, axis: int) -> str:
        """A part of an axis."""
        return self.op("Slice", rows, [start], [end], [axis])

    def concat(self, parts: Sequence[str], axis: int) -> str:
        """The parts one after another; a single part is returned as it is."""
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=axis)

    def mask(self, condition: str) -> str:
        """1.0 where a condition holds, and 0.0 elsewhere."""
        return self.op("Cast", condition, to=onnx.TensorProto.FLOAT)

    def log1p(self, values: str) -> str:
        """The logarithm of 1 + values."""
        return self.op("Log", self.op("Add", values, 1.0))

    def component(self, inputs: Sequence[Port], output: Port) -> bytes:
        """The bytes of the component, whose output is the last result; inputs that no operator reads are left out."""
        self._nodes[-1].output[0] = output.tensor.name
        read = {name for node in self._nodes for name in node.input}
        graph = onnx.helper.make_graph(
            self._nodes,
            "component",
            [x.info() for x in inputs if x.tensor.name in read],
            [output.info()],
            [self._weights[name] for name in sorted(self._weights)],
        )
        opsets = [onnx.helper.make_opsetid("", OPSET)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))

    def _name(self, operand: Operand) -> str:
        if isinstance(operand, str):
            return operand
        if isinstance(operand, torch.Tensor):
            name = self._weight_names[id(operand)]
            if name not in self._weights:
                self._weights[name] = onnx.numpy_helper.from_array(operand.detach().numpy(), name)
            return name
        key = repr(operand)
        if key not in self._constants:
            value = np.array(operand, dtype=np.float32 if isinstance(operand, float) else np.int64)
            self._constants[key] = self._add("Constant", [], value=onnx.numpy_helper.from_array(value))
        return self._constants[key]

    def _add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        # Results are numbered; an input or a weight never has a number as its name.
        output = str(len(self._nodes))
        self._nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output
