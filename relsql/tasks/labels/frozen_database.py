"""A copy of a database that ends at a moment: what the frozen regime sees of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from relsql.database.names import DEFAULT_SCHEMA
from relsql.schema.relations import relation_sql
from relsql.schema.visibility import where_visible_sql
from relsql.sql import ident, qualified

if TYPE_CHECKING:
    import duckdb

    from relsql.schema.tables import Schema


@contextmanager
def frozen_database(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, end: datetime) -> Iterator[str]:
    """Attach an in-memory copy of a database that ends at `end` (inclusive) during the block; yields its name.

    Tables without a time column are copied whole, as in RelBench; rows without a time are left out, as everywhere.
    """
    # The name is unique because all connections of a process see what one of them attaches.
    name = f"relsql_frozen_{uuid.uuid4().hex}"
    # Without READ_WRITE the copy would be read-only when the connection's file is open read-only.
    con.execute(f"ATTACH ':memory:' AS {ident(name)} (READ_WRITE)")
    try:
        for table in schema.tables.values():
            if table.schema_name != DEFAULT_SCHEMA:
                con.execute(f"CREATE SCHEMA IF NOT EXISTS {qualified(name, table.schema_name)}")
            cut = where_visible_sql(table, "r", end)
            columns = ", ".join(f"r.{ident(column)}" for column in table.stored_names)
            con.execute(
                f"CREATE TABLE {table.sql(name)} AS SELECT {columns} FROM {relation_sql(table, catalog)} r{cut}"
            )
        yield name
    finally:
        con.execute(f"DETACH {ident(name)}")
