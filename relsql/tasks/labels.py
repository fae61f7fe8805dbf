"""Compute the labels of a task: run its label query in the user's database by the rules of RelBench 3.

A split is a list of timestamps. The label query sees them as `timestamps(timestamp)` and every table by its name;
for the splits `train` and `val` the timed tables end at the task's test timestamp (inclusive).

The query runs in `relsql.tasks.label_sandbox`: on a separate cursor, in a read-only transaction, with temporary
relations that disappear at the end. The user's connection and tables are untouched, and a read-only database suffices.
The cursor sees committed rows only, not what an open transaction on the user's connection has written.

Limits: the user's views, and names that include the database (`f1.main.results`), are not cut at the test
timestamp. A user's table called `timestamps` is hidden by the relation of that name.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from relsql.database.cursors import one_row, task_cursor
from relsql.database.names import DEFAULT_SCHEMA, fold, stored_name
from relsql.database.sealed import sealed
from relsql.database.syntax_tree import Tree, nodes, parse, write
from relsql.errors import TaskError, nearest
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.events import as_timestamp_sql
from relsql.schema.visibility import where_visible_sql
from relsql.sql import ident
from relsql.tasks.hints import correct
from relsql.tasks.label_checks import LARGEST_LABEL, check_labels, check_timestamps, check_types
from relsql.tasks.label_sandbox import DEFAULT_LIMITS, LabelLimits, checked_query, label_sandbox, run_query
from relsql.tasks.query_check import Relations, read_relations
from relsql.tasks.split_choice import GIVEN, SPLIT_FIELDS, LabelCount, SplitChoice, choose_splits
from relsql.tasks.splits import SPLITS, Split, check_splits, check_timedelta, task_errors, timestamps_of
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
    "entity_key",
    "label_table",
]

_SEEDS = "temp.main.timestamps"


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Labels of one split.

    Attributes:
        table: the columns `entity` (type of the entity table's key), `as_of` (timestamp[us], UTC if zoned) and
            `label` (int64 0 or 1 for classification, float64 for regression), sorted by (as_of, entity).
        split: `train`, `val` or `test`.
        dropped_dangling: label rows left out because their entity is not in the entity table.
        dropped_null: label rows left out because their label is NULL.
    """

    table: pa.Table
    split: Split
    dropped_dangling: int
    dropped_null: int


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of temporary relations that do not hide any relation of the user's.

    Attributes:
        result: the rows that the label query returns.
        labels: the same rows as (entity, as_of, label).
        known: the labels whose entity exists.
        cut: by `Table.key`, the views that replace timed tables outside schema main; a temporary view of the same name
            could not hide these.
    """

    result: str
    labels: str
    known: str
    cut: dict[str, str]


def label_table(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    split: Split,
    *,
    density: int = 1,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> LabelTable:
    """Compute the labels of one split.

    Args:
        con: the user's connection; it does not change, even if this call is interrupted.
        catalog: name of the attached database.
        schema: its schema.
        task: the task; split timestamps that it lacks are chosen as in `default_splits`.
        split: `train`, `val` or `test`.
        density: density of the training timestamps, see `relsql.tasks.splits.timestamps_of`.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: the entity table, the timedelta, the split or the label query is not usable, the query does what
            `limits` do not allow, or it takes too long.
    """
    key = entity_key(schema, task)
    task = chosen_splits(con, catalog, schema, task, limits).task
    end = None if split == "test" else task.test_timestamp
    with label_sandbox(con, catalog, task, limits) as cursor:
        timestamps = timestamps_of(cursor, catalog, schema, task, split, density)
        known, rows, kept = _known_labels(cursor, catalog, schema, task, timestamps, limits, end, task.test_timestamp)
        if not rows:
            raise TaskError(
                f"task '{task.name}': the label query returns no rows for the {split} timestamps",
                expected="one row per entity and timestamp",
                fix="run the query manually with a table timestamps(timestamp); check its time conditions",
            )
        if not kept:
            raise TaskError(
                f"task '{task.name}': none of the {rows} {split} labels names a row of table '{task.entity_table}'",
                expected=f"'{task.entity_col}' holding values of {task.entity_table}.{key}",
                fix=correct("sql", "entity_col"),
            )
        nulls = check_labels(cursor, task, split, known)
        return LabelTable(_sorted_labels(cursor, task, known), split, rows - kept, nulls)


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
        entities_until: labels count only of entities that are in the entity table by then, inclusive; None: all of it.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: as for `label_table`; no labels are no error.
    """
    with label_sandbox(con, catalog, task, limits) as cursor:
        known, _, _ = _known_labels(cursor, catalog, schema, task, timestamps, limits, end, entities_until)
        return _sorted_labels(cursor, task, known)


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
    with task_cursor(con, catalog) as cursor:
        check_timedelta(cursor, task)
        if task.val_timestamp and task.test_timestamp:
            choice = SplitChoice(task, dict.fromkeys(SPLIT_FIELDS, GIVEN))
        else:
            entity_key(schema, task)
            choice = choose_splits(
                cursor,
                catalog,
                schema,
                task,
                lambda timestamps, end: _label_counts(con, catalog, schema, task, timestamps, end, limits),
            )
        check_splits(cursor, choice.task)
        return choice


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
        known, _, _ = _known_labels(cursor, catalog, schema, task, timestamps, limits, end, end)
        by_value = f"SELECT as_of, label, count(*) AS n FROM {known} WHERE label IS NOT NULL GROUP BY ALL"
        query = f"SELECT as_of, sum(n)::BIGINT, (sum(n) - max(n))::BIGINT FROM ({by_value}) GROUP BY as_of"
        return {as_of: LabelCount(*counts) for as_of, *counts in cursor.execute(sealed(query)).fetchall()}


