"""Refuse tasks that read temporary tables: a model is used on connections that do not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relsql.database.queries.sealed import parser
from relsql.database.queries.syntax_tree import NotOneSelectError, nodes, parse
from relsql.schema.reading import read_schema
from relsql.schema.sources.temporary_tables import refuse_temporary_tables
from relsql.sql_text import ident

if TYPE_CHECKING:
    import duckdb

    from relsql.tasks.task import Task


def refuse_temporary_reads(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> None:
    """Check that neither the entity table nor a table of the label query is a temporary one of the connection.

    Raises:
        SchemaError: one is, and the database has no table of its name.
    """
    refuse_temporary_tables(con, read_schema(con, catalog), (task.entity_table, *_tables_read(task)))


def _tables_read(task: Task) -> list[str]:
    """Names in the label query that stand alone, except those of its own CTEs."""
    try:
        tree = parse(parser(), task.sql)
    except NotOneSelectError:
        return []  # The check of the query says so.
    own = {cte["key"] for node in nodes(tree) for cte in (node.get("cte_map") or {}).get("map", ())}
    named = [node for node in nodes(tree) if node.get("type") == "BASE_TABLE"]
    alone = [node["table_name"] for node in named if (node["schema_name"] or "temp") == "temp"]
    return [ident(name) for name in alone if name not in own]
