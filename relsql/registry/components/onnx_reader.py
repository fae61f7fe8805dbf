"""Read which operators, inputs and outputs an ONNX file has, without the package `onnx` and without running anything.

An ONNX file is a protocol buffer. Only the fields that matter for `relsql.registry.components.component_checks` are
read, by their numbers in `onnx.proto` (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). All other fields are
skipped, except that fields that would let a component do more than our exporters write are listed by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Value = int | memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class OnnxFormatError(ValueError):
    """The bytes are not the protocol buffer of an ONNX model."""


@dataclass(slots=True)
class OnnxSummary:
    """The contents of a component.

    Attributes:
        opsets: version by domain; the standard operators have the domain `""`.
        operators: name of the operator of each node, with its domain if it is not the standard one.
        initializers: names of the stored weights.
        inputs: names of the inputs, in order; stored weights are not among them.
        outputs: names of the outputs, in order.
        extras: parts that our exporters never write: `subgraph`, `function`, `external data`, `sparse weight`.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    operators: list[str] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    extras: set[str] = field(default_factory=set)


def read_onnx(content: bytes) -> OnnxSummary:
    """Summarize a serialized ModelProto.

    Raises:
        OnnxFormatError: `content` is not one.
    """
    summary = OnnxSummary()
    graphs = 0
    try:
        for number, value in _fields(memoryview(content)):
            if number == 7:
                graphs += 1
                _read_graph(_message(value), summary)
            elif number == 8:
                _read_opset(_message(value), summary)
            elif number == 20:
                summary.extras.add("training step")
            elif number == 25:
                summary.extras.add("function")
    except (IndexError, UnicodeDecodeError) as error:
        raise OnnxFormatError("it ends within a field") from error
    # Readers would merge a second graph into the first one, so the file could be interpreted in more than one way.
    if graphs != 1:
        raise OnnxFormatError(f"it holds {graphs} graphs")
    summary.inputs = [name for name in summary.inputs if name not in summary.initializers]
    return summary


def _read_graph(message: memoryview, summary: OnnxSummary) -> None:
    for number, value in _fields(message):
        if number == 1:
            _read_node(_message(value), summary)
        elif number == 5:
            summary.initializers.add(_read_tensor(_message(value), summary))
        elif number == 11:
            summary.inputs.append(_name(_message(value), 1))
        elif number == 12:
            summary.outputs.append(_name(_message(value), 1))
        elif number == 15:
            summary.extras.add("sparse weight")


def _read_node(message: memoryview, summary: OnnxSummary) -> None:
    domain = operator = ""
    for number, value in _fields(message):
        if number == 5:
            _read_attribute(_message(value), summary)
        elif number == 4:
            operator = str(_message(value), "utf-8")
        elif number == 7:
            domain = str(_message(value), "utf-8")
    summary.operators.append(f"{domain}.{operator}" if domain not in ("", "ai.onnx") else operator)


def _read_attribute(message: memoryview, summary: OnnxSummary) -> None:
    for number, value in _fields(message):
        if number in (6, 11):
            summary.extras.add("subgraph")
        elif number == 21:
            summary.extras.add("function")
        elif number in (22, 23):
            summary.extras.add("sparse weight")
        elif number in (5, 10):
            _read_tensor(_message(value), summary)


def _read_tensor(message: memoryview, summary: OnnxSummary) -> str:
    """The tensor's name."""
    name = ""
    for number, value in _fields(message):
        if number == 8:
            name = str(_message(value), "utf-8")
        elif number == 13 or (number == 14 and value != 0):
            summary.extras.add("external data")
    return name


def _read_opset(message: memoryview, summary: OnnxSummary) -> None:
    version = 0
    for number, value in _fields(message):
        if number == 2 and isinstance(value, int):
            version = value
    domain = _name(message, 1)
    domain = "" if domain == "ai.onnx" else domain
    if domain in summary.opsets:
        raise OnnxFormatError("it names two versions of the same operators")
    summary.opsets[domain] = version


def _name(message: memoryview, wanted: int) -> str:
    """A text field; the last occurrence counts, as in every reader of protocol buffers."""
    found = ""
    for number, value in _fields(message):
        if number == wanted:
            found = str(_message(value), "utf-8")
    return found


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise OnnxFormatError("a field has another type")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Numbers and values of a message's fields, in order."""
    position, end = 0, len(message)
    while position < end:
        # A fast path, because almost all numbers have one byte.
        key, position = message[position], position + 1
        if key >= 0x80:
            key, position = _varint(message, position - 1)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = message[position], position + 1
            if size >= 0x80:
                size, position = _varint(message, position - 1)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise OnnxFormatError(f"a field has the unknown type {kind}")
        if position + size > end:
            raise OnnxFormatError("it ends within a field")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number, 7 bits a byte, and the position after it."""
    result = shift = 0
    while True:
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise OnnxFormatError("a number has more than 64 bits")
