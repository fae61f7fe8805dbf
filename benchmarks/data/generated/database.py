"""Common parts of the generated databases: their files, the files with the truth, and the planted features.

The truth is in a second file, `<stem>.truth.duckdb`, because a model would read it if it were a table of the database.
Its table `label_probabilities` has one row per possible label row of the task, with two probabilities of label 1:

    forecast      given every row dated at or before as_of and the process that generates the rows
    known_state   given the hidden states at as_of as well: no forecast can be expected to do better
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.connections import open_database, transaction
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.demo.league import truth_path
from relsql.errors import DatabaseError
from relsql.schema.reading import read_schema
from relsql.sql_text import ident, qualified
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS, Split
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task

FloatArray = npt.NDArray[np.float64]

TRUTH_TABLE = "label_probabilities"
TRUTH_COLUMNS = "entity BIGINT, as_of TIMESTAMP, forecast DOUBLE, known_state DOUBLE, PRIMARY KEY (entity, as_of)"
_LABELS = "known_labels"


@dataclass(frozen=True, slots=True)
class TableRows:
    """A table to be written: its columns as DDL, its rows in that order, and its time column if it has one."""

    ddl: str
    rows: pa.Table
    time_column: str | None = None


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated database.

    Attributes:
        name: name of the database and its file.
        task: name of the task stored in it.
        create: writes the database and the file with the truth: (path, seed).
        features: planted features of label rows by group, each float64 [labels, width], NaN is missing: the features
            that a person would compute who knows where the signal is. The first group has the entity's own columns,
            the last group has all relevant features.
        bound: description of `forecast` in one sentence.
    """

    name: str
    task: str
    create: Callable[[Path, int], None]
    features: Callable[[duckdb.DuckDBPyConnection, pa.Table], dict[str, FloatArray]]
    bound: str


def write_database(path: Path, tables: Mapping[str, TableRows], task: Task, truth: pa.Table) -> None:
    """Write the database with its task and declared time columns to `path`, and the truth to `truth_path(path)`.

    Both are written under temporary names and renamed when complete; existing files are replaced.

    Args:
        path: the DuckDB file.
        tables: parents before children.
        task: the task.
        truth: columns as in `TRUTH_COLUMNS`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {path: tables, truth_path(path): {TRUTH_TABLE: TableRows(TRUTH_COLUMNS, truth)}}
    for target, content in contents.items():
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            _write(draft, content, task if target == path else None)
            target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _write(path: Path, tables: Mapping[str, TableRows], task: Task | None) -> None:
    """Write `tables` to a new file and, if given, the task and the declared time columns."""
    with open_database(path, must_exist=False) as con:
        catalog = current_catalog(con)
        with transaction(con):
            for name, table in tables.items():
                _create(con, qualified(catalog, "main", name), table)
            if task is not None:
                _declare(con, catalog, tables, task)
        con.execute("CHECKPOINT")


def _create(con: duckdb.DuckDBPyConnection, name: str, table: TableRows) -> None:
    con.execute(f"CREATE TABLE {name} ({table.ddl})")
    con.register("new_rows", table.rows)
    con.execute(f"INSERT INTO {name} SELECT * FROM new_rows")
    con.unregister("new_rows")


def _declare(con: duckdb.DuckDBPyConnection, catalog: str, tables: Mapping[str, TableRows], task: Task) -> None:
    declared = ensure_table(con, catalog, "schema_tables")
    for name, table in tables.items():
        values = [name, table.time_column]
        con.execute(f"INSERT INTO {declared} (table_name, time_column, origin) VALUES (?, ?, 'declared')", values)
    save_task(con, catalog, task)


def read_labels(con: duckdb.DuckDBPyConnection, task: str) -> dict[Split, pa.Table]:
    """The labels of the task by split: columns entity, as_of, label, sorted by (as_of, entity)."""
    catalog = current_catalog(con)
    schema, known = read_schema(con, catalog), read_task(con, catalog, task)
    return {split: label_table(con, catalog, schema, known, split).table for split in SPLITS}


def read_truth(path: Path, labels: pa.Table) -> dict[str, FloatArray]:
    """The columns `forecast` and `known_state` of the truth that belongs to `path`, in the order of `labels`.

    Raises:
        DatabaseError: the truth has no row for a label row.
    """
    with open_database(truth_path(path), read_only=True) as con:
        con.register(_LABELS, labels)
        query = f"""SELECT t.forecast, t.known_state FROM {_LABELS} l
                    LEFT JOIN {TRUTH_TABLE} t ON t.entity = l.entity AND t.as_of = l.as_of ORDER BY l.as_of, l.entity"""
        table = con.sql(query).to_arrow_table()
    found = {name: np.asarray(table[name], dtype=np.float64) for name in table.column_names}
    if any(np.isnan(values).any() for values in found.values()):
        raise DatabaseError(f"the truth beside '{path}' lacks label rows", fix=f"delete '{path}' and create it again")
    return found


def recency_features(
    con: duckdb.DuckDBPyConnection, labels: pa.Table, rows: str, values: Sequence[str], windows: Sequence[int]
) -> FloatArray:
    """Means of `values` over the last 1, 4, ... rows of each label, NaN if there are none.

    Args:
        con: connection to the database.
        labels: columns entity and as_of, sorted by (as_of, entity).
        rows: a query with the columns entity, as_of, nth (1 = latest) and `values`, over `known_labels`.
        values: names of its value columns.
        windows: numbers of rows.

    Returns:
        float64 [labels, values * windows].
    """
    means = [f"avg(r.{ident(value)}) FILTER (WHERE r.nth <= {last})" for value in values for last in windows]
    query = f"""SELECT {", ".join(f"{mean} AS m{i}" for i, mean in enumerate(means))}
                FROM {_LABELS} l LEFT JOIN ({rows}) r ON r.entity = l.entity AND r.as_of = l.as_of
                GROUP BY l.entity, l.as_of ORDER BY l.as_of, l.entity"""
    return query_features(con, labels, query)


def query_features(con: duckdb.DuckDBPyConnection, labels: pa.Table, query: str) -> FloatArray:
    """The columns of a query over `known_labels` (entity, as_of), one row per label in order: float64 [labels, n]."""
    con.register(_LABELS, labels)
    try:
        table = con.sql(query).to_arrow_table()
    finally:
        con.unregister(_LABELS)
    assert table.num_rows == labels.num_rows
    return np.column_stack([np.asarray(column.cast(pa.float64()), dtype=np.float64) for column in table.columns])
