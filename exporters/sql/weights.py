"""The weights of a network as the values of one row, folded so that the SQL over them has few steps.

Weights up to row states and messages before averaging are FLOAT, as in torch, except in maps of encoded numbers with
narrow bins: there large terms cancel, so these maps are DOUBLE. From the means on, all weights are DOUBLE.

Four foldings, each exact except for rounding:

* The encoding of a number (see `relsql.nn.scaling.NumberScaling`) is piecewise linear. A linear map of it is therefore
  a weighted sum of distances |number - edge|, one for each edge of a bin.
* A layer norm subtracts the mean from its input: the mean over channels is removed from the weights of the maps before.
* relu(w n + b) is |w| relu(sign(w) n + b / |w|). The sign of a norm's weight moves to the maps before it, and the
  absolute value to the maps after it, together with the 1/2 of relu(v) = (v + |v|) / 2.
* Maps whose results are added become one map of their concatenated inputs; biases are weights of a last input 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor, nn

from relsql.nn.boosted_trees import BoostedTrees
from relsql.nn.graph_network import GraphNetwork, NodeEncoder, PathLayer
from relsql.nn.head import Head
from relsql.nn.scaling import CLIP, NumberScaling
from relsql.tasks.kinds.classes import Classes

Matrix = npt.NDArray[np.float64]

SAME_EDGE = 1e-6
"""In standard deviations: edges closer than this are equal. A bin ends where the next one starts, but its width is
rounded to float32."""

TINY_WEIGHT = 1e-12
"""Replaces a layer norm's weight of 0, by which folding would divide."""

LARGEST_FLOAT_SUM = 16.0
"""Largest sum of the absolute weights of an output's distances for which FLOAT is used. A distance is at most 10, so
the error in FLOAT is then about 1e-5 in the worst case, and usually a hundredth of that."""

_FLOAT, _DOUBLE = pa.float32(), pa.float64()
_SCALING = pa.list_(pa.struct([("center", pa.float32()), ("scale", pa.float32()), ("logarithmic", pa.bool_())]))


@dataclass(frozen=True, slots=True)
class Encoding:
    """A linear map of encoded numbers as a map of distances from edges.

    Attributes:
        number: int64 [edges], position of the number whose distance is measured.
        edge: float64 [edges], on the standardised scale.
        weight: float64 [outputs, edges].
        bias: float64 [outputs].
    """

    number: npt.NDArray[np.int64]
    edge: Matrix
    weight: Matrix
    bias: Matrix

    def of(self, scaled: Matrix) -> Matrix:
        """The map's value for standardised numbers, float64 [numbers] -> [outputs]."""
        distances: Matrix = np.abs(scaled[self.number] - self.edge)
        result: Matrix = self.weight @ distances + self.bias
        return result


def weights_table(network: GraphNetwork, head: Head, classes: Classes | None = None) -> pa.Table:
    """All weights as a table of one row: one struct column per table, per path, and for the head.

        T             scaling, edges: of the numbers; channels: for each channel the weights of distances and 1
                      (encoder), and of the codes of each category (category0, ...); values0, ...: the values of the
                      numbers that are also categories; text: linear map of a text embedding and 1; zeros: with text,
                      one 0 per channel; norm_bias
        path P        scaling, edges: of the ages of its rows; root: linear map of state, distances and 1; lookup0,
                      ...: linear maps of the states of the rows that a row points at; statistics_scaling,
                      statistics_edges; message: linear map of means, distances of the statistics, and 1; without_rows:
                      the message when there are no rows; zeros: one 0 per channel
        head          constants, norm_bias, hidden, out; if it has trees, their shares, pairs, share_weights and
                      pair_weights; of a multiclass head also classes, class_output, class_share and tree_constants, and
                      out and both weights have a row for each output

    DuckDB plans a join with a few struct columns faster than a join with a hundred columns.
    """
    columns: dict[str, pa.Array] = {}
    for position, table in enumerate(network.tables):
        values = [c.categories for c in _numbers_of(network, table) if c.categories]
        encoder = network.encoders[position]
        assert isinstance(encoder, NodeEncoder)
        columns[table] = _struct(_encoder_columns(encoder, values))
    for position, layout in enumerate(network.layouts):
        columns[f"path {layout.name}"] = _struct(_path_columns(network, network.path(position)))
    return pa.table({**columns, "head": _struct(_head_columns(network, head, classes))})


