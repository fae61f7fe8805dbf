"""Seal generated SQL, so that its meaning does not depend on the macros and settings of the session that runs it.

DuckDB looks a function up in the caller's search path before it looks among its own, and operators are functions too:
after `CREATE MACRO replace(a, b, c) AS 'x'` or `CREATE MACRO "+"(a, b) AS 0` in a user's schema, the same query returns
other results without an error. An ORDER BY without a direction follows the session's `default_order`. A sealed query
names every function in full (`system.main.replace`), those of field accesses included, and states the direction of
every order, so neither can change it.

DuckDB's own parser does the work: a query becomes a tree, the tree is changed, and the tree becomes a query again
(`docs/decisions/0020-sealed-sql.md`).
"""

from __future__ import annotations

import threading
from functools import lru_cache, partial

import duckdb

from relsql.database.queries.field_access import call_accesses
from relsql.database.queries.syntax_tree import Tree, nodes, parse, write

_CACHED_QUERIES = 256
"""The macros of a model consist of about ten queries, and every connection that is attached seals the same ones."""

_FUNCTION_CLASSES = ("FUNCTION", "WINDOW")
_WINDOW_MARK = "relsql_sealed_window_"
"""Marks the names of window functions until the query is written: DuckDB 1.5 omits their database when it writes them,
and the mark shows where to add it."""

_DEFAULT = "ORDER_DEFAULT"

_lock = threading.Lock()
"""Held while a thread opens its connection to the private database."""

_of_thread = threading.local()


@lru_cache(maxsize=_CACHED_QUERIES)
def sealed(query: str) -> str:
    """The query with full names of all functions and explicit orders, on one line.

    The functions that relsql registers are in `system.main` too, like DuckDB's own.

    Args:
        query: one SELECT statement.

    Raises:
        NotOneSelectError: `query` is not one SELECT.
    """
    tree = parse(parser(), query, is_own=True)
    call_accesses(tree, partial(parse, parser()))
    for node in nodes(tree):
        _name_in_full(node)
        _order_explicitly(node)
    found = write(parser(), tree)
    return found.replace(f"main.{_WINDOW_MARK}", '"system".main.').replace(_WINDOW_MARK, "")


def sealed_expression(expression: str) -> str:
    """Seal an expression, such as the body of a scalar macro, like a query."""
    return sealed(f"SELECT {expression}").removeprefix("SELECT ")


def function_names(query: str) -> set[str]:
    """Names of all functions, operators included, that one SELECT statement calls.

    Raises:
        NotOneSelectError: `query` is not one SELECT.
    """
    tree = parse(parser(), query, is_own=True)
    return {node["function_name"] for node in nodes(tree) if node.get("class") in _FUNCTION_CLASSES}


def parser() -> duckdb.DuckDBPyConnection:
    """The connection of this thread to a private database in memory, which no macro or setting of a user affects.

    DuckDB refuses a call on a connection that is busy in another thread.
    """
    if not hasattr(_of_thread, "connection"):
        with _lock:
            _of_thread.connection = _private_database().cursor()
    connection: duckdb.DuckDBPyConnection = _of_thread.connection
    return connection


@lru_cache(maxsize=1)
def _private_database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


@lru_cache(maxsize=1)
def _macros() -> frozenset[str]:
    """Names of DuckDB's own macros."""
    query = "SELECT function_name FROM duckdb_functions() WHERE internal AND function_type IN ('macro', 'table_macro')"
    return frozenset(name for (name,) in parser().execute(query).fetchall())


def _name_in_full(node: Tree) -> None:
    if node.get("class") not in _FUNCTION_CLASSES:
        return
    name = node["function_name"]
    # list_append(l, e) becomes list_concat(l, list_value(e)) when it is bound, and those two are looked up again.
    assert name not in _macros(), f"{name} is a DuckDB macro: a query that calls it cannot be sealed"
    if node["class"] == "WINDOW" and "qualified_name" not in node:
        node["function_name"] = name = _WINDOW_MARK + name
    node["catalog"], node["schema"] = "system", "main"
    if "qualified_name" in node:  # DuckDB 2.0
        node["qualified_name"] = {"path": ["system", "main", name]}
    if node.get("is_operator"):
        node["is_operator"] = False  # An operator can only be qualified when it is written as a call.


def _order_explicitly(node: Tree) -> None:
    if "null_order" in node and "expression" in node:
        if node["type"] == _DEFAULT:
            node["type"] = "ASCENDING"
        if node["null_order"] == _DEFAULT:
            node["null_order"] = "NULLS LAST"
