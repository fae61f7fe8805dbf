"""The training, validation and test timestamps of a task by the rules of RelBench 3."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import duckdb

from relsql.database.cursors import one_row
from relsql.database.engine_errors import first_line
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.times.events import event_times_sql
from relsql.schema.times.findings.time_findings import declare_a_time
from relsql.schema.times.sentinels import with_event_ranges
from relsql.schema.visibility import visible_time_sql
from relsql.sql_text import literal
from relsql.tasks.kinds.steps import is_whole_sql, windows_end_sql
from relsql.tasks.task import Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
MIN_TRAIN_TIMESTAMPS = 3
DENSE = 4
"""Training timestamps per horizon where the data are short, and candidates per horizon for a split to begin at."""

MAX_TIMESTAMPS = 1_000_000


READABLE = "tables of the database that can be read"
FIX_UNREADABLE = "COMMIT open changes, or relsql inspect FILE"


@contextmanager
def task_errors(task: Task, doing: str, *, expected: str, fix: str) -> Iterator[None]:
    """Turn DuckDB's errors into TaskErrors with the first line of their message; interruptions are passed on."""
    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        raise TaskError(f"task '{task.name}': {doing}: {first_line(error)}", expected=expected, fix=fix) from error


def horizon_days(con: duckdb.DuckDBPyConnection, task: Task) -> float:
    """Length of the task's horizon in days; a month counts as 31 days."""
    start = "TIMESTAMP '2000-01-01'"
    return float(one_row(con, f"SELECT (epoch({start} + {step_sql(task)}) - epoch({start})) / 86400")[0])


def step_sql(task: Task) -> str:
    """The task's horizon as an expression of type INTERVAL."""
    return f"CAST({literal(task.timedelta)} AS INTERVAL)"


def stride_sql(task: Task) -> str:
    """The time between training timestamps: the horizon, or one window of a forecast in steps; of type INTERVAL."""
    return f"({windows_end_sql(task.timedelta, task.steps, 1)})" if task.steps else step_sql(task)


def check_timedelta(cursor: duckdb.DuckDBPyConnection, task: Task) -> None:
    """Raise TaskError unless the task's horizon is a positive length of time, of as many windows as it has steps."""
    start = "TIMESTAMP '2000-01-01'"
    limits = f"{start} + INTERVAL '1 microsecond' AND {start} + INTERVAL '100 years'"
    try:
        usable = bool(one_row(cursor, f"SELECT {start} + {step_sql(task)} BETWEEN {limits}")[0])
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        usable = False
    # A bare number is ambiguous: DuckDB reads it as seconds, pandas as nanoseconds.
    if usable and task.steps and not one_row(cursor, f"SELECT {is_whole_sql(task.timedelta, task.steps)}")[0]:
        raise TaskError(
            f"task '{task.name}': timedelta '{task.timedelta}' is not {task.steps} windows of equal length",
            expected=f"{task.steps} times the length of a window, such as '{task.steps * 30} days'",
            fix=correct("timedelta", "steps"),
        )
    if not usable or task.timedelta.replace(".", "").strip().isdigit():
        raise TaskError(
            f"task '{task.name}': timedelta '{task.timedelta}' is not a length of time",
            expected="a positive interval of at most 100 years, such as '30 days'",
            fix=correct("timedelta"),
        )


def event_span(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, upto: datetime.datetime | None = None
) -> tuple[datetime.datetime, datetime.datetime]:
    """First and last event of all timed tables of `schema`, `upto` inclusive.

    NULLs, infinite times, sentinels and times outside the years 1 to 9999, which Python cannot represent, are ignored.
    """
    timed = schema.timed_tables
    if not timed:
        raise TaskError(
            f"task '{task.name}' asks about the future, but no table has a time, so all rows count at every as_of",
            expected=f"a time of the rows of at least one of {', '.join(sorted(schema.tables))}",
            fix=declare_a_time(schema),
        )
    years = f"{literal(datetime.datetime.min)} AND {literal(upto or datetime.datetime.max)}"
    with task_errors(task, "the time columns cannot be read", expected=READABLE, fix=FIX_UNREADABLE):
        ranged = with_event_ranges(cursor, catalog, Schema({table.key: table for table in timed})).timed_tables
        events = event_times_sql(ranged, lambda table: relation_sql(table, catalog))
        query = f"SELECT min(t), max(t) FROM ({events}) WHERE t BETWEEN {years}"
        first, last = one_row(cursor, query)
    if first is None:
        until = f" until {upto}" if upto else ""
        raise TaskError(
            f"task '{task.name}': there is no event{until}",
            expected=f"rows in {', '.join(table.key for table in timed)}",
            fix="insert rows, or declare another time: relsql init FILE --time-column 'TABLE(COLUMN)'",
        )
    return first, last


def check_splits(cursor: duckdb.DuckDBPyConnection, task: Task) -> None:
    """Check that the split timestamps of a task, both of them set, leave room for the validation labels.

    Raises:
        TaskError: the window of a validation label ends after `test_timestamp`.
    """
    val, test = task.val_timestamp, task.test_timestamp
    if one_row(cursor, f"SELECT {literal(val)} + {step_sql(task)} > {literal(test)}")[0]:
        raise TaskError(
            f"task '{task.name}': val_timestamp {val} is too late for test_timestamp {test}",
            expected=f"at least {task.timedelta} between them",
            fix=correct("val_timestamp", "test_timestamp", "timedelta", "num_eval_timestamps"),
        )


