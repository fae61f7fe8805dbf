"""The objects of the shop `owned`, and their state."""

from __future__ import annotations

import duckdb

from relsql.sql_text import qualified

OBJECTS = [("orders",), ("customers",), ("seen",), ("passing",), ("staging", "my.table"), ("staging", "É"),
           ("relsql", "models"), ("relsql", "artifacts"), ("relsql", "new"), ("main", "shops")]  # fmt: skip


def state(con: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """All tables and views with a digest of their rows, relsql's own included."""
    query = """SELECT database_name, schema_name, table_name FROM duckdb_tables()
               UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal"""
    found = [qualified(*row) for row in con.execute(query).fetchall()]
    return {name: con.execute(f"SELECT count(*), sum(hash(t)) FROM {name} t").fetchall() for name in sorted(found)}
