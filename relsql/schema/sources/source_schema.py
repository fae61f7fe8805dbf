"""The tables of an attached database, with the keys that DuckDB itself does not report of SQLite and Postgres."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import duckdb

from relsql.database.engine_errors import first_line
from relsql.database.names import DEFAULT_SCHEMA
from relsql.database.sources.file_kinds import import_command
from relsql.errors import DatabaseError
from relsql.schema.reading import read_source_schema
from relsql.schema.sources import sqlite_tables
from relsql.schema.tables import Link, Schema, Table, table_key
from relsql.sql_text import literal

_POSTGRES_LINKS = """
    SELECT cn.nspname AS child_schema, c.relname AS child, pn.nspname AS parent_schema, p.relname AS parent,
           array_agg(ca.attname::text ORDER BY place ASC) AS child_columns,
           array_agg(pa.attname::text ORDER BY place ASC) AS parent_columns
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS pair(mine, theirs, place)
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = mine
    JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = theirs
    WHERE k.contype = 'f' GROUP BY k.oid, 1, 2, 3, 4 ORDER BY 1 ASC, 2 ASC, k.oid ASC"""
_POSTGRES_VIEWS = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm')"""


def read_source(con: duckdb.DuckDBPyConnection, name: str) -> Schema:
    """The schema of an attached database. A link without parent columns refers to the parent's primary key.

    Views of a Postgres database are left out: DuckDB shows them as tables, and they repeat the rows of others.

    Raises:
        DatabaseError: DuckDB cannot read the rows of a SQLite table.
    """
    schema = read_source_schema(con, name)
    query = "SELECT type, path FROM system.main.duckdb_databases() WHERE database_name = ?"
    [(kind, path)] = con.execute(query, [name]).fetchall()
    if kind == "sqlite":
        for table in schema.tables.values():
            _require_readable(con, name, table, path)
        return replace(schema, links=_sqlite_links(Path(path)))
    if kind == "postgres":
        views = {table_key(*row) for row in _postgres(con, name, _POSTGRES_VIEWS)}
        tables = {key: table for key, table in schema.tables.items() if key not in views}
        return Schema(tables, _postgres_links(con, name))
    return schema


def _require_readable(con: duckdb.DuckDBPyConnection, name: str, table: Table, path: str) -> None:
    """Read all values once, because SQLite stores values of any type and DuckDB refuses those of another type."""
    try:
        con.execute(f"SELECT system.main.count(COLUMNS(*)) FROM {table.sql(name)}").fetchall()
    except duckdb.Error as error:
        raise DatabaseError(
            f"table '{table.key}' of source '{name}' cannot be read: {first_line(error)}",
            expected="values of the types that its columns declare",
            fix=f"{import_command(Path(path))}, which finds types that fit the values",
        ) from error


def _sqlite_links(path: Path) -> tuple[Link, ...]:
    with sqlite_tables.opened(path) as file:
        links = [link for table in sqlite_tables.read_tables(file)[0] for link in table.links]
    key = partial(table_key, DEFAULT_SCHEMA)
    return tuple(replace(link, child=key(link.child), parent=key(link.parent)) for link in links)


def _postgres(con: duckdb.DuckDBPyConnection, name: str, query: str) -> list[tuple[str, ...]]:
    return con.execute(f"FROM postgres_query({literal(name)}, {literal(query)})").fetchall()


def _postgres_links(con: duckdb.DuckDBPyConnection, name: str) -> tuple[Link, ...]:
    return tuple(
        Link(table_key(schema, child), tuple(mine), table_key(parent_schema, parent), tuple(theirs))
        for schema, child, parent_schema, parent, mine, theirs in _postgres(con, name, _POSTGRES_LINKS)
    )