def logarithmic_columns(weights: pa.Table) -> frozenset[str]:
    """Names of the scalings with at least one number on the log scale, as `<column>.<scaling>`."""
    found = []
    for part in weights.column_names:
        for name, values in weights.column(part)[0].as_py().items():
            if name.endswith("scaling") and any(number["logarithmic"] for number in values):
                found.append(f"{part}.{name}")
    return frozenset(found)


def _numbers_of(network: GraphNetwork, table: str) -> tuple[Any, ...]:
    segments = (segment for layout in network.layouts for segment in layout.segments)
    return next(segment.inputs.static_numbers for segment in segments if segment.inputs.table == table)


def _encoder_columns(encoder: NodeEncoder, values: list[tuple[float, ...]]) -> Mapping[str, pa.Array]:
    parts, bias, norm, encoding = [], _array(encoder.bias), fold_norm(encoder.norm), None
    if encoder.number_map is not None:
        encoding = fold_scaling(encoder.scaling, _array(encoder.number_map.weight))
        parts, bias = [encoding.weight], bias + encoding.bias
    text = {}
    if encoder.text_map is not None:
        whitened = _array(encoder.text_map.weight) @ _array(encoder.text_scaling.whitening).T
        mapped = norm.before(_beside(whitened, -(whitened @ _array(encoder.text_scaling.center))[:, None]))
        text = {"text": _matrix(mapped), "zeros": _zeros(bias)}
    categories = {f"category{i}": (norm.before(_weight(of).T), _FLOAT) for i, of in enumerate(encoder.embeddings)}
    channels = {"encoder": (norm.before(_beside(*parts, bias[:, None])), _precision(encoding)), **categories}
    return {
        **_scaling_columns(encoder.scaling, encoding, _precision(encoding)),
        "channels": _rows(channels),
        **{f"values{i}": _one(list(of), pa.list_(pa.float32())) for i, of in enumerate(values)},
        **text,
        "norm_bias": norm.column(_FLOAT),
    }


def _path_columns(network: GraphNetwork, layer: PathLayer) -> Mapping[str, pa.Array]:
    own, *pointed = (fold_norm(network.encoder(table).norm) for table in layer.tables)
    root, bias = [own.after(_array(layer.root.weight))], _array(layer.root.bias)
    ages = statistics = None
    if layer.age_map is not None:
        ages = fold_scaling(layer.age_scaling, _array(layer.age_map.weight))
        root, bias = [*root, ages.weight], bias + ages.bias
    convolution, norm = layer.convolution.lin_l, fold_norm(network.norm)
    message, without_rows = [_array(convolution.weight) / 2], _array(convolution.bias)
    message_bias = without_rows
    if layer.statistic_map is not None:
        statistics = fold_scaling(layer.statistic_scaling, _array(layer.statistic_map.weight))
        message, message_bias = [*message, statistics.weight], message_bias + statistics.bias
        without_rows = without_rows + statistics.of(_standardised_zeros(layer.statistic_scaling))
    lookups = {
        f"lookup{i}": _matrix(state.after(_weight(of)), _FLOAT)
        for i, (of, state) in enumerate(zip(layer.lookups, pointed, strict=True))
    }
    return {
        **_scaling_columns(layer.age_scaling, ages, _precision(ages)),
        "root": _matrix(_beside(*root, bias[:, None]), _precision(ages)),
        **lookups,
        **{f"statistics_{k}": v for k, v in _scaling_columns(layer.statistic_scaling, statistics).items()},
        "message": _matrix(norm.before(_beside(*message, message_bias[:, None]))),
        "zeros": _zeros(bias),
        "without_rows": _one(norm.before(without_rows[:, None])[:, 0].tolist(), pa.list_(pa.float64())),
    }


def _head_columns(network: GraphNetwork, head: Head, classes: Classes | None) -> Mapping[str, pa.Array]:
    names = ("first_day", "last_day", "seasonal", "temperature", "label_center", "label_scale", "label_logarithmic")
    scalars = {name: float(getattr(head, name)) for name in names}
    if head.trees is not None:
        scalars["tree_share"] = float(head.trees.tree_share)
        scalars |= {} if head.out.out_features > 1 else {"tree_constant": float(head.trees.constant)}
    norm, channels = fold_norm(network.norm), network.config.channels
    hidden = _array(head.hidden.weight)
    hidden = _beside(norm.after(hidden[:, :channels]), hidden[:, channels:], _array(head.hidden.bias)[:, None])
    out = _beside(_array(head.out.weight) / 2, _array(head.out.bias)[:, None])
    return {
        "constants": _one(scalars, pa.struct([(name, pa.float32()) for name in scalars])),
        "norm_bias": norm.column(),
        "hidden": _matrix(hidden),
        "out": _of_outputs(out.T),
        **(_tree_columns(head.trees) if head.trees is not None else {}),
        **(_class_columns(classes) if classes else {}),
    }


