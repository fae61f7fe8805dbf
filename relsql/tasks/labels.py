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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from relsql.database.cursors import one_row
from relsql.database.names import DEFAULT_SCHEMA, fold, stored_name
from relsql.database.sealed import sealed
from relsql.database.syntax_tree import Tree, nodes, parse, write
from relsql.errors import TaskError, nearest
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times import as_timestamp_sql
from relsql.schema.types import is_number
from relsql.schema.visibility import where_visible_sql
from relsql.sql import ident, literal
from relsql.tasks.label_sandbox import DEFAULT_LIMITS, LabelLimits, checked_query, label_sandbox, run_query
from relsql.tasks.query_check import Relations, read_relations
from relsql.tasks.splits import SPLITS, Split, default_splits, split_timestamps, task_errors, timestamps_of, with_splits
from relsql.tasks.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPLITS", "LabelTable", "Split", "default_splits", "entity_key", "label_table", "split_timestamps"]

LARGEST_LABEL = 1e26
"""Regression labels are between minus and plus this value, because scores are FLOATs, whose range is similar."""

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
    with label_sandbox(con, catalog, task, limits) as cursor:
        task = with_splits(cursor, catalog, schema, task)
        timestamps = timestamps_of(cursor, catalog, schema, task, split, density)
        relations = read_relations(cursor, catalog)
        names = _unused_names(schema, relations)
        values = frozenset(fold(table.name) for table in schema.tables.values() if table.values_of)
        sql, tree = checked_query(cursor, task, relations, limits, values)
        _create_relations(cursor, catalog, schema, task, split, timestamps, names)
        if split != "test":
            sql = _redirected(cursor, catalog, schema, sql, tree, names)
        rows = _run_query(cursor, task, split, sql, names)
        kept = _keep_known(cursor, catalog, schema, task, key, names)
        if not kept:
            raise TaskError(
                f"task '{task.name}': none of the {rows} {split} labels names a row of table '{task.entity_table}'",
                expected=f"'{task.entity_col}' holding values of {task.entity_table}.{key}",
            )
        nulls = _check_labels(cursor, task, split, names.known)
        target_type = "BIGINT" if task.is_classification else "DOUBLE"
        labels = cursor.sql(
            f"SELECT entity, as_of, CAST(label AS {target_type}) AS label FROM {names.known} "
            "WHERE label IS NOT NULL ORDER BY as_of ASC, entity ASC"
        ).to_arrow_table()
        return LabelTable(labels, split, rows - kept, nulls)


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
            fix="correct entity_table in the task manifest",
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
    split: Split,
    timestamps: list[datetime.datetime],
    names: _Names,
) -> None:
    """Create `timestamps(timestamp)` and, except for test, views of the timed tables up to the test timestamp."""
    cursor.execute('CREATE TEMP TABLE timestamps ("timestamp" TIMESTAMP)')
    cursor.execute(f"INSERT INTO {_SEEDS} SELECT unnest(?::TIMESTAMP[])", [timestamps])
    for table in schema.tables.values():
        if table.values_of:
            cursor.execute(f"CREATE TEMP VIEW {ident(table.name)} AS SELECT * FROM {relation_sql(table, catalog)}")
    if split == "test":
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
            cursor.execute(f"CREATE TEMP VIEW {ident(view)} AS {_cut_sql(catalog, table, task)}")


def _cut_sql(catalog: str, table: Table, task: Task) -> str:
    """A query for the rows of `table` up to the test timestamp (inclusive); all rows if the table is untimed."""
    assert task.test_timestamp is not None
    columns = ", ".join(f"r.{ident(name)}" for name in table.stored_names)
    visible = where_visible_sql(table, "r", task.test_timestamp)
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


def _run_query(cursor: duckdb.DuckDBPyConnection, task: Task, split: Split, sql: str, names: _Names) -> int:
    """Store the result of the label query `sql` in a temporary table and check its columns and timestamps.

    Returns:
        The number of rows.
    """
    fix = "correct 'sql' in the task manifest"
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
    _check_types(task, time_type, label_type)
    as_of = as_timestamp_sql(Column(time, time_type), "r")
    cursor.execute(
        f"CREATE TEMP VIEW {names.labels} AS SELECT r.{ident(entity)} AS entity, {as_of} AS as_of, "
        f"r.{ident(label)} AS label FROM {names.result} AS r"
    )
    return _check_timestamps(cursor, task, split, names.labels)


