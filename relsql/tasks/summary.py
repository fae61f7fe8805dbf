"""A summary of a task: the labels of each split, its timestamps and why they were chosen, and examples."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute

from relsql.errors import TaskError
from relsql.schema.tables import Schema
from relsql.tasks.kinds.classes import class_counts, shown_classes
from relsql.tasks.kinds.steps import step_values
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import chosen_splits, label_entities, label_table
from relsql.tasks.splits import SPLITS, Split
from relsql.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

EXAMPLES = 5
CHANCE = 1e-4
"""Equal labels count as a finding if chance would make them equal less often than this."""


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The labels of one split.

    Attributes:
        split: `train`, `val` or `test`.
        timestamps: the distinct timestamps that have labels, the oldest first.
        labels: number of labels.
        rarer: number of labels of the rarer class; of other tasks, of labels that differ from the commonest one; in a
            recommendation or multilabel classification, of all labels.
        mean: share of positives; in a regression, mean label; in a multiclass classification, share of the commonest
            class; of lists, mean number of their values, of a forecast in steps mean label of all windows.
        silent: the number of timestamps, from the oldest on, at which all labels are the same one, and not by chance.
        classes: of a multiclass classification, the classes as text with the number of labels of each, in their order.
        steps: of a forecast in steps, the mean label of each window.
    """

    split: Split
    timestamps: tuple[datetime.datetime, ...]
    labels: int
    rarer: int
    mean: float
    silent: int = 0
    classes: tuple[tuple[str, int], ...] = ()
    steps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A task with the labels that it gets.

    Attributes:
        task: the task, with both split timestamps.
        reasons: why each split timestamp was chosen.
        splits: the splits that have labels.
        problems: by split, why it has none.
        examples: up to five labels of the last training timestamps, as (entity, as_of, label), of different labels.
    """

    task: Task
    reasons: Mapping[str, str]
    splits: tuple[SplitSummary, ...]
    problems: Mapping[str, str]
    examples: tuple[tuple[object, datetime.datetime, object], ...]


def summarize_task(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, *, limits: LabelLimits = DEFAULT_LIMITS
) -> TaskSummary:
    """Compute the labels of every split of a task. Arguments as in `label_table`.

    A split without usable labels is a problem of the summary, not an error.

    Raises:
        TaskError: the split timestamps cannot be chosen, or the label query cannot be used for any split.
    """
    choice = chosen_splits(con, catalog, schema, task, limits)
    splits: list[SplitSummary] = []
    problems: dict[str, str] = {}
    examples: tuple[tuple[object, datetime.datetime, object], ...] = ()
    for split in SPLITS:
        try:
            table = label_table(con, catalog, schema, choice.task, split, limits=limits).table
        except TaskError as error:
            if split == SPLITS[-1] and len(problems) == len(SPLITS) - 1:
                raise
            problems[split] = str(error)
            continue
        splits.append(summarize_labels(split, table, choice.task))
        examples = examples or _examples(table)
    return TaskSummary(choice.task, choice.reasons, tuple(splits), problems, examples)


def summarize_labels(split: Split, labels: pa.Table, task: Task) -> SplitSummary:
    """Count the labels of a split of a task, in the form of `LabelTable.table`; there must be at least one."""
    values, lists = _numbers(labels), task.is_recommendation or task.is_multilabel
    _, counts = np.unique(values, return_counts=True)
    return SplitSummary(
        split,
        tuple(sorted(pa.compute.unique(labels.column("as_of")).to_pylist())),
        len(values),
        len(values) - (0 if lists else int(counts.max())),
        float(counts.max() / len(values)) if task.is_multiclass else float(values.mean()),
        0 if lists else _silent(np.asarray(labels.column("as_of")), values),
        tuple(zip(*class_counts(labels), strict=True)) if task.has_classes else (),
        tuple(step_values(labels.column("label")).mean(axis=0).tolist()) if task.steps else (),
    )


def _numbers(labels: pa.Table) -> NDArray[np.float64]:
    """The labels as numbers, different ones for different labels; of lists of items their lengths, of numbers means."""
    column = labels.column("label")
    if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
        means: NDArray[np.float64] = step_values(column).mean(axis=1)
        return means
    if pa.types.is_list(column.type):
        column = pa.compute.list_value_length(column)
    if pa.types.is_string(column.type):
        column = column.combine_chunks().dictionary_encode().indices
    return np.asarray(column, dtype=np.float64)


def _silent(times: NDArray[np.datetime64], values: NDArray[np.float64]) -> int:
    """The number of timestamps, from the oldest on, at which all labels are that of the first; 0 if by chance."""
    other = values != values[np.argmin(times)]
    if not other.any():
        return 0
    before = times < times[other].min()
    share = other[~before].mean()
    by_chance = share < 1 and before.sum() * np.log1p(-share) >= np.log(CHANCE)
    return 0 if by_chance else len(np.unique(times[before]))


def distinct_labels(labels: pa.Table) -> pa.Table:
    """The distinct rows of a label table, in any order; the parts of a key with several columns become columns."""
    flat = labels.flatten()
    keys = [field.name for field in flat.schema if not pa.types.is_list(field.type)]
    if len(keys) == len(flat.column_names):
        return flat.group_by(keys).aggregate([])
    # Lists cannot be keys; those of an entity at one time are equal.
    numbered = flat.select(keys).append_column("position", pa.array(np.arange(labels.num_rows)))
    return flat.take(numbered.group_by(keys).aggregate([("position", "min")]).column("position_min"))


def split_lines(task: Task, splits: Iterable[SplitSummary], reasons: Mapping[str, str]) -> list[str]:
    """The labels and timestamps of each split, a line each, and why validation and test begin where they do."""
    lines = []
    for split in splits:
        if task.has_classes:
            rate = shown_classes(split.classes, split.labels)
        else:
            rate = f"{split.mean:.1%} positive" if task.is_binary else f"mean {split.mean:.4g}"
            rate += " items" if task.is_recommendation else ""
            rate += f", by step {', '.join(f'{mean:.4g}' for mean in split.steps)}" if split.steps else ""
        first, last, count = split.timestamps[0], split.timestamps[-1], len(split.timestamps)
        at = f"at {count:,} times, {first} to {last}" if count > 1 else f"at {first}"
        lines.append(f"{split.split:<5}  {split.labels:,} labels, {rate}{'' if task.is_static else f', {at}'}")
    lines += [f"{field}  {getattr(task, field)}: {reason}" for field, reason in sorted(reasons.items())]
    return lines


def _examples(labels: pa.Table) -> tuple[tuple[object, datetime.datetime, object], ...]:
    """Labels of different values, the latest first; the lowest and the highest value take turns."""
    values = _numbers(labels)
    low, high = (np.flatnonzero(found)[::-1] for found in (values == values.min(), values > values.min()))
    turns = [row for pair in zip(high[:EXAMPLES], low[:EXAMPLES], strict=False) for row in pair]
    rest = [row for row in (*high[:EXAMPLES], *low[:EXAMPLES]) if row not in turns]
    rows = labels.take(pa.array([*turns, *rest][:EXAMPLES]))
    columns = (label_entities(rows), rows.column("as_of").to_pylist(), rows.column("label").to_pylist())
    return tuple(zip(*columns, strict=True))