def _class_columns(classes: Classes) -> Mapping[str, pa.Array]:
    """The classes as text, their outputs, shares of them and thresholds, see `relsql.tasks.kinds.classes.Classes`."""
    return {
        "classes": _one(classes.values, pa.list_(pa.string())),
        "class_output": _one((classes.output + 1).tolist(), pa.list_(pa.int32())),
        "class_share": _one(classes.share.tolist(), pa.list_(_DOUBLE)),
        **({"class_threshold": _one(classes.thresholds, pa.list_(_DOUBLE))} if classes.thresholds is not None else {}),
    }


def _tree_columns(trees: BoostedTrees) -> Mapping[str, pa.Array]:
    """The head's trees, see `relsql.nn.boosted_trees`; DuckDB's list positions start at 1."""
    position = pa.int32()
    shares = [
        {"input": place + 1, "lower": lower, "span": span}
        for place, lower, span in zip(trees.input.tolist(), trees.lower.tolist(), trees.span.tolist(), strict=True)
    ]
    pairs = [
        {"left": left + 1, "right": right + 1}
        for left, right in zip(trees.left.tolist(), trees.right.tolist(), strict=True)
    ]
    share = pa.struct([("input", position), ("lower", _DOUBLE), ("span", _DOUBLE)])
    constants = {"tree_constants": _one(trees.constant.tolist(), pa.list_(_DOUBLE))} if trees.outputs > 1 else {}
    return {
        "shares": _one(shares, pa.list_(share)),
        "share_weights": _of_outputs(_array(trees.weight)),
        "pairs": _one(pairs, pa.list_(pa.struct([("left", position), ("right", position)]))),
        "pair_weights": _of_outputs(_array(trees.pair_weight)),
        **constants,
    }


def _of_outputs(weight: Matrix) -> pa.Array:
    """Weights of one output, [inputs] or [inputs, 1], as a list; of several, [inputs, outputs], as a list for each."""
    if weight.ndim == 1 or weight.shape[1] == 1:
        return _one(weight.ravel().tolist(), pa.list_(_DOUBLE))
    return _matrix(weight.T)


@dataclass(frozen=True, slots=True)
class FoldedNorm:
    """A layer norm and the ReLU after it: factors for the maps before and after it, and the bias that remains.

    Attributes:
        sign: float64 [channels], factor for the maps before the norm.
        scale: float64 [channels], factor for the weights that read the states after the ReLU.
        bias: float64 [channels].
    """

    sign: Matrix
    scale: Matrix
    bias: Matrix

    def before(self, weight: Matrix) -> Matrix:
        """Fold the weights of a map into the norm, float64 [channels, inputs]: subtract the channel mean, set signs."""
        result: Matrix = (weight - weight.mean(0, keepdims=True)) * self.sign[:, None]
        return result

    def after(self, weight: Matrix) -> Matrix:
        """Fold the weights of a map that reads states, float64 [outputs, channels]."""
        result: Matrix = weight * self.scale
        return result

    def column(self, kind: pa.DataType = _DOUBLE) -> pa.Array:
        """The bias as a column with one value."""
        return _one(self.bias.tolist(), pa.list_(kind))


def fold_norm(norm: nn.Module) -> FoldedNorm:
    """Fold a layer norm and the ReLU after it, for `exporters.sql.layers.norm_steps`, which computes twice the ReLU."""
    assert isinstance(norm, nn.LayerNorm)
    weight, bias = _array(norm.weight), _array(norm.bias)
    # With a weight of 0 only the bias remains; a tiny weight has the same effect and avoids dividing by 0.
    size = np.maximum(np.abs(weight), TINY_WEIGHT)
    return FoldedNorm(np.where(weight < 0, -1.0, 1.0), size / 2, bias / size)


