"""Entities that exist only as values of columns, such as a team that is just a name in `games`.

`relsql init --entity 'teams=games(home_team),games(away_team)'` declares the table `teams` with the key `team`. Its
rows are the distinct values of these columns, and each of the columns is a foreign key to it. The declaration is stored
in `relsql.value_tables`; nothing is created in the user's schemas.
"""

from __future__ import annotations

import re
from dataclasses import replace

import duckdb

from relsql.database.connections import require_writable
from relsql.database.names import ObjectName, find_relation, join_name
from relsql.database.relsql_tables import ensure_table, has_relsql_table, rows_sql
from relsql.errors import SchemaError, nearest
from relsql.hints import command
from relsql.schema.declared.text import parse_columns
from relsql.schema.discovery.names import words
from relsql.schema.tables import Column, ColumnValues, Link, Schema, Table
from relsql.schema.times.row_times import with_time_column
from relsql.schema.types import type_family

Declared = tuple[str, tuple[tuple[str, str], ...]]
"""The name of a table, and the (table, column) pairs whose values are its rows."""


def key_column(name: str) -> str:
    """The name of the key column of a table of values: the last word of the table's name, in the singular."""
    found = words(name)
    return found[-1] if found else "value"


def parse_value_table(text: str) -> Declared:
    """Read `NAME=TABLE(COLUMN),TABLE(COLUMN),...`.

    Raises:
        SchemaError: the text has another form.
    """
    name, equals, rest = text.partition("=")
    parts = [parse_columns(part) for part in re.split(r"(?<=\)),", rest)] if equals else []
    if not name.strip() or not parts or any(len(columns) != 1 for _, columns in parts):
        raise SchemaError(
            f"'{text}' names no entity", expected="the form NAME=TABLE(COLUMN) or NAME=TABLE(COLUMN),TABLE(COLUMN)"
        )
    return name.strip().strip('"'), tuple((table, columns[0]) for table, columns in parts)


def declare_value_table(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, declared: Declared) -> str:
    """Store a table of values; returns a line about it. The caller owns the transaction.

    Raises:
        SchemaError: a column does not exist, the columns have different types, or a table has this name.
        DatabaseError: the database is read-only.
    """
    name, pairs = declared
    if find_relation(con, ObjectName(catalog, "main", name)):
        raise SchemaError(f"a table or view '{name}' exists", expected="a new name for the entity")
    columns = [(schema.table(table), schema.table(table).column(column)) for table, column in pairs]
    families = {type_family(column.type) for _, column in columns}
    if len(families) > 1:
        raise SchemaError(f"the columns of '{name}' have the types {', '.join(sorted(families))}", expected="one type")
    require_writable(con, catalog, "declaring an entity")
    target = ensure_table(con, catalog, "value_tables")
    con.execute(f"DELETE FROM {target} WHERE name = ?", [name])
    values = [[table.schema_name, table.name, column.name] for table, column in columns]
    con.execute(f"INSERT INTO {target} (name, key_column, columns) VALUES (?, ?, ?)", [name, key_column(name), values])
    members = ", ".join(f"{table.key}({column.name})" for table, column in columns)
    return f"{join_name(name)}({key_column(name)}) is the entity whose rows are the values of {members}"


def with_value_tables(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Schema:
    """The schema with the declared tables of values and the links to them.

    Raises:
        SchemaError: one of their columns no longer exists.
    """
    if not has_relsql_table(con, catalog, "value_tables"):
        return schema
    tables, links = dict(schema.tables), list(schema.links)
    query = f"SELECT name, key_column, columns FROM {rows_sql(con, catalog, 'value_tables')} ORDER BY name ASC"
    for name, key, columns in con.execute(query).fetchall():
        members = [_member(schema, name, *each) for each in columns]
        values = tuple(ColumnValues(table, column.name) for table, column in members)
        column = Column(key, members[0][1].type)
        tables[name] = Table(name, (column,), (key,), key_origin="declared", is_view=True, values_of=values)
        links += [Link(table.key, (column.name,), name, (key,)) for table, column in members]
    return Schema(tables, tuple(links))


def with_first_times(schema: Schema) -> Schema:
    """Add times to the tables of values, after the tables that contain the values have got theirs.

    A value is visible from the first row that contains it. A table of values gets a time only if all tables that
    contain its values have one.
    """
    tables = dict(schema.tables)
    for key, table in schema.tables.items():
        values = tuple(replace(each, table=schema.tables[each.table.key]) for each in table.values_of)
        if values and all(each.table.time_column for each in values):
            tables[key] = with_time_column(replace(table, values_of=values))
    return replace(schema, tables=tables)


def _member(schema: Schema, name: str, schema_name: str, table: str, column: str) -> tuple[Table, Column]:
    found = next((t for t in schema.tables.values() if (t.schema_name, t.name) == (schema_name, table)), None)
    if found is None or column not in found.column_names:
        raise SchemaError(
            f"entity '{name}' consists of values of {table}.{column}, which does not exist any more",
            expected=nearest(table, schema.tables) if found is None else nearest(column, found.column_names),
            fix=command("init", "FILE", "--entity", f"{name}=TABLE(COLUMN)"),
        )
    return found, found.column(column)
