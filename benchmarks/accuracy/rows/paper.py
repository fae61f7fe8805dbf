"""The method of the seed paper (arXiv 2605.16085) and its ablations.

A BART reads every row as text, all columns included; the pooled vectors are frozen. A GraphSAGE of two layers, shared
by all edge types, with mean aggregation and self-loops, is pre-trained to reconstruct masked feature dimensions. For
the task it gets a new linear layer for each table and a head on the entity's vector and an encoding of the date; its
convolutions are frozen or fine-tuned. Ablations: no graph (the entity's own row), and random row vectors.

The paper's graph has no time. To prevent leakage, the rows that a seed may see are restricted here:

- frozen: the paper's static graph with rows up to the validation timestamp for train and val, and up to the test
  timestamp for test. As in the paper, an entity has the same neighbourhood at every date of a split, and training seeds
  see later rows of the training range. Seeds of val and test do not see rows after their as_of.
- seed-time: a static graph would have to be rebuilt for every timestamp. Neighbours are sampled with time <= as_of
  instead, for all splits.

Both use one graph of all rows, restricted by the sampler's bound; tokenizer, encoder and pre-training see only rows up
to the validation timestamp.

Other differences from the paper, because no GPU is assumed: a compact BART trained on the database itself instead of
bart-large trained on six others (`encoder` takes any pre-trained BART), fewer steps with higher learning rates, and
pre-training of the graph on the database itself, one table after the other.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import SAGEConv

from benchmarks.accuracy.graph.data import Graph, Seeds, find_seeds, fit_columns, load_graph, microseconds
from benchmarks.accuracy.graph.sampling import EdgeType, IntArray, Subgraphs
from benchmarks.accuracy.graph.training import Schedule, Scores, Target, fit_best_epoch, score
from benchmarks.data.problems import Problem
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.sql.row_texts import distinct_texts
from relsql.nn.row_encoder import RowEncoder, compact_config, embed_texts, local_seed, new_model
from relsql.tasks.entity import entity_table
from relsql.tasks.splits import SPLITS, Split
from relsql.training.encoder.denoise import train_denoising
from relsql.training.encoder.fit_tokenizer import train_tokenizer
from relsql.training.encoder.pretrained import load_pretrained

COMPACT = "compact"
RANDOM_WIDTH = 128
DATE_WIDTH = 32
DROPOUT = 0.2
MASK_PROBABILITY = 0.15
PRETRAINING_RATE = 0.001
MAX_TEXTS_PER_TABLE = 20_000
MAX_TOKENS = 96
SCHEDULE = Schedule(epochs=8, batch_size=512, learning_rate=0.001, max_steps=40)


@dataclass(frozen=True)
class Paper:
    """One row "paper" of the benchmark.

    Attributes:
        rows: vectors of rows: `bart`, or `random` ones.
        graph: `none` for the entity's own row alone; otherwise how the convolutions are treated in task training.
        encoder: `compact`, or the path or hub name of a pre-trained BART.
        encoder_steps: steps of denoising training.
        channels: width of the graph network.
        fanouts: neighbours per edge type, by hop; there is one layer per hop.
        pretraining_steps: steps of masked-feature pre-training.
        pretraining_batch: nodes per pre-training step.
        schedule: schedule of task training.
    """

    rows: Literal["bart", "random"] = "bart"
    graph: Literal["none", "frozen", "fine-tuned"] = "fine-tuned"
    encoder: str = COMPACT
    encoder_steps: int = 300
    channels: int = 256
    fanouts: tuple[int, ...] = (20, 10)
    pretraining_steps: int = 150
    pretraining_batch: int = 256
    schedule: Schedule = SCHEDULE

    @property
    def name(self) -> str:
        """As printed."""
        rows = "random rows" if self.rows == "random" else "BART" if self.encoder == COMPACT else self.encoder
        return f"paper: {rows}, " + ("no graph" if self.graph == "none" else f"graph {self.graph}")

    def scores(self, problem: Problem, seed: int) -> dict[Split, Scores]:
        """Train on the training labels and score the labels of val and test; see `benchmarks.accuracy.rows`."""
        graph, seeds, inputs = load_seeds(problem)
        vectors = self._row_vectors(problem, graph, inputs, seed)
        layers = None
        if self.graph != "none":
            layers = self._pretrained(problem, graph, vectors, seed).requires_grad_(self.graph == "fine-tuned")
        with local_seed(seed):
            model = PaperNetwork(seeds["train"], vectors, layers, self.channels, self.fanouts)
            target = Target.fit(seeds["train"].labels, is_classification=problem.task.is_classification)
            fit_best_epoch(model, target, seeds["train"], seeds["val"], self.schedule, np.random.default_rng([seed, 1]))
            return {split: score(model, target, seeds[split]) for split in ("val", "test")}

    def _row_vectors(self, problem: Problem, graph: Graph, inputs: dict[str, NodeInputs], seed: int) -> RowVectors:
        if self.rows == "random":
            return random_vectors(graph, seed)
        key = (*_known_data(problem), seed, self.encoder, self.encoder_steps)
        if key not in _encoded:
            _encoded[key] = self._encode(problem, graph, inputs, seed)
        return _encoded[key]

    def _encode(self, problem: Problem, graph: Graph, inputs: dict[str, NodeInputs], seed: int) -> RowVectors:
        """Train the row encoder on texts of the training time range and encode all rows."""
        until, limit = problem.task.val_timestamp, MAX_TEXTS_PER_TABLE
        with problem.open("train") as (con, catalog):
            texts = distinct_texts(con, catalog, problem.schema, inputs, until=until, limit_per_table=limit)
        if self.encoder == COMPACT:
            tokenizer = train_tokenizer(texts)
            model, rate = new_model(compact_config(tokenizer.size), seed), 3e-3
        else:
            (model, tokenizer), rate = load_pretrained(self.encoder), 1e-4
        steps = self.encoder_steps
        train_denoising(model, tokenizer, texts, max_steps=steps, learning_rate=rate, seed=seed, max_tokens=MAX_TOKENS)
        distinct = list(dict.fromkeys(text for table in graph.data.node_types for text in graph.data[table].text))
        embedded = embed_texts(RowEncoder(model), tokenizer, distinct, max_tokens=MAX_TOKENS)
        return text_vectors(graph, distinct, torch.from_numpy(embedded))

    def _pretrained(self, problem: Problem, graph: Graph, vectors: RowVectors, seed: int) -> nn.ModuleList:
        """A copy of the convolutions after masked-feature pre-training."""
        shape = (self.channels, self.fanouts, self.pretraining_steps, self.pretraining_batch)
        key = (*_known_data(problem), seed, self.rows, self.encoder, self.encoder_steps, *shape)
        if key not in _convolutions:
            assert problem.task.val_timestamp is not None
            until = microseconds(problem.task.val_timestamp)
            random = np.random.default_rng([seed, 0])
            with local_seed(seed):
                model = MaskedFeatures(graph, vectors, self.channels, len(self.fanouts))
                batches = node_batches(graph, until, self.pretraining_batch, random)
                for table, rows in itertools.islice(batches, self.pretraining_steps):
                    bounds = np.full(len(rows), until)
                    model.step(table, graph.sampler.sample(table, rows, bounds, self.fanouts, random))
            _convolutions[key] = model.sage.layers
        return copy.deepcopy(_convolutions[key])


ABLATIONS = (
    Paper(graph="none"),
    Paper(rows="random", graph="frozen"),
    Paper(rows="random"),
    Paper(graph="frozen"),
    Paper(),
)
"""The rows of the benchmark table; the last one is the paper's result."""

