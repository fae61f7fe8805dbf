"""The cutoffs of a backtest, and the task as it would have been asked at each of them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import duckdb

from relsql.database.cursors import one_row, task_cursor
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.hints import correct
from relsql.schema.tables import Schema
from relsql.schema.visibility import since_sql
from relsql.sql_text import ident, literal
from relsql.tasks.splits import MIN_TRAIN_TIMESTAMPS, event_span, step_sql, train_timestamps
from relsql.tasks.task import Task

Window = Literal["expanding", "sliding"]
WINDOWS: tuple[Window, ...] = ("expanding", "sliding")


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """Cutoffs, oldest first, of data that begin at `first`; `missing` more were requested, but do not fit into them."""

    times: tuple[datetime.datetime, ...]
    first: datetime.datetime
    missing: int

    def task_at(self, task: Task, cutoff: datetime.datetime, window: Window) -> Task:
        """The task as of a cutoff, where its last validation window ends and the test window begins.

        So there is an embargo of one horizon between the last training label and the cutoff. In a sliding window,
        the labels go back as far from each cutoff as they do from the first one.
        """
        asked = replace(task, num_eval_timestamps=1, val_timestamp=self._before(task, cutoff), test_timestamp=cutoff)
        if window == "expanding":
            return asked
        begin = cutoff - (self.times[0] - self.first)
        within = since_sql(ident(task.time_col), literal(begin))
        return replace(asked, predict=None, sql=f"SELECT * FROM (\n{task.sealed_label_sql}\n) WHERE {within}")

    @staticmethod
    def _before(task: Task, cutoff: datetime.datetime) -> datetime.datetime:
        with duckdb.connect() as con:
            found: datetime.datetime = one_row(con, f"SELECT {literal(cutoff)} - {step_sql(task)}")[0]
        return found


def find_cutoffs(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, count: int, every: str | None
) -> Cutoffs:
    """The latest cutoffs whose windows end by the last event, `every` apart (default: one horizon).

    Cutoffs without enough training timestamps before them are left out.

    Raises:
        TaskError: `every` is not a length of time, or no cutoff fits into the data.
    """
    with task_cursor(con, catalog) as cursor:
        first, last = event_span(cursor, catalog, schema, task)
        step = step_sql(task)
        apart = f"CAST({literal(every)} AS INTERVAL)" if every else step
        _check_every(cursor, task, every, apart)
        series = f"{literal(last)} - {step} - i * {apart}"
        query = f"SELECT {series} AS t FROM range({count}) r(i) ORDER BY t ASC"
        asked: Sequence[datetime.datetime] = [t for (t,) in cursor.execute(sealed(query)).fetchall()]
        times = tuple(cutoff for cutoff in asked if _is_trainable(cursor, task, first, cutoff))
    if not times:
        raise TaskError(
            f"task '{task.name}': no cutoff has {MIN_TRAIN_TIMESTAMPS} training timestamps before it: the events are "
            f"from {first} to {last}",
            expected="events over at least 5 horizons",
            fix=correct("timedelta"),
        )
    return Cutoffs(times, first, len(asked) - len(times))


def _is_trainable(
    cursor: duckdb.DuckDBPyConnection, task: Task, first: datetime.datetime, cutoff: datetime.datetime
) -> bool:
    val: datetime.datetime = one_row(cursor, f"SELECT {literal(cutoff)} - {step_sql(task)}")[0]
    return val > first and len(train_timestamps(cursor, task, first, val)) >= MIN_TRAIN_TIMESTAMPS


def _check_every(cursor: duckdb.DuckDBPyConnection, task: Task, every: str | None, apart: str) -> None:
    start = "TIMESTAMP '2000-01-01'"
    try:
        positive = bool(one_row(cursor, f"SELECT {start} + {apart} > {start}")[0])
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        positive = False
    if not positive:
        raise TaskError(
            f"task '{task.name}': every '{every}' is not a length of time",
            expected="a positive interval, such as '90 days' or 90d",
            fix="relsql backtest FILE TASK --every '90 days'",
        )
