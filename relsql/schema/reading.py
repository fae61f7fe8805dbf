"""Read the schema of a database: constraints first, then what was declared to relsql."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import duckdb

from relsql.database.names import DEFAULT_SCHEMA, current_catalog, stored_catalog, stored_name
from relsql.database.relsql_schema import in_schema_sql, table_text
from relsql.database.relsql_tables import (
    has_relsql_table,
    relsql_table,
    require_own_schema,
    rows_sql,
    schema_owner,
)
from relsql.errors import SchemaError
from relsql.schema.sources.source_views import read_views, readable_files, source_views, user_functions
from relsql.schema.sources.temporary_tables import refuse_temporary_tables
from relsql.schema.tables import Column, Link, Origin, Schema, Table, table_key
from relsql.schema.times.row_times import DeclaredTime, RowTimes
from relsql.schema.value_tables import with_first_times, with_value_tables


def read_schema(con: duckdb.DuckDBPyConnection, catalog: str | None = None, also: Collection[str] = ()) -> Schema:
    """Read tables, constraints and relsql's own declarations of one attached database.

    Args:
        con: an open connection; nothing is written.
        catalog: name of the attached database; default: the connection's current one.
        also: names of tables that the caller asks for; views among them are read even without a declaration.

    Tables in relsql's own schema and in DuckDB's internal schemas, and temporary tables are left out. For views see
    `relsql.schema.sources.source_views`.

    Raises:
        DatabaseError: the schema of relsql's tables is the user's own.
        SchemaError: one of `also` is a temporary table.
    """
    catalog = stored_catalog(con, catalog) if catalog else current_catalog(con)
    return _read_schema(con, catalog, require_own_schema(con, catalog), also)


def read_source_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> Schema:
    """Read the schema of a database that is attached for its data; relsql's tables may be missing from it.

    Therefore a schema `relsql` that belongs to the user is read like any other schema.

    Args:
        con: an open connection; nothing is written.
        catalog: name of the attached database.

    Raises:
        DatabaseError: the user's tables and relsql's are in one schema, and have the same names.
    """
    catalog = stored_catalog(con, catalog)
    if schema_owner(con, catalog) == "user":
        return _read_schema(con, catalog, None)
    return _read_schema(con, catalog, require_own_schema(con, catalog))


def _read_schema(con: duckdb.DuckDBPyConnection, catalog: str, own: str | None, also: Collection[str] = ()) -> Schema:
    """Read a schema; `own` is the schema of relsql's tables, None if the database has no such tables."""
    declared_tables, declared_links, removed_links = read_declarations(con, catalog) if own else ({}, (), ())
    named = {*also, *declared_tables, *(name for link in declared_links for name in (link.child, link.parent))}
    tables = _read_tables(con, catalog, named, own)
    keys, constraint_links = _read_constraints(con, catalog)
    for key, columns in keys.items():
        if key in tables:
            stored = _stored_columns(tables[key], columns)
            tables[key] = replace(tables[key], primary_key=stored, key_origin="constraint")
    for name, declared in declared_tables.items():
        table = Schema(tables).find(name)
        if table is None:
            continue
        if declared.primary_key:
            columns = _stored_columns(table, declared.primary_key)
            tables[table.key] = replace(table, primary_key=columns, key_origin=declared.origin)
    times = declared_times(Schema(tables), declared_tables)
    # Tables of values are added first, because declared links may point at them.
    schema = with_value_tables(con, catalog, Schema(tables)) if own else Schema(tables)
    removed = [_stored_link(schema, link) for link in removed_links]
    merged = list(schema.links)
    for link in (_stored_link(schema, link) for link in (*constraint_links, *declared_links)):
        gone = link.origin == "constraint" and any(link.same_columns(other) for other in removed)
        if not gone and not any(link.same_columns(other) for other in merged):
            merged.append(link)
    links = tuple(link for link in merged if link.child in schema.tables and link.parent in schema.tables)
    schema = with_first_times(RowTimes(con, catalog, Schema(schema.tables, links), times).schema())
    refuse_temporary_tables(con, schema, also)
    return schema


def _stored_columns(table: Table, names: Iterable[str]) -> tuple[str, ...]:
    """Columns as the table spells them: a constraint or a declaration may spell them otherwise."""
    return tuple(stored_name(name, table.column_names) or name for name in names)


def _stored_link(schema: Schema, link: Link) -> Link:
    """A link with table and column names as they are stored; names that do not exist stay as they are."""
    child, parent = schema.find(link.child), schema.find(link.parent)
    if child is None or parent is None:
        return link
    mine, theirs = _stored_columns(child, link.child_columns), _stored_columns(parent, link.parent_columns)
    return replace(link, child=child.key, child_columns=mine, parent=parent.key, parent_columns=theirs)


