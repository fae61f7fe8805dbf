"""Choose the training, validation and test timestamps of a task by the rules of RelBench 3."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import duckdb

from relsql.database.cursors import one_row, task_cursor
from relsql.database.engine_errors import first_line
from relsql.database.sealed import sealed
from relsql.errors import TaskError
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.times import time_sql
from relsql.sql import literal
from relsql.tasks.task import Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
MIN_TRAIN_TIMESTAMPS = 3
MAX_TIMESTAMPS = 1_000_000


def split_timestamps(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: Split
) -> list[datetime.datetime]:
    """List the timestamps of one split, oldest first, one `task.timedelta` apart.

    - train: from one timedelta before `val_timestamp` back to the first event of the database.
    - val: `num_eval_timestamps` from `val_timestamp` on; the last one at least one timedelta before `test_timestamp`.
    - test: `num_eval_timestamps` from `test_timestamp` on; the last one at least one timedelta before the last event.

    Raises:
        TaskError: no table has a time column, or the data do not cover the split.
    """
    with task_cursor(con, catalog) as cursor:
        task = with_splits(cursor, catalog, schema, task)
        return timestamps_of(cursor, catalog, schema, task, split)


def default_splits(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task) -> Task:
    """Return the task with both split timestamps, choosing the missing ones from the data.

    The test timestamp is `num_eval_timestamps` timedeltas before the last event of all timed tables, and the
    validation timestamp is as many timedeltas before the test timestamp.

    Raises:
        TaskError: no table has a time column, or fewer than 3 training timestamps remain.
    """
    with task_cursor(con, catalog) as cursor:
        task = with_splits(cursor, catalog, schema, task)
        timestamps_of(cursor, catalog, schema, task, "train")
        return task


@contextmanager
def task_errors(task: Task, doing: str, fix: str | None = None) -> Iterator[None]:
    """Turn DuckDB's errors into TaskErrors with the first line of their message; interruptions are passed on."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise TaskError(f"task '{task.name}': {doing}: {first_line(error)}", fix=fix) from error


def horizon_days(con: duckdb.DuckDBPyConnection, task: Task) -> float:
    """Length of the task's horizon in days; a month counts as 31 days."""
    start = "TIMESTAMP '2000-01-01'"
    return float(one_row(con, f"SELECT (epoch({start} + {_step(task)}) - epoch({start})) / 86400")[0])


def _step(task: Task) -> str:
    return f"CAST({literal(task.timedelta)} AS INTERVAL)"


def _check_timedelta(cursor: duckdb.DuckDBPyConnection, task: Task) -> None:
    start = "TIMESTAMP '2000-01-01'"
    limits = f"{start} + INTERVAL '1 microsecond' AND {start} + INTERVAL '100 years'"
    try:
        usable = bool(one_row(cursor, f"SELECT {start} + {_step(task)} BETWEEN {limits}")[0])
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        usable = False
    # A bare number is ambiguous: DuckDB reads it as seconds, pandas as nanoseconds.
    if not usable or task.timedelta.replace(".", "").strip().isdigit():
        raise TaskError(
            f"task '{task.name}': timedelta '{task.timedelta}' is not a length of time",
            expected="a positive interval of at most 100 years, such as '30 days'",
            fix="correct timedelta in the task manifest",
        )


def _span(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, upto: datetime.datetime | None = None
) -> tuple[datetime.datetime, datetime.datetime]:
    """First and last event of all timed tables, `upto` inclusive.

    NULLs, infinite times and times outside the years 1 to 9999, which Python cannot represent, are ignored.
    """
    timed = schema.timed_tables
    if not timed:
        raise TaskError(
            f"task '{task.name}' needs events, but no table has a time column",
            expected=f"a time column in at least one of {', '.join(sorted(schema.tables))}",
            fix="relsql init FILE --time-column 'TABLE(COLUMN)'",
        )
    years = f"{literal(datetime.datetime.min)} AND {literal(upto or datetime.datetime.max)}"
    parts = [f"SELECT {time_sql(table, 'r')} AS t FROM {relation_sql(table, catalog)} AS r" for table in timed]
    with task_errors(task, "the time columns cannot be read", "COMMIT open changes, or relsql inspect FILE"):
        query = f"SELECT min(t), max(t) FROM ({' UNION ALL '.join(parts)}) WHERE t BETWEEN {years}"
        first, last = one_row(cursor, query)
    if first is None:
        until = f" until {upto}" if upto else ""
        raise TaskError(
            f"task '{task.name}': there is no event{until}",
            expected=f"rows in {', '.join(table.key for table in timed)}",
        )
    return first, last


