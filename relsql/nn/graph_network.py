"""The graph network: typed node encoders, a two-layer GraphSAGE over gathered rows, and the task head.

Layer 1 passes a message from every looked-up row (a result's team, its race) to the row that points at it. Layer 2
passes a message from the rows of every path to the seed's entity: means over the last 1, 4 and 16 rows, plus plain
statistics of the path. Node states do not depend on as_of: the age of a row is part of the row's message.
Only linear maps, means, comparisons, ReLU, layer norm, concatenation, exp, log and sigmoid are used, because each step
is also written in ONNX (`exporters.onnx.network`) and in SQL (`exporters.sql.network`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv
from torch_geometric.nn.aggr import Aggregation

from relsql.gather.arrays.graph_inputs import GraphInputs, tables_of
from relsql.gather.layout import BlockLayout, category_sizes
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.statistics import mean_windows, values_width
from relsql.nn.row_statistics import RowStatistics
from relsql.nn.scaling import NumberScaling, TextScaling
from relsql.typing import FloatArray

WINDOWS = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network, and the shares of its inputs that training drops at random.

    Attributes:
        channels: width of all states.
        text_widths: widths of the parts of a row text embedding, see `relsql.nn.row_encoder.RowEncoder`.
        dropout: share of channels of messages and entity states that a training step hides.
        hidden_rows: share of gathered rows that a training step hides.
        hidden_categories: share of category values that a training step hides, so that the network can handle unseen
            ones.
        hidden_texts: share of row texts that a training step hides, because plain SQL has no text embedding for new
            rows.
        windows: window sizes; the latest rows within each window are averaged.
    """

    channels: int = 64
    text_widths: tuple[int, ...] = (96,)
    dropout: float = 0.3
    hidden_rows: float = 0.3
    hidden_categories: float = 0.3
    hidden_texts: float = 0.1
    windows: tuple[int, ...] = WINDOWS

    @property
    def text_width(self) -> int:
        """Width of a row text embedding."""
        return sum(self.text_widths)


class TableTensors(NamedTuple):
    """Rows of one table as tensors, see `relsql.gather.arrays.graph_inputs.TableRows`."""

    numbers: Tensor
    categories: Tensor
    texts: Tensor


class PathTensors(NamedTuple):
    """The rows that each seed reads along one path as tensors, see `relsql.gather.arrays.graph_inputs.PathRows`."""

    rows: Tensor
    places: Tensor
    ages: Tensor
    totals: Tensor


@dataclass(frozen=True, slots=True)
class GraphTensors:
    """A batch as tensors, see `relsql.gather.arrays.graph_inputs.GraphInputs`.

    `embeddings` float32 [texts, text_width] holds the embedding of each distinct text; row 0 is zeros.
    """

    embeddings: Tensor
    tables: list[TableTensors]
    paths: list[PathTensors]


class NodeEncoder(nn.Module):
    """Turn a table's static columns and text embedding into a node state.

    Shapes: numbers float32 [n, numbers], categories int64 [n, categories], texts int64 [n], embeddings float32
    [m, text_width] -> float32 [n, channels].
    """

    def __init__(self, inputs: NodeInputs, config: NetworkConfig) -> None:
        super().__init__()
        width = len(inputs.static_numbers)
        self.scaling = NumberScaling(width)
        self.number_map = _linear(self.scaling.width, config.channels)
        self.bias = nn.Parameter(torch.randn(config.channels) * 0.1)
        sizes = category_sizes(inputs)
        self.embeddings = nn.ModuleList(nn.Embedding(size, config.channels, padding_idx=0) for size in sizes)
        for embedding in cast("list[nn.Embedding]", list(self.embeddings)):
            nn.init.normal_(embedding.weight, std=0.1)
            nn.init.zeros_(embedding.weight[0])
        self.text_scaling = TextScaling(config.text_widths)
        self.text_map = _linear(config.text_width, config.channels) if inputs.text_columns else None
        self.norm = nn.LayerNorm(config.channels)
        self.hidden_categories = config.hidden_categories
        self.hidden_texts = config.hidden_texts

    def forward(self, numbers: Tensor, categories: Tensor, texts: Tensor, embeddings: Tensor) -> Tensor:
        """States of rows; the class docstring describes the arguments."""
        if self.number_map is None:
            state = self.bias.expand(numbers.shape[0], -1)
        else:
            state = self.number_map(self.scaling(numbers)) + self.bias
        for i, embedding in enumerate(self.embeddings):
            codes = categories[:, i]
            if self.training:
                codes = codes * (torch.rand(codes.shape) >= self.hidden_categories)
            state = state + embedding(codes)
        if self.text_map is not None:
            # Projected before it is copied to rows, because a batch has fewer texts than rows.
            text_state = spread(self.text_map(self.text_scaling(embeddings)), texts)
            if self.training:
                text_state = text_state * (torch.rand(text_state.shape[0], 1) >= self.hidden_texts)
            state = state + text_state
        return torch.relu(self.norm(state))