def _check_types(task: Task, time_type: str, label_type: str) -> None:
    if not time_type.startswith(("TIMESTAMP", "DATE")):
        raise TaskError(
            f"task '{task.name}': the label query returns '{task.time_col}' as {time_type}",
            expected="a timestamp out of timestamps(timestamp)",
        )
    numeric = is_number(label_type)
    if not numeric and not (task.is_classification and label_type == "BOOLEAN"):
        raise TaskError(
            f"task '{task.name}': the label query returns '{task.target_col}' as {label_type}",
            expected="0 and 1, or BOOLEAN" if task.is_classification else "a number",
            fix="correct 'sql' or 'task_type' in the task manifest",
        )


def _check_timestamps(cursor: duckdb.DuckDBPyConnection, task: Task, split: Split, labels: str) -> int:
    other = f'as_of IS NULL OR as_of NOT IN (SELECT "timestamp" FROM {_SEEDS})'
    query = f"SELECT count(*), count(*) FILTER (WHERE {other}), any_value(as_of) FILTER (WHERE {other}) FROM {{}}"
    rows, others, example = one_row(cursor, query.format(labels))
    if not rows:
        raise TaskError(
            f"task '{task.name}': the label query returns no rows for the {split} timestamps",
            expected="one row per entity and timestamp",
            fix="run the query manually with a table timestamps(timestamp); check its time conditions",
        )
    if others:
        raise TaskError(
            f"task '{task.name}': {others} of {rows} labels have a '{task.time_col}' not in timestamps ({example})",
            expected="the values of timestamps.timestamp, unchanged",
            fix=f"select timestamps.timestamp AS {ident(task.time_col)} in the label query",
        )
    return int(rows)


def _keep_known(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, key: str, names: _Names
) -> int:
    """Store the labels of entities that are in the entity table at the test timestamp, and return their number.

    Entities are converted to the type of the entity table's key, so that later joins need no casts.
    """
    keys = f"SELECT DISTINCT {ident(key)} AS entity FROM ({_cut_sql(catalog, schema.table(task.entity_table), task)})"
    with task_errors(task, f"'{task.entity_col}' cannot be compared with {task.entity_table}.{key}"):
        cursor.execute(
            f"CREATE TEMP TABLE {names.known} AS SELECT k.entity, l.as_of, l.label "
            f"FROM {names.labels} l JOIN ({keys}) k ON k.entity = l.entity"
        )
    return int(one_row(cursor, f"SELECT count(*) FROM {names.known}")[0])


def _check_labels(cursor: duckdb.DuckDBPyConnection, task: Task, split: Split, known: str) -> int:
    """Check that each (entity, as_of) has one label, that all labels are valid, and that they are not all equal.

    Returns:
        The number of NULL labels.
    """
    repeated = f"SELECT entity, as_of, count(*) FROM {known} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL ASC LIMIT 1"
    for entity, as_of, count in cursor.execute(sealed(repeated)).fetchall():
        raise TaskError(
            f"task '{task.name}': the label query returns {count} rows for entity {entity!r} at {as_of}",
            expected="one row per entity and timestamp",
            fix=f"GROUP BY {ident(task.time_col)}, {ident(task.entity_col)} in the label query",
        )
    value = "CAST(label AS DOUBLE)"
    wrong = f"{value} NOT IN (0, 1)" if task.is_classification else f"NOT abs({value}) <= {literal(LARGEST_LABEL)}"
    nulls, distinct, only, example, first, last = one_row(
        cursor,
        f"SELECT count(*) - count(label), count(DISTINCT label), any_value({value}), "
        f"any_value({value}) FILTER (WHERE {wrong}), min(as_of), max(as_of) FROM {known}",
    )
    if example is not None:
        raise TaskError(
            f"task '{task.name}': '{task.target_col}' holds {example:g}",
            expected="0 and 1" if task.is_classification else f"finite numbers, at most {LARGEST_LABEL:g} in size",
            fix="correct 'sql' or 'task_type' in the task manifest",
        )
    if not distinct:
        raise TaskError(f"task '{task.name}': all {split} labels are NULL", expected="at least one label")
    if distinct == 1 and (task.is_classification or split == "train"):
        raise TaskError(
            f"task '{task.name}': all {split} labels are {only:g}",
            expected=f"labels {'of both classes' if task.is_classification else 'that differ'} at {first} to {last}",
            fix="correct 'sql' or the split timestamps in the task manifest, or raise num_eval_timestamps",
        )
    return int(nulls)


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