def with_splits(cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task) -> Task:
    """Return `task` with both split timestamps set and checked; see `default_splits`."""
    _check_timedelta(cursor, task)
    if task.val_timestamp is None or task.test_timestamp is None:
        # Python cannot represent times before the year 1, and later checks refuse splits that start so early.
        before = "SELECT greatest({} - " + f"{task.num_eval_timestamps} * {_step(task)}, TIMESTAMP '0001-01-01')"
        last = _span(cursor, catalog, schema, task)[1]
        with task_errors(task, "no split fits", "choose a shorter timedelta or fewer num_eval_timestamps"):
            test = task.test_timestamp or one_row(cursor, before.format(literal(last)))[0]
            val = task.val_timestamp or one_row(cursor, before.format(literal(test)))[0]
        task = replace(task, val_timestamp=val, test_timestamp=test)
    val, test = task.val_timestamp, task.test_timestamp
    if one_row(cursor, f"SELECT {literal(val)} + {_step(task)} > {literal(test)}")[0]:
        raise TaskError(
            f"task '{task.name}': val_timestamp {val} is too late for test_timestamp {test}",
            expected=f"at least {task.timedelta} between them",
            fix="move one of them, or choose a shorter timedelta or fewer num_eval_timestamps",
        )
    return task


def timestamps_of(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: Split, density: int = 1
) -> list[datetime.datetime]:
    """List the timestamps of one split of a task whose split timestamps are set; see `split_timestamps`.

    With `density` n, training timestamps are 1/n of a timedelta apart, so that the windows of their labels overlap.
    """
    first, last = _span(cursor, catalog, schema, task, upto=None if split == "test" else task.test_timestamp)
    if split == "val" and task.test_timestamp is not None:
        # If there are events after the test timestamp, however few, the data are complete until the test timestamp.
        last = max(last, min(task.test_timestamp, _span(cursor, catalog, schema, task)[1]))
    step, val, test = _step(task), literal(task.val_timestamp), literal(task.test_timestamp)
    evaluation = f"{task.num_eval_timestamps - 1} * {step}"
    if split == "train":
        start, stop, stride = f"{val} - {step}", literal(first), f"-1 * {step}"
    elif split == "val":
        start, stop, stride = val, f"least({val} + {evaluation}, {test} - {step})", step
    else:
        start, stop, stride = test, f"least({test} + {evaluation}, {literal(last)} - {step})", step
    if split != "train" and one_row(cursor, f"SELECT {start} + {step} > {literal(last)}")[0]:
        raise TaskError(
            f"task '{task.name}': the last event ({last}) is less than {task.timedelta} after {split}_timestamp",
            expected=f"events over the whole horizon of the {split} labels",
            fix=f"choose an earlier {split}_timestamp or a shorter timedelta",
        )
    count = one_row(cursor, f"SELECT 1 + (epoch({stop}) - epoch({start})) / epoch({stride})")[0]
    count *= density if split == "train" else 1
    if count > MAX_TIMESTAMPS:
        raise TaskError(
            f"task '{task.name}': timedelta '{task.timedelta}' gives {count:,.0f} {split} timestamps since {first}",
            expected=f"at most {MAX_TIMESTAMPS:,}",
            fix="choose a longer timedelta, or correct the earliest times in the data",
        )
    query = f"SELECT unnest(generate_series({start}, {stop}, {stride})) AS t ORDER BY t ASC"
    if split == "train" and density > 1:
        shift = f"to_microseconds((i * epoch({step}) * 1e6 / {density})::BIGINT)"
        series = f"unnest(generate_series({start} - {shift}, {stop}, {stride})) AS t"
        # DISTINCT: rounded shifts can be equal, and series of calendar months can meet at the end of a short month.
        query = f"SELECT DISTINCT t FROM (SELECT {series} FROM range({density}) shifts(i)) ORDER BY t ASC"
    timestamps = [t for (t,) in cursor.execute(sealed(query)).fetchall()]
    if split == "train" and len(timestamps) < MIN_TRAIN_TIMESTAMPS:
        raise TaskError(
            f"task '{task.name}' has {len(timestamps)} training timestamps between the first event ({first}) and "
            f"val_timestamp {task.val_timestamp}",
            expected=f"at least {MIN_TRAIN_TIMESTAMPS}, {task.timedelta} apart",
            fix="choose a shorter timedelta, fewer num_eval_timestamps or a later val_timestamp",
        )
    return timestamps
