"""Which link paths a model reads when there are more than it may: those that say something about the training labels.

Every path costs time in each score, so that their number is bounded. Where there are no more than the bound, all are
read and nothing is measured. Otherwise a bounded sample of training seeds is gathered along all paths, with the gather
of training itself and so by its rule of visibility, and each path is judged by one column at a time: numbers of rows,
ages, means of numbers, shares of categories. Validation and test labels take no part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.gather.blocks import Block
from relsql.gather.latest_rows import LatestRows
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.query import Gather
from relsql.gather.row_plan import RowPlan
from relsql.schema.tables import Schema
from relsql.tasks.labels import label_table
from relsql.tasks.task import Task
from relsql.training.seeds import gather_seeds

SCREEN_SEEDS = 2_000
"""Training seeds that are gathered to judge paths; training gathers up to 60,000."""

PATHS_PER_QUERY = 12
SHARES_PER_CATEGORY = 8

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PathEvidence:
    """What the sample says about one path.

    Attributes:
        path: the walk as people read it.
        coverage: share of seeds that see a row along it.
        rows: mean number of rows that a seed reads.
        signal: the largest rank correlation of one of its columns with the labels among seeds of one moment, less
            what chance alone would give the best of so many columns; 0 if there is none.
    """

    path: str
    coverage: float
    rows: float
    signal: float

    def __str__(self) -> str:
        signal = f"correlation with the labels {self.signal:.2f} above chance" if self.signal else "no signal found"
        return f"{self.path}: {self.coverage:.0%} of the seeds see a row, {self.rows:.1f} rows each, {signal}"


@dataclass(frozen=True, slots=True)
class PathChoice:
    """The paths that a model reads, in the order of planning, and what is known about the others."""

    paths: tuple[Path, ...]
    left_out: tuple[PathEvidence, ...] = ()


def choose_paths(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    candidates: tuple[Path, ...],
    inputs: Mapping[str, NodeInputs],
    labels: pa.Table,
    max_paths: int,
) -> PathChoice:
    """Keep the `max_paths` best of more candidates.

    First come paths along which any seed sees a row, by signal, then by coverage, then in the order of planning. The
    entity's own row, the first of the candidates, is always read. A path over the children of the entity takes the path
    of these children along; where there is no room for both, the next one has its turn.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        schema: its tables and links.
        candidates: with unique names.
        inputs: of every table on a path.
        labels: of training: entity, as_of, label; sorted.
        max_paths: at least 1.
    """
    sample = labels.take(pa.array(np.unique(np.linspace(0, labels.num_rows - 1, SCREEN_SEEDS).astype(np.int64))))
    found = _screen(con, catalog, schema, candidates, inputs, sample)
    ranked = sorted(
        range(1, len(candidates)),
        key=lambda i: (found[i].coverage == 0, -round(found[i].signal, 3), -found[i].coverage, i),
    )
    kept = {0}
    for i in ranked:
        more = kept | {i} | _walked_through(candidates, i)
        if len(more) <= max_paths:
            kept = more
    return PathChoice(
        tuple(path for i, path in enumerate(candidates) if i in kept),
        tuple(found[i] for i in ranked if i not in kept),
    )


def _walked_through(candidates: tuple[Path, ...], i: int) -> set[int]:
    """The position of the path that the gather walks through to get to another one, if there is such a path."""
    path = candidates[i]
    if path.kind not in ("grandchildren", "hub"):
        return set()
    first = path.links[:1]
    return {k for k, other in enumerate(candidates) if other.kind == "children" and other.links == first}


def _screen(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    candidates: tuple[Path, ...],
    inputs: Mapping[str, NodeInputs],
    labels: pa.Table,
) -> dict[int, PathEvidence]:
    """Evidence about each candidate but the entity's own row, by its position."""
    # Texts would need an encoder, which is trained later.
    plain = {key: replace(table, text_columns=()) for key, table in inputs.items()}
    entities = pa.compute.count_distinct(labels.column("entity")).as_py()
    evidence = {}
    for start in range(1, len(candidates), PATHS_PER_QUERY):
        some = range(start, min(start + PATHS_PER_QUERY, len(candidates)))
        read = sorted({0, *some}.union(*(_walked_through(candidates, i) for i in some)))
        paths = tuple(candidates[i] for i in read)
        layouts = layouts_of(paths, plain)
        seeds = gather_seeds(
            con, Gather(LatestRows(RowPlan(schema, paths, plain), catalog), "no_texts_are_read"), layouts, labels
        )
        for i in some:
            at = read.index(i)
            block = seeds.blocks[at]
            signal = _signal(block, layouts[at], seeds.labels, seeds.as_of_days.astype(np.float64), entities)
            coverage, rows = (float(np.mean(block.counts > 0)), float(np.mean(block.counts))) if len(seeds) else (0, 0)
            evidence[i] = PathEvidence(candidates[i].describe(), coverage, rows, signal)
    return evidence


