"""Check keys, times and links against the data. The results are counts, and findings for the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import duckdb

from relsql.database.names import fold, stored_name
from relsql.database.relsql_schema import relsql_schema
from relsql.errors import SchemaError, nearest
from relsql.hints import command
from relsql.schema.declared.text import columns_text
from relsql.schema.discovery.names import is_key_name
from relsql.schema.finding import Finding
from relsql.schema.reading import declared_times, read_declarations
from relsql.schema.relations import relation_sql
from relsql.schema.sources.source_views import read_views, reads_files
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.tables import table_key as schema_table_key
from relsql.schema.times.findings.time_findings import no_times, time_findings
from relsql.schema.times.row_times import NO_TIME_COLUMN
from relsql.schema.types import TIME_TYPES, WHOLE_DOUBLES, type_family
from relsql.sql_text import ident, qualified


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How well columns identify rows; `example` is one key that occurs more than once."""

    rows: int
    null_rows: int
    duplicate_rows: int
    example: str | None

    @property
    def problem(self) -> str | None:
        """Why the columns cannot be a primary key, or None if they can."""
        parts = []
        if self.duplicate_rows:
            parts.append(f"{self.duplicate_rows:,} of {self.rows:,} rows share a key (for example {self.example})")
        if self.null_rows:
            parts.append(f"{self.null_rows:,} of {self.rows:,} rows have a NULL in it")
        return " and ".join(parts) or None


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """Counts of a link's child rows: all, those with a NULL key, and those whose key has no parent row (dangling)."""

    rows: int
    null_keys: int
    dangling: int
    example: str | None


def check_primary_key(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, columns: Sequence[str]) -> None:
    """Raise SchemaError unless `columns` exist, hold no NULL and identify each row of `table`."""
    if len(set(map(fold, columns))) < len(columns):
        raise SchemaError(f"primary key of table '{table.key}' names a column twice: {', '.join(columns)}")
    for name in columns:
        table.column(name)
    problem = key_counts(con, catalog, table, columns).problem
    if problem:
        raise SchemaError(
            f"'{table.key}({', '.join(columns)})' is not a primary key: {problem}",
            expected="columns that are unique and never NULL",
            fix=f"{command('init', 'FILE')}, which proposes a key if there is one",
        )


def check_time_type(table: Table, column: str) -> None:
    """Raise SchemaError unless `column` exists in `table` and has one of `TIME_TYPES`."""
    fix = command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN OR EXPRESSION"))
    if stored_name(column, table.column_names) is None:
        raise SchemaError(
            f"the time of table '{table.key}', {column}, cannot be computed any more",
            expected="columns and links as they were when it was declared",
            fix=fix,
        )
    type_ = table.column(column).type
    if type_ not in TIME_TYPES:
        raise SchemaError(
            f"time column '{column}' of table '{table.key}' has type {type_}", expected="DATE or TIMESTAMP", fix=fix
        )


def check_link(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, link: Link) -> None:
    """Raise SchemaError unless the link's columns exist, have comparable types, and the parent's are unique."""
    child, parent = schema.table(link.child), schema.table(link.parent)
    if not link.child_columns or len(link.child_columns) != len(link.parent_columns):
        raise SchemaError(f"link '{link}' pairs {len(link.child_columns)} with {len(link.parent_columns)} columns")
    if child.key == parent.key and link.child_columns == link.parent_columns:
        raise SchemaError(f"link '{link}' points from each row to itself")
    for child_column, parent_column in zip(link.child_columns, link.parent_columns, strict=True):
        child_type, parent_type = child.column(child_column).type, parent.column(parent_column).type
        if type_family(child_type) != type_family(parent_type):
            raise SchemaError(
                f"link '{link}': '{child_column}' is {child_type}, but '{parent_column}' is {parent_type}",
                expected="columns of one type",
                fix=_cast(con, catalog, child, child_column, parent_type)
                or f"{command('inspect', 'FILE', parent.key)}, which shows the types of its columns",
            )
        if child_type != parent_type and "DOUBLE" in (child_type, parent_type):
            _require_exact(
                con, catalog, link, (child, child.column(child_column)), (parent, parent.column(parent_column))
            )
    counts = key_counts(con, catalog, parent, link.parent_columns)
    if counts.duplicate_rows:
        raise SchemaError(
            f"link '{link}': {counts.duplicate_rows:,} of {counts.rows:,} rows of '{parent.key}' share a key "
            f"(for example {counts.example})",
            expected="parent columns that are unique",
        )


