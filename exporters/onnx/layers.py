"""Parts of the network in ONNX: those of `relsql.nn.scaling` and `relsql.nn.row_statistics`."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from exporters.onnx.graph import LAST, OnnxGraph
from relsql.nn.row_statistics import RowStatistics
from relsql.nn.scaling import CLIP, NumberScaling, TextScaling


@dataclass(frozen=True, slots=True)
class Numbers:
    """Standardised numbers, and 1 where a number is known: both float32 [width, rows].

    They are transposed, because onnxruntime is several times faster when it broadcasts along rows.
    """

    scaled: str
    known: str
    width: int


def with_absent(graph: OnnxGraph, rows: str) -> str:
    """`relsql.nn.graph_network.with_absent`."""
    return graph.op("Pad", rows, [1, 0, 0, 0])


def standardised(graph: OnnxGraph, scaling: NumberScaling, rows: str) -> Numbers:
    """The standardised numbers of rows, see `NumberScaling`."""
    # A single column is reshaped: onnxruntime would move a transpose behind the next operators.
    width = len(scaling.center)
    columns = graph.op("Reshape", rows, [1, -1]) if width == 1 else graph.op("Transpose", rows)
    missing = graph.op("IsNaN", columns)
    known = graph.op("Sub", 1.0, graph.mask(missing))
    values = graph.op("Where", missing, 0.0, columns)
    # Logarithms take half of the time here, so they are computed only if a number is on the log scale.
    if (scaling.logarithmic > 0.5).any():
        logarithm = graph.op("Mul", graph.op("Sign", values), graph.log1p(graph.op("Abs", values)))
        values = graph.op("Where", graph.op("Greater", _column(graph, scaling.logarithmic), 0.5), logarithm, values)
    centred = graph.op("Sub", values, _column(graph, scaling.center))
    clipped = graph.op("Clip", graph.op("Div", centred, _column(graph, scaling.scale)), -CLIP, CLIP)
    return Numbers(graph.op("Mul", clipped, known), known, width)


def as_rows(graph: OnnxGraph, numbers: Numbers) -> str:
    """Standardised numbers, transposed back to float32 [rows, width]."""
    if numbers.width == 1:
        return graph.op("Reshape", numbers.scaled, [-1, 1])
    return graph.op("Transpose", numbers.scaled)


def mapped(graph: OnnxGraph, scaling: NumberScaling, numbers: Numbers, layer: nn.Linear, plus: str | Tensor) -> str:
    """A linear map of the encoding that `NumberScaling.forward` returns, added to the value `plus`."""
    above = graph.op("Sub", graph.op("Unsqueeze", numbers.scaled, [1]), graph.op("Unsqueeze", scaling.lower, [2]))
    shares = graph.op("Clip", graph.op("Div", above, graph.op("Unsqueeze", scaling.span, [2])), 0.0, 1.0)
    shares = graph.op("Mul", shares, graph.op("Unsqueeze", numbers.known, [1]))
    shares = graph.op("Reshape", shares, [scaling.lower.numel(), -1])
    encoding = graph.concat([numbers.scaled, shares, graph.op("Sub", 1.0, numbers.known)], axis=0)
    return graph.op("Gemm", encoding, layer.weight, plus, transA=1, transB=1)


def text_states(graph: OnnxGraph, scaling: TextScaling, layer: nn.Linear, embeddings: str) -> str:
    """A linear map of what `TextScaling.forward` returns, one row per text; row 0 stands for no text and is 0."""
    texts = graph.op("Sub", graph.slice(embeddings, 1, LAST, axis=0), scaling.center)
    return with_absent(graph, graph.linear(graph.op("MatMul", texts, scaling.whitening), layer))


def row_statistics(
    graph: OnnxGraph, statistics: RowStatistics, values: str, ages: str | None, present: str, width: int
) -> list[str]:
    """The parts that `RowStatistics.forward` concatenates, float32 [seeds, statistics] each.

    Args:
        graph: the component.
        statistics: the module.
        values: float32 [seeds, fanout, width], the standardised values of the rows that each seed reads.
        ages: float32 [seeds, fanout], days from each row to as_of; read only if there are spans.
        present: float32 [seeds, fanout], 1 where there is a row.
        width: number of values of a row.
    """
    found = []
    if statistics.has_extremes:
        negative = _largest(graph, graph.op("Neg", values), present)
        found += [_largest(graph, values, present), graph.op("Neg", negative)]
    if statistics.spans:
        assert ages is not None
        recent = graph.op("LessOrEqual", graph.op("Unsqueeze", ages, [1]), _column(graph, statistics.span_days))
        inside = graph.op("Mul", graph.mask(recent), graph.op("Unsqueeze", present, [1]))
        sums = graph.op("MatMul", inside, values)
        means = graph.op("Div", sums, graph.op("Clip", graph.op("ReduceSum", inside, [2], keepdims=1), 1.0))
        found += [graph.op("Reshape", part, [-1, statistics.spans * width]) for part in (means, sums)]
    return found


def _largest(graph: OnnxGraph, rows: str, present: str) -> str:
    # An absent row gets the smallest possible value, and the result is 0 if all rows are absent.
    kept = graph.op("Unsqueeze", present, [2])
    lowered = graph.op("Sub", graph.op("Mul", rows, kept), graph.op("Mul", CLIP, graph.op("Sub", 1.0, kept)))
    largest = graph.op("ReduceMax", lowered, [1], keepdims=0)
    return graph.op("Mul", largest, graph.op("ReduceMax", present, [1], keepdims=1))


def _column(graph: OnnxGraph, weight: Tensor) -> str:
    return graph.op("Unsqueeze", weight, [1])
