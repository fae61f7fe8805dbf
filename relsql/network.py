"""The graph network: typed node encoders, a two-layer GraphSAGE over gathered rows, and the task head.

Layer 1 carries a message from every looked-up row (a result's team, its race) into the row that points at it; layer 2
carries a message from the rows of every path into the seed's entity, as means over the last 4 and the last 16 of them.
Only linear maps, means, comparisons, ReLU, layer norm, concatenation, log and sigmoid are used: all of them export to
ONNX and can be written in SQL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv
from torch_geometric.nn.aggr import Aggregation

from relsql.blocks import BlockLayout, category_sizes, tables_of
from relsql.features import NodeInputs

WINDOWS = (4, 16)
CLIP = 5.0
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network."""

    channels: int = 64
    text_width: int = 96
    dropout: float = 0.3
    windows: tuple[int, ...] = WINDOWS


@dataclass(frozen=True, slots=True)
class GraphTensors:
    """A batch as tensors, see `relsql.blocks.GraphInputs`.

    `embeddings` float32 [texts, text_width] holds the embedding of each distinct text, row 0 zeros; `numbers`,
    `categories` and `texts` have one tensor per table, `rows` and `slots` one per path.
    """

    embeddings: Tensor
    numbers: list[Tensor]
    categories: list[Tensor]
    texts: list[Tensor]
    rows: list[Tensor]
    slots: list[Tensor]


