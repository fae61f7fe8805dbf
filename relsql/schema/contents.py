"""A digest of a table's content: a few numbers that change when any row changes."""

from __future__ import annotations

import duckdb

from relsql.schema.relations import relation_sql
from relsql.schema.tables import Table
from relsql.sql_text import ident


def table_content(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> tuple[str, ...]:
    """Number of rows, and the sum and XOR of their 64-bit hashes; the order of the rows does not matter."""
    columns = ", ".join(f"r.{ident(name)}" for name in table.stored_names)
    hashes = f"SELECT system.main.hash({columns}) AS h FROM {relation_sql(table, catalog)} r"
    [found] = con.execute(
        f"SELECT system.main.count_star(), system.main.sum(h), system.main.bit_xor(h) FROM ({hashes})"
    ).fetchall()
    return tuple(map(str, found))