class RecencyWindows(Aggregation):  # type: ignore[misc]  # torch_geometric has no types
    """Mean over the last w rows for several w, concatenated.

    `index` holds, for each seed and recency rank, the position of the row + 1, or 0 if there is no row. Shapes: x
    float32 [rows, channels], index int64 [seeds, fanout] -> float32 [seeds, len(windows) * channels]. A seed without
    rows gets zeros. In training a share of the rows is left out of every mean.
    """

    within: Tensor

    def __init__(self, fanout: int, windows: tuple[int, ...], hidden_rows: float = 0.0) -> None:
        super().__init__()
        self.fanout = fanout
        self.windows = mean_windows(fanout, windows)
        self.hidden_rows = hidden_rows
        within = torch.tensor([[float(rank < window) for rank in range(fanout)] for window in self.windows])
        self.register_buffer("within", within)

    def width(self, channels: int) -> int:
        """Number of output channels."""
        return len(self.windows) * channels

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """Means over the windows; `index` is required, and the arguments after it are unused."""
        assert index is not None
        present = (index > 0).to(x.dtype)
        if self.training and self.hidden_rows:
            kept = (torch.rand(x.shape[0], 1) >= self.hidden_rows).to(x.dtype)
            present = spread(with_absent(kept), index).squeeze(2)
        rows = spread(with_absent(x), index)
        if self.fanout == 1:
            return rows.squeeze(1) * present
        weights = present.unsqueeze(1) * self.within
        means = weights / torch.clamp(weights.sum(2, keepdim=True), min=1.0)
        return (means @ rows).flatten(1)


