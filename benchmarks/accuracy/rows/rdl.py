"""RDL: the GraphSAGE of the RelBench example, on the temporal sampler of `benchmarks.accuracy.graph.data`.

Kept from the published recipe (Robinson et al., RelBench, arXiv 2407.20060): typed column encoders by table, relative
time of every node added to its features, two layers of `HeteroConv` over `SAGEConv` with sum aggregation, 128
channels, layer norm, a linear head, Adam with learning rate 0.005, batches of 512 seeds, 10 epochs of which the best
on validation is kept, training labels only.

What differs, and why:

- 32 and 8 neighbours per edge type in the two hops instead of 128, also drawn uniformly, and at most 20,480 random
  seeds per epoch, so that it runs on a CPU.
- Row encoders have one residual block instead of four (torch_frame's ResNet). Texts are means of fixed random word
  vectors instead of GloVe, which needs a download.
- Layers compute only the nodes that reach a seed; the result is the same.
- Regression labels are centred and scaled, which for an L1 loss only changes the effective learning rate.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, PositionalEncoding, SAGEConv

from benchmarks.accuracy.graph.data import (
    ALWAYS,
    MICROSECONDS_PER_DAY,
    FloatArray,
    Seeds,
    category_sizes,
    find_seeds,
    fit_columns,
    load_graph,
    microseconds,
)
from benchmarks.accuracy.graph.sampling import EdgeType, IntArray
from benchmarks.accuracy.graph.training import Schedule, Scores, Target, fit_best_epoch, score
from benchmarks.data.problems import Problem
from relsql.gather.node_inputs import NodeInputs
from relsql.nn.row_encoder import local_seed
from relsql.tasks.entity import entity_table
from relsql.tasks.splits import SPLITS, Split
from relsql.text.row_text import units

WORD_WIDTH = 64
WORD_BUCKETS = 4_096
CLIP = 10.0
"""Standardised numbers are clipped to this absolute value."""

SCHEDULE = Schedule(epochs=10, batch_size=512, learning_rate=0.005, max_steps=40)

_PERIODS = (365.2425, 7.0, 1.0)


@dataclass(frozen=True)
class Rdl:
    """The row "RDL" of the benchmark; the arguments are those of the recipe above.

    Attributes:
        channels: width of the network.
        fanouts: neighbours per edge type, by hop; as many layers.
        schedule: of training.
        name: as printed.
    """

    channels: int = 128
    fanouts: tuple[int, ...] = (32, 8)
    schedule: Schedule = SCHEDULE
    name: str = "RDL (PyG GraphSAGE)"

    def scores(self, problem: Problem, seed: int) -> dict[Split, Scores]:
        """Train on the training labels and score the labels of val and test; see `benchmarks.accuracy.rows`."""
        with local_seed(seed):
            seeds, inputs = load_seeds(problem)
            until = problem.task.val_timestamp
            assert until is not None
            model = GraphSage(seeds["train"], inputs, microseconds(until), self.channels, self.fanouts)
            target = Target.fit(seeds["train"].labels, is_classification=problem.task.is_classification)
            random = np.random.default_rng(seed)
            fit_best_epoch(model, target, seeds["train"], seeds["val"], self.schedule, random)
            return {split: score(model, target, seeds[split]) for split in ("val", "test")}


def load_seeds(problem: Problem) -> tuple[dict[Split, Seeds], dict[str, NodeInputs]]:
    """The labels of all splits as seeds, each split on the graph that it may see."""
    task, schema = problem.task, problem.schema
    key = entity_table(schema, task).primary_key[0]
    assert task.val_timestamp is not None
    seeds: dict[Split, Seeds] = {}
    inputs: dict[str, NodeInputs] = {}
    graph = None
    for split in SPLITS:
        with problem.open(split) as (con, catalog):
            inputs = inputs or fit_columns(con, catalog, schema, until=task.val_timestamp)
            # At seed time all splits have the same database.
            if graph is None or problem.regime == "frozen":
                graph = load_graph(con, catalog, schema, inputs, key)
                add_word_vectors(graph.data)
            seeds[split] = find_seeds(con, graph, task.entity_table, key, problem.labels[split])
    return seeds, inputs


def add_word_vectors(data: HeteroData) -> None:
    """Give every table `words`, float32 [nodes, WORD_WIDTH]: the mean of fixed random vectors of its texts' words."""
    vectors = np.random.default_rng(0).standard_normal((WORD_BUCKETS, WORD_WIDTH)).astype(np.float32)
    for table in data.node_types:
        node = data[table]
        distinct = {text: i for i, text in enumerate(dict.fromkeys(node.text))}
        means = np.zeros((max(1, len(distinct)), WORD_WIDTH), dtype=np.float32)
        for text, i in distinct.items():
            buckets = _word_buckets(text)
            if buckets:
                means[i] = vectors[buckets].mean(axis=0)
        chosen = [distinct[text] for text in node.text] or [0] * int(node.num_nodes)
        node.words = torch.from_numpy(means[np.array(chosen, dtype=np.int64)])


