"""Compute the labels of a task: run its label query in the user's database by the rules of RelBench 3.

A split is a list of timestamps. The label query sees them as `timestamps(timestamp)` and every table by its name;
for the splits `train` and `val` the timed tables end at the task's test timestamp (inclusive).

The query runs in `relsql.tasks.labels.label_sandbox`: on a separate cursor, in a read-only transaction, with temporary
relations that disappear at the end. The user's connection and tables are untouched, and a read-only database suffices.
The cursor sees committed rows only, not what an open transaction on the user's connection has written.

Limits: the user's views, and names that include the database (`f1.main.results`), are not cut at the test
timestamp. A user's table called `timestamps` is hidden by the relation of that name.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import duckdb

from relsql.database.cursors import one_row, task_cursor
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.hints import correct
from relsql.schema.tables import Schema
from relsql.tasks.entity import entity_table
from relsql.tasks.kinds.row_splits import RowWindow, choose_row_splits, window_of
from relsql.tasks.kinds.static_rows import AT_RANDOM, split_reason
from relsql.tasks.labels.label_checks import LARGEST_LABEL, check_labels
from relsql.tasks.labels.label_cut import drawn_labels_sql
from relsql.tasks.labels.label_query import known_labels
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits, label_sandbox
from relsql.tasks.split_choice import GIVEN, SPLIT_FIELDS, LabelCount, SplitChoice, choose_splits
from relsql.tasks.splits import SPLITS, Split, check_splits, check_timedelta, event_span, timestamps_of
from relsql.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "LARGEST_LABEL",
    "SPLITS",
    "LabelTable",
    "Split",
    "chosen_splits",
    "default_splits",
    "label_entities",
    "label_table",
]


NO_EVENT = datetime.datetime(1970, 1, 1)
"""The as_of of rows in a database in which nothing has a time."""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of one split.

    Attributes:
        table: the columns `entity` (type of the entity table's key), `as_of` (timestamp[us], UTC if zoned) and
            `label`, sorted by (as_of, entity). Labels are int64 0 or 1 for binary classification, float64 for
            regression, for multiclass classification the class: text, bool or an integer, for multilabel classification
            a sorted list of classes, for a recommendation the sorted list of items, for a forecast in steps a list of
            float64.
        split: `train`, `val` or `test`.
        dropped_dangling: label rows left out because their entity is not in the entity table.
        dropped_null: label rows left out because their label is NULL.
    """

    table: pa.Table
    split: Split
    dropped_dangling: int
    dropped_null: int


