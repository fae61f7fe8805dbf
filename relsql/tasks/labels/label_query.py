"""Run a task's label query over the tables as they were at a moment, and keep the labels of known entities.

All relations are temporary and belong to the cursor of `relsql.tasks.labels.label_sandbox`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from relsql.database.cursors import one_row
from relsql.database.names import DEFAULT_SCHEMA, fold
from relsql.database.queries.sealed import sealed
from relsql.database.queries.syntax_tree import Tree, nodes, parse, write
from relsql.errors import TaskError
from relsql.hints import correct
from relsql.schema.entity_keys import key_known_sql, key_parts, key_sql
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.events import as_timestamp_sql, time_sql
from relsql.schema.visibility import where_visible_sql
from relsql.sql_text import ident, literal
from relsql.tasks.entity import entity_columns, entity_table
from relsql.tasks.kinds.items import item_table, known_items_sql
from relsql.tasks.kinds.row_splits import RowWindow
from relsql.tasks.kinds.static_rows import AT_RANDOM, part_sql
from relsql.tasks.labels.label_checks import check_timestamps, check_types, label_value_sql
from relsql.tasks.labels.label_sandbox import RUNNABLE, LabelLimits, checked_query, run_query
from relsql.tasks.labels.query_check import Relations, read_relations
from relsql.tasks.splits import FIX_UNREADABLE, READABLE, Split, task_errors
from relsql.tasks.task import Task

SEEDS = "temp.main.timestamps"
"""The relation `timestamps(timestamp)` that label queries read."""


@dataclass(frozen=True, slots=True)
class LabelNames:
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


@dataclass(frozen=True, slots=True)
class KnownLabels:
    """What a label query has returned.

    Attributes:
        relation: (entity, as_of, label) of the labels whose entity is known.
        entity: the entity table.
        rows: number of rows of the query.
        kept: number of rows of the relation.
    """

    relation: str
    entity: Table
    rows: int
    kept: int


def known_labels(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    limits: LabelLimits,
    end: datetime.datetime | None,
    entities_until: datetime.datetime | None,
    window: RowWindow | None = None,
    part: Split | None = None,
) -> KnownLabels:
    """Run the label query in a sandbox; arguments as in `labels_at`.

    `window` decides which labels count if seeds are rows with a time of their own, `part` which count in a static task;
    None: all.
    """
    entity = entity_table(schema, task)
    relations = read_relations(cursor, catalog)
    names = _unused_names(schema, relations)
    values = frozenset(fold(table.name) for table in schema.tables.values() if table.values_of)
    sql, tree = checked_query(cursor, task, relations, limits, values)
    _create_relations(cursor, catalog, schema, task, timestamps, end, names)
    if end is not None:
        sql = _redirected(cursor, catalog, schema, sql, tree, names)
    rows = _run_query(cursor, catalog, schema, task, entity, sql, names)
    if task.asked.own_time:
        time = time_sql(entity, "r")
        condition = (window or RowWindow()).condition_sql(time, task)
        rows = kept = _keep_rows(cursor, catalog, task, entity, time, condition, names)
    elif task.is_static:
        condition, moment = part_sql(entity, task.split or AT_RANDOM, part, "r"), literal(task.val_timestamp)
        rows = kept = _keep_rows(cursor, catalog, task, entity, moment, condition, names)
    else:
        kept = _keep_known(cursor, catalog, task, entity, entities_until, names)
    return KnownLabels(names.known, entity, rows, kept)


def _create_relations(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamps: Sequence[datetime.datetime],
    end: datetime.datetime | None,
    names: LabelNames,
) -> None:
    """Create `timestamps(timestamp)` and, where the data end, views of the timed tables up to their end."""
    cursor.execute('CREATE TEMP TABLE timestamps ("timestamp" TIMESTAMP)')
    cursor.execute(f"INSERT INTO {SEEDS} SELECT unnest(?::TIMESTAMP[])", [list(timestamps)])
    for table in schema.tables.values():
        # Where the data end, those with a time are cut below, like other tables.
        if table.values_of and (end is None or not table.time_column):
            cursor.execute(f"CREATE TEMP VIEW {ident(table.name)} AS {sealed(_cut_sql(catalog, table, None))}")
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
        doing = f"table '{table.key}' cannot be read"
        with task_errors(task, doing, expected=READABLE, fix=FIX_UNREADABLE):
            cursor.execute(f"CREATE TEMP VIEW {ident(view)} AS {sealed(_cut_sql(catalog, table, end))}")


def _cut_sql(catalog: str, table: Table, end: datetime.datetime | None) -> str:
    """A query for the rows of `table` up to `end` (inclusive); all rows if there is none, or the table is untimed."""
    columns = ", ".join(f"r.{ident(name)}" for name in table.stored_names)
    visible = where_visible_sql(table, "r", end) if end else ""
    return f"SELECT {columns} FROM {relation_sql(table, catalog)} AS r{visible}"


def _unused_names(schema: Schema, relations: Relations) -> LabelNames:
    taken = {name for schema_name, name in relations.views if schema_name == DEFAULT_SCHEMA}
    taken |= {fold(table.name) for table in schema.tables.values()}

    def unused(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    result, labels, known = (f"temp.main.{unused(name)}" for name in ("relsql_result", "relsql_labels", "relsql_known"))
    outside = [table.key for table in schema.timed_tables if table.schema_name != DEFAULT_SCHEMA]
    return LabelNames(result, labels, known, {key: unused(f"relsql_cut_{i}") for i, key in enumerate(outside)})


def _run_query(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    entity: Table,
    sql: str,
    names: LabelNames,
) -> int:
    """Store the result of the label query `sql` in a temporary table and check its columns and timestamps.

    Returns:
        The number of rows; 0 for rows with a time of their own, of which `_keep_rows` chooses and counts.
    """
    fix = correct("sql")
    with task_errors(task, "the label query fails", expected=RUNNABLE, fix=fix):
        run_query(cursor, f"CREATE TEMP TABLE {names.result} AS\n{sql}")
    described = [(name, str(type_)) for name, type_, *_ in cursor.execute(f"DESCRIBE {names.result}").fetchall()]
    types = {fold(name): (name, type_) for name, type_ in described}
    keys, own_time = entity_columns(entity, task), not task.time_col
    expected = (*keys, *(() if own_time else (task.time_col,)), task.target_col)
    if any(fold(name) not in types for name in expected):
        raise TaskError(
            f"task '{task.name}': the label query returns the columns {', '.join(name for name, _ in described)}",
            expected=f"{', '.join(expected)} (entity_col, time_col, target_col)",
            fix=fix,
        )
    label, label_type = types[fold(task.target_col)]
    time, time_type = ("", "TIMESTAMP") if own_time else types[fold(task.time_col)]
    check_types(task, time_type, label_type)
    as_of = "CAST(NULL AS TIMESTAMP)" if own_time else as_timestamp_sql(Column(time, time_type), "r")
    if task.is_recommendation:
        value = known_items_sql(item_table(schema, task), catalog, f"r.{ident(label)}")
    else:
        value = label_value_sql(cursor, task, names.result, label, label_type)
    with task_errors(task, f"'{label}' cannot be read", expected="values of the label's type", fix=fix):
        query = (
            f"SELECT {key_sql(entity, 'r', [types[fold(name)][0] for name in keys])} AS entity, {as_of} AS as_of, "
            f"{value} AS label FROM {names.result} AS r"
        )
        cursor.execute(f"CREATE TEMP VIEW {names.labels} AS {sealed(query)}")
    if task.kind != "forecast":
        return 0
    return check_timestamps(cursor, task, names.labels, SEEDS)


def _keep_known(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    entity: Table,
    until: datetime.datetime | None,
    names: LabelNames,
) -> int:
    """Store the labels of entities that are in the entity table by `until`, and return their number.

    Entities are converted to the type of the entity table's key, so that later joins need no casts.
    """
    rows, known = _cut_sql(catalog, entity, until), key_known_sql(entity)
    keys = f"SELECT DISTINCT {key_sql(entity)} AS entity FROM ({rows}) WHERE {known}"
    return _store_known(cursor, task, entity, keys, "l.as_of", names)


def _keep_rows(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    entity: Table,
    time: str,
    condition: str,
    names: LabelNames,
) -> int:
    """Store the labels of rows `r` that meet a condition, each as of a time, and return their number.

    `time` is the row's own time, an expression, or the one moment of a static task.

    Raises:
        TaskError: the label query returns another time.
    """
    keys = (
        f"SELECT DISTINCT {key_sql(entity, 'r')} AS entity, {time} AS own_time FROM {relation_sql(entity, catalog)} r "
        f"WHERE {key_known_sql(entity, 'r')} AND {condition}"
    )
    kept = _store_known(cursor, task, entity, keys, "k.own_time", names)
    other = "said IS NOT NULL AND said IS DISTINCT FROM as_of"
    query = f"SELECT count(*), any_value(as_of), any_value(said) FROM {names.known} WHERE {other}"
    count, own, said = one_row(cursor, query)
    if count:
        raise TaskError(
            f"task '{task.name}': {count} of {kept} labels have a '{task.time_col}' that is not the row's own time "
            f"({said} instead of {own})",
            expected=f"the time of {entity.key}, {entity.time_text}, unchanged; or no time_col",
            fix=correct("sql", "time_col"),
        )
    return kept


def _store_known(
    cursor: duckdb.DuckDBPyConnection, task: Task, entity: Table, keys: str, as_of: str, names: LabelNames
) -> int:
    """Store the labels whose entity is in the query `keys` (alias k), and return their number; `l` are the labels."""
    pairs = zip(key_parts(entity, "k.entity").values(), key_parts(entity, "l.entity").values(), strict=True)
    same = " AND ".join(f"{theirs} = {mine}" for theirs, mine in pairs)
    key = ", ".join(entity.primary_key)
    doing = f"'{task.entity_col}' cannot be compared with {task.entity_table}.{key}"
    with task_errors(task, doing, expected="values of the same type", fix=correct("entity_col", "sql")):
        query = (
            f"SELECT k.entity, {as_of} AS as_of, l.label, l.as_of AS said "
            f"FROM {names.labels} l JOIN ({keys}) k ON {same}"
        )
        cursor.execute(f"CREATE TEMP TABLE {names.known} AS {sealed(query)}")
    return int(one_row(cursor, f"SELECT count(*) FROM {names.known}")[0])


def _redirected(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    sql: str,
    tree: Tree,
    names: LabelNames,
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