def _read_tables(con: duckdb.DuckDBPyConnection, catalog: str, declared: set[str], own: str | None) -> dict[str, Table]:
    others = "true" if own is None else f"NOT {in_schema_sql(own, 'c.schema_name')}"
    rows = con.execute(
        f"""
        SELECT c.schema_name, c.table_name, t.table_name IS NULL AS is_view,
               system.main.list(c.column_name ORDER BY c.column_index ASC NULLS LAST),
               system.main.list(c.data_type ORDER BY c.column_index ASC NULLS LAST)
        FROM system.main.duckdb_columns() c
        LEFT JOIN system.main.duckdb_tables() t USING (database_name, schema_name, table_name)
        WHERE c.database_name = ? AND {others} AND NOT c.internal
              AND NOT coalesce(t.temporary, false)
        GROUP BY ALL ORDER BY ALL ASC NULLS LAST
        """,
        [catalog],
    ).fetchall()
    tables: dict[str, Table] = {}
    views = read_views(con, catalog, own)
    stored = [table_key(schema_name, name) for schema_name, name, is_view, *_ in rows if not is_view]
    chosen = set[tuple[str, str]]()
    if views:
        allowed, macros = readable_files(con), user_functions(con)
        chosen = source_views(catalog, views, stored, declared, allowed=allowed, macros=macros)
    for schema_name, name, is_view, columns, types in rows:
        if is_view and (schema_name, name) not in chosen:
            continue
        parsed = tuple(Column(c, t) for c, t in zip(columns, types, strict=True))
        key = table_key(schema_name, name)
        # The table `"a.b"` and the table `b` of schema a have the same key: only the table of schema a is kept.
        if key not in tables or schema_name != DEFAULT_SCHEMA:
            tables[key] = Table(name, parsed, schema_name=schema_name, is_view=is_view)
    return tables


def _read_constraints(
    con: duckdb.DuckDBPyConnection, catalog: str
) -> tuple[dict[str, tuple[str, ...]], tuple[Link, ...]]:
    rows = con.execute(
        """
        SELECT schema_name, table_name, constraint_type, constraint_column_names, referenced_table,
               referenced_column_names
        FROM system.main.duckdb_constraints()
        WHERE database_name = ? AND constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY')
        ORDER BY schema_name ASC, table_name ASC, constraint_index ASC
        """,
        [catalog],
    ).fetchall()
    keys: dict[str, tuple[str, ...]] = {}
    links: list[Link] = []
    for schema_name, name, kind, columns, parent, parent_columns in rows:
        child = table_key(schema_name, name)
        if kind == "PRIMARY KEY":
            keys[child] = tuple(columns)
        else:
            # DuckDB allows foreign keys only within one schema.
            parent_key = table_key(schema_name, parent)
            links.append(Link(child, tuple(columns), parent_key, tuple(parent_columns), "constraint"))
    return keys, tuple(links)


@dataclass(frozen=True, slots=True)
class DeclaredTable:
    """The declaration of a table: its primary key (empty if unknown), and its time (None in it means undecided)."""

    primary_key: tuple[str, ...]
    time: DeclaredTime
    origin: Origin


def declared_times(schema: Schema, declared: Mapping[str, DeclaredTable]) -> dict[str, DeclaredTime]:
    """The declared times of a schema's tables, by `Table.key`."""
    found = ((schema.find(name), each.time) for name, each in declared.items())
    return {table.key: time for table, time in found if table}


def read_declarations(
    con: duckdb.DuckDBPyConnection, catalog: str
) -> tuple[dict[str, DeclaredTable], tuple[Link, ...], tuple[Link, ...]]:
    """Read relsql's tables `schema_tables` and `schema_links`.

    Returns:
        Declared tables by name, valid links, and links that the user removed.
    """
    tables: dict[str, DeclaredTable] = {}
    links: list[Link] = []
    removed: list[Link] = []
    if has_relsql_table(con, catalog, "schema_tables"):
        query = f"""SELECT table_name, primary_key, time_column, origin, known_column
                    FROM {rows_sql(con, catalog, "schema_tables")}"""
        for name, primary_key, time_column, origin, known in con.execute(query).fetchall():
            _require_names(con, catalog, "schema_tables", "table_name", [name, *(primary_key or ())])
            tables[name] = DeclaredTable(tuple(primary_key or ()), DeclaredTime(time_column, known), origin)
    if has_relsql_table(con, catalog, "schema_links"):
        query = f"""SELECT child_table, child_columns, parent_table, parent_columns, origin, removed
                    FROM {relsql_table(con, catalog, "schema_links")} ORDER BY ALL ASC NULLS LAST"""
        for child, child_columns, parent, parent_columns, origin, is_removed in con.execute(query).fetchall():
            names = [child, parent, *(child_columns or [None]), *(parent_columns or [None])]
            _require_names(con, catalog, "schema_links", "child_table", names)
            link = Link(child, tuple(child_columns), parent, tuple(parent_columns), origin)
            (removed if is_removed else links).append(link)
    return tables, tuple(links), tuple(removed)


def _require_names(con: duckdb.DuckDBPyConnection, catalog: str, table: str, key: str, names: list[str | None]) -> None:
    """Raise SchemaError if a declaration is damaged: a name in it is missing."""
    if None in names:
        shown = table_text(con, catalog, table)
        known = next((name for name in names if name), None)
        condition = f"{key} = '{known}'" if names[0] else f"{key} IS NULL"
        raise SchemaError(
            f"{shown} has a row {f'of {known} ' if known else ''}that lacks a name",
            expected="a table and its columns",
            fix=f"DELETE FROM {shown} WHERE {condition}, then relsql init FILE",
        )
