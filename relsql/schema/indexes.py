"""Find the columns with an index of their own, through which DuckDB finds the rows of one entity without a scan."""

from __future__ import annotations

import duckdb

from relsql.schema.tables import Schema, Table
from relsql.sql_text import ident

SCANNED_ROWS = 122_880
"""A table with at most this many rows (one row group of DuckDB) is read just as fast without an index."""

Indexed = frozenset[tuple[str, str]]
"""Pairs of a table's key and a column's name."""


def indexed_columns(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Indexed:
    """The columns of large tables in `schema` that are the only column of a constraint or an index."""
    constraints = """SELECT schema_name, table_name, constraint_column_names FROM system.main.duckdb_constraints()
                     WHERE database_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY')"""
    indexes = "SELECT schema_name, table_name, expressions FROM system.main.duckdb_indexes() WHERE database_name = ?"
    sizes = (
        "SELECT schema_name, table_name FROM system.main.duckdb_tables() WHERE database_name = ? AND estimated_size > ?"
    )
    keys = {(name, table, tuple(columns)) for name, table, columns in con.execute(constraints, [catalog]).fetchall()}
    created = set(con.execute(indexes, [catalog]).fetchall())
    large = set(con.execute(sizes, [catalog, SCANNED_ROWS]).fetchall())

    def has_index(table: Table, column: str) -> bool:
        where = (table.schema_name, table.name)
        # DuckDB lists the expressions of an index as text, and puts names that need quotes in quotes.
        listed = (f"[{column}]", f"['{ident(column)}']")
        return where in large and ((*where, (column,)) in keys or any((*where, text) in created for text in listed))

    return frozenset(
        (key, column.name)
        for key, table in schema.tables.items()
        for column in table.columns
        if has_index(table, column.name)
    )