def _sorted_labels(cursor: duckdb.DuckDBPyConnection, task: Task, known: str) -> pa.Table:
    target_type = "BIGINT" if task.is_classification else "DOUBLE"
    return cursor.sql(
        f"SELECT entity, as_of, CAST(label AS {target_type}) AS label FROM {known} "
        "WHERE label IS NOT NULL ORDER BY as_of ASC, entity ASC"
    ).to_arrow_table()


def _known_labels(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    limits: LabelLimits,
    end: datetime.datetime | None,
    entities_until: datetime.datetime | None,
) -> tuple[str, int, int]:
    """Run the label query in a sandbox; arguments as in `labels_at`.

    Returns:
        The relation (entity, as_of, label) of the labels whose entity is known, the number of rows of the query, and
        the number of rows of the relation.
    """
    relations = read_relations(cursor, catalog)
    names = _unused_names(schema, relations)
    values = frozenset(fold(table.name) for table in schema.tables.values() if table.values_of)
    sql, tree = checked_query(cursor, task, relations, limits, values)
    _create_relations(cursor, catalog, schema, task, timestamps, end, names)
    if end is not None:
        sql = _redirected(cursor, catalog, schema, sql, tree, names)
    rows = _run_query(cursor, task, sql, names)
    kept = _keep_known(cursor, catalog, schema, task, entity_key(schema, task), entities_until, names)
    return names.known, rows, kept


def entity_key(schema: Schema, task: Task) -> str:
    """Return the column of the entity table to which the values of the label query's `entity_col` belong.

    As in RelBench this is the primary key, whatever its name; in a table without one it is the column `entity_col`.

    Raises:
        TaskError: the table does not exist, or it has no such column.
    """
    table = schema.find(task.entity_table)
    if table is None:
        raise TaskError(
            f"task '{task.name}': entity table '{task.entity_table}' does not exist",
            expected=nearest(task.entity_table, schema.tables),
            fix=correct("entity_table"),
        )
    fix = f"relsql init FILE --primary-key '{table.key}(COLUMN)'"
    if len(table.primary_key) > 1:
        columns = ", ".join(table.primary_key)
        raise TaskError(
            f"task '{task.name}': entity table '{table.key}' has the key ({columns})",
            expected="one key column",
            fix=fix,
        )
    if table.primary_key:
        return table.primary_key[0]
    found = stored_name(task.entity_col, table.column_names)
    if found is None:
        raise TaskError(
            f"task '{task.name}': entity table '{table.key}' has no column '{task.entity_col}' and no primary key",
            expected=nearest(task.entity_col, table.column_names),
            fix=fix,
        )
    return found


def _create_relations(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    end: datetime.datetime | None,
    names: _Names,
) -> None:
    """Create `timestamps(timestamp)` and, where the data end, views of the timed tables up to their end."""
    cursor.execute('CREATE TEMP TABLE timestamps ("timestamp" TIMESTAMP)')
    cursor.execute(f"INSERT INTO {_SEEDS} SELECT unnest(?::TIMESTAMP[])", [list(timestamps)])
    for table in schema.tables.values():
        # Where the data end, those with a time are cut below, like other tables.
        if table.values_of and (end is None or not table.time_column):
            cursor.execute(f"CREATE TEMP VIEW {ident(table.name)} AS {_cut_sql(catalog, table, None)}")
    if end is None:
        return
    for table in schema.timed_tables:
        if table.key in names.cut:
            view = names.cut[table.key]
        elif fold(table.name) == "timestamps":
            continue
        else:
            view = table.name
        # A temporary view takes precedence over a table of the same name, even if the query writes the prefix `main`.
        with task_errors(task, f"table '{table.key}' cannot be read", "COMMIT open changes, or relsql inspect FILE"):
            cursor.execute(f"CREATE TEMP VIEW {ident(view)} AS {_cut_sql(catalog, table, end)}")


