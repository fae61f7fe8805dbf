"""Check the ONNX components of a model before anything in them runs.

A file from somebody else may hold a component that loops for years, reads other files or expects other inputs than the
card says. Our exporters use a small part of ONNX, and only that part is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from relsql.errors import ArtifactError
from relsql.gather.arrays.graph_inputs import (
    EXPLAINED,
    message_input_name,
    path_component,
    path_input_names,
    table_input_names,
    tables_of,
)
from relsql.gather.layout import BlockLayout, category_count, layouts_of
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.components.onnx_reader import OnnxFormatError, read_onnx

MAX_COMPONENT_BYTES = 2_000_000_000
"""The maximum size of a protocol buffer. bart-large in float32 takes 0.8 GB."""

MAX_NODES = 100_000
"""A network with twelve paths has 3,000."""

OPSETS = range(13, 24)
"""Versions of the standard operators in which the operators below have the same meaning."""

OPERATORS = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Cast",
        "CastLike",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Cos",
        "Div",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "Identity",
        "IsInf",
        "IsNaN",
        "LayerNormalization",
        "Less",
        "LessOrEqual",
        "Log",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "Pad",
        "Pow",
        "Range",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Shape",
        "Sigmoid",
        "Sign",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""The standard operators that our exported networks use. None of them has a subgraph, keeps state, draws random numbers
or reads a file."""

FLOAT, INT64 = "tensor(float)", "tensor(int64)"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a component: its name, its type as onnxruntime writes it, and its shape.

    An axis whose length depends on the batch is None.
    """

    name: str
    type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and the output of a component. Inputs that it does not use may be missing."""

    inputs: tuple[Tensor, ...]
    output: Tensor


def check_component(name: str, content: bytes, *, model: str, task: str) -> None:
    """Refuse a component that contains anything that our exporters do not write.

    Raises:
        ArtifactError: it does, or it is not an ONNX model.
    """
    refuse = partial(_refused, name, model, task)
    if len(content) > MAX_COMPONENT_BYTES:
        raise refuse(f"has {len(content):,} bytes", f"at most {MAX_COMPONENT_BYTES:,}")
    try:
        found = read_onnx(content)
    except OnnxFormatError as error:
        raise refuse(f"is not an ONNX model: {error}", "an ONNX model") from error
    if found.extras:
        raise refuse(f"has a {min(found.extras)}", "operators and weights only")
    if set(found.opsets) != {""} or found.opsets[""] not in OPSETS:
        listed = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(found.opsets.items()))
        raise refuse(f"uses the operators of {listed or 'no version'}", f"ai.onnx {OPSETS[0]} to {OPSETS[-1]}")
    unknown = sorted(set(found.operators) - OPERATORS)
    if unknown:
        raise refuse(f"has the operator {unknown[0]}", "operators that relsql exports")
    if len(found.operators) > MAX_NODES:
        raise refuse(f"has {len(found.operators):,} nodes", f"at most {MAX_NODES:,}")


def check_signature(
    name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], expected: Signature, *, model: str, task: str
) -> None:
    """Refuse a component whose inputs or outputs are not those that the card implies.

    Raises:
        ArtifactError: a name, the order, a type or a shape differs.
    """
    refuse = partial(_refused, name, model, task)
    wanted = {tensor.name: position for position, tensor in enumerate(expected.inputs)}
    for tensor in inputs:
        if tensor.name not in wanted:
            raise refuse(f"has an input '{tensor.name}'", f"one of: {', '.join(wanted)}")
        _check_tensor(tensor, expected.inputs[wanted[tensor.name]], "input", refuse)
    order = [wanted[tensor.name] for tensor in inputs]
    if order != sorted(set(order)):
        raise refuse("has its inputs in another order", f"the order {', '.join(wanted)}")
    if [tensor.name for tensor in outputs] != [expected.output.name]:
        raise refuse(
            f"has the outputs {', '.join(tensor.name for tensor in outputs) or 'none'}", f"'{expected.output.name}'"
        )
    _check_tensor(outputs[0], expected.output, "output", refuse)


