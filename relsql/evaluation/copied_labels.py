"""Find columns that alone predict the labels of a split almost perfectly: mostly copies of the answer.

The columns are those that the model reads, as of each seed's time: of the entity and its parents, the latest row of
each path, means and shares over its rows, and numbers of rows. A column that was filled in once agrees with the labels
of one time only, so the labels of each of the latest times are also compared on their own.

The times of rows are left out: recent activity often predicts further activity, which is not a copied answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from relsql.evaluation.screening import Doubles, commonest, means, separation
from relsql.gather.arrays.blocks import Block, SeedSet
from relsql.gather.layout import BlockLayout, Segment
from relsql.hints import in_manifest, remove_column
from relsql.schema.finding import Finding, column_object
from relsql.schema.tables import Schema
from relsql.tasks.splits import Split
from relsql.tasks.task import Task

PERFECT = 0.99
"""Separation, see `relsql.evaluation.screening.separation`, at or above which a column is reported."""

MAX_SEEDS = 4_000
FEWEST_OF_A_KIND = 10
"""With fewer labels of a kind, one of many columns may separate them by chance."""

_LATEST_TIMES = 2
_ALONE = "alone predicts the"

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SingleColumn:
    """A column of a path, one value per seed; `name` is None for a number of rows."""

    table: str
    name: str | None
    values: Doubles


def copied_labels(
    task: Task, schema: Schema, layouts: tuple[BlockLayout, ...], seeds: SeedSet, split: Split = "train"
) -> tuple[Finding, ...]:
    """The findings about columns that predict the labels of seeds of a split almost perfectly."""
    rows = np.arange(max(0, len(seeds) - MAX_SEEDS), len(seeds))
    labels = seeds.one_label[rows].astype(np.float64)
    groups = [group for group in _groups(seeds.as_of_days[rows]) if _is_judged(labels[group])]
    best: dict[tuple[str, str | None], float] = {}
    for column in single_columns(schema, layouts, seeds, rows):
        for group in groups:
            found = _separation(task, column.values[group], labels[group])
            key = column.table, column.name
            best[key] = max(best.get(key, 0.0), found)
    return tuple(_finding(task, split, *key, value) for key, value in best.items() if value >= PERFECT)


def _separation(task: Task, values: Doubles, labels: Doubles) -> float:
    """How well a column predicts the labels; for several classes, the class that it separates best from the others."""
    if not task.has_classes:
        return separation(values, labels, classification=task.is_classification)
    classes = [labels == code for code in commonest(labels)]
    judged = [one.astype(np.float64) for one in classes if _is_judged(one.astype(np.float64))]
    return max((separation(values, one, classification=True) for one in judged), default=0.5)


def single_columns(
    schema: Schema, layouts: tuple[BlockLayout, ...], seeds: SeedSet, rows: Positions
) -> Iterator[SingleColumn]:
    """The columns of all paths as of each seed's time, for the seeds at the positions `rows`."""
    times = {(table.key, table.time_column) for table in schema.timed_tables}
    for block, layout in zip(seeds.blocks, layouts, strict=True):
        yield from _columns(block.take(rows, block.row_starts(), layout.fanout), layout, times)


def say_the_same(one: Finding, other: Finding) -> bool:
    """True if two findings of `copied_labels` name the same column, whichever split their labels belong to."""
    return one.object == other.object and _ALONE in one.message and _ALONE in other.message


def _groups(as_of: npt.NDArray[np.float32]) -> list[Positions]:
    """All seeds, and those of each of the latest times."""
    times = np.unique(as_of)[-_LATEST_TIMES:]
    return [np.arange(len(as_of)), *(np.flatnonzero(as_of == time) for time in times)]


def _is_judged(labels: Doubles) -> bool:
    _, counts = np.unique(labels, return_counts=True)
    return len(labels) - int(counts.max(initial=0)) >= FEWEST_OF_A_KIND


def _columns(block: Block, layout: BlockLayout, times: Set[tuple[str, str | None]]) -> Iterator[SingleColumn]:
    """The columns of one path without the `times` of tables, double [seeds] each."""
    seeds = len(block.counts)
    seed, table = block.slot // layout.fanout, layout.segments[0].inputs.table
    if layout.fanout > 1:
        yield SingleColumn(table, None, block.counts.astype(np.float64))
    for i in range(block.totals.shape[1]):
        yield SingleColumn(table, None, block.totals[:, i].astype(np.float64))
    latest = block.slot % layout.fanout == 0
    for chosen in (latest,) if layout.fanout == 1 else (latest, np.ones(len(latest), dtype=bool)):
        number = category = 0
        for segment in layout.segments:
            # The first number says only whether there is a row.
            for i, each in enumerate(segment.inputs.numbers, start=number + 1):
                if each.kind == "data_age" or (segment.inputs.table, each.column) in times:
                    continue
                values = block.numbers[chosen, i].astype(np.float64)
                yield SingleColumn(segment.inputs.table, each.column, means(values, seed[chosen], seeds))
            for i, name in enumerate(_category_names(segment), start=category):
                codes = block.categories[chosen, i]
                for code in commonest(codes):
                    share = means((codes == code).astype(np.float64), seed[chosen], seeds)
                    yield SingleColumn(segment.inputs.table, name, share)
            number += segment.numbers_width
            category += len(_category_names(segment))


def _category_names(segment: Segment) -> list[str]:
    """The columns of a segment that are read as categories, in the order of a block's categories."""
    names = [category.column for category in segment.inputs.categories]
    return names + [number.column for number in segment.inputs.numbers if number.categories]


def _finding(task: Task, split: Split, table: str, column: str | None, value: float) -> Finding:
    how = f"AUC {value:.3f}" if task.is_classification else f"rank correlation {2 * value - 1:.3f}"
    if column is None:
        return Finding(
            "warning",
            table,
            f"the number of its rows {_ALONE} {split} labels of task {task.name} ({how}): rows may be written when the "
            "outcome is recorded, or the outcome may already be known; "
            + in_manifest("check the time of the table, relsql inspect FILE, and the window in sql", "sql"),
        )
    return Finding(
        "warning",
        column_object(table, column),
        f"{_ALONE} {split} labels of task {task.name} ({how}): it may be a copy of the answer, filled in after the "
        "time that is asked about; if so, " + remove_column(table, column),
    )