class BlockSAGEConv(SAGEConv):  # type: ignore[misc]
    """GraphSAGE convolution (Hamilton et al. 2017, arXiv 1706.02216, section 3) on a block of gathered rows.

    The edges of a block run from its rows to the seeds that have them, one edge per row. Gathering messages is thus the
    identity, and only the aggregate and update steps of `SAGEConv` remain.
    """

    def __init__(self, fanout: int, config: NetworkConfig) -> None:
        aggregation = RecencyWindows(fanout, config.windows, config.hidden_rows)
        sizes = (aggregation.width(config.channels), config.channels)
        super().__init__(sizes, config.channels, aggr=aggregation, root_weight=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Rows float32 [rows, channels], places int64 [seeds, fanout] -> messages float32 [seeds, channels]."""
        # Without dim_size PyG searches for the largest index.
        message: Tensor = self.lin_l(self.dropout(self.aggr_module(x, places, dim_size=places.shape[0])))
        return message


class PathLayer(nn.Module):
    """The steps of one path: messages from looked-up rows to its rows, from its rows to the seed, and its statistics.

    The statistics are counts of rows, and averages of the rows' own numbers and ages over the windows. They bypass the
    hidden layers, because a small network is slow to learn such plain averages from hidden states.

    Attributes:
        chosen: int64 [chosen], positions of the statistics that follow the message in the output, see
            `relsql.gather.statistics.path_statistics`; the head's trees read them. None are chosen while the network is
            trained.
    """

    chosen: Tensor

    def __init__(self, layout: BlockLayout, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.channels
        self.tables = [segment.inputs.table for segment in layout.segments]
        self.root = nn.Linear(channels, channels)
        self.lookups = nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in layout.segments[1:])
        self.age_scaling = NumberScaling(layout.ages_width)
        self.age_map = _linear(self.age_scaling.width, channels)
        self.convolution = BlockSAGEConv(layout.fanout, config)
        self.averages = RecencyWindows(layout.fanout, config.windows)
        self.statistic_scaling = NumberScaling(layout.counts_width + self.averages.width(values_width(layout)))
        self.statistic_map = _linear(self.statistic_scaling.width, channels)
        self.more_statistics = RowStatistics(layout)
        self.register_buffer("chosen", torch.zeros(0, dtype=torch.int64), persistent=False)

    def forward(self, nodes: dict[str, Tensor], numbers: Tensor, reading: PathTensors) -> Tensor:
        """Messages to the seeds, then the chosen statistics, float32 [seeds, channels + chosen].

        Args:
            nodes: states of every table's rows; state 0 is that of an absent row.
            numbers: standardised numbers of the rows of the path's own table, in the same order.
            reading: the rows that each seed reads.
        """
        # Transformed before it is copied to the readers, because many seeds read the same row.
        state = spread(self.root(nodes[self.tables[0]]), reading.rows[0])
        for i, transform in enumerate(self.lookups, start=1):
            state = state + spread(transform(nodes[self.tables[i]]), reading.rows[i])
        if self.age_map is not None:
            state = state + self.age_map(self.age_scaling(reading.ages))
        message: Tensor = self.convolution(torch.relu(state), reading.places)
        values = self._values(numbers, reading)
        plain = self._plain_statistics(values, reading)
        if self.statistic_map is not None:
            message = message + self.statistic_map(self.statistic_scaling(plain))
        if not len(self.chosen):
            return message
        return torch.cat([message, self._with_more(plain, values, reading).index_select(1, self.chosen)], dim=1)

    def statistics(self, numbers: Tensor, reading: PathTensors) -> Tensor:
        """The statistics that the network reads, float32 [seeds, statistics]; `forward` describes the arguments."""
        return self._plain_statistics(self._values(numbers, reading), reading)

    def all_statistics(self, numbers: Tensor, reading: PathTensors) -> Tensor:
        """All statistics, float32 [seeds, statistics], in the order of `relsql.gather.statistics.path_statistics`."""
        values = self._values(numbers, reading)
        return self._with_more(self._plain_statistics(values, reading), values, reading)

    def _values(self, numbers: Tensor, reading: PathTensors) -> Tensor:
        return torch.cat([spread(numbers, reading.rows[0]), self.age_scaling.standardised(reading.ages)], dim=1)

    def _plain_statistics(self, values: Tensor, reading: PathTensors) -> Tensor:
        averages = self.averages(values, reading.places, dim_size=reading.places.shape[0])
        return torch.cat([torch.log1p(reading.totals), averages], dim=1)

    def _with_more(self, plain: Tensor, values: Tensor, reading: PathTensors) -> Tensor:
        more = self.more_statistics(with_absent(values), with_absent(reading.ages[:, :1]), reading.places)
        return torch.cat([plain, more], dim=1)


class GraphNetwork(nn.Module):
    """Computes the entity state of each seed from its gathered rows."""

    def __init__(self, layouts: tuple[BlockLayout, ...], config: NetworkConfig) -> None:
        super().__init__()
        self.layouts = layouts
        self.config = config
        inputs = tables_of(layouts)
        self.tables = [table.table for table in inputs]
        self.encoders = nn.ModuleList(NodeEncoder(table, config) for table in inputs)
        self.paths = nn.ModuleList(PathLayer(layout, config) for layout in layouts)
        self.norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)

    def encoder(self, table: str) -> NodeEncoder:
        """The node encoder of a table."""
        module = self.encoders[self.tables.index(table)]
        assert isinstance(module, NodeEncoder)
        return module

    def path(self, position: int) -> PathLayer:
        """The layer of a path."""
        module = self.paths[position]
        assert isinstance(module, PathLayer)
        return module

    def choose_statistics(self, chosen: Mapping[str, Sequence[int]]) -> None:
        """Add statistics to the output, by path, for the head's trees; see `PathLayer.chosen`."""
        for position, layout in enumerate(self.layouts):
            self.path(position).chosen = torch.tensor(chosen.get(layout.name, ()), dtype=torch.int64)

    @property
    def chosen_statistics(self) -> dict[str, tuple[int, ...]]:
        """The chosen statistics by path, as `choose_statistics` takes them; paths without any are left out."""
        chosen = {layout.name: self.path(i).chosen for i, layout in enumerate(self.layouts)}
        return {name: tuple(positions.tolist()) for name, positions in chosen.items() if len(positions)}

    def message_width(self, position: int) -> int:
        """Width of the messages of a path, with its chosen statistics."""
        return self.config.channels + len(self.path(position).chosen)

    @property
    def state_width(self) -> int:
        """Width of the entity states, with all chosen statistics."""
        return self.config.channels + sum(len(self.path(i).chosen) for i in range(len(self.layouts)))

    def all_statistics(self, batch: GraphTensors) -> Tensor:
        """All statistics of all paths, float32 [seeds, statistics], see `PathLayer.all_statistics`."""
        numbers = self.standardised_numbers(batch)
        parts = [
            self.path(i).all_statistics(numbers[layout.segments[0].inputs.table], reading)
            for i, (layout, reading) in enumerate(zip(self.layouts, batch.paths, strict=True))
        ]
        return torch.cat(parts, dim=1)

    def forward(self, batch: GraphTensors) -> Tensor:
        """Entity states of a batch, float32 [seeds, channels + chosen statistics]."""
        return self.states(self.messages(batch))

    def messages(self, batch: GraphTensors) -> list[Tensor]:
        """The messages of every path to the seeds, float32 [seeds, channels + chosen statistics of the path] each."""
        encoded = (
            encoder(*table, batch.embeddings) for encoder, table in zip(self.encoders, batch.tables, strict=True)
        )
        nodes = {table: with_absent(state) for table, state in zip(self.tables, encoded, strict=True)}
        numbers = self.standardised_numbers(batch)
        return [
            layer(nodes, numbers[layout.segments[0].inputs.table], reading)
            for layer, layout, reading in zip(self.paths, self.layouts, batch.paths, strict=True)
        ]

    def states(self, messages: list[Tensor]) -> Tensor:
        """Entity states and chosen statistics from the messages of all paths in order; see `forward`."""
        channels = self.config.channels
        total = messages[0][:, :channels]
        for message in messages[1:]:
            total = total + message[:, :channels]
        result: Tensor = self.dropout(torch.relu(self.norm(total)))
        statistics = [m[:, channels:] for i, m in enumerate(messages) if len(self.path(i).chosen)]
        return torch.cat([result, *statistics], dim=1) if statistics else result

    def standardised_numbers(self, batch: GraphTensors) -> dict[str, Tensor]:
        """The standardised static numbers of every table's rows; the first row is the absent one."""
        return {
            name: with_absent(self.encoder(name).scaling.standardised(table.numbers))
            for name, table in zip(self.tables, batch.tables, strict=True)
        }


def with_absent(rows: Tensor) -> Tensor:
    """Prepend a row of zeros, which represents an absent row."""
    return nn.functional.pad(rows, (0, 0, 1, 0))


def spread(rows: Tensor, positions: Tensor) -> Tensor:
    """The rows at the given positions; computed as an embedding, whose gradient is faster than that of indexing."""
    return nn.functional.embedding(positions, rows)


def _linear(inputs: int, outputs: int) -> nn.Linear | None:
    """A linear map without bias, or None where there is no input."""
    return nn.Linear(inputs, outputs, bias=False) if inputs else None


def graph_tensors(inputs: GraphInputs, embeddings: FloatArray) -> GraphTensors:
    """Convert arrays to tensors without copying; `embeddings` belong to the texts of `inputs.text_ids`."""
    return GraphTensors(
        torch.from_numpy(embeddings),
        [
            TableTensors(*(torch.from_numpy(part) for part in (table.numbers, table.categories, table.texts)))
            for table in inputs.tables
        ],
        [
            PathTensors(*(torch.from_numpy(part) for part in (path.rows, path.places, path.ages, path.totals)))
            for path in inputs.paths
        ],
    )