def signature_of(card: ModelCard, name: str) -> Signature | None:
    """The signature of the component `name` of a model; None if the model has no such component."""
    layouts = layouts_of(card.paths, card.inputs)
    width, state = card.encoder.width, card.state_width
    if name == "encoder.onnx":
        return encoder_signature(width)
    if name == "head.onnx":
        return head_signature(state, card.outputs, probabilities=card.classes is not None)
    apart = [x for x in layouts if (x.shared if name == "graph.onnx" else x.grouped)]
    graph = graph_inputs_of(layouts, width, {x.name: card.message_width(x.name) for x in apart})
    if name in ("graph.onnx", EXPLAINED):
        return Signature(graph, Tensor("state", FLOAT, (None, state)))
    for layout in apart:
        if name == path_component(layout.name):
            return Signature(graph, Tensor(f"message of {layout.name}", FLOAT, (None, card.message_width(layout.name))))
    return None


def encoder_signature(width: int) -> Signature:
    """The signature of a row encoder whose embeddings have a width."""
    tokens = tuple(Tensor(name, INT64, (None, None)) for name in ("input_ids", "attention_mask"))
    return Signature(tokens, Tensor("row_embedding", FLOAT, (None, width)))


def head_signature(state_width: int, outputs: int | None = None, *, probabilities: bool = False) -> Signature:
    """The signature of a head that reads states of a width, see `ModelCard.outputs`."""
    inputs = (Tensor("state", FLOAT, (None, state_width)), Tensor("as_of_days", FLOAT, (None,)))
    shape = (None,) if outputs is None else (None, outputs)
    return Signature(inputs, Tensor("probabilities" if probabilities else "score", FLOAT, shape))


def graph_inputs_of(
    layouts: Sequence[BlockLayout], embedding_width: int, message_widths: Mapping[str, int]
) -> tuple[Tensor, ...]:
    """The inputs of the graph network, see `relsql.gather.arrays.graph_inputs.graph_input_names`.

    Args:
        layouts: layouts of its paths.
        embedding_width: width of a text's embedding.
        message_widths: width of the messages that are inputs, by the path's name, in the order of the layouts.
    """
    inputs = [Tensor("embeddings", FLOAT, (None, embedding_width))]
    for table in tables_of(layouts):
        shapes: dict[str, tuple[int | None, ...]] = {
            "numbers": (None, len(table.static_numbers)),
            "categories": (None, category_count(table)),
            "texts": (None,),
        }
        inputs += [_tensor(name, shapes) for name in table_input_names(table)]
    for layout in layouts:
        shapes = {
            "rows": (len(layout.segments), None),
            "places": (None, layout.fanout),
            "ages": (None, layout.ages_width),
            "totals": (None, layout.counts_width),
        }
        inputs += [_tensor(name, shapes) for name in path_input_names(layout)]
    inputs += [Tensor(message_input_name(path), FLOAT, (None, width)) for path, width in message_widths.items()]
    return tuple(inputs)


def _tensor(name: str, shapes: dict[str, tuple[int | None, ...]]) -> Tensor:
    kind = name.rpartition(".")[2]
    return Tensor(name, INT64 if kind in ("categories", "texts", "rows", "places") else FLOAT, shapes[kind])


def _check_tensor(found: Tensor, expected: Tensor, role: str, refuse: partial[ArtifactError]) -> None:
    same_axes = len(found.shape) == len(expected.shape) and all(
        # Not every exporter records the length of an empty axis.
        want is None or have == want or (want == 0 and have is None)
        for have, want in zip(found.shape, expected.shape, strict=True)
    )
    if found.type != expected.type or not same_axes:
        raise refuse(
            f"has the {role} '{found.name}' as {_described(found)}", f"{_described(expected)}, as the card says"
        )


def _described(tensor: Tensor) -> str:
    return f"{tensor.type} [{', '.join('n' if axis is None else str(axis) for axis in tensor.shape)}]"


def _refused(name: str, model: str, task: str, problem: str, expected: str) -> ArtifactError:
    return ArtifactError(
        f"model '{model}': component {name} {problem}",
        expected=expected,
        fix=command("train", "FILE", task, "--name", model),
    )