class NodeEncoder(nn.Module):
    """Turn a table's typed columns and text embedding into a node state.

    Shapes: numbers float32 [n, numbers], categories int64 [n, categories], texts int64 [n], embeddings float32
    [m, text_width] -> float32 [n, channels]. A number is standardised by the statistics of `fit`, on a signed log
    scale when it is heavy-tailed, and clipped; a missing one is 0 beside a missing flag.
    """

    center: Tensor
    scale: Tensor
    logarithmic: Tensor

    def __init__(self, inputs: NodeInputs, config: NetworkConfig) -> None:
        super().__init__()
        width = len(inputs.numbers)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("logarithmic", torch.zeros(width))
        self.number_map = nn.Linear(2 * width, config.channels) if width else None
        self.bias = nn.Parameter(torch.randn(config.channels) * 0.1)
        sizes = category_sizes(inputs)
        self.embeddings = nn.ModuleList(nn.Embedding(size, config.channels, padding_idx=0) for size in sizes)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.1)  # type: ignore[arg-type]
        self.text_map = nn.Linear(config.text_width, config.channels, bias=False) if inputs.text_columns else None
        self.norm = nn.LayerNorm(config.channels)
        self.dropout = config.dropout

    @torch.no_grad()
    def fit(self, numbers: Tensor) -> None:
        """Take the standardisation statistics from training rows, float32 [n, numbers], NaN = missing."""
        for i in range(numbers.shape[1]):
            values = numbers[:, i][torch.isfinite(numbers[:, i])].double()
            if len(values) == 0:
                continue
            spread = torch.quantile(values[:100_000], torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
            heavy = (values - spread[1]).abs().max() > 20 * torch.clamp(spread[2] - spread[0], min=1e-9)
            self.logarithmic[i] = float(heavy)
            if heavy:
                values = torch.sign(values) * torch.log1p(values.abs())
            self.center[i] = values.mean()
            deviation = values.std(unbiased=False)
            self.scale[i] = deviation if deviation > 1e-6 else 1.0

    def forward(self, numbers: Tensor, categories: Tensor, texts: Tensor, embeddings: Tensor) -> Tensor:
        """States of rows; the arguments are those of the class's docstring."""
        state = self.bias.expand(numbers.shape[0], -1)
        if self.number_map is not None:
            state = state + self.number_map(self._standardised(numbers))
        for i, embedding in enumerate(self.embeddings):
            codes = categories[:, i]
            if self.training:
                # Some values are hidden, so that code 0 is known to the network when it meets unseen ones.
                codes = codes * (torch.rand(codes.shape) >= self.dropout)
            state = state + embedding(codes)
        if self.text_map is not None:
            # Projected before it is spread over rows: a batch has far fewer texts than rows.
            state = state + self.text_map(embeddings)[texts]
        return torch.relu(self.norm(state))

    def _standardised(self, numbers: Tensor) -> Tensor:
        """Standardised numbers and missing flags side by side, float32 [n, 2 * numbers]."""
        missing = torch.isnan(numbers)
        known = torch.where(missing, torch.zeros_like(numbers), numbers)
        signed_log = torch.sign(known) * torch.log1p(torch.abs(known))
        scaled = torch.where(self.logarithmic > 0.5, signed_log, known)
        scaled = torch.clamp((scaled - self.center) / self.scale, -CLIP, CLIP)
        flags = missing.to(numbers.dtype)
        return torch.cat([scaled * (1 - flags), flags], dim=1)


class RecencyWindows(Aggregation):  # type: ignore[misc]  # torch_geometric has no types
    """Mean over the last w rows, for several w, side by side, and the logarithm of the number of rows.

    `index` is the slot of each row: seed * fanout + recency rank. Shapes: x float32 [rows, channels], index int64
    [rows] -> float32 [dim_size, len(windows) * channels + 1]. A seed without rows gets zeros.
    """

    within: Tensor

    def __init__(self, fanout: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.fanout = fanout
        self.windows = tuple(sorted({min(window, fanout) for window in windows}))
        within = torch.tensor([[float(rank < window) for rank in range(fanout)] for window in self.windows])
        self.register_buffer("within", within)

    def width(self, channels: int) -> int:
        """Number of output channels."""
        return len(self.windows) * channels + 1

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """Means over the windows; `index` and `dim_size` are required, the other arguments unused."""
        assert index is not None and dim_size is not None
        slots = dim_size * self.fanout
        rows = x.new_zeros(slots, x.shape[1]).index_copy(0, index, x).view(dim_size, self.fanout, x.shape[1])
        mask = x.new_zeros(slots).index_copy(0, index, x.new_ones(x.shape[0])).view(dim_size, 1, self.fanout)
        weights = mask * self.within
        means = weights / torch.clamp(weights.sum(2, keepdim=True), min=1.0)
        return torch.cat([(means @ rows).flatten(1), torch.log1p(mask.sum(2))], dim=1)


class BlockSAGEConv(SAGEConv):  # type: ignore[misc]
    """GraphSAGE convolution (Hamilton et al. 2017, arXiv 1706.02216, section 3) on a block of gathered rows.

    A block's edges run from row i to seed `slot[i] // fanout`, one edge a row: gathering messages is the identity, so
    that only the aggregate and update steps of `SAGEConv` remain.
    """

    def __init__(self, channels: int, fanout: int, windows: tuple[int, ...]) -> None:
        aggregation = RecencyWindows(fanout, windows)
        super().__init__((aggregation.width(channels), channels), channels, aggr=aggregation, root_weight=False)

    def forward(self, x: Tensor, slot: Tensor, seeds: int) -> Tensor:
        """Rows float32 [rows, channels] and slots int64 [rows] -> messages float32 [seeds, channels]."""
        message: Tensor = self.lin_l(self.aggr_module(x, slot, dim_size=seeds))
        return message


class GraphNetwork(nn.Module):
    """Entity state of each seed from its gathered rows."""

    def __init__(self, layouts: tuple[BlockLayout, ...], config: NetworkConfig) -> None:
        super().__init__()
        self.layouts = layouts
        self.config = config
        inputs = tables_of(layouts)
        self.tables = [table.table for table in inputs]
        channels = config.channels
        self.encoders = nn.ModuleList(NodeEncoder(table, config) for table in inputs)
        self.row_root = nn.ModuleList(nn.Linear(channels, channels) for _ in layouts)
        self.row_lookup = nn.ModuleList(
            nn.ModuleList(nn.Linear(channels, channels, bias=False) for _ in layout.segments[1:]) for layout in layouts
        )
        self.entity_root = nn.Linear(channels, channels)
        self.convolutions = nn.ModuleList(BlockSAGEConv(channels, x.fanout, config.windows) for x in layouts[1:])
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(config.dropout)

    def encoder(self, table: str) -> NodeEncoder:
        """The node encoder of a table."""
        module = self.encoders[self.tables.index(table)]
        assert isinstance(module, NodeEncoder)
        return module

    def forward(self, batch: GraphTensors, seeds: int) -> Tensor:
        """Entity states of a batch of `seeds` seeds, float32 [seeds, channels]."""
        # State 0 of every table stands for a row that is absent.
        nodes = [
            nn.functional.pad(encoder(numbers, categories, texts, batch.embeddings), (0, 0, 1, 0))
            for encoder, numbers, categories, texts in zip(
                self.encoders, batch.numbers, batch.categories, batch.texts, strict=True
            )
        ]
        states = [self._rows(i, rows, nodes) for i, rows in enumerate(batch.rows)]
        entity = states[0].new_zeros(seeds, self.config.channels).index_copy(0, batch.slots[0], states[0])
        total: Tensor = self.entity_root(entity)
        for convolution, state, slot in zip(self.convolutions, states[1:], batch.slots[1:], strict=True):
            total = total + convolution(state, slot, seeds)
        result: Tensor = self.dropout(torch.relu(self.norm(total)))
        return result

    def _rows(self, path: int, rows: Tensor, nodes: list[Tensor]) -> Tensor:
        """Layer 1: the rows' own states, joined by the states of the rows they point at."""
        segments = self.layouts[path].segments
        own, *lookups = (nodes[self.tables.index(segment.inputs.table)][rows[i]] for i, segment in enumerate(segments))
        total: Tensor = self.row_root[path](own)
        for transform, state in zip(cast(nn.ModuleList, self.row_lookup[path]), lookups, strict=True):
            total = total + transform(state)
        result: Tensor = self.dropout(torch.relu(total))
        return result


class Head(nn.Module):
    """From entity state and prediction time to the score.

    `forward` returns the raw output (logit, or standardised value); `score` the calibrated probability or the value in
    the label's unit. Time enters as a share of the training range, clipped to it, and as the season of the year when
    training spans more than two years.
    """

    first_day: Tensor
    last_day: Tensor
    seasonal: Tensor
    temperature: Tensor
    label_center: Tensor
    label_scale: Tensor

    def __init__(self, config: NetworkConfig, *, classification: bool) -> None:
        super().__init__()
        self.classification = classification
        self.register_buffer("first_day", torch.zeros(()))
        self.register_buffer("last_day", torch.ones(()))
        self.register_buffer("seasonal", torch.zeros(()))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("label_center", torch.zeros(()))
        self.register_buffer("label_scale", torch.ones(()))
        self.hidden = nn.Linear(config.channels + 3, config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.channels, 1)

    @torch.no_grad()
    def fit(self, as_of_days: Tensor, labels: Tensor) -> None:
        """Take time range and label statistics from the training seeds; both float32 [seeds]."""
        self.first_day.copy_(as_of_days.min())
        self.last_day.copy_(torch.maximum(as_of_days.max(), as_of_days.min() + 1))
        self.seasonal.fill_(float(self.last_day - self.first_day > 2 * DAYS_PER_YEAR))
        if self.classification:
            rate = labels.mean().clamp(1e-3, 1 - 1e-3)
            self.out.bias.fill_(float(torch.logit(rate)))
        else:
            self.label_center.copy_(labels.mean())
            self.label_scale.copy_(labels.std(unbiased=False).clamp(min=1e-6))
            self.out.bias.zero_()

    def forward(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Entity state float32 [seeds, channels], as_of in days since 1970 float32 [seeds] -> float32 [seeds]."""
        progress = torch.clamp((as_of_days - self.first_day) / (self.last_day - self.first_day), 0.0, 1.0)
        angle = as_of_days * (2 * math.pi / DAYS_PER_YEAR)
        time = torch.stack([progress, torch.sin(angle) * self.seasonal, torch.cos(angle) * self.seasonal], dim=1)
        hidden = self.dropout(torch.relu(self.hidden(torch.cat([state, time], dim=1))))
        raw: Tensor = self.out(hidden).squeeze(1)
        return raw

    def score(self, state: Tensor, as_of_days: Tensor) -> Tensor:
        """Like `forward`, calibrated: a probability, or a value in the label's unit."""
        raw = self.forward(state, as_of_days)
        if self.classification:
            return torch.sigmoid(raw / self.temperature)
        return raw * self.label_scale + self.label_center