def timestamps_of(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: Split, density: int = 1
) -> list[datetime.datetime]:
    """List the timestamps of one split of a task whose split timestamps are set, oldest first, one horizon apart.

    - train: from one timedelta before `val_timestamp` back to the first event of the database.
    - val: `num_eval_timestamps` from `val_timestamp` on; the last one at least one timedelta before `test_timestamp`.
    - test: `num_eval_timestamps` from `test_timestamp` on; the last one at least one timedelta before the last event.

    With `density` n, training timestamps are 1/n of a timedelta apart, so the windows of their labels overlap; those of
    a forecast in steps are one window apart, or 1/n of it. See `train_timestamps` for few of them.

    Raises:
        TaskError: no table has a time column, or the data do not cover the split.
    """
    first, last = event_span(cursor, catalog, schema, task, upto=None if split == "test" else task.test_timestamp)
    if split == "val" and task.test_timestamp is not None:
        # If there are events after the test timestamp, however few, the data are complete until the test timestamp.
        last = max(last, min(task.test_timestamp, event_span(cursor, catalog, schema, task)[1]))
    step, val, test = step_sql(task), literal(task.val_timestamp), literal(task.test_timestamp)
    evaluation = f"{task.num_eval_timestamps - 1} * {step}"
    if split == "train":
        start, stop, stride = f"{val} - {step}", literal(first), f"-1 * {stride_sql(task)}"
    elif split == "val":
        start, stop, stride = val, f"least({val} + {evaluation}, {test} - {step})", step
    else:
        start, stop, stride = test, f"least({test} + {evaluation}, {literal(last)} - {step})", step
    if split != "train" and one_row(cursor, f"SELECT {start} + {step} > {literal(last)}")[0]:
        raise TaskError(
            f"task '{task.name}': the last event ({last}) is less than {task.timedelta} after {split}_timestamp",
            expected=f"events over the whole horizon of the {split} labels",
            fix=in_manifest(f"an earlier {split}_timestamp or a shorter timedelta", f"{split}_timestamp"),
        )
    count = one_row(cursor, f"SELECT 1 + (epoch({stop}) - epoch({start})) / epoch({stride})")[0]
    count *= density if split == "train" else 1
    if count > MAX_TIMESTAMPS:
        raise TaskError(
            f"task '{task.name}': timedelta '{task.timedelta}' gives {count:,.0f} {split} timestamps since {first}",
            expected=f"at most {MAX_TIMESTAMPS:,}",
            fix=f"{in_manifest('a longer timedelta', 'timedelta')}, or correct the earliest times in the data",
        )
    if split != "train":
        query = f"SELECT unnest(generate_series({start}, {stop}, {stride})) AS t ORDER BY t ASC"
        return [t for (t,) in cursor.execute(sealed(query)).fetchall()]
    assert task.val_timestamp is not None
    timestamps = train_timestamps(cursor, task, first, task.val_timestamp, density)
    if len(timestamps) < MIN_TRAIN_TIMESTAMPS:
        raise TaskError(
            f"task '{task.name}': its horizon, timedelta '{task.timedelta}', leaves {len(timestamps)} training "
            f"timestamps between the first event ({first}) and val_timestamp {task.val_timestamp}",
            expected=f"at least {MIN_TRAIN_TIMESTAMPS}, 1/{DENSE} of a horizon apart",
            fix=correct("timedelta", "num_eval_timestamps", "val_timestamp"),
        )
    return timestamps


def closed_windows(
    cursor: duckdb.DuckDBPyConnection, task: Task, timestamps: Sequence[datetime.datetime], newest: datetime.datetime
) -> list[datetime.datetime]:
    """Those of the timestamps whose horizon ends at or before the newest event, the oldest first."""
    given = "SELECT unnest(?::TIMESTAMP[]) AS s"
    closed = visible_time_sql(f"s + {step_sql(task)}", literal(newest))
    query = f"SELECT s FROM ({given}) WHERE {closed} ORDER BY s ASC"
    return [s for (s,) in cursor.execute(sealed(query), [list(timestamps)]).fetchall()]


def train_timestamps(
    cursor: duckdb.DuckDBPyConnection,
    task: Task,
    first: datetime.datetime,
    val: datetime.datetime,
    density: int = 1,
) -> list[datetime.datetime]:
    """The training timestamps of a task, oldest first, from `first` on (inclusive) to one horizon before `val`.

    They are 1/`density` of a horizon apart, or of a window of a forecast in steps; 1/`DENSE` where whole horizons give
    fewer than `MIN_TRAIN_TIMESTAMPS`.
    """
    step, stride = step_sql(task), stride_sql(task)
    shift = f"to_microseconds((i * epoch({stride}) * 1e6 / {density})::BIGINT)"
    series = f"unnest(generate_series({literal(val)} - {step} - {shift}, {literal(first)}, -1 * {stride})) AS t"
    # DISTINCT: rounded shifts can be equal, and series of calendar months can meet at the end of a short month.
    query = f"SELECT DISTINCT t FROM (SELECT {series} FROM range({density}) shifts(i)) ORDER BY t ASC"
    timestamps = [t for (t,) in cursor.execute(sealed(query)).fetchall()]
    if len(timestamps) < MIN_TRAIN_TIMESTAMPS and density < DENSE:
        return train_timestamps(cursor, task, first, val, DENSE)
    return timestamps