# Caches for the life of the process, shared by ablations, tasks and regimes over the same data.
_encoded: dict[tuple[object, ...], RowVectors] = {}
_convolutions: dict[tuple[object, ...], nn.ModuleList] = {}


def _known_data(problem: Problem) -> tuple[object, ...]:
    """Key of the data that the row encoder and pre-training see of a problem; it is the same in both regimes."""
    return str(problem.path), problem.schema.fingerprint(), problem.task.val_timestamp


def load_seeds(problem: Problem) -> tuple[Graph, dict[Split, Seeds], dict[str, NodeInputs]]:
    """The whole graph, the labels of all splits as seeds with the bounds of their regime, and the columns read."""
    task, schema = problem.task, problem.schema
    key = entity_table(schema, task).primary_key[0]
    assert task.val_timestamp is not None
    with problem.open("train") as (con, catalog):
        inputs = fit_columns(con, catalog, schema, until=task.val_timestamp, all_text=True)
        graph = load_graph(con, catalog, schema, inputs, key)
        seeds: dict[Split, Seeds] = {}
        for split in SPLITS:
            cut = task.test_timestamp if split == "test" else task.val_timestamp
            until = cut if problem.regime == "frozen" else None
            seeds[split] = find_seeds(con, graph, task.entity_table, key, problem.labels[split], until=until)
    return graph, seeds, inputs


