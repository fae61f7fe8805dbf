"""Make the tables of another database readable as views of this one, with the keys and links that it declares."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import DEFAULT_SCHEMA, ObjectName, find_relation, fold
from relsql.database.relsql_schema import relsql_schema
from relsql.database.relsql_tables import ensure_table
from relsql.database.sources.allowed_sources import allow
from relsql.database.sources.attach_sources import Source, attach_source
from relsql.database.sources.source_kinds import absolute, names_file, source_name, without_password
from relsql.errors import DatabaseError, SchemaError
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.sources.source_schema import read_source
from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident, qualified

_POSTGRES_DEFAULT = "public"


def parse_source(text: str) -> Source:
    """Read `NAME=LOCATION` or `LOCATION`, a path or URL; the name is then that of the file, or of the database.

    Raises:
        DatabaseError: the location gives no name, and no other one is given.
    """
    name, equals, location = text.partition("=")
    if not equals or "/" in name or ":" in name:
        name, location = source_name(text), text
    if not name or not location:
        raise DatabaseError(f"'{without_password(text)}' names no database", expected="LOCATION, or NAME=LOCATION")
    return Source(name, absolute(location))


def add_source(con: duckdb.DuckDBPyConnection, catalog: str, source: Source) -> list[str]:
    """Attach a database, remember it, and create a view for each of its tables; returns a line about each.

    Keys and links that the source declares become declarations if the data allow them; otherwise a line says so. A
    table that already has a view is left as it is. The password of a location is used but not stored.

    Raises:
        DatabaseError: the source cannot be attached, a relation of the name of one of its tables exists, or a table is
            in a schema of the name of relsql's own.
    """
    attach_source(con, catalog, source, asked=True)
    schema = read_source(con, source.name)
    if not schema.tables:
        raise DatabaseError(f"source '{source.name}' has no tables", expected="a database with tables")
    _require_other_schema(con, catalog, source, schema)
    views = {table.key: _view_name(catalog, table) for table in schema.tables.values()}
    with transaction(con):
        _remember(con, catalog, source)
        created = [
            view.key for key, view in views.items() if _create_view(con, view, schema.tables[key].sql(source.name))
        ]
    with transaction(con):
        problems = _declare(con, catalog, schema, {key: view.key for key, view in views.items()})
    return [f"stored: {key} is the table of that name in {source.name}" for key in created] + problems


def _view_name(catalog: str, table: Table) -> ObjectName:
    """The view of a table, in the schema of the same name; Postgres's `public` becomes the default schema."""
    schema_name = DEFAULT_SCHEMA if table.schema_name == _POSTGRES_DEFAULT else table.schema_name
    return ObjectName(catalog, schema_name, table.name)


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
    table, location = ensure_table(con, catalog, "sources"), without_password(source.location)
    con.execute(f"DELETE FROM {table} WHERE name = ?", [source.name])
    con.execute(f"INSERT INTO {table} (name, location) VALUES (?, ?)", [source.name, location])
    if not names_file(location):
        allow(location)


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


def _declare(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, views: dict[str, str]) -> list[str]:
    """Declare the keys, times and links of the source's tables for their views; returns what the data do not allow."""
    problems = []
    for table in schema.tables.values():
        if table.primary_key:
            try:
                declare_table(con, catalog, views[table.key], primary_key=table.primary_key)
            except SchemaError as error:
                problems.append(f"not stored: the key of {views[table.key]}: {error.problem}")
    for link in schema.links:
        child, parent = views.get(link.child, link.child), views.get(link.parent, link.parent)
        try:
            declare_link(con, catalog, replace(link, child=child, parent=parent, origin="declared"))
        except SchemaError as error:
            problems.append(f"not stored: the link {link}: {error.problem}")
    for table in schema.tables.values():
        if table.time_text and table.row_time is None:
            declare_table(con, catalog, views[table.key], time_column=table.time_text)
    return problems
