"""Copies of a database in memory, such as one that ends at a moment: what the frozen regime sees of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from relsql.database.names import DEFAULT_SCHEMA
from relsql.schema.relations import relation_sql
from relsql.schema.visibility import where_visible_sql
from relsql.sql_text import ident, qualified

if TYPE_CHECKING:
    import duckdb

    from relsql.schema.tables import Schema, Table


@contextmanager
def frozen_database(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, end: datetime) -> Iterator[str]:
    """Attach an in-memory copy of a database that ends at `end` (inclusive) during the block; yields its name.

    Tables without a time column are copied whole, as in RelBench; rows without a time are left out, as everywhere.
    """

    def rows(table: Table) -> str:
        columns = ", ".join(f"r.{ident(column)}" for column in table.stored_names)
        return f"SELECT {columns} FROM {relation_sql(table, catalog)} r{where_visible_sql(table, 'r', end)}"

    with database_copy(con, schema.tables.values(), rows) as name:
        yield name


@contextmanager
def database_copy(
    con: duckdb.DuckDBPyConnection, tables: Iterable[Table], rows: Callable[[Table], str]
) -> Iterator[str]:
    """Attach a database in memory with copies of some tables during the block; yields its name.

    Nothing of it is in a file, so a process that is killed leaves nothing.

    Args:
        con: any connection.
        tables: the tables.
        rows: the query for the rows of a copy, with the stored columns of its table.
    """
    # The name is unique because all connections of a process see what one of them attaches.
    name = f"relsql_frozen_{uuid.uuid4().hex}"
    # Without READ_WRITE the copy would be read-only when the connection's file is open read-only.
    con.execute(f"ATTACH ':memory:' AS {ident(name)} (READ_WRITE)")
    try:
        for table in tables:
            if table.schema_name != DEFAULT_SCHEMA:
                con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(name, table.schema_name)}")
            con.execute(f"CREATE TABLE {table.sql(name)} AS {rows(table)}")
        yield name
    finally:
        con.execute(f"DETACH {ident(name)}")
