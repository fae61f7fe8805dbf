"""The head in ONNX: the steps of `relsql.nn.head`, `relsql.nn.class_head` and `relsql.nn.boosted_trees`, in order."""

from __future__ import annotations

import math

from exporters.onnx.graph import LAST, OnnxGraph, Port
from relsql.nn.boosted_trees import BoostedTrees
from relsql.nn.class_head import ClassHead, LabelsHead
from relsql.nn.head import DAYS_PER_YEAR, LARGEST_LOG, Head
from relsql.registry.components.component_checks import Signature


def head_component(head: Head, signature: Signature) -> bytes:
    """`Head.score` as a component."""
    graph = OnnxGraph(head, "head.")
    state, days = (tensor.name for tensor in signature.inputs)
    _scores(graph, head, _raw(graph, head, state, days))
    return graph.component([Port(x, ("seeds",)) for x in signature.inputs], Port(signature.output, ("seeds",)))


def _times(graph: OnnxGraph, head: Head, days: str) -> list[str]:
    """`Head.times`, float32 [seeds, 1] each."""
    span = graph.op("Sub", head.last_day, head.first_day)
    progress = graph.op("Clip", graph.op("Div", graph.op("Sub", days, head.first_day), span), 0.0, 1.0)
    angle = graph.op("Mul", days, 2 * math.pi / DAYS_PER_YEAR)
    seasons = [graph.op("Mul", graph.op(kind, angle), head.seasonal) for kind in ("Sin", "Cos")]
    return [graph.op("Unsqueeze", time, [1]) for time in (progress, *seasons)]


def _raw(graph: OnnxGraph, head: Head, state: str, days: str) -> str:
    """`Head.forward`."""
    channels, times = head.hidden.out_features, _times(graph, head, days)
    entity = state if head.trees is None else graph.slice(state, 0, channels, axis=1)
    hidden = graph.op("Relu", graph.linear(graph.concat([entity, *times], axis=1), head.hidden))
    raw = graph.linear(hidden, head.out)
    if head.out.out_features == 1:
        raw = graph.op("Squeeze", raw, [1])
    if head.trees is None:
        return raw
    statistics = graph.slice(state, channels, LAST, axis=1)
    boosted = _boosted(graph, head.trees, graph.concat([statistics, *times], axis=1))
    return graph.op("Add", raw, graph.op("Mul", head.trees.tree_share, graph.op("Sub", boosted, raw)))


def _boosted(graph: OnnxGraph, trees: BoostedTrees, inputs: str) -> str:
    """`BoostedTrees.forward`."""
    above = graph.op("Sub", graph.gather(inputs, trees.input, axis=1), trees.lower)
    shares = graph.op("Clip", graph.op("Div", above, trees.span), 0.0, 1.0)
    total = graph.op("Add", trees.constant, graph.op("MatMul", shares, trees.weight))
    if not len(trees.left):
        return total
    left, right = (graph.gather(shares, side, axis=1) for side in (trees.left, trees.right))
    return graph.op("Add", total, graph.op("MatMul", graph.op("Mul", left, right), trees.pair_weight))


def _scores(graph: OnnxGraph, head: Head, raw: str) -> str:
    """`Head.scores`, `ClassHead.scores` or `LabelsHead.scores`."""
    if isinstance(head, ClassHead):
        calibrated = graph.op("Div", raw, head.temperature)
        is_one = not isinstance(head, LabelsHead)
        outputs = graph.op("Softmax", calibrated, axis=1) if is_one else graph.op("Sigmoid", calibrated)
        return graph.op("Mul", graph.gather(outputs, head.output, axis=1), head.share)
    if head.classification:
        return graph.op("Sigmoid", graph.op("Div", raw, head.temperature))
    value = graph.op("Add", graph.op("Mul", raw, head.label_scale), head.label_center)
    # `Where` computes both branches; without the bound, the branch that is not used could be infinite.
    bounded = graph.op("Clip", value, -LARGEST_LOG, LARGEST_LOG)
    if head.level is None:
        unlogged = graph.op("Exp", bounded)
    else:
        grown = graph.op("Sub", graph.op("Exp", graph.op("Abs", bounded)), 1.0)
        unlogged = graph.op("Mul", graph.op("Sign", bounded), grown)
    return graph.op("Where", graph.op("Greater", head.label_logarithmic, 0.5), unlogged, value)
