"""Temporary tables are not in the database: a schema lacks them, and a message says how to keep one."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from relsql.database.names import split_name, stored_name
from relsql.errors import DatabaseError, SchemaError
from relsql.schema.tables import Schema
from relsql.sql_text import ident


def refuse_temporary_tables(con: duckdb.DuckDBPyConnection, schema: Schema, names: Collection[str]) -> None:
    """Check that no name refers to a temporary table of the connection.

    Raises:
        SchemaError: one does, and the database has no table of that name.
    """
    if not names:
        return
    query = "SELECT table_name FROM system.main.duckdb_tables() WHERE temporary AND NOT internal"
    temporary = [name for (name,) in con.execute(query).fetchall()]
    for name in names if temporary else ():
        found = stored_name(_name_alone(name), temporary)
        if found and schema.find(name) is None:
            raise SchemaError(
                f"table '{name}' is a temporary table of this connection, and not in the database",
                expected="a table that is there when a model is used",
                fix=f"CREATE TABLE {ident(found)} AS FROM temp.{ident(found)}",
            )


def _name_alone(text: str) -> str:
    """The last part of a name that may be one of a temporary table: `recent`, `temp.recent`."""
    try:
        *outside, name = split_name(text)
    except DatabaseError:
        return text
    return name if outside in ([], ["temp"]) else text