def _cast(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, column: str, type_: str) -> str | None:
    """The statement that changes a column's type; None if a value cannot be converted or the table is a view."""
    name = ident(column)
    query = f"SELECT system.main.count({name}), system.main.count(TRY_CAST({name} AS {type_}))"
    try:
        [(values, cast)] = con.execute(f"{query} FROM {relation_sql(table, catalog)}").fetchall()
    except duckdb.Error:
        return None  # DuckDB cannot cast one type to the other.
    whole = values == cast and not table.is_view
    return f"ALTER TABLE {table.sql()} ALTER COLUMN {name} TYPE {type_}" if whole else None


def _require_exact(con: duckdb.DuckDBPyConnection, catalog: str, link: Link, *ends: tuple[Table, Column]) -> None:
    """Raise SchemaError if a column holds numbers so large that different ones would be equal as DOUBLE."""
    [(double_table, double)] = [end for end in ends if end[1].type == "DOUBLE"]
    [integer_type] = [column.type for _, column in ends if column is not double]
    for table, column in ends:
        name = ident(column.name)
        large = f"{name} NOT BETWEEN {1 - WHOLE_DOUBLES} AND {WHOLE_DOUBLES - 1}"
        large += f" AND NOT system.main.isnan({name})" if column is double else ""
        counts = f"system.main.count_star(), system.main.min({name})::VARCHAR"
        count, example = con.execute(f"SELECT {counts} FROM {relation_sql(table, catalog)} WHERE {large}").fetchall()[0]
        if count:
            raise SchemaError(
                f"link '{link}': {count:,} values of '{table.key}.{column.name}' (for example {example}) are too large "
                "to be compared as DOUBLE",
                expected="columns of one integer type, or values between -2^53 and 2^53",
                fix=f"ALTER TABLE {double_table.sql()} ALTER COLUMN {ident(double.name)} TYPE {integer_type}",
            )


def key_counts(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, columns: Sequence[str]) -> KeyCounts:
    """Count rows of `table` with a NULL in `columns`, and rows whose values there occur more than once."""
    names = ", ".join(map(ident, columns))
    query = f"""
        WITH keys AS (
            SELECT {names}, system.main.count_star() AS relsql_rows, {_any_null(columns)} AS relsql_null
            FROM {relation_sql(table, catalog)} GROUP BY ALL
        )
        SELECT coalesce(system.main.sum(relsql_rows), 0)::BIGINT,
               coalesce(system.main.sum(relsql_rows) FILTER (relsql_null), 0)::BIGINT,
               coalesce(system.main.sum(relsql_rows) FILTER (relsql_rows > 1 AND NOT relsql_null), 0)::BIGINT,
               system.main.min({_as_text(columns)}) FILTER (relsql_rows > 1 AND NOT relsql_null)
        FROM keys
    """
    row = con.execute(query).fetchall()[0]
    return KeyCounts(*row)


def link_counts(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, link: Link) -> LinkCounts:
    """Count the child rows of `link`, their NULL keys and their dangling keys."""
    child, parent = (relation_sql(schema.table(key), catalog) for key in (link.child, link.parent))
    found = link.on_sql("c", "p")
    query = f"""
        SELECT (SELECT system.main.count_star() FROM {child}),
               (SELECT system.main.count_star() FROM {child} WHERE {_any_null(link.child_columns)}),
               system.main.count_star(), system.main.min({_as_text(link.child_columns)})
        FROM (SELECT * FROM {child} WHERE NOT ({_any_null(link.child_columns)})) c ANTI JOIN {parent} p ON {found}
    """
    row = con.execute(query).fetchall()[0]
    return LinkCounts(*row)


def _any_null(columns: Sequence[str]) -> str:
    return " OR ".join(f"{ident(name)} IS NULL" for name in columns)


def _as_text(columns: Sequence[str]) -> str:
    return "system.main.concat_ws(', ', " + ", ".join(f"{ident(name)}::VARCHAR" for name in columns) + ")"


