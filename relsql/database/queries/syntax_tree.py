"""Parse a query to a syntax tree, and write a tree as a query, both with DuckDB's own parser.

Queries are checked on their tree, because the type of a statement proves nothing: DuckDB 2.0 calls
`WITH gone AS (DELETE ... RETURNING *) FROM gone` a SELECT. Each check lists the kinds of nodes that it knows, so that a
kind that a later DuckDB adds is refused until it has been reviewed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from relsql.database.queries.query_size import text_excess, tree_excess

Tree = dict[str, Any]

EXPRESSIONS = frozenset(
    (
        *("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "DEFAULT"),
        *("FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"),
    )
)
"""Classes of expressions that only read. Parameters are excluded."""

SOURCES = frozenset({"BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT"})
"""Kinds of nodes that a query can read from."""

MODIFIERS = frozenset(
    (
        *("ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER"),
        *("ORDER_DEFAULT", "ASCENDING", "DESCENDING"),
    )
)
"""Kinds of nodes that order, limit or reduce what a query returns."""


class NotOneSelectError(ValueError):
    """A text is not one SELECT; the message says what it is instead.

    Attributes:
        is_syntax: True if DuckDB cannot parse it.
    """

    def __init__(self, message: str, *, is_syntax: bool = False) -> None:
        super().__init__(message)
        self.is_syntax = is_syntax


def parse(con: duckdb.DuckDBPyConnection, sql: str, *, is_own: bool = False) -> Tree:
    """The syntax tree of one SELECT, by `json_serialize_sql`: its key `statements` holds one statement.

    Nothing in `sql` runs. (`extract_statements` is not safe: in DuckDB 1.5 it opens the files of an IMPORT DATABASE.)

    Args:
        con: any connection.
        sql: the query.
        is_own: relsql generated it, so it may have any size.

    Raises:
        NotOneSelectError: `sql` is not one SELECT, or is too large or nested too deeply for DuckDB to plan it soon.
        duckdb.OutOfMemoryException: there is not enough memory to parse it.
    """
    if not is_own and (excess := text_excess(sql)):
        raise NotOneSelectError(excess)
    row = con.execute("SELECT system.main.json_serialize_sql($1::VARCHAR)", [sql]).fetchone()
    try:
        tree: Tree = json.loads(row[0]) if row else {"error": True}
    except RecursionError:
        raise NotOneSelectError("it is nested too deeply") from None
    if tree["error"]:
        message = str(tree.get("error_message", "")).partition("\n")[0]
        if tree.get("error_type") == "parser":
            raise NotOneSelectError(message, is_syntax=True)
        if any(word in message.lower() for word in ("memory", "allocation failure")):
            raise duckdb.OutOfMemoryException(message)
        only_select = not message or message.startswith("Only SELECT")
        raise NotOneSelectError("it is not a query" if only_select else message)
    if len(tree["statements"]) != 1:
        raise NotOneSelectError(f"it has {len(tree['statements'])} statements")
    if not is_own and (excess := tree_excess(nodes(tree))):
        raise NotOneSelectError(excess)
    return tree


def write(con: duckdb.DuckDBPyConnection, tree: Tree) -> str:
    """The query of a syntax tree, on one line."""
    row = con.execute("SELECT system.main.json_deserialize_sql($1::JSON)", [json.dumps(tree)]).fetchone()
    assert row is not None
    return str(row[0])


def nodes(tree: Any) -> Iterator[Tree]:
    """All objects of a tree, parents before their parts. They may be changed in place."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def unknown_kind(node: Tree, known: Collection[str]) -> str | None:
    """The kind of a node if it is neither a reading expression nor one of the `known` kinds, else None."""
    if "class" in node:
        expression = str(node["class"])
        return None if expression in EXPRESSIONS else expression
    kind = node.get("type")
    is_known = not isinstance(kind, str) or kind in known or kind.endswith("_TYPE_INFO")
    return None if is_known else str(kind)
