"""The usual way without relsql, as a row of the speed benchmark: tables to pandas, a HeteroData, a loop in torch.

Weights and scores are the same as those of the SQL function. The rows of a seed are found with plain torch, as on a
machine without a compiled sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.accuracy.graph.data import MICROSECONDS_PER_DAY, NEVER, edge_types
from benchmarks.data.shop import LATEST
from benchmarks.speed.shop_model import DATA, MODEL, check_scores, connect
from benchmarks.speed.timing import Work
from benchmarks.speed.torch_graph import pull_graph
from exporters.torch_modules import empty_modules
from relsql.database.names import current_catalog
from relsql.gather.arrays.graph_inputs import tables_of
from relsql.gather.layout import layouts_of
from relsql.gather.paths import Path
from relsql.nn.graph_network import GraphNetwork, GraphTensors, PathTensors, TableTensors
from relsql.nn.head import Head
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card
from relsql.schema.tables import Link
from relsql.typing import FloatArray
from udfs.attach import load_scorer

BATCH = 512


@dataclass(frozen=True, slots=True)
class Modules:
    """Network and head of one model, ready to score."""

    network: GraphNetwork
    head: Head


def save_modules(path: FilePath, modules: Modules) -> None:
    """Write the weights of both modules to a safetensors file."""
    parts = {"network": modules.network, "head": modules.head}
    weights = {f"{name}.{key}": w for name, module in parts.items() for key, w in module.state_dict().items()}
    save_file({name: weight.contiguous() for name, weight in weights.items()}, path)


def load_modules(path: FilePath, card: ModelCard) -> Modules:
    """The modules of the model that a card describes, with the weights that `save_modules` wrote."""
    weights = load_file(path)
    network, head = empty_modules(card, weights)
    for name, module in (("network.", network), ("head.", head)):
        module.load_state_dict({key.removeprefix(name): w for key, w in weights.items() if key.startswith(name)})
        module.eval()
    return Modules(network, head)


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows that a batch reads along one path.

    Attributes:
        rows: int64 [rows], nodes, ordered by seed and latest first.
        seeds: int64 [rows], position of each row's seed.
        places: int64 [seeds, fanout], position + 1 of the row at each recency rank, 0 = none.
        totals: float32 [seeds, counts], number of all visible rows, and of those within each span.
    """

    rows: Tensor
    seeds: Tensor
    places: Tensor
    totals: Tensor


