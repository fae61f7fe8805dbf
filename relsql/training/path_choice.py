"""Choose the link paths that a model reads when there are too many: those most correlated with the training labels.

Every path makes each score slower, so the number of paths is bounded. If there are no more paths than that, all of them
are read and nothing is measured. Otherwise a sample of training seeds is gathered along all paths, with the
same gather as in training and therefore the same visibility rule. A path is judged by its best single column: number of
rows, ages, means of numbers, shares of categories. Validation and test labels are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from relsql.evaluation.screening import Doubles, centred, commonest, correlation, means, ranks
from relsql.gather.arrays.blocks import Block
from relsql.gather.arrays.labelled_seeds import gather_seeds
from relsql.gather.layout import BlockLayout, layouts_of
from relsql.gather.node_inputs import NodeInputs
from relsql.gather.paths import Path
from relsql.gather.row_plan import RowPlan
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.schema.tables import Schema
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.labels.label_cut import MAX_TRAIN_LABELS
from relsql.tasks.labels.label_sandbox import LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.summary import distinct_labels
from relsql.tasks.task import Task

SCREEN_SEEDS = 2_000
"""Number of training seeds that are gathered to judge paths; training itself gathers up to 60,000."""

PATHS_PER_QUERY = 12


@dataclass(frozen=True, slots=True)
class PathEvidence:
    """What the sample shows about one path.

    Attributes:
        path: readable description of the path.
        coverage: share of seeds that see at least one row along it.
        rows: mean number of rows that a seed reads.
        signal: the largest absolute rank correlation of one of its columns with the labels, among seeds with the same
            as_of, minus the value that the best of that many columns would reach by chance; 0 if that is not positive.
    """

    beyond: ClassVar[str] = "--max-paths"

    path: str
    coverage: float
    rows: float
    signal: float

    def __str__(self) -> str:
        signal = f"correlation with the labels {self.signal:.2f} above chance" if self.signal else "no signal found"
        return f"{self.path}: {self.coverage:.0%} of the seeds see a row, {self.rows:.1f} rows each, {signal}"


@dataclass(frozen=True, slots=True)
class PathChoice:
    """The paths that a model reads, in planning order, and the evidence about the others."""

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
    task: Task,
) -> PathChoice:
    """Keep the `max_paths` best of a larger number of candidates.

    Paths along which any seed sees a row come before the others. Within both groups the larger signal comes first.
    Among equal signals, paths with a time come first, because the default as_of is the latest event and needs a table
    with a time; then coverage decides, then planning order. The entity's own row, the first candidate, is always read.
    A path that goes through children of the entity needs the path of these children as well; if there is no room for
    both, the path is skipped.

    Args:
        con: connection to the data.
        catalog: database that holds the tables.
        schema: its tables and links.
        candidates: paths with unique names.
        inputs: node inputs of every table on a path.
        labels: training labels, sorted: entity, as_of, label.
        max_paths: number of paths to keep, at least 1.
        task: the task, which decides whether rows at as_of itself count, and what is hidden of the seed's own row.
    """
    sample = labels.take(pa.array(np.unique(np.linspace(0, labels.num_rows - 1, SCREEN_SEEDS).astype(np.int64))))
    found = _screen(con, catalog, schema, candidates, inputs, sample, task)
    ranked = sorted(
        range(1, len(candidates)),
        key=lambda i: (
            found[i].coverage == 0,
            -round(found[i].signal, 3),
            not _is_timed(schema, candidates[i]),
            -found[i].coverage,
            i,
        ),
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


def _is_timed(schema: Schema, path: Path) -> bool:
    """True if rows along a path have a time."""
    return any(schema.table(key).time_column for link in path.links for key in (link.child, link.parent))


def _walked_through(candidates: tuple[Path, ...], i: int) -> set[int]:
    """The position of the path that the gather goes through to reach path `i`, if there is one."""
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
    task: Task,
) -> dict[int, PathEvidence]:
    """Evidence about each candidate except the entity's own row, by position."""
    # Texts are left out because their encoder is only trained later.
    plain = {key: replace(table, text_columns=()) for key, table in inputs.items()}
    entities = distinct_labels(labels.select(["entity"])).num_rows
    evidence = {}
    for start in range(1, len(candidates), PATHS_PER_QUERY):
        some = range(start, min(start + PATHS_PER_QUERY, len(candidates)))
        read = sorted({0, *some}.union(*(_walked_through(candidates, i) for i in some)))
        paths = tuple(candidates[i] for i in read)
        layouts = layouts_of(paths, plain)
        latest = LatestRows(RowPlan(schema, paths, plain, task.asked), catalog, visible=task.visible)
        seeds = gather_seeds(con, Gather(latest, "no_texts_are_read"), layouts, labels)
        for i in some:
            at = read.index(i)
            block = seeds.blocks[at]
            signal = _signal(
                block, layouts[at], seeds.one_label, seeds.as_of_days.astype(np.float64), entities, task.has_classes
            )
            coverage, rows = (float(np.mean(block.counts > 0)), float(np.mean(block.counts))) if len(seeds) else (0, 0)
            evidence[i] = PathEvidence(candidates[i].describe(), coverage, rows, signal)
    return evidence


def _signal(
    block: Block,
    layout: BlockLayout,
    labels: npt.NDArray[np.float32],
    moments: npt.NDArray[np.float64],
    entities: int,
    multiclass: bool,
) -> float:
    """See `PathEvidence.signal`."""
    _, group = np.unique(moments, return_inverse=True)
    free = len(labels) - (int(group.max()) + 1 if len(group) else 0)
    if free < 3:
        return 0.0
    # Compare only seeds with the same as_of, so that a column that merely grows with time has no signal.
    # Codes of classes have no order: each of the commonest ones is compared with all others.
    kinds = [labels == code for code in commonest(labels)] if multiclass else [labels]
    targets = [centred(ranks(kind.astype(np.float64)), group) for kind in kinds]
    columns = [centred(ranks(column), group) for column in _columns(block, layout.fanout)]
    found = [correlation(column, target) for column in columns for target in targets]
    # The labels of one entity at several times are very similar, so an entity counts as one observation.
    chance = math.sqrt(2 * math.log(2 * max(1, len(found))) / min(free, entities))
    return max(0.0, max(found, default=0.0) - chance)


def _columns(block: Block, fanout: int) -> Iterator[Doubles]:
    """The columns of one path that are compared with the labels, each double [seeds]."""
    seeds = len(block.counts)
    yield block.counts.astype(np.float64)
    for i in range(block.totals.shape[1]):
        yield block.totals[:, i].astype(np.float64)
    seed = block.slot // fanout
    for i in range(block.numbers.shape[1]):
        values = block.numbers[:, i].astype(np.float64)
        yield means(values, seed, seeds)
    for i in range(block.categories.shape[1]):
        for code in commonest(block.categories[:, i]):
            yield means((block.categories[:, i] == code).astype(np.float64), seed, seeds)


def training_sample(
    con: duckdb.DuckDBPyConnection, catalog: str, database: Schema, task: Task, limits: LabelLimits
) -> pa.Table:
    """The training labels that paths are judged by; those of a multiclass task as codes.

    Raises:
        TaskError: the label query cannot be used.
    """
    table = label_table(con, catalog, database, task, "train", at_most=MAX_TRAIN_LABELS, limits=limits).table
    return Classes.of(task, table).coded(table) if task.has_classes else table
