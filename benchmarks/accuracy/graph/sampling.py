"""A temporal neighbour sampler in numpy.

It replaces PyG's NeighborLoader, which needs compiled pyg-lib, and samples in the same way: each seed has a separate
subgraph, in which no node is later than the seed's bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import HeteroData

IntArray = npt.NDArray[np.int64]
EdgeType = tuple[str, str, str]


@dataclass(frozen=True)
class Subgraphs:
    """One subgraph for each of n seeds, side by side.

    Attributes:
        rows: by table the row behind each node, int64 [nodes]; nodes of an earlier hop come first.
        seeds: by table the seed that each node belongs to, int64 [nodes].
        sizes: by table the number of nodes within 0, 1, ... hops of their seed.
        edges: by hop and edge type the sampled edges, int64 [2, edges]: node of the source table, node of the target
            table. The targets of hop h are nodes of hop h - 1.
    """

    rows: dict[str, IntArray]
    seeds: dict[str, IntArray]
    sizes: dict[str, list[int]]
    edges: list[dict[EdgeType, IntArray]]

    def edges_within(self, hops: int) -> dict[EdgeType, torch.Tensor]:
        """The edges of the first `hops` hops, int64 [2, edges] by edge type."""
        return {
            edge_type: torch.from_numpy(np.concatenate([hop[edge_type] for hop in self.edges[:hops]], axis=1))
            for edge_type in self.edges[0]
        }


class TemporalSampler:
    """Draws neighbours uniformly, without replacement, from those that a seed may see.

    Args:
        data: its `time` by node type and `edge_index` by edge type.
    """

    def __init__(self, data: HeteroData) -> None:
        self._sizes = {table: int(data[table].num_nodes) for table in data.node_types}
        self._neighbours = {
            edge_type: _Neighbours(
                data[edge_type].edge_index.numpy(), data[edge_type[0]].time.numpy(), self._sizes[edge_type[2]]
            )
            for edge_type in data.edge_types
        }

    def sample(
        self,
        table: str,
        rows: IntArray,
        bounds: IntArray,
        fanouts: Sequence[int],
        random: np.random.Generator,
    ) -> Subgraphs:
        """Draw the subgraph of each seed; a node that is reached twice within a subgraph occurs once.

        Args:
            table: node type of the seeds.
            rows: int64 [n]: their rows, which must be visible themselves.
            bounds: int64 [n]: nodes with a later time are not drawn.
            fanouts: by hop, the maximum number of neighbours of a node per edge type.
            random: random generator.
        """
        nothing = np.zeros(0, dtype=np.int64)
        # A node is identified by seed * (rows of its table) + row.
        nodes = dict.fromkeys(self._sizes, nothing)
        nodes[table] = np.arange(len(rows)) * self._sizes[table] + rows
        sizes = {name: [len(nodes[name])] for name in nodes}
        edges: list[dict[EdgeType, IntArray]] = []
        for fanout in fanouts:
            drawn: dict[EdgeType, tuple[IntArray, IntArray]] = {}
            for edge_type, neighbours in self._neighbours.items():
                source, _, target = edge_type
                start = sizes[target][-2] if len(edges) else 0
                frontier = np.arange(start, sizes[target][-1])
                seeds, targets = np.divmod(nodes[target][frontier], max(1, self._sizes[target]))
                position, found = neighbours.draw(targets, bounds[seeds], fanout, random)
                drawn[edge_type] = seeds[position] * self._sizes[source] + found, frontier[position]
            hop: dict[EdgeType, IntArray] = {}
            for name in nodes:
                met = [edge_type for edge_type in drawn if edge_type[0] == name]
                if met:
                    nodes[name], numbers = _number(nodes[name], [drawn[edge_type][0] for edge_type in met])
                    hop |= {t: np.stack([n, drawn[t][1]]) for t, n in zip(met, numbers, strict=True)}
                sizes[name].append(len(nodes[name]))
            edges.append(hop)
        split = {name: np.divmod(found, max(1, self._sizes[name])) for name, found in nodes.items()}
        rows_of = {name: row for name, (_, row) in split.items()}
        return Subgraphs(rows_of, {name: seed for name, (seed, _) in split.items()}, sizes, edges)


def _number(known: IntArray, parts: list[IntArray]) -> tuple[IntArray, list[IntArray]]:
    """Number nodes in order of first occurrence.

    Returns:
        All nodes, `known` ones first, each once; and the numbers of the nodes of each part.
    """
    met = np.concatenate([known, *parts])
    distinct, first, inverse = np.unique(met, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    ends = np.cumsum([len(known), *(len(part) for part in parts)])
    return distinct[order], np.split(number[inverse], ends[:-1])[1:]


class _Neighbours:
    """The neighbours of each target node along one edge type, oldest first (compressed sparse rows).

    Args:
        edges: int64 [2, edges]: source and target nodes.
        times: int64 [source nodes].
        targets: number of target nodes.
    """

    def __init__(self, edges: IntArray, times: IntArray, targets: int) -> None:
        source, target = edges
        order = np.lexsort((source, times[source], target))
        self._nodes = source[order]
        self._starts = np.searchsorted(target[order], np.arange(targets + 1))
        self._times, rank = np.unique(times[self._nodes], return_inverse=True)
        # Target and rank of the time are combined into one number that ascends along the edges, so that a single
        # binary search finds how many neighbours of a target are visible.
        self._positions = target[order] * (len(self._times) + 1) + rank

    def draw(
        self, targets: IntArray, bounds: IntArray, fanout: int, random: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """Draw up to `fanout` visible neighbours of each target.

        Returns:
            Positions in `targets` (rising) and the neighbours, int64 [edges].
        """
        starts = self._starts[targets]
        visible = np.searchsorted(self._times, bounds, side="right")
        ends = np.searchsorted(self._positions, targets * (len(self._times) + 1) + visible)
        position, offset = choose(ends - starts, fanout, random)
        return position, self._nodes[starts[position] + offset]


def choose(counts: IntArray, fanout: int, random: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Choose up to `fanout` of 0 .. count - 1 for each count, uniformly and without replacement.

    Where there are more than `fanout`: Floyd's algorithm, for all counts at once (Bentley and Floyd, Programming
    pearls: a sample of brilliance, 1987).

    Returns:
        Positions in `counts` (rising) and what is chosen, int64 [chosen].
    """
    few = np.minimum(counts, fanout)
    position = np.repeat(np.arange(len(counts)), few)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(few) - few, few)
    many = np.flatnonzero(counts > fanout)
    picks = np.full((len(many), fanout), -1, dtype=np.int64)
    for i in range(fanout):
        last = counts[many] - fanout + i
        pick = random.integers(0, last, endpoint=True)
        taken = (picks[:, :i] == pick[:, None]).any(axis=1)
        picks[:, i] = np.where(taken, last, pick)
    offset[(counts > fanout)[position]] = picks.ravel()
    return position, offset