def _word_buckets(text: str) -> list[int]:
    """A bucket for each word of a row text; the same word in another column is another word."""
    buckets, column = [], ""
    for unit in units(text):
        content = text[unit.start : unit.end]
        if unit.kind == "attribute":
            column = content
        elif unit.kind == "value":
            words = re.findall(r"\w+", content.lower())
            buckets += [zlib.crc32(f"{column}:{word}".encode()) % WORD_BUCKETS for word in words]
    return buckets


class RowEncoder(nn.Module):
    """Encodes typed columns of one table to vectors; statistics are fitted on `visible` rows only.

    Args:
        inputs: the table's columns.
        numbers: float32 [rows, .], NaN = missing.
        days: float64 [rows, .], NaN = missing.
        visible: bool [rows]: rows of the training time range.
        channels: width of the vectors.
    """

    def __init__(self, inputs: NodeInputs, numbers: Tensor, days: Tensor, visible: Tensor, channels: int) -> None:
        super().__init__()
        self.number_scale = Standardise(numbers[visible])
        self.day_scale = Standardise(days[visible])
        width = 2 * numbers.shape[1] + (2 + 2 * len(_PERIODS)) * days.shape[1] + WORD_WIDTH
        self.linear = nn.Linear(width, channels)
        self.embeddings = nn.ModuleList(nn.Embedding(size, channels) for size in category_sizes(inputs))
        self.block = nn.Sequential(
            nn.LayerNorm(channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
            nn.LayerNorm(channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )

    def forward(self, numbers: Tensor, days: Tensor, categories: Tensor, words: Tensor) -> Tensor:
        """Encode n rows to float32 [n, channels]."""
        parts = [self.number_scale(numbers), self.day_scale(days)]
        for period in _PERIODS:
            angle = (2 * torch.pi / period * days.nan_to_num()).remainder(2 * torch.pi).float()
            parts += [angle.sin(), angle.cos()]
        x: Tensor = self.linear(torch.cat([*parts, words], dim=1))
        for i, embedding in enumerate(self.embeddings):
            x = x + embedding(categories[:, i])
        return x + torch.as_tensor(self.block(x))


class Standardise(nn.Module):
    """Scales numbers to mean 0 and variance 1, sets missing ones to 0, and adds a flag for missing values.

    Args:
        values: [rows, columns], NaN = missing.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        known = values.isfinite()
        count = known.sum(dim=0).clamp(min=1)
        mean = values.double().nan_to_num(posinf=0.0, neginf=0.0).sum(dim=0) / count
        spread = torch.where(known, values.double() - mean, 0.0).square().sum(dim=0) / count
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(spread > 0, spread.sqrt(), 1.0))

    def forward(self, values: Tensor) -> Tensor:
        """Standardise [n, columns] to float32 [n, 2 * columns]."""
        known = values.isfinite()
        scaled = torch.where(known, (values.double() - self.mean) / self.scale, 0.0).clamp(-CLIP, CLIP)
        return torch.cat([scaled, (~known).double()], dim=1).float()


class GraphLayer(nn.Module):
    """One layer of GraphSAGE over all edge types, with layer norm and ReLU.

    Args:
        edge_types: edge types of the graph.
        tables: position of each table.
        channels: width of the layer.
    """

    def __init__(self, edge_types: list[EdgeType], tables: dict[str, int], channels: int) -> None:
        super().__init__()
        self.tables = tables
        sage = {edge_type: SAGEConv((channels, channels), channels, aggr="sum") for edge_type in edge_types}
        self.convolution = HeteroConv(sage, aggr="sum")
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in tables)

    def forward(
        self, sources: dict[str, Tensor], targets: dict[str, Tensor], edges: dict[EdgeType, Tensor]
    ) -> dict[str, Tensor]:
        """Vectors float32 [., channels] of the target nodes by table, from those of the source nodes."""
        met = {edge_type: index for edge_type, index in edges.items() if len(targets[edge_type[2]])}
        out = self.convolution({t: (sources[t[0]], targets[t[2]]) for t in met}, met)
        return {table: self.norms[i](out.get(table, targets[table])).relu() for table, i in self.tables.items()}


class GraphSage(nn.Module):
    """The network of the recipe, a `SeedModel`.

    Args:
        seeds: training seeds, whose graph gives tables, edge types and standardisation.
        inputs: columns by table.
        until: end of the training time range, inclusive, in microseconds.
        channels: width.
        fanouts: neighbours per edge type, by hop; as many layers.
    """

    def __init__(
        self, seeds: Seeds, inputs: dict[str, NodeInputs], until: int, channels: int, fanouts: tuple[int, ...]
    ) -> None:
        super().__init__()
        data = seeds.graph.data
        self.fanouts = fanouts
        self.tables = {table: i for i, table in enumerate(sorted(data.node_types))}
        self.rows = nn.ModuleList(
            RowEncoder(inputs[t], data[t].numbers, data[t].days, data[t].time <= until, channels) for t in self.tables
        )
        self.age = PositionalEncoding(channels)
        self.ages = nn.ModuleList(nn.Linear(channels, channels) for _ in self.tables)
        self.layers = nn.ModuleList(GraphLayer(data.edge_types, self.tables, channels) for _ in fanouts)
        self.head = nn.Linear(channels, 1)

    def forward(self, seeds: Seeds, random: np.random.Generator) -> Tensor:
        """Raw outputs of n seeds, float32 [n]; their neighbours are drawn again in each call."""
        graph = seeds.graph
        sampled = graph.sampler.sample(seeds.table, seeds.rows, seeds.bounds, self.fanouts, random)
        x = {
            table: self._encode(graph.data, table, rows, seeds.as_of[sampled.seeds[table]])
            for table, rows in sampled.rows.items()
        }
        for hops, layer in zip(range(len(self.fanouts), 0, -1), self.layers, strict=True):
            # Only nodes that reach a seed through the remaining layers are targets.
            targets = {table: x[table][: sampled.sizes[table][hops - 1]] for table in x}
            x = layer(x, targets, sampled.edges_within(hops))
        outputs: Tensor = self.head(x[seeds.table]).squeeze(1)
        return outputs

    def _encode(self, data: HeteroData, table: str, rows: IntArray, as_of: IntArray) -> Tensor:
        """Input vectors of nodes, float32 [n, channels]: the row and its age. Each distinct row is encoded once."""
        number, node = self.tables[table], data[table]
        distinct, position = np.unique(rows, return_inverse=True)
        chosen = torch.from_numpy(distinct)
        encoded = self.rows[number](
            node.numbers[chosen], node.days[chosen], node.categories[chosen], node.words[chosen]
        )[torch.from_numpy(position)]
        times = node.time.numpy()[rows]
        if not len(times) or times[0] == ALWAYS:
            return torch.as_tensor(encoded)
        return torch.as_tensor(encoded + self.ages[number](self.age(torch.from_numpy(_age_days(as_of, times)))))


def _age_days(as_of: IntArray, times: IntArray) -> FloatArray:
    return ((as_of - times) / MICROSECONDS_PER_DAY).astype(np.float32)
