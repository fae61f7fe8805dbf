"""The row encoder in ONNX: the steps of `relsql.nn.row_encoder` and of BART's encoder, in order.

BART's layers are those of transformers (Lewis et al., ACL 2020, section 2.1), which another version may change. Each
export is compared with torch, so a change is an error and never another score.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from exporters.onnx.graph import OnnxGraph, Port
from relsql.errors import ExportError
from relsql.nn.row_encoder import RowEncoder
from relsql.registry.components.component_checks import encoder_signature

FIRST_POSITION = 2
"""BART's position embeddings start after two rows that no position uses."""


def encoder_component(encoder: RowEncoder) -> bytes:
    """`RowEncoder.forward` as a component.

    Raises:
        ExportError: the encoder is a BART whose activation is not GELU or ReLU.
    """
    graph, signature = OnnxGraph(encoder, ""), encoder_signature(encoder.dimension)
    ids, mask = (tensor.name for tensor in signature.inputs)
    real = graph.mask(mask)
    hidden = _hidden(graph, encoder, ids, real)
    contextual = _standardised(graph, _mean(graph, hidden, real))
    parts = [contextual]
    if encoder.lexicon is not None:
        parts.append(_mean(graph, graph.gather(encoder.lexicon, ids), real))
    # A component ends with its last operator, so there has to be one after the parts.
    graph.op("Concat", *parts, axis=1)
    inputs = [Port(tensor, ("rows", "tokens")) for tensor in signature.inputs]
    return graph.component(inputs, Port(signature.output, ("rows",)))


def _hidden(graph: OnnxGraph, encoder: RowEncoder, ids: str, real: str) -> str:
    """The last hidden states of BART's encoder, float32 [rows, tokens, width]."""
    bart: Any = encoder.encoder
    length = graph.op("Add", graph.gather(graph.op("Shape", ids), [1]), FIRST_POSITION)
    positions = graph.op("Slice", bart.embed_positions.weight, [FIRST_POSITION], length, [0])
    embedded = graph.gather(bart.embed_tokens.weight, ids)
    scale = float(bart.embed_tokens.embed_scale)
    if scale != 1.0:
        embedded = graph.op("Mul", embedded, scale)
    hidden = graph.layer_norm(graph.op("Add", embedded, positions), bart.layernorm_embedding)
    # One row per token: onnxruntime is fastest at maps of rows.
    hidden = graph.op("Reshape", hidden, [-1, bart.config.d_model])
    penalty = graph.op("Mul", graph.op("Sub", 1.0, real), float(torch.finfo(torch.float32).min))
    penalty = graph.op("Unsqueeze", penalty, [1, 2])
    shape = graph.op("Shape", ids)
    for layer in bart.layers:
        attended = _attended(graph, layer.self_attn, hidden, penalty, shape)
        hidden = graph.layer_norm(graph.op("Add", hidden, attended), layer.self_attn_layer_norm)
        inner = _activated(graph, bart.config.activation_function, graph.linear(hidden, layer.fc1))
        hidden = graph.layer_norm(graph.op("Add", hidden, graph.linear(inner, layer.fc2)), layer.final_layer_norm)
    return graph.op("Reshape", hidden, graph.op("Concat", shape, [bart.config.d_model], axis=0))


def _attended(graph: OnnxGraph, attention: Any, hidden: str, penalty: str, shape: str) -> str:
    """`BartAttention.forward` of all tokens to all tokens of their row, float32 [rows * tokens, width].

    Args:
        graph: the component.
        attention: the module.
        hidden: float32 [rows * tokens, width].
        penalty: float32 [rows, 1, 1, tokens], 0 for a token and a very small number for padding.
        shape: int64 [2], rows and tokens.
    """
    heads, width = attention.num_heads, attention.head_dim
    split = graph.op("Concat", shape, [heads, width], axis=0)

    def headed(layer: nn.Linear, order: list[int]) -> str:
        return graph.op("Transpose", graph.op("Reshape", graph.linear(hidden, layer), split), perm=order)

    queries = graph.op("Mul", headed(attention.q_proj, [0, 2, 1, 3]), float(attention.scaling))
    match = graph.op("MatMul", queries, headed(attention.k_proj, [0, 2, 3, 1]))
    weights = graph.op("Softmax", graph.op("Add", match, penalty), axis=-1)
    mixed = graph.op("MatMul", weights, headed(attention.v_proj, [0, 2, 1, 3]))
    rows = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), [-1, heads * width])
    return graph.linear(rows, attention.out_proj)


def _activated(graph: OnnxGraph, activation: str, values: str) -> str:
    if activation == "relu":
        return graph.op("Relu", values)
    if activation != "gelu":
        raise ExportError(
            f"the encoder's activation is {activation}", expected="gelu or relu", fix="another pre-trained BART"
        )
    # The form that onnxruntime replaces by one operator.
    grown = graph.op("Add", graph.op("Erf", graph.op("Div", values, 2**0.5)), 1.0)
    return graph.op("Mul", graph.op("Mul", values, grown), 0.5)


def _mean(graph: OnnxGraph, tokens: str, real: str) -> str:
    """`relsql.nn.row_encoder._mean`."""
    total = graph.op("ReduceSum", graph.op("Mul", tokens, graph.op("Unsqueeze", real, [2])), [1], keepdims=0)
    return graph.op("Div", total, graph.op("Clip", graph.op("ReduceSum", real, [1], keepdims=1), 1.0))


def _standardised(graph: OnnxGraph, rows: str) -> str:
    """`torch.nn.functional.layer_norm` without weights."""
    centred = graph.op("Sub", rows, graph.op("ReduceMean", rows, [1], keepdims=1))
    variance = graph.op("ReduceMean", graph.op("Mul", centred, centred), [1], keepdims=1)
    return graph.op("Div", centred, graph.op("Sqrt", graph.op("Add", variance, 1e-5)))