def check_schema(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> list[Finding]:
    """Compare a schema with the data, before training. Nothing is written.

    Returns:
        Findings, errors first: keys and parent columns that do not identify rows, dangling keys, what is doubtful about
        times, declarations of tables that do not exist, views that are not read, tables without any link.
    """
    declared, links, _ = read_declarations(con, catalog)
    times = declared_times(schema, declared)
    untimed = {key for key, each in times.items() if each.time == NO_TIME_COLUMN}
    named = {*declared, *(name for link in links for name in (link.child, link.parent))}
    unread = _unread_views(con, catalog, schema)
    findings = [
        *_undeclared_tables(schema, named - unread.keys()),
        *_left_out_tables(con, catalog, schema),
        *(_unread_view(key, unread[key], key in named) for key in sorted(unread)),
        *no_times(schema, untimed),
    ]
    for table in schema.tables.values():
        findings += _table_findings(con, catalog, schema, table, untimed)
    for link in schema.links:
        findings += _link_findings(con, catalog, schema, link)
    order = ("error", "warning", "info")
    inspected = [replace(finding, inspected=True) for finding in findings]
    return sorted(inspected, key=lambda finding: order.index(finding.severity))


def _undeclared_tables(schema: Schema, declared: set[str]) -> Iterator[Finding]:
    for name in sorted(declared):
        if schema.find(name) is None:
            yield Finding("warning", name, f"is declared, but does not exist; {nearest(name, schema.tables)}")


def _left_out_tables(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Iterator[Finding]:
    """Tables left out because another table has the same `Table.key`, as `"a.b"` and table b of schema a do."""
    query = """SELECT schema_name, table_name FROM system.main.duckdb_tables()
               WHERE database_name = ? AND NOT internal AND NOT temporary ORDER BY ALL ASC"""
    for schema_name, name in con.execute(query, [catalog]).fetchall():
        chosen = schema.tables.get(schema_table_key(schema_name, name))
        if chosen and (chosen.schema_name, chosen.name) != (schema_name, name):
            yield Finding(
                "warning",
                qualified(schema_name, name),
                f"is left out: links and tasks would call it by the same name as {chosen.sql()}; rename one of them",
            )


def _unread_views(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> dict[str, str]:
    """The definitions of the views that the schema does not include, by the `Table.key` that each would have."""
    views = read_views(con, catalog, relsql_schema(con, catalog))
    keyed = {schema_table_key(*name): sql for name, sql in views.items()}
    return {key: sql for key, sql in keyed.items() if schema.find(key) is None}


def _unread_view(key: str, sql: str, declared: bool) -> Finding:
    if declared and not reads_files(sql):
        text = "is a view that calls a macro, or a function whose result may differ from call to call; it is not read "
        return Finding("info", key, f"{text}here, but relsql train reads it")
    if declared:
        text = "is a view over files, which are not opened here; relsql train reads those that the view names"
        return Finding("info", key, text)
    text = "is a view that is not read, because it repeats rows of this database's own tables, or because it reads "
    text += "files (relsql train reads those that a view names); to read it all the same: "
    return Finding("info", key, text + command("init", "FILE", "--primary-key", columns_text(key, "COLUMN")))


def _table_findings(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table, untimed: set[str]
) -> Iterator[Finding]:
    try:
        if table.primary_key and table.key_origin != "constraint":
            check_primary_key(con, catalog, table, table.primary_key)
        if table.time_column:
            check_time_type(table, table.time_column)
        yield from time_findings(con, catalog, schema, table, untimed)
    except SchemaError as error:
        yield Finding("error", table.key, str(error))
    alone = not schema.links_to(table.key) and not schema.links_from(table.key)
    fields = _key_fields(con, table) if alone else {}
    if alone and (len(schema.tables) > 1 or fields):
        text = "is linked to no other table, so no model reads it"
        text += f"; keys within {', '.join(fields)} cannot be linked; to make columns of them: " if fields else ""
        text += "; ".join(fields.values())
        # A table with a time records events. Questions are about events, so leaving it out deserves a warning.
        yield Finding("warning" if table.time_column else "info", table.key, text)


def _key_fields(con: duckdb.DuckDBPyConnection, table: Table) -> dict[str, str]:
    """For each STRUCT column that contains a key field, the statements that copy that field to its own column."""
    found = {}
    for column in () if table.is_view else table.columns:
        if column.type.startswith("STRUCT(") and not column.type.endswith("]"):
            fields = con.execute(f"SELECT NULL::{column.type}").description[0][1].children
            name, type_ = next(((name, type_) for name, type_ in fields if is_key_name(name)), ("", ""))
            if name:
                new = ident(f"{column.name}_{name}")
                added = f"ALTER TABLE {table.sql()} ADD COLUMN {new} {type_}"
                found[column.name] = f"{added}; UPDATE {table.sql()} SET {new} = {ident(column.name)}.{ident(name)}"
    return found


def _link_findings(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, link: Link) -> Iterator[Finding]:
    try:
        if link.origin != "constraint":
            check_link(con, catalog, schema, link)
    except SchemaError as error:
        yield Finding("error", str(link), str(error))
        return
    counts = link_counts(con, catalog, schema, link)
    if counts.dangling:
        yield Finding(
            "warning",
            str(link),
            f"{counts.dangling:,} of {counts.rows:,} keys are in no row of '{link.parent}' (for example "
            f"{counts.example}); {counts.null_keys:,} more are NULL",
        )
