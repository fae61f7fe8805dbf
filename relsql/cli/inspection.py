"""Describe a database as relsql sees it: tables, links, tasks, models and any problems with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.database.relsql_tables import has_relsql_table, relsql_table, rows_sql
from relsql.errors import RelsqlError, SchemaError
from relsql.gather.paths import MAX_HUB_ROWS, MAX_PATHS, candidate_paths
from relsql.hints import command
from relsql.registry.models import find_damage, read_models
from relsql.schema.checks import check_schema, check_time_type, link_counts
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.schema.times.sentinels import event_bounds, find_sentinels
from relsql.tasks.stored_tasks import read_tasks


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table. The times of its first and last event are ISO strings; `columns` holds (name, type) pairs."""

    name: str
    rows: int
    primary_key: tuple[str, ...]
    key_origin: str | None
    time_column: str | None
    first_time: str | None
    last_time: str | None
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """A link and its data; the counts are None if its columns do not exist."""

    link: str
    child: str
    parent: str
    origin: str
    rows: int | None
    null_keys: int | None
    dangling: int | None


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A task; the split timestamps are ISO strings, or None if they are yet to be chosen from the data.

    `target` says what its scores are, see `Task.predicts`.
    """

    name: str
    task_type: str
    target: str
    entity: str
    horizon: str
    val_timestamp: str | None
    test_timestamp: str | None
    num_eval_timestamps: int
    description: str | None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A version of a model; `metrics` is JSON text as the registry stores it, `target` what a score is."""

    name: str
    version: int
    status: str
    task: str
    created: str | None
    metrics: str | None
    target: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that `relsql inspect` shows; `dataclasses.asdict` of it can be written as JSON."""

    database: str
    tables: tuple[TableInfo, ...]
    links: tuple[LinkInfo, ...]
    tasks: tuple[TaskInfo, ...]
    models: tuple[ModelInfo, ...]
    findings: tuple[Finding, ...]


def inspect(con: duckdb.DuckDBPyConnection, catalog: str) -> Inspection:
    """Read schema, tasks and models of one attached database and check them. Nothing is written."""
    schema = read_schema(con, catalog)
    return Inspection(
        catalog,
        tuple(_table_info(con, catalog, table) for table in schema.tables.values()),
        _link_infos(con, catalog, schema),
        _task_infos(con, catalog),
        _model_infos(con, catalog),
        (
            *check_schema(con, catalog, schema),
            *_row_findings(con, catalog, schema),
            *_path_findings(con, catalog, schema),
            *(Finding("error", "models", problem) for problem in find_damage(con, catalog, read_models(con, catalog))),
        ),
    )


def _row_findings(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Iterator[Finding]:
    """Tasks about rows, static or as of their own time, whose table or column cannot be asked about."""
    for task in read_tasks(con, catalog).values():
        try:
            if task.kind != "forecast":
                task.resolved(schema)
        except RelsqlError as error:
            yield Finding("error", f"task {task.name}", str(error))


def _path_findings(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Iterator[Finding]:
    """Tasks with link paths that training does not read, and the paths that the existing models left out."""
    for task in read_tasks(con, catalog).values():
        try:
            found = candidate_paths(con, catalog, schema.without_columns(task.removed), task.entity_table)
        except RelsqlError:
            continue  # Training reports what does not fit.
        paths = len(found.paths)
        if paths > MAX_PATHS:
            text = f"training reads {MAX_PATHS} of its {paths} link paths, those most correlated with the labels"
            yield Finding(
                "info",
                f"task {task.name}",
                f"{text}; to read more: {command('train', 'FILE', 'TASK', '--max-paths', 'N')}",
            )
        for path in found.crowded:
            text = f"training does not read {path}, more than {MAX_HUB_ROWS:,}"
            yield Finding(
                "info",
                f"task {task.name}",
                f"{text}; to raise the bound: {command('train', 'FILE', 'TASK', path.beyond)}",
            )
    if not has_relsql_table(con, catalog, "runs"):
        return
    left_out = "CASE WHEN json_valid(metrics) THEN json_extract_string(metrics, '$.left_out_paths[*]') END"
    query = f"""SELECT model, version, unnest({left_out}) FROM {rows_sql(con, catalog, "runs")}
                WHERE phase = 'check' AND version IS NOT NULL ORDER BY model ASC, version ASC"""
    for model, version, path in con.execute(sealed(query)).fetchall():
        yield Finding("info", f"model {model} version {version}", f"does not read {path}")


def _table_info(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> TableInfo:
    first = last = None
    if table.time_column:
        try:
            check_time_type(table, table.time_column)
            first, last = event_bounds(con, catalog, table, find_sentinels(con, catalog, table))
        except SchemaError:
            pass  # The findings report it.
    relation = relation_sql(table, catalog)
    [(rows,)] = con.execute(f"SELECT system.main.count_star() FROM {relation}").fetchall()
    columns = tuple((column.name, column.type) for column in table.columns if not column.computed)
    return TableInfo(table.key, rows, table.primary_key, table.key_origin, table.time_text, first, last, columns)


def _link_infos(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> tuple[LinkInfo, ...]:
    infos = []
    for link in schema.links:
        known = set(link.child_columns) <= set(schema.table(link.child).column_names) and set(
            link.parent_columns
        ) <= set(schema.table(link.parent).column_names)
        counts = link_counts(con, catalog, schema, link) if known else None
        numbers = (counts.rows, counts.null_keys, counts.dangling) if counts else (None, None, None)
        infos.append(LinkInfo(str(link), link.child, link.parent, link.origin, *numbers))
    return tuple(infos)


def _task_infos(con: duckdb.DuckDBPyConnection, catalog: str) -> tuple[TaskInfo, ...]:
    return tuple(
        TaskInfo(
            task.name,
            task.task_type,
            task.predicts,
            f"{task.entity_table}({task.entity_col})",
            task.timedelta or task.moment,
            task.val_timestamp.isoformat(sep=" ") if task.val_timestamp else None,
            task.test_timestamp.isoformat(sep=" ") if task.test_timestamp else None,
            task.num_eval_timestamps,
            task.description,
        )
        for task in read_tasks(con, catalog).values()
    )


def _model_infos(con: duckdb.DuckDBPyConnection, catalog: str) -> tuple[ModelInfo, ...]:
    if not has_relsql_table(con, catalog, "models"):
        return ()
    query = "SELECT name, version, status, task, created::VARCHAR, metrics FROM "
    rows = con.execute(f"{query} {relsql_table(con, catalog, 'models')} ORDER BY name ASC, version ASC").fetchall()
    targets = [model.target for model in read_models(con, catalog)]
    # Values that are missing in a damaged row are shown as a question mark.
    return tuple(
        ModelInfo(name or "?", version or 0, status or "?", task or "?", created, metrics, target)
        for (name, version, status, task, created, metrics), target in zip(rows, targets, strict=True)
    )


def render_text(report: Inspection) -> str:
    """Write an inspection as fixed-width text for terminals, one section per kind of object."""
    tables = [
        (t.name, f"{t.rows:,}", ", ".join(t.primary_key) or "-", t.key_origin or "-", t.time_column or "-", _span(t))
        for t in report.tables
    ]
    links = [(k.link, k.origin, _number(k.rows), _number(k.null_keys), _number(k.dangling)) for k in report.links]
    tasks = [
        (t.name, t.task_type, t.target, t.entity, t.horizon, t.val_timestamp or "-", t.test_timestamp or "-")
        for t in report.tasks
    ]
    models = [
        (m.name, str(m.version), m.status, m.task, m.target, m.created or "-", _short_metrics(m.metrics))
        for m in report.models
    ]
    sections = [
        f"database {report.database}",
        _section("tables", ("table", "rows", "primary key", "from", "time column", "times"), tables, right=(1,)),
        _section("links", ("link", "from", "rows", "NULL", "dangling"), links, right=(2, 3, 4)),
        _section("tasks", ("task", "type", "target", "entity", "horizon", "validation", "test"), tasks),
        _section("models", ("model", "version", "status", "task", "target", "created", "metrics"), models, right=(1,)),
        "findings\n" + ("\n".join(f"  {finding}" for finding in report.findings) or "  none"),
    ]
    return "\n\n".join(sections) + "\n"


def render_table(name: str, report: Inspection) -> str:
    """Write the columns of one table as fixed-width text.

    Raises:
        SchemaError: the inspection has no such table.
    """
    for table in report.tables:
        if table.name == name:
            return _section(f"table {name}", ("column", "type"), list(table.columns)) + "\n"
    raise SchemaError(f"table '{name}' does not exist", expected=", ".join(t.name for t in report.tables))


def _span(table: TableInfo) -> str:
    # Times of day are left out if they are midnight.
    first, last = (str(time or "").removesuffix(" 00:00:00") for time in (table.first_time, table.last_time))
    return f"{first} .. {last}" if first else "-"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _short_metrics(text: str | None) -> str:
    try:
        metrics = json.loads(text or "{}")
    except json.JSONDecodeError:
        return str(text)
    if not isinstance(metrics, dict):
        return str(text)
    numbers = [f"{key} {value:.4g}" for key, value in metrics.items() if isinstance(value, int | float)]
    return ", ".join(numbers[:3]) or "-"


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    if not rows:
        return f"{title}\n  none"
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    cells = (
        [cell.rjust(widths[i]) if i in right else cell.ljust(widths[i]) for i, cell in enumerate(line)]
        for line in lines
    )
    return "\n".join([title, *("  " + "  ".join(line).rstrip() for line in cells)])