@dataclass(frozen=True)
class RowVectors:
    """Vectors of rows: `vectors` float32 [m, d], and by table the position of each node's vector, int64 [nodes]."""

    vectors: Tensor
    positions: dict[str, Tensor]

    @property
    def width(self) -> int:
        """Width of a vector."""
        return int(self.vectors.shape[1])

    def take(self, table: str, rows: IntArray) -> Tensor:
        """Vectors of some nodes of a table, float32 [n, d]."""
        return self.vectors[self.positions[table][torch.from_numpy(rows)]]


def random_vectors(graph: Graph, seed: int) -> RowVectors:
    """A standard normal vector for every row of the database."""
    positions, total = {}, 0
    for table in graph.data.node_types:
        positions[table] = total + torch.arange(graph.data[table].num_nodes)
        total += graph.data[table].num_nodes
    drawn = np.random.default_rng([seed, 2]).standard_normal((total, RANDOM_WIDTH), dtype=np.float32)
    return RowVectors(torch.from_numpy(drawn), positions)


def text_vectors(graph: Graph, texts: list[str], embedded: Tensor) -> RowVectors:
    """The vector of every row, given those of the distinct texts, float32 [texts, d]; zeros for rows without text."""
    number = {text: i + 1 for i, text in enumerate(texts)}
    positions = {}
    for table in graph.data.node_types:
        node = graph.data[table]
        chosen = [number[text] for text in node.text] or [0] * int(node.num_nodes)
        positions[table] = torch.tensor(chosen, dtype=torch.int64)
    return RowVectors(torch.cat([torch.zeros(1, embedded.shape[1]), embedded]), positions)


class SharedSage(nn.Module):
    """A linear layer for each table, then the convolutions, which all edge types share.

    Args:
        graph: the graph, for its tables.
        vectors: vectors of its rows.
        channels: width of the network.
        layers: the convolutions, one per hop.
    """

    def __init__(self, graph: Graph, vectors: RowVectors, channels: int, layers: nn.ModuleList) -> None:
        super().__init__()
        self.tables = {table: i for i, table in enumerate(sorted(graph.data.node_types))}
        self.linears = nn.ModuleList(nn.Linear(vectors.width, channels) for _ in self.tables)
        self.layers = layers
        self._vectors = vectors

    def forward(self, sampled: Subgraphs, table: str, inputs: Tensor) -> Tensor:
        """Encode seeds, float32 [n, channels].

        Args:
            sampled: subgraphs with one hop per convolution.
            table: table of the seeds.
            inputs: row vectors of the seeds themselves, float32 [n, d].
        """
        x = {name: self._rows(name, rows) for name, rows in sampled.rows.items()}
        x[table] = torch.cat([self.linears[self.tables[table]](inputs), x[table][len(inputs) :]])
        for hops, layer in zip(range(len(self.layers), 0, -1), self.layers, strict=True):
            # Only nodes that reach a seed through the remaining layers are targets.
            targets = {name: x[name][: sampled.sizes[name][hops - 1]] for name in x}
            edges = sampled.edges_within(hops)
            x = {name: convolve(layer, x, name, targets[name], edges) for name in x}
        return x[table]

    def _rows(self, table: str, rows: IntArray) -> Tensor:
        distinct, position = np.unique(rows, return_inverse=True)
        encoded: Tensor = self.linears[self.tables[table]](self._vectors.take(table, distinct))
        return encoded[torch.from_numpy(position)]


def convolve(
    layer: nn.Module, x: dict[str, Tensor], table: str, targets: Tensor, edges: dict[EdgeType, Tensor]
) -> Tensor:
    """One convolution over all edges into a table at once, self-loops included, float32 [targets, channels]."""
    incoming = [edge_type for edge_type in edges if edge_type[2] == table]
    messages = torch.cat([*(x[t[0]][edges[t][0]] for t in incoming), targets])
    receivers = torch.cat([*(edges[t][1] for t in incoming), torch.arange(len(targets))])
    index = torch.stack([torch.arange(len(messages)), receivers])
    convolved: Tensor = layer((messages, targets), index)
    return convolved.relu()


