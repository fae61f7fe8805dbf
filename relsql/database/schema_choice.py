"""`relsql init --schema NAME`: relsql's tables in a schema that the user names."""

from __future__ import annotations

import duckdb

from relsql.database.connections import require_writable, transaction
from relsql.database.names import DEFAULT_SCHEMA, DUCKDB_SCHEMAS, fold, schema_names, stored_name
from relsql.database.relsql_schema import create_marked_schema, relsql_schema
from relsql.database.relsql_tables import require_own_schema, schema_owner
from relsql.errors import DatabaseError


def choose_schema(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> bool:
    """Create a schema for relsql's tables, in which every later command finds them.

    Args:
        con: a connection without an open transaction.
        catalog: the database.
        name: the name of the new schema, taken literally: dots and quotes are part of it.

    Returns:
        False if relsql's tables are in this schema already, or would be without a choice.

    Raises:
        DatabaseError: the name cannot be used for a new schema, relsql's tables are in another one, or the database is
            read-only.
    """
    current = relsql_schema(con, catalog)
    if fold(name) == fold(current):
        require_own_schema(con, catalog)
        return False
    if schema_owner(con, catalog) == "own":
        raise DatabaseError(
            f"relsql's tables are in schema '{current}' of database '{catalog}' already",
            expected="a database without them",
            fix="relsql init FILE, without --schema",
        )
    _require_new_name(con, catalog, name)
    require_writable(con, catalog, "choosing a schema")
    with transaction(con):
        create_marked_schema(con, catalog, name)
    return True


def _require_new_name(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> None:
    expected, fix = "the name of a new schema", "relsql init FILE --schema ANOTHER"
    if not name.strip() or not name.isprintable():
        raise DatabaseError(f"{name!r} is not a name of a schema", expected=expected, fix=fix)
    if fold(name) in (DEFAULT_SCHEMA, *DUCKDB_SCHEMAS):
        raise DatabaseError(f"schema '{name}' is DuckDB's", expected=expected, fix=fix)
    if stored_name(name, schema_names(con, catalog)):
        raise DatabaseError(f"schema '{name}' exists, and relsql did not make it", expected=expected, fix=fix)
    databases = con.execute("SELECT database_name FROM system.main.duckdb_databases()").fetchall()
    if fold(name) in {fold(database) for (database,) in databases}:
        raise DatabaseError(f"'{name}' is the name of a database, and DuckDB mixes them up", expected=expected, fix=fix)
