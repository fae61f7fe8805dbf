"""The sandbox in which SQL that comes with a task runs, and the only place where it runs.

It runs on a separate cursor, so the user's connection keeps its transaction and settings. Four layers restrict it:

1. A read-only transaction that always ends with ROLLBACK. DuckDB refuses every write to a database in it, and every
   sequence keeps its value; temporary relations are allowed, and disappear at the end.
2. The check of the query before it runs, see `relsql.tasks.labels.query_check`.
3. Where relsql opens the file itself, the whole instance has no access to other files, see `open_database`.
4. A time limit. DuckDB checks for an interruption between chunks of rows, so one call of a function on one huge list or
   text is stopped only after the call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from relsql.database.cursors import task_cursor
from relsql.database.interrupts import interrupted
from relsql.errors import TaskError
from relsql.hints import correct
from relsql.tasks.labels.query_check import Relations, check_query, parse_select
from relsql.tasks.splits import check_timedelta, task_errors
from relsql.tasks.task import Task

LABEL_TIMEOUT_SECONDS = 3600.0
"""Default time limit for the labels of one split; the largest data set that was tried takes seconds."""

_INTERRUPT_INTERVAL_SECONDS = 0.1
_TEMPORARY_RELATIONS = frozenset({"timestamps"})


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """What the label query of a task may do.

    Attributes:
        allow_external: it may read files and other databases, and call any function. It still cannot write to a
            database.
        timeout_seconds: it is stopped after this time, per split; above 0.
    """

    allow_external: bool = False
    timeout_seconds: float = LABEL_TIMEOUT_SECONDS


DEFAULT_LIMITS = LabelLimits()
RUNNABLE = "one SELECT that runs on the tables of the database and timestamps(timestamp)"


@contextmanager
def label_sandbox(
    con: duckdb.DuckDBPyConnection, catalog: str, task: Task, limits: LabelLimits = DEFAULT_LIMITS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a cursor inside `catalog` that can only write temporary relations, for the duration of the block.

    Raises:
        TaskError: the block took longer than the time limit.
    """
    with task_cursor(con, catalog) as cursor:
        if not limits.allow_external:
            # Otherwise a name that is not a relation is looked up among the variables of the calling program.
            cursor.execute("SET python_enable_replacements = false")
        with _read_only_transaction(cursor), _time_limit(cursor, task, limits.timeout_seconds):
            yield cursor


def checked_query(
    cursor: duckdb.DuckDBPyConnection,
    task: Task,
    relations: Relations,
    limits: LabelLimits = DEFAULT_LIMITS,
    temporary: frozenset[str] = frozenset(),
) -> tuple[str, dict[str, Any]]:
    """The label query of a task and its syntax tree, after checking that it may run in the sandbox.

    `temporary` are folded names of temporary relations that it may read besides the timestamps.

    Raises:
        TaskError: it is not one SELECT, or does what `limits` do not allow.
    """
    sql, tree = _parsed_query(cursor, task)
    if not limits.allow_external:
        with task_errors(task, "the label query fails", expected=RUNNABLE, fix=correct("sql")):
            check_query(cursor, task.name, tree, relations, _TEMPORARY_RELATIONS | temporary)
    return sql, tree


def _parsed_query(con: duckdb.DuckDBPyConnection, task: Task) -> tuple[str, dict[str, Any]]:
    """The label query of a task and its syntax tree.

    Raises:
        TaskError: it is not one SELECT.
    """
    sql = task.sealed_label_sql
    with task_errors(task, "the label query fails", expected=RUNNABLE, fix=correct("sql")):
        return sql, parse_select(con, task.name, sql)


def check_definition(task: Task) -> None:
    """Check what can be known of a task without its database: the horizon, and the syntax of a given label query.

    Raises:
        TaskError: the horizon is not a length of time, or the label query is not one SELECT.
    """
    with closing(duckdb.connect()) as con:
        if task.timedelta or task.kind == "forecast":
            check_timedelta(con, task)
        if task.label_sql:
            _parsed_query(con, task)


def run_query(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Run a statement in a thread while this one waits.

    DuckDB notices Ctrl-C only between its tasks, and a recursive query that never ends is a single task. The waiting
    thread receives Ctrl-C at once and interrupts the query.

    Raises:
        KeyboardInterrupt: Ctrl-C. Otherwise whatever the statement raises.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="relsql-label-query") as executor:
        running = executor.submit(cursor.execute, sql)
        try:
            running.result()
        except KeyboardInterrupt:
            while not running.done():
                # Repeated, because an interruption has no effect before the statement begins.
                cursor.interrupt()
                wait([running], _INTERRUPT_INTERVAL_SECONDS)
            raise


@contextmanager
def _read_only_transaction(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    cursor.execute("BEGIN TRANSACTION READ ONLY")
    try:
        yield
    finally:
        try:
            cursor.execute("ROLLBACK")
        except duckdb.Error:
            pass  # A fatal error has already ended the transaction.


@contextmanager
def _time_limit(cursor: duckdb.DuckDBPyConnection, task: Task, seconds: float) -> Iterator[None]:
    """Interrupt the cursor's statement when the block takes too long; Ctrl-C is passed on unchanged."""
    finished = threading.Event()
    deadline = time.monotonic() + seconds
    late = False

    def watch() -> None:
        nonlocal late
        # Repeated, because an interruption between two statements has no effect.
        while not finished.wait(_INTERRUPT_INTERVAL_SECONDS if late else max(0.0, deadline - time.monotonic())):
            late = True
            cursor.interrupt()

    thread = threading.Thread(target=watch, name="relsql-label-timeout", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if late and not isinstance(error, KeyboardInterrupt) and interrupted(error):
            raise TaskError(
                f"task '{task.name}': the labels took more than {seconds:g} seconds and were stopped",
                expected="a label query that ends",
                fix=f"{correct('sql')}, or raise --label-timeout (label_timeout_seconds)",
            ) from error
        raise
    finally:
        finished.set()
        thread.join()