class TorchLoop:
    """Scores seeds, batch by batch.

    Args:
        data: the tables, see `benchmarks.speed.torch_graph.pull_graph`.
        card: of the model.
        modules: its weights.
        embeddings: float32 [texts + 1, width], by text id.
    """

    def __init__(self, data: HeteroData, card: ModelCard, modules: Modules, embeddings: FloatArray) -> None:
        self.paths = card.paths
        self.layouts = layouts_of(card.paths, card.inputs)
        self.modules = modules
        self.embeddings = torch.from_numpy(embeddings)
        self.nodes = {name: data[name] for name in card.inputs}
        self.times: dict[str, Tensor] = {name: node.time for name, node in self.nodes.items()}
        self.parents: dict[Link, Tensor] = {x: data[edge_types(x)[0]].parent for x in card.schema.links}
        below = {link: data[edge_types(link)[1]] for link in card.schema.links}
        self.children: dict[Link, Tensor] = {link: edges.edge_index[1] for link, edges in below.items()}
        self.starts = {link: edges.start.tolist() for link, edges in below.items()}
        spans = {path.name: [0, *(round(86_400 * d) * 1_000_000 for d in path.count_days)] for path in card.paths}
        self.spans = {name: torch.tensor(span) for name, span in spans.items()}

    @torch.inference_mode()
    def score(self, rows: npt.NDArray[np.int64], as_of: npt.NDArray[np.int64]) -> FloatArray:
        """Scores, float32 [seeds].

        Args:
            rows: int64 [seeds], nodes of entities; each is visible at its `as_of`.
            as_of: int64 [seeds], microseconds since 1970.
        """
        scores = []
        for start in range(0, len(rows), BATCH):
            times = as_of[start : start + BATCH]
            batch = self._batch(rows[start : start + BATCH].tolist(), torch.from_numpy(times))
            days = torch.from_numpy((times / MICROSECONDS_PER_DAY).astype(np.float32))
            scores.append(self.modules.head.score(self.modules.network(batch), days))
        return np.asarray(torch.cat(scores)) if scores else np.zeros(0, dtype=np.float32)

    def _batch(self, entities: list[int], as_of: Tensor) -> GraphTensors:
        """The tensors that the network reads."""
        readings = self._readings(entities, as_of)
        found = [self._segments(path, reading, as_of) for path, reading in zip(self.paths, readings, strict=True)]
        used: dict[str, list[Tensor]] = {table.table: [] for table in tables_of(self.layouts)}
        for layout, parts in zip(self.layouts, found, strict=True):
            for segment, nodes in zip(layout.segments, parts, strict=True):
                used[segment.inputs.table].append(nodes[nodes >= 0])
        distinct = {name: torch.unique(torch.cat(nodes)) for name, nodes in used.items()}
        paths = []
        for layout, reading, parts in zip(self.layouts, readings, found, strict=True):
            names = [segment.inputs.table for segment in layout.segments]
            places = [
                torch.where(nodes >= 0, torch.searchsorted(distinct[name], nodes) + 1, 0)
                for name, nodes in zip(names, parts, strict=True)
            ]
            days = [self._ages(name, nodes, as_of[reading.seeds]) for name, nodes in zip(names, parts, strict=True)]
            paths.append(PathTensors(torch.stack(places), reading.places, torch.cat(days, 1), reading.totals))
        tables = [
            TableTensors(
                *(part[rows] for part in (self.nodes[n].numbers, self.nodes[n].categories, self.nodes[n].text))
            )
            for n, rows in distinct.items()
        ]
        return GraphTensors(self.embeddings, tables, paths)

    def _readings(self, entities: list[int], as_of: Tensor) -> list[Reading]:
        """The rows that the seeds read, ordered by seed."""
        rows: list[list[Tensor]] = [[] for _ in self.paths]
        totals: list[list[Tensor]] = [[] for _ in self.paths]
        for entity, moment in zip(entities, as_of, strict=True):
            latest: dict[tuple[Link, ...], Tensor] = {}
            for i, path in enumerate(self.paths):
                # A table's rows are in order of time, so that the rows up to a time are those before a position.
                ends = torch.searchsorted(self.times[path.table], moment - self.spans[path.name], right=True)
                reached = self._reached(path, entity, int(ends[0]), latest)
                rows[i].append(reached[-path.fanout :].flip(0))
                if path.kind == "children":
                    latest[path.links] = rows[i][-1]
                ends[0] = 0
                totals[i].append(len(reached) - torch.searchsorted(reached, ends))
        return [self._reading(i, rows[i], totals[i]) for i in range(len(self.paths))]

    def _reading(self, position: int, rows: list[Tensor], totals: list[Tensor]) -> Reading:
        layout = self.layouts[position]
        lengths = torch.tensor([len(part) for part in rows])
        seeds = torch.repeat_interleave(torch.arange(len(rows)), lengths)
        ranks = torch.arange(len(seeds)) - (torch.cumsum(lengths, 0) - lengths)[seeds]
        counts = torch.stack(totals)[:, : layout.counts_width].float()
        places = torch.zeros((len(rows), layout.fanout), dtype=torch.int64)
        places[seeds, ranks] = torch.arange(1, len(seeds) + 1)
        return Reading(torch.cat(rows), seeds, places, counts)

    def _reached(self, path: Path, entity: int, end: int, latest: dict[tuple[Link, ...], Tensor]) -> Tensor:
        """All rows at the end of a path before row `end` of the table; `latest` are the rows read of its children."""
        if path.kind == "entity":
            return torch.tensor([entity])
        *_, last = path.links
        if path.kind == "parents":
            parents = self.parents[last][entity : entity + 1]
            return parents[(parents >= 0) & (parents < end)]
        origins = [entity]
        if path.kind == "siblings":
            origins = self.parents[path.links[0]][entity : entity + 1].tolist()
        elif path.kind == "grandchildren":
            origins = latest[path.links[:1]].tolist()
        elif path.kind == "hub":
            origins = self.parents[path.links[1]][latest[path.links[:1]][:1]].tolist()
        parts = [self._below(last, node, end) for node in origins if node >= 0]
        if len(parts) == 1:
            return parts[0]
        return torch.sort(torch.cat(parts)).values if parts else torch.zeros(0, dtype=torch.int64)

    def _below(self, link: Link, node: int, end: int) -> Tensor:
        """Rows that reference a node and are before row `end`, in order."""
        start = self.starts[link]
        rows = self.children[link][start[node] : start[node + 1]]
        return rows[: int(torch.searchsorted(rows, end))]

    def _segments(self, path: Path, reading: Reading, as_of: Tensor) -> list[Tensor]:
        """The rows themselves, and the visible rows that they reference; -1 = none."""
        found = [reading.rows]
        for link in path.lookups:
            parents = self.parents[link][reading.rows]
            visible = self._times_of(link.parent, parents) <= as_of[reading.seeds]
            found.append(torch.where(visible, parents, -1))
        return found

    def _times_of(self, table: str, nodes: Tensor) -> Tensor:
        """Times of nodes, `NEVER` for none."""
        if not len(self.times[table]):
            return torch.full_like(nodes, NEVER)
        return torch.where(nodes >= 0, self.times[table][nodes.clamp(min=0)], NEVER)

    def _ages(self, table: str, nodes: Tensor, as_of: Tensor) -> Tensor:
        """Days from the dates of nodes to as_of, float32 [nodes, ages]; NaN = missing."""
        days = self.nodes[table].days
        if not len(days):
            return torch.full((len(nodes), days.shape[1]), torch.nan)
        ages = (as_of.double() / MICROSECONDS_PER_DAY).unsqueeze(1) - days[nodes.clamp(min=0)]
        return torch.where((nodes >= 0).unsqueeze(1), ages, torch.nan).float()