def _cut_sql(catalog: str, table: Table, end: datetime.datetime | None) -> str:
    """A query for the rows of `table` up to `end` (inclusive); all rows if there is none, or the table is untimed."""
    columns = ", ".join(f"r.{ident(name)}" for name in table.stored_names)
    visible = where_visible_sql(table, "r", end) if end else ""
    return f"SELECT {columns} FROM {relation_sql(table, catalog)} AS r{visible}"


def _unused_names(schema: Schema, relations: Relations) -> _Names:
    taken = {name for schema_name, name in relations.views if schema_name == DEFAULT_SCHEMA}
    taken |= {fold(table.name) for table in schema.tables.values()}

    def unused(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    result, labels, known = (f"temp.main.{unused(name)}" for name in ("relsql_result", "relsql_labels", "relsql_known"))
    outside = [table.key for table in schema.timed_tables if table.schema_name != DEFAULT_SCHEMA]
    return _Names(result, labels, known, {key: unused(f"relsql_cut_{i}") for i, key in enumerate(outside)})


def _run_query(cursor: duckdb.DuckDBPyConnection, task: Task, sql: str, names: _Names) -> int:
    """Store the result of the label query `sql` in a temporary table and check its columns and timestamps.

    Returns:
        The number of rows.
    """
    fix = correct("sql")
    with task_errors(task, "the label query fails", fix):
        run_query(cursor, f"CREATE TEMP TABLE {names.result} AS\n{sql}")
    described = [(name, str(type_)) for name, type_, *_ in cursor.execute(f"DESCRIBE {names.result}").fetchall()]
    types = {fold(name): (name, type_) for name, type_ in described}
    expected = (task.entity_col, task.time_col, task.target_col)
    if any(fold(name) not in types for name in expected):
        raise TaskError(
            f"task '{task.name}': the label query returns the columns {', '.join(name for name, _ in described)}",
            expected=f"{', '.join(expected)} (entity_col, time_col, target_col)",
            fix=fix,
        )
    (entity, _), (time, time_type), (label, label_type) = (types[fold(name)] for name in expected)
    check_types(task, time_type, label_type)
    as_of = as_timestamp_sql(Column(time, time_type), "r")
    cursor.execute(
        f"CREATE TEMP VIEW {names.labels} AS SELECT r.{ident(entity)} AS entity, {as_of} AS as_of, "
        f"r.{ident(label)} AS label FROM {names.result} AS r"
    )
    return check_timestamps(cursor, task, names.labels, _SEEDS)


def _keep_known(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    key: str,
    until: datetime.datetime | None,
    names: _Names,
) -> int:
    """Store the labels of entities that are in the entity table by `until`, and return their number.

    Entities are converted to the type of the entity table's key, so that later joins need no casts.
    """
    keys = f"SELECT DISTINCT {ident(key)} AS entity FROM ({_cut_sql(catalog, schema.table(task.entity_table), until)})"
    with task_errors(task, f"'{task.entity_col}' cannot be compared with {task.entity_table}.{key}"):
        cursor.execute(
            f"CREATE TEMP TABLE {names.known} AS SELECT k.entity, l.as_of, l.label "
            f"FROM {names.labels} l JOIN ({keys}) k ON k.entity = l.entity"
        )
    return int(one_row(cursor, f"SELECT count(*) FROM {names.known}")[0])


def _redirected(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    sql: str,
    tree: Tree,
    names: _Names,
) -> str:
    """Rewrite `sql`, whose syntax tree is `tree`, to read tables outside schema main through the views in `cut`."""
    if not names.cut:
        return sql
    tables = {key: schema.tables[key] for key in names.cut}
    views = {(fold(tables[key].schema_name), fold(tables[key].name)): view for key, view in names.cut.items()}
    if not _redirect(tree, views, fold(catalog)):
        return sql
    always = parse(cursor, "SELECT true")["statements"][0]["node"]["select_list"][0]
    for node in nodes(tree):
        # DuckDB 1.5 writes `a CROSS JOIN b LEFT JOIN c` back as `a , b LEFT JOIN c`, where the comma binds weakest.
        if node.get("type") == "JOIN" and node.get("ref_type") == "CROSS":
            node.update(ref_type="REGULAR", condition=always)
    return write(cursor, tree)


def _redirect(tree: Tree, views: dict[tuple[str, str], str], catalog: str) -> bool:
    """Make the table references in a syntax tree refer to `views`, in place; the table's name becomes the alias.

    Returns:
        True if any reference was changed.
    """
    changed = False
    for node in nodes(tree):
        if node.get("type") != "BASE_TABLE" or fold(node.get("catalog_name", "")) not in ("", catalog):
            continue
        name = node["table_name"]
        if view := views.get((fold(node["schema_name"]), fold(name))):
            changed = True
            node.update(alias=node["alias"] or name, catalog_name="", schema_name="", table_name=view)
            if "qualified_name" in node:
                node["qualified_name"] = {"path": [view]}
    return changed