def _signal(
    block: Block,
    layout: BlockLayout,
    labels: npt.NDArray[np.float32],
    moments: npt.NDArray[np.float64],
    entities: int,
) -> float:
    """See `PathEvidence.signal`."""
    _, group = np.unique(moments, return_inverse=True)
    free = len(labels) - (int(group.max()) + 1 if len(group) else 0)
    if free < 3:
        return 0.0
    # Among seeds of one moment, so that what merely grows with time says nothing.
    target = _centred(_ranks(labels.astype(np.float64)), group)
    found = [_correlation(_centred(_ranks(column), group), target) for column in _columns(block, layout.fanout)]
    # An entity that is asked about again and again, with much the same answer, is one observation.
    chance = math.sqrt(2 * math.log(2 * max(1, len(found))) / min(free, entities))
    return max(0.0, max(found, default=0.0) - chance)


def _columns(block: Block, fanout: int) -> Iterator[Doubles]:
    """What one path says about its seeds, one number each: double [seeds]."""
    seeds = len(block.counts)
    yield block.counts.astype(np.float64)
    for i in range(block.totals.shape[1]):
        yield block.totals[:, i].astype(np.float64)
    seed = block.slot // fanout
    for i in range(block.numbers.shape[1]):
        values = block.numbers[:, i].astype(np.float64)
        yield _means(values, seed, seeds)
    for i in range(block.categories.shape[1]):
        codes, counts = np.unique(block.categories[:, i], return_counts=True)
        for code in codes[np.argsort(-counts, kind="stable")][:SHARES_PER_CATEGORY]:
            yield _means((block.categories[:, i] == code).astype(np.float64), seed, seeds)


def _means(values: Doubles, seed: npt.NDArray[np.int64], seeds: int) -> Doubles:
    """Mean of each seed's finite values; for seeds without any, the mean over all others."""
    known = np.isfinite(values)
    counts = np.bincount(seed[known], minlength=seeds)
    sums = np.bincount(seed[known], weights=values[known], minlength=seeds)
    means = np.divide(sums, counts, out=np.full(seeds, np.nan), where=counts > 0)
    return np.where(counts > 0, means, np.mean(means[counts > 0]) if counts.any() else 0.0)


def _ranks(values: Doubles) -> Doubles:
    """Ranks, the mean of theirs for equal values."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[position]
    return ranks


def _centred(values: Doubles, group: npt.NDArray[np.int64]) -> Doubles:
    """Values less the mean of their group."""
    means = np.bincount(group, weights=values) / np.bincount(group)
    centred: Doubles = values - means[group]
    return centred


def _correlation(a: Doubles, b: Doubles) -> float:
    """The size of the correlation of two centred columns; 0 where one is constant."""
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return abs(float(a @ b)) / scale if scale > 1e-9 else 0.0


def training_sample(con: duckdb.DuckDBPyConnection, catalog: str, database: Schema, task: Task) -> pa.Table:
    """The training labels by which paths are judged.

    Raises:
        TaskError: the label query is not usable.
    """
    return label_table(con, catalog, database, task, "train").table


def used_tables(paths: Sequence[Path]) -> set[str]:
    """The tables on paths, and those that their rows are joined to."""
    used = {path.table for path in paths} | {link.parent for path in paths for link in path.lookups}
    return used | {table for path in paths for link in path.links for table in (link.child, link.parent)}
