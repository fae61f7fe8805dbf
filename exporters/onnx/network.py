"""The graph network in ONNX: the steps of `relsql.nn.graph_network`, in their order.

As there, row 0 of a table or a path stands for an absent row. `exporters.onnx.export` describes inputs and outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from exporters.onnx.graph import OnnxGraph, Port
from exporters.onnx.layers import as_rows, mapped, row_statistics, standardised, text_states, with_absent
from relsql.gather.arrays.graph_inputs import (
    EXPLAINED,
    message_input_name,
    path_component,
    path_input_names,
    table_input_names,
)
from relsql.gather.layout import BlockLayout
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.statistics import values_width
from relsql.nn.graph_network import GraphNetwork, NodeEncoder, PathLayer, RecencyWindows
from relsql.registry.components.component_checks import FLOAT, Tensor, graph_inputs_of


@dataclass(frozen=True, slots=True)
class _TableRows:
    """The rows of a table: their states, and their standardised numbers, or None if the table has no numbers."""

    states: str
    numbers: str | None


@dataclass(frozen=True, slots=True)
class _Reading:
    """Which rows of a path each seed reads.

    Attributes:
        places: int64 [seeds, fanout], see `relsql.gather.arrays.graph_inputs.PathRows`.
        present: float32 [seeds, fanout], 1 where there is a row.
        weights: float32 [seeds, windows, fanout], the weight of each row in each mean; None if the fanout is 1.
        windows: number of windows.
    """

    places: str
    present: str
    weights: str | None
    windows: int


@dataclass(frozen=True, slots=True)
class _PathRows:
    """The rows of a path before they are averaged.

    Attributes:
        states: float32 [1 + rows, channels].
        values: float32 [1 + rows, values], standardised, see `relsql.gather.statistics.Statistic`; None if a row
            has no values.
        ages: float32 [1 + rows, ages]; None if the path has no ages.
    """

    states: str
    values: str | None
    ages: str | None


def graph_components(network: GraphNetwork, embedding_width: int) -> dict[str, bytes]:
    """The components of the network by name.

    These are `graph.onnx`, one for each path that scoring or explanations compute apart, and `EXPLAINED` if
    explanations compute more of them apart than scoring does.
    """
    apart = [layout.name for layout in network.layouts if layout.grouped]
    shared = [layout.name for layout in network.layouts if layout.shared]
    components = {"graph.onnx": _Component(network, embedding_width, shared).states()}
    for position, layout in enumerate(network.layouts):
        if layout.grouped:
            components[path_component(layout.name)] = _Component(network, embedding_width, apart).messages(position)
    if apart != shared:
        components[EXPLAINED] = _Component(network, embedding_width, apart).states()
    return components


class _Component:
    """One component of the network; `apart` are the paths whose messages are computed by components of their own."""

    def __init__(self, network: GraphNetwork, embedding_width: int, apart: Sequence[str]) -> None:
        self.network = network
        self.channels = network.config.channels
        self.graph = OnnxGraph(network, "network.")
        self.apart = {x.name: network.message_width(i) for i, x in enumerate(network.layouts) if x.name in apart}
        self.inputs = graph_inputs_of(network.layouts, embedding_width, self.apart)
        self._tables: dict[str, _TableRows] = {}

    def states(self) -> bytes:
        """`GraphNetwork.states`; the messages that are computed apart are inputs."""
        graph = self.graph
        parts = [
            self._given_message(layout) if layout.name in self.apart else self._message(position)
            for position, layout in enumerate(self.network.layouts)
        ]
        total = parts[0][0]
        for message, *_ in parts[1:]:
            total = graph.op("Add", total, message)
        state = graph.op("Relu", graph.layer_norm(total, self.network.norm))
        graph.concat([state, *(chosen for _, *statistics in parts for chosen in statistics)], axis=1)
        return self._finished(Port(Tensor("state", FLOAT, (None, self.network.state_width)), ("seeds",)))

    def messages(self, position: int) -> bytes:
        """The messages of a path that are computed apart, with its chosen statistics."""
        name = self.network.layouts[position].name
        self.graph.concat(self._message(position), axis=1)
        output = Tensor(f"message of {name}", FLOAT, (None, self.apart[name]))
        return self._finished(Port(output, (self._axis(f"path {name}.places"),)))

    def _finished(self, output: Port) -> bytes:
        return self.graph.component([Port(x, (self._axis(x.name),)) for x in self.inputs], output)

    def _axis(self, name: str) -> str:
        """The name of the axis of an input whose length depends on the batch."""
        owner, _, kind = name.rpartition(".")
        if kind in ("numbers", "categories", "texts"):
            return f"rows of table {owner}"
        if kind in ("rows", "ages"):
            return f"rows of {owner}"
        if kind in ("places", "totals") and owner.removeprefix("path ") in self.apart:
            return f"hubs of {owner}"
        return "seeds" if owner else "texts"

    def _given_message(self, layout: BlockLayout) -> list[str]:
        """The messages of the seeds, and the chosen statistics if there are any."""
        name, width = message_input_name(layout.name), self.apart[layout.name]
        if width == self.channels:
            return [name]
        ends = (0, self.channels, width)
        return [self.graph.slice(name, start, end, axis=1) for start, end in itertools.pairwise(ends)]

    def _message(self, position: int) -> list[str]:
        """`PathLayer.forward`: the messages of a path, and the chosen statistics if there are any."""
        graph, layer, layout = self.graph, self.network.path(position), self.network.layouts[position]
        given = _by_kind(path_input_names(layout))
        rows, reading = self._path_rows(layer, layout, given), _reading(graph, layer.averages, given["places"])
        hidden = graph.gather(rows.states, reading.places)
        message = graph.linear(_averages(graph, hidden, reading, self.channels), layer.convolution.lin_l)
        width, values = values_width(layout), None
        plain = [graph.log1p(given["totals"])] if layout.counts_width else []
        if rows.values is not None:
            values = graph.gather(rows.values, reading.places)
            plain.append(_averages(graph, values, reading, width))
        if layer.statistic_map is None:
            return [message]
        statistics = graph.concat(plain, axis=1)
        scaled = standardised(graph, layer.statistic_scaling, statistics)
        message = mapped(graph, layer.statistic_scaling, scaled, layer.statistic_map, message)
        if not len(layer.chosen):
            return [message]
        more = []
        if values is not None:
            ages = None if rows.ages is None else graph.gather(graph.gather(rows.ages, 0, axis=1), reading.places)
            more = row_statistics(graph, layer.more_statistics, values, ages, reading.present, width)
        return [message, graph.gather(graph.concat([statistics, *more], axis=1), layer.chosen, axis=1)]

    def _path_rows(self, layer: PathLayer, layout: BlockLayout, given: dict[str, str]) -> _PathRows:
        """The rows of a path, with the messages of the rows that they point at."""
        graph = self.graph
        tables = [self._table(segment.inputs) for segment in layout.segments]
        positions = graph.op("Pad", given["rows"], [0, 1, 0, 0])
        at = [graph.gather(positions, i, axis=0) for i in range(len(tables))]
        maps = [layer.root, *cast("list[nn.Linear]", list(layer.lookups))]
        # Transformed before they are copied to the readers, because many seeds read the same row.
        states = [
            graph.gather(graph.linear(table.states, linear), rows)
            for table, linear, rows in zip(tables, maps, at, strict=True)
        ]
        total, ages = states[0], None
        for state in states[1:]:
            total = graph.op("Add", total, state)
        values = [] if tables[0].numbers is None else [graph.gather(tables[0].numbers, at[0])]
        if layer.age_map is not None:
            ages = with_absent(graph, given["ages"])
            scaled = standardised(graph, layer.age_scaling, ages)
            total = mapped(graph, layer.age_scaling, scaled, layer.age_map, total)
            values.append(as_rows(graph, scaled))
        joined = graph.concat(values, axis=1) if values else None
        return _PathRows(graph.op("Relu", total), joined, ages)

    def _table(self, inputs: NodeInputs) -> _TableRows:
        """The rows of a table, which several paths may read."""
        if inputs.table not in self._tables:
            self._tables[inputs.table] = self._encoded(self.network.encoder(inputs.table), inputs)
        return self._tables[inputs.table]

    def _encoded(self, encoder: NodeEncoder, inputs: NodeInputs) -> _TableRows:
        """`NodeEncoder.forward`, and `GraphNetwork.standardised_numbers`."""
        graph, given, numbers = self.graph, _by_kind(table_input_names(inputs)), None
        if encoder.number_map is None:
            rows = graph.op("Shape", given["numbers"], start=0, end=1)
            state = graph.op("Expand", encoder.bias, graph.op("Concat", rows, [self.channels], axis=0))
        else:
            scaled = standardised(graph, encoder.scaling, given["numbers"])
            state = mapped(graph, encoder.scaling, scaled, encoder.number_map, encoder.bias)
            numbers = with_absent(graph, as_rows(graph, scaled))
        for i, embedding in enumerate(cast("list[nn.Embedding]", list(encoder.embeddings))):
            codes = graph.gather(given["categories"], i, axis=1)
            state = graph.op("Add", state, graph.gather(embedding.weight, codes))
        if encoder.text_map is not None:
            # Projected before it is copied to rows, because a batch has fewer texts than rows.
            texts = text_states(graph, encoder.text_scaling, encoder.text_map, "embeddings")
            state = graph.op("Add", state, graph.gather(texts, given["texts"]))
        state = graph.op("Relu", graph.layer_norm(state, encoder.norm))
        return _TableRows(with_absent(graph, state), numbers)


def _reading(graph: OnnxGraph, windows: RecencyWindows, places: str) -> _Reading:
    """The weights of `RecencyWindows`."""
    present = graph.mask(graph.op("Greater", places, 0))
    weights = None
    if windows.fanout > 1:
        inside = graph.op("Mul", graph.op("Unsqueeze", present, [1]), windows.within)
        weights = graph.op("Div", inside, graph.op("Clip", graph.op("ReduceSum", inside, [2], keepdims=1), 1.0))
    return _Reading(places, present, weights, len(windows.windows))


def _averages(graph: OnnxGraph, rows: str, reading: _Reading, width: int) -> str:
    """`RecencyWindows.forward` of the rows that each seed reads, float32 [seeds, fanout, width]."""
    if reading.weights is None:
        return graph.op("Mul", graph.op("Squeeze", rows, [1]), reading.present)
    return graph.op("Reshape", graph.op("MatMul", reading.weights, rows), [-1, reading.windows * width])


def _by_kind(names: Sequence[str]) -> dict[str, str]:
    """Names of inputs by their last part, such as `numbers` or `places`."""
    return {name.rpartition(".")[2]: name for name in names}
