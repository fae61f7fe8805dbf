"""Refuse tasks that read temporary tables: a model is used on connections that do not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relsql.database.names import stored_name
from relsql.database.sealed import parser
from relsql.database.syntax_tree import NotOneSelectError, nodes, parse
from relsql.errors import TaskError
from relsql.schema.reading import read_schema, temporary_tables
from relsql.schema.tables import keep_sql

if TYPE_CHECKING:
    import duckdb

    from relsql.tasks.task import Task


def refuse_temporary_tables(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> None:
    """Check that neither the entity table nor a table of the label query is a temporary one of the connection.

    Raises:
        TaskError: one is, and the database has no table of its name.
    """
    temporary = temporary_tables(con)
    schema = read_schema(con, catalog) if temporary else None
    for name in (task.entity_table, *_tables_read(task)) if schema else ():
        found = stored_name(name, temporary)
        if schema and found and schema.find(name) is None:
            raise TaskError(
                f"task '{task.name}': '{name}' is a temporary table of this connection, not of '{catalog}'",
                expected="tables that are there when a model is used",
                fix=keep_sql(found),
            )


def _tables_read(task: Task) -> list[str]:
    """Names in the label query that stand alone, except those of its own CTEs."""
    try:
        tree = parse(parser(), task.sql)
    except NotOneSelectError:
        return []  # The check of the query says so.
    own = {cte["key"] for node in nodes(tree) for cte in (node.get("cte_map") or {}).get("map", ())}
    named = [node for node in nodes(tree) if node.get("type") == "BASE_TABLE"]
    alone = [node["table_name"] for node in named if (node["schema_name"] or "temp") == "temp"]
    return [name for name in alone if name not in own]