class MaskedFeatures(nn.Module):
    """Pre-training: masked feature dimensions of nodes are reconstructed from the others and from the neighbours."""

    def __init__(self, graph: Graph, vectors: RowVectors, channels: int, hops: int) -> None:
        super().__init__()
        layers = nn.ModuleList(SAGEConv((channels, channels), channels, aggr="mean") for _ in range(hops))
        self.sage = SharedSage(graph, vectors, channels, layers)
        self.decoder = nn.Linear(channels, vectors.width)
        self._vectors = vectors
        self._optimiser = torch.optim.Adam(self.parameters(), lr=PRETRAINING_RATE)

    def step(self, table: str, sampled: Subgraphs) -> float:
        """One optimiser step on the seeds of `sampled`, rows of one table; returns the loss."""
        truth = self._vectors.take(table, sampled.rows[table][: sampled.sizes[table][0]])
        hidden = torch.rand(truth.shape) < MASK_PROBABILITY
        rebuilt = self.decoder(self.sage(sampled, table, truth.masked_fill(hidden, 0.0)))
        loss = masked_loss(rebuilt, truth, hidden)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return loss.item()


def masked_loss(rebuilt: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """0.7 x scaled cosine error of power 2 + 0.3 x mean squared error, over only the hidden dimensions of [n, d]."""
    rebuilt, truth = rebuilt * hidden, truth * hidden
    cosine = (1 - functional.cosine_similarity(rebuilt, truth, dim=1)).square().mean()
    squared = (rebuilt - truth).square().sum() / hidden.sum().clamp(min=1)
    return 0.7 * cosine + 0.3 * squared


def node_batches(graph: Graph, until: int, size: int, random: np.random.Generator) -> Iterator[tuple[str, IntArray]]:
    """Yield batches of random nodes with time <= `until` endlessly, tables in turn; none if there are no such nodes."""
    times = {table: graph.data[table].time.numpy() for table in sorted(graph.data.node_types)}
    visible = {table: np.flatnonzero(time <= until) for table, time in times.items() if (time <= until).any()}
    while visible:
        for table, rows in visible.items():
            yield table, random.choice(rows, min(size, len(rows)), replace=False)


class PaperNetwork(nn.Module):
    """A `SeedModel` that maps the entity's vector and an encoding of the date to one output.

    Args:
        seeds: training seeds, which determine the scale of dates.
        vectors: vectors of the rows.
        layers: convolutions, one per hop, or None to read only the entity's own row.
        channels: width of the network.
        fanouts: neighbours per edge type, by hop.
    """

    def __init__(
        self, seeds: Seeds, vectors: RowVectors, layers: nn.ModuleList | None, channels: int, fanouts: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.fanouts = fanouts
        self.sage = None if layers is None else SharedSage(seeds.graph, vectors, channels, layers)
        self.date = nn.Sequential(nn.Linear(1, DATE_WIDTH), nn.ReLU(), nn.Linear(DATE_WIDTH, DATE_WIDTH), nn.ReLU())
        width = DATE_WIDTH + (vectors.width if layers is None else channels)
        self.head = nn.Sequential(
            *(nn.Linear(width, channels), nn.ReLU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(channels, channels // 2), nn.ReLU(), nn.Dropout(DROPOUT)),
            nn.Linear(channels // 2, 1),
        )
        self._vectors = vectors
        self._middle = float(seeds.as_of.mean())
        self._spread = float(seeds.as_of.std()) or 1.0

    def forward(self, seeds: Seeds, random: np.random.Generator) -> Tensor:
        """Raw outputs of n seeds, float32 [n]; their neighbours are drawn again in each call."""
        date = torch.from_numpy(((seeds.as_of - self._middle) / self._spread).astype(np.float32))
        state = torch.cat([self._entities(seeds, random), self.date(date[:, None])], dim=1)
        outputs: Tensor = self.head(state).squeeze(1)
        return outputs

    def _entities(self, seeds: Seeds, random: np.random.Generator) -> Tensor:
        if self.sage is None:
            return self._vectors.take(seeds.table, seeds.rows)
        # Seeds with the same entity and bound have the same subgraph, as all seeds of an entity in a frozen split do.
        pairs, position = np.unique(np.stack([seeds.rows, seeds.bounds], axis=1), axis=0, return_inverse=True)
        rows, bounds = np.ascontiguousarray(pairs.T)
        sampled = seeds.graph.sampler.sample(seeds.table, rows, bounds, self.fanouts, random)
        encoded: Tensor = self.sage(sampled, seeds.table, self._vectors.take(seeds.table, rows))
        return encoded[torch.from_numpy(position.ravel())]