def weights_file(model: FilePath) -> FilePath:
    """The file of the torch weights that belongs to a model's file."""
    return model.with_suffix(".safetensors")


def prepare(model: FilePath, data: FilePath, threads: int) -> Work:
    """The row of the speed benchmark. The tables are pulled again in each run, as the SQL function reads them again.

    `threads` is the number of DuckDB threads, which pull the tables; torch uses one thread.

    Raises:
        AssertionError: one of about a thousand scores differs from that of the SQL function by more than 1e-5.
    """
    # The steps are small: a second thread gains little, and makes them much slower if the cores are busy.
    torch.set_num_threads(1)
    con = connect(model, data, threads)
    catalog = current_catalog(con)
    card = active_card(con, catalog, MODEL)
    texts = load_scorer(con, catalog, card).texts
    modules = load_modules(weights_file(model), card)
    [(as_of,)] = con.execute(f"SELECT epoch_us({LATEST})").fetchall()

    def scores(step: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Keys and scores of the entities, or of one in every `step`."""
        graph = pull_graph(con, DATA, card, texts)
        loop = TorchLoop(graph, card, modules, texts.embeddings(np.arange(len(texts) + 1)))
        entity = graph[card.entity.key]
        rows = np.flatnonzero(entity.time.numpy() <= as_of)[::step]
        return entity.key[rows], loop.score(rows, np.full(len(rows), as_of))

    [(customers,)] = con.execute(f"SELECT count(*) FROM {DATA}.customers").fetchall()
    check_scores(con, *scores(max(1, customers // 1_000)))
    return lambda: len(scores(1)[1])
