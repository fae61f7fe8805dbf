"""Which schema of a database holds relsql's own tables. No other module knows its name.

It is `relsql`, unless the file itself marks another one, because a user may have a schema `relsql` of their own. The
mark is a view in the schema. COPY FROM DATABASE and EXPORT DATABASE keep the view in the schema, a DROP of the schema
removes it, and it depends neither on the name of the file nor on the name that the file is attached as. See
`docs/decisions/0013-names-and-outputs.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import duckdb

from relsql.database.names import DEFAULT_SCHEMA, fold, fold_sql
from relsql.errors import DatabaseError
from relsql.sql_text import ident, literal, qualified

MARK = "relsql_keeps_its_tables_in_this_schema"
"""The view that marks a schema; it is found by its name and never read."""

_UNMARKED = "relsql"

_known: ContextVar[Mapping[tuple[int, str], str]] = ContextVar("known_schemas")
"""The schemas that `schema_known` has looked up, by the identity of the connection and the database."""


def relsql_schema(con: duckdb.DuckDBPyConnection, catalog: str) -> str:
    """The schema of relsql's own tables in an attached database, whether or not it exists.

    This function does not check whether an unmarked schema `relsql` is relsql's or the user's;
    `relsql.database.relsql_tables.require_own_schema` does.

    Raises:
        DatabaseError: several schemas are marked.
    """
    if known := _known.get({}).get((id(con), catalog)):
        return known
    marked = _marked_schemas(con, catalog)
    if len(marked) > 1:
        drops = [f"DROP VIEW {qualified(each, MARK)}" for each in marked]
        raise DatabaseError(
            f"the schemas {' and '.join(map(repr, marked))} of database '{catalog}' are both marked as relsql's",
            expected="one schema with relsql's tables",
            fix=f"in the one that is not: {' or '.join(drops)}",
        )
    return marked[0] if marked else _UNMARKED


@contextmanager
def schema_known(con: duckdb.DuckDBPyConnection, catalog: str) -> Iterator[None]:
    """Look up the schema of relsql's tables once for the block, in which it must not change.

    The look-up goes through all views of all databases. It holds for this connection only, not for its cursors.

    Raises:
        DatabaseError: several schemas are marked.
    """
    token = _known.set({**_known.get({}), (id(con), catalog): relsql_schema(con, catalog)})
    try:
        yield
    finally:
        _known.reset(token)


def _marked_schemas(con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
    query = """SELECT schema_name FROM system.main.duckdb_views()
               WHERE view_name = ? AND database_name = ? AND schema_name <> ? ORDER BY schema_name ASC"""
    return [name for (name,) in con.execute(query, [MARK, catalog, DEFAULT_SCHEMA]).fetchall()]


def create_marked_schema(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> None:
    """Create a schema and mark it as relsql's. The caller owns the transaction, and has checked the name."""
    con.execute(f"CREATE SCHEMA {qualified(catalog, name)}")
    con.execute(f"CREATE VIEW {qualified(catalog, name, MARK)} AS SELECT {literal('relsql init --schema')} AS made_by")


def in_schema_sql(schema: str, column: str = "schema_name") -> str:
    """The condition that a column of DuckDB's catalog names this schema, in upper or lower case."""
    return f"{fold_sql(column)} = {literal(fold(schema))}"


def table_text(con: duckdb.DuckDBPyConnection, catalog: str, table: str) -> str:
    """One of relsql's tables as messages and suggested statements name it: `relsql.models`, `"my schema".models`."""
    schema = relsql_schema(con, catalog)
    return f"{schema if schema == _UNMARKED else ident(schema)}.{table}"
