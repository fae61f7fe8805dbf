"""Make the tables of another database readable as views of this one, with the keys and links that it declares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import DEFAULT_SCHEMA, ObjectName, find_relation, fold
from relsql.database.relsql_schema import relsql_schema
from relsql.database.relsql_tables import ensure_table
from relsql.database.sources import Source, attach_source
from relsql.errors import DatabaseError
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.reading import read_source_schema
from relsql.schema.tables import Schema
from relsql.sql import ident, qualified


def parse_source(text: str) -> Source:
    """Read `NAME=LOCATION` or `LOCATION`, a path or URL; the name is then that of the file.

    Raises:
        DatabaseError: there is no name.
    """
    name, equals, location = text.partition("=")
    if not equals or "/" in name or ":" in name:
        name, location = Path(text).stem, text
    if not name or not location:
        raise DatabaseError(f"'{text}' names no database", expected="PATH, or NAME=PATH")
    return Source(name, str(Path(location).absolute()) if Path(location).exists() else location)


def add_source(con: duckdb.DuckDBPyConnection, catalog: str, source: Source) -> list[str]:
    """Attach a database, remember it, and create a view for each of its tables; returns a line about each.

    Keys and links that the source declares become declarations. A table that has a view already is left as it is.

    Raises:
        DatabaseError: the source cannot be attached, a relation of the name of one of its tables exists, or a table is
            in a schema of the name of relsql's own.
    """
    attach_source(con, catalog, source)
    schema = read_source_schema(con, source.name)
    if not schema.tables:
        raise DatabaseError(f"source '{source.name}' has no tables", expected="a database with tables")
    _require_other_schema(con, catalog, source, schema)
    with transaction(con):
        _remember(con, catalog, source)
        created = [
            table.key
            for table in schema.tables.values()
            if _create_view(con, ObjectName(catalog, table.schema_name, table.name), table.sql(source.name))
        ]
    with transaction(con):
        _declare(con, catalog, schema)
    return [f"{key} is the table of that name in {source.name}" for key in created]


def _require_other_schema(con: duckdb.DuckDBPyConnection, catalog: str, source: Source, schema: Schema) -> None:
    """Check that no table of the source needs a view in the schema of relsql's own tables."""
    own = fold(relsql_schema(con, catalog))
    taken = next((table for table in schema.tables.values() if fold(table.schema_name) == own), None)
    if taken:
        raise DatabaseError(
            f"table '{taken.key}' of source '{source.name}' needs a view in the schema of relsql's own tables",
            expected="another schema for these, in a new file",
            fix="relsql init NEW.duckdb --attach ... --schema NAME",
        )


def _remember(con: duckdb.DuckDBPyConnection, catalog: str, source: Source) -> None:
    table = ensure_table(con, catalog, "sources")
    con.execute(f"DELETE FROM {table} WHERE name = ?", [source.name])
    con.execute(f"INSERT INTO {table} (name, location) VALUES (?, ?)", [source.name, source.location])


def _create_view(con: duckdb.DuckDBPyConnection, name: ObjectName, table: str) -> bool:
    """Create the view of a source's table; False if it exists."""
    found = find_relation(con, name)
    sql = f"CREATE VIEW {name.sql} AS SELECT * FROM {table}"
    if found is None or found.temporary:
        if name.schema_name != DEFAULT_SCHEMA:
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(name.catalog, name.schema_name)}")
        con.execute(sql)
        return True
    if found.kind == "view" and table.replace('"', "") in _definition(con, found.name).replace('"', ""):
        return False
    raise DatabaseError(
        f"{found} exists, and a source has a table of that name",
        expected="a file without it, such as a new one",
        fix=f"relsql init NEW.duckdb --attach ..., or ALTER {found.kind.upper()} {ident(name.name)} RENAME TO NEW_NAME",
    )


def _definition(con: duckdb.DuckDBPyConnection, name: ObjectName) -> str:
    query = """SELECT sql FROM system.main.duckdb_views()
               WHERE database_name = ? AND schema_name = ? AND view_name = ?"""
    return str(con.execute(query, [name.catalog, name.schema_name, name.name]).fetchall()[0][0])


def _declare(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> None:
    """Declare the keys, times and links of the source's tables for their views."""
    for table in schema.tables.values():
        if table.primary_key:
            declare_table(con, catalog, table.key, primary_key=table.primary_key)
    for link in schema.links:
        declare_link(con, catalog, replace(link, origin="declared"))
    for table in schema.tables.values():
        if table.time_text and table.row_time is None:
            declare_table(con, catalog, table.key, time_column=table.time_text)