def fold_scaling(scaling: NumberScaling, weight: Matrix) -> Encoding:
    """A linear map of encoded numbers, float64 [outputs, scaling.width], as a map of distances from edges.

    With s between -5 and 5: s = (|s+5| - |s-5|) / 2, 1 = (|s+5| + |s-5|) / 10, and the share of a bin from l to u that
    lies below s is (|s-l| - |s-u|) / 2(u-l) + 1/2. The distances of a missing number are 0, so its contribution is
    part of the bias. A known number subtracts that contribution again, through its constant term 1.
    """
    count, bins = len(scaling.center), scaling.bins
    linear, missing = weight[:, :count], weight[:, count * (bins + 1) :]
    shares = weight[:, count : count * (bins + 1)].reshape(len(weight), count, bins)
    slopes: dict[tuple[int, float], Matrix] = {}

    def add(number: int, edge: float, slope: Matrix) -> None:
        slopes[number, edge] = slopes.get((number, edge), np.zeros(len(weight))) + slope

    lower, span = _array(scaling.lower), _array(scaling.span)
    for number in range(count):
        known = shares[:, number].sum(1) / 2 - missing[:, number]
        add(number, -CLIP, linear[:, number] / 2 + known / (2 * CLIP))
        add(number, CLIP, -linear[:, number] / 2 + known / (2 * CLIP))
        for position in range(bins):
            start, end = lower[number, position], lower[number, position] + span[number, position]
            if position + 1 < bins and abs(lower[number, position + 1] - end) < SAME_EDGE:
                end = lower[number, position + 1]
            add(number, start, shares[:, number, position] / (2 * (end - start)))
            add(number, end, -shares[:, number, position] / (2 * (end - start)))
    edges = sorted(slopes)
    return Encoding(
        np.array([number for number, _ in edges], dtype=np.int64),
        np.array([edge for _, edge in edges]),
        np.stack([slopes[edge] for edge in edges], axis=1),
        missing.sum(1),
    )


def _precision(encoding: Encoding | None) -> pa.DataType:
    """FLOAT if a map of encoded numbers is precise enough in it, else DOUBLE."""
    precise = encoding is None or np.abs(encoding.weight).sum(1).max() <= LARGEST_FLOAT_SUM
    return _FLOAT if precise else _DOUBLE


def _scaling_columns(
    scaling: NumberScaling, encoding: Encoding | None, kind: pa.DataType = _DOUBLE
) -> Mapping[str, pa.Array]:
    """The columns `scaling` and `edges`; both lists are empty if there is no number."""
    numbers = zip(*(_array(part) for part in (scaling.center, scaling.scale, scaling.logarithmic)), strict=True)
    scalings = [{"center": center, "scale": scale, "logarithmic": log > 0.5} for center, scale, log in numbers]
    # DuckDB's list positions start at 1.
    edges = (
        []
        if encoding is None
        else [{"number": number + 1, "edge": edge} for number, edge in zip(encoding.number, encoding.edge, strict=True)]
    )
    edge = pa.struct([("number", pa.int32()), ("edge", kind)])
    return {"scaling": _one(scalings, _SCALING), "edges": _one(edges, pa.list_(edge))}


def _standardised_zeros(scaling: NumberScaling) -> Matrix:
    """The standardised value of 0 for each number, float64 [width]."""
    result: Matrix = np.clip(-_array(scaling.center) / _array(scaling.scale), -CLIP, CLIP)
    return result


def _struct(columns: Mapping[str, pa.Array]) -> pa.Array:
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _zeros(bias: Matrix) -> pa.Array:
    """A list with one 0 per channel."""
    return _one([0.0] * len(bias), pa.list_(_FLOAT))


def _matrix(weight: Matrix, kind: pa.DataType = _DOUBLE) -> pa.Array:
    """A column with one value: a matrix as a list of rows."""
    return _one(weight.tolist(), pa.list_(pa.list_(kind)))


def _rows(matrices: Mapping[str, tuple[Matrix, pa.DataType]]) -> pa.Array:
    """A column with one value: a list of structs, where struct i holds row i of every matrix."""
    row = pa.struct([(name, pa.list_(kind)) for name, (_, kind) in matrices.items()])
    rows = zip(*(matrix.tolist() for matrix, _ in matrices.values()), strict=True)
    return _one([dict(zip(matrices, values, strict=True)) for values in rows], pa.list_(row))


def _beside(*parts: Matrix) -> Matrix:
    return np.concatenate(parts, axis=1)


def _weight(module: nn.Module) -> Matrix:
    assert isinstance(module, (nn.Linear, nn.Embedding))
    return _array(module.weight)


def _array(tensor: Tensor) -> Matrix:
    result: Matrix = tensor.detach().double().numpy()
    return result


def _one(value: object, kind: pa.DataType) -> pa.Array:
    """A column with one value."""
    return pa.array([value], kind)