def label_table(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    split: Split,
    *,
    density: int = 1,
    at_most: int | None = None,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> LabelTable:
    """Compute the labels of one split, or those that are drawn from them.

    Args:
        con: the user's connection; it does not change, even if this call is interrupted.
        catalog: name of the attached database.
        schema: its schema.
        task: the task; split timestamps that it lacks are chosen as in `default_splits`.
        split: `train`, `val` or `test`.
        density: density of the training timestamps, see `relsql.tasks.splits.timestamps_of`.
        at_most: number of labels to draw, see `relsql.tasks.labels.label_cut`; None: all are returned.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: the entity table, the timedelta, the split or the label query is not usable, the query does what
            `limits` do not allow, or it takes too long.
    """
    task = chosen_splits(con, catalog, schema, task, limits).task
    end = None if split == "test" or task.is_static else task.test_timestamp
    with label_sandbox(con, catalog, task, limits) as cursor:
        own_time, forecast = task.asked.own_time, task.kind == "forecast"
        timestamps = timestamps_of(cursor, catalog, schema, task, split, density) if forecast else []
        window = _window_of(cursor, catalog, schema, task, split) if own_time else None
        known = known_labels(cursor, catalog, schema, task, timestamps, limits, end, task.test_timestamp, window, split)
        if not known.rows:
            raise _no_rows(task, split, window)
        if not known.kept:
            entity = known.entity
            raise TaskError(
                f"task '{task.name}': none of the {known.rows} {split} labels names a row of table "
                f"'{task.entity_table}'",
                expected=f"'{task.entity_col}' holding values of {entity.key}({', '.join(entity.primary_key)})",
                fix=correct("sql", "entity_col"),
            )
        nulls = check_labels(cursor, known.entity, task, split, known.relation)
        labels = _sorted_labels(cursor, task, known.relation, at_most)
        return LabelTable(labels, split, known.rows - known.kept, nulls)


def _no_rows(task: Task, split: Split, window: RowWindow | None) -> TaskError:
    """The error that a split has no labels; `window` are its rows, for seeds that are rows."""
    if task.is_static:
        return TaskError(
            f"task '{task.name}': no row of {task.entity_table} with a label is in the {split} split",
            expected=split_reason(task.entity_table, task.split or AT_RANDOM),
            fix=correct("split", "sql"),
        )
    if window:
        first, last = (f"{bound}" if bound else "" for bound in (window.begin, window.end))
        return TaskError(
            f"task '{task.name}': no row of {task.entity_table} with a label is in the {split} split "
            f"(after {first or 'the beginning'}, up to {last or 'the end'})",
            expected="rows with labels at times before, between and after the split timestamps",
            fix=correct("val_timestamp", "test_timestamp"),
        )
    if task.predict:
        return TaskError(
            f"task '{task.name}': no row of {task.entity_table} is asked about at any of the {split} timestamps",
            expected="rows that exist then, and that the line's WHERE and ASSUMING let through",
            fix=correct("predict"),
        )
    return TaskError(
        f"task '{task.name}': the label query returns no rows for the {split} timestamps",
        expected="one row per entity and timestamp",
        fix="run the query manually with a table timestamps(timestamp); check its time conditions",
    )


def label_entities(labels: pa.Table) -> list[Any]:
    """The entities of a label table as values that can be compared and hashed: a tuple for a key of several columns."""
    return [tuple(key.values()) if isinstance(key, dict) else key for key in labels.column("entity").to_pylist()]


def labels_at(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    *,
    end: datetime.datetime | None,
    entities_until: datetime.datetime | None,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> pa.Table:
    """The labels at any timestamps, in the form of `LabelTable.table`, on data that end anywhere.

    Args:
        con: the user's connection; it does not change.
        catalog: name of the attached database.
        schema: its schema.
        task: the task; its split timestamps do not matter.
        timestamps: the timestamps.
        end: where the timed tables end for the query, inclusive; None: they are not cut.
        entities_until: only labels of entities that are in the entity table at this time count, inclusive; None: all.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: as for `label_table`, except that an empty result is allowed.
    """
    with label_sandbox(con, catalog, task, limits) as cursor:
        known = known_labels(cursor, catalog, schema, task, timestamps, limits, end, entities_until)
        return _sorted_labels(cursor, task, known.relation)


def default_splits(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, *, limits: LabelLimits = DEFAULT_LIMITS
) -> Task:
    """Return the task with both split timestamps, choosing the missing ones from the data; see `chosen_splits`."""
    return chosen_splits(con, catalog, schema, task, limits).task


def chosen_splits(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, limits: LabelLimits = DEFAULT_LIMITS
) -> SplitChoice:
    """Choose the split timestamps that a task lacks, see `relsql.tasks.split_choice`.

    Arguments as in `label_table`.

    Raises:
        TaskError: no table has a time column, the horizon is too long for the data, or labels cannot be counted.
    """
    if task.asked.own_time:
        return _chosen_row_splits(con, catalog, schema, task, limits)
    with task_cursor(con, catalog) as cursor:
        if task.is_static:
            return _static_split(cursor, catalog, schema, task)
        check_timedelta(cursor, task)
        if task.val_timestamp and task.test_timestamp:
            choice = SplitChoice(task, dict.fromkeys(SPLIT_FIELDS, GIVEN))
        else:
            entity_table(schema, task)
            choice = choose_splits(
                cursor,
                catalog,
                schema,
                task,
                lambda timestamps, end: _label_counts(con, catalog, schema, task, timestamps, end, limits),
            )
        check_splits(cursor, choice.task)
        return choice


def _static_split(cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task) -> SplitChoice:
    """`chosen_splits` of a static task: all of its rows are asked about at the latest event, or at none."""
    moment = task.val_timestamp
    if moment is None:
        moment = event_span(cursor, catalog, schema, task)[1] if schema.timed_tables else NO_EVENT
    task = replace(task, val_timestamp=moment, test_timestamp=moment)
    return SplitChoice(task, {"split": split_reason(task.entity_table, task.split or AT_RANDOM)})


def _chosen_row_splits(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, limits: LabelLimits
) -> SplitChoice:
    """`chosen_splits` for seeds that are rows with a time of their own."""
    with label_sandbox(con, catalog, task, limits) as cursor:
        if task.timedelta:
            check_timedelta(cursor, task)
        if task.val_timestamp and task.test_timestamp:
            return choose_row_splits(task, lambda *_: None)
        known = known_labels(cursor, catalog, schema, task, [], limits, None, None)

        def quantile(
            share: float, after: datetime.datetime | None, until: datetime.datetime | None
        ) -> datetime.datetime | None:
            within = RowWindow(after, until).condition_sql("as_of", replace(task, timedelta=""))
            query = f"SELECT quantile_disc(as_of, {share}) FROM {known.relation} WHERE label IS NOT NULL AND {within}"
            found: datetime.datetime | None = one_row(cursor, query)[0]
            return found

        return choose_row_splits(task, quantile)


def _window_of(cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: Split) -> RowWindow:
    """The rows of a split; labels that are known only later than the last event are in none."""
    window = window_of(task, split)
    if window.end is None and task.timedelta:
        window = replace(window, end=event_span(cursor, catalog, schema, task)[1])
    return window


def _label_counts(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    end: datetime.datetime | None,
    limits: LabelLimits,
) -> dict[datetime.datetime, LabelCount]:
    """Labels at each timestamp that has any, on tables that end at `end`."""
    with label_sandbox(con, catalog, task, limits) as cursor:
        known = known_labels(cursor, catalog, schema, task, timestamps, limits, end, end)
        by_value = f"SELECT as_of, label, count(*) AS n FROM {known.relation} WHERE label IS NOT NULL GROUP BY ALL"
        query = f"SELECT as_of, sum(n)::BIGINT, (sum(n) - max(n))::BIGINT FROM ({by_value}) GROUP BY as_of"
        return {as_of: LabelCount(*counts) for as_of, *counts in cursor.execute(sealed(query)).fetchall()}


def _sorted_labels(cursor: duckdb.DuckDBPyConnection, task: Task, known: str, at_most: int | None = None) -> pa.Table:
    as_it_is = task.has_classes or task.is_recommendation
    number = "BIGINT" if task.is_binary else "DOUBLE[]" if task.steps else "DOUBLE"
    label = "label" if as_it_is else f"CAST(label AS {number})"
    drawn = f"SELECT * FROM {known} WHERE label IS NOT NULL"
    if at_most is not None:
        drawn = drawn_labels_sql(cursor, known, at_most)
    query = f"SELECT entity, as_of, {label} AS label FROM ({drawn}) ORDER BY as_of ASC, entity ASC"
    return cursor.sql(sealed(query)).to_arrow_table()
