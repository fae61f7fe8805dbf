"""Seal generated SQL: what it means does not depend on the macros and settings of whoever runs it.

DuckDB looks a function up in the caller's search path before it looks among its own, and operators are functions too:
after `CREATE MACRO replace(a, b, c) AS 'x'` or `CREATE MACRO "+"(a, b) AS 0` in a user's schema, the same query gives
other results without an error. An ORDER BY without a direction follows the session's `default_order`. A sealed query
names every function in full (`system.main.replace`) and states the direction of every order, so that neither applies.

DuckDB's own parser does the work: a query becomes a tree, the tree is changed, and the tree becomes a query again
(`docs/decisions/0020-sealed-sql.md`).
"""

from __future__ import annotations

import threading
from functools import lru_cache

import duckdb

from relsql.database.syntax_tree import Tree, nodes, parse, write

_CACHED_QUERIES = 256
"""A model's macros are some ten queries. The same ones are sealed for each connection that is attached."""

_FUNCTION_CLASSES = ("FUNCTION", "WINDOW")
_WINDOW_MARK = "relsql_sealed_window_"
"""DuckDB 1.5 drops the database when it writes a window function's name; the name carries this until it is written."""

_DEFAULT = "ORDER_DEFAULT"

_lock = threading.Lock()


@lru_cache(maxsize=_CACHED_QUERIES)
def sealed(query: str) -> str:
    """The query with full names of all functions and explicit orders, on one line.

    Functions that `relsql` registers lie in `system.main` too, beside DuckDB's own.

    Args:
        query: one SELECT statement.

    Raises:
        NotOneSelectError: it is something else.
    """
    with _lock:
        tree = parse(_parser(), query)
        for node in nodes(tree):
            _name_in_full(node)
            _order_explicitly(node)
        found = write(_parser(), tree)
    return found.replace(f"main.{_WINDOW_MARK}", '"system".main.').replace(_WINDOW_MARK, "")


def sealed_expression(expression: str) -> str:
    """An expression, as the body of a scalar macro, sealed like a query."""
    return sealed(f"SELECT {expression}").removeprefix("SELECT ")


def function_names(query: str) -> set[str]:
    """Names of all functions, operators included, that one SELECT statement calls.

    Raises:
        NotOneSelectError: it is something else.
    """
    with _lock:
        tree = parse(_parser(), query)
    return {node["function_name"] for node in nodes(tree) if node.get("class") in _FUNCTION_CLASSES}


@lru_cache(maxsize=1)
def _parser() -> duckdb.DuckDBPyConnection:
    """A database of our own, in memory: no macro or setting of a user reaches it."""
    return duckdb.connect(config={"threads": 1})


@lru_cache(maxsize=1)
def _macros() -> frozenset[str]:
    """Names of DuckDB's own macros."""
    query = "SELECT function_name FROM duckdb_functions() WHERE internal AND function_type IN ('macro', 'table_macro')"
    return frozenset(name for (name,) in _parser().execute(query).fetchall())


def _name_in_full(node: Tree) -> None:
    if node.get("class") not in _FUNCTION_CLASSES:
        return
    name = node["function_name"]
    # list_append(l, e) becomes list_concat(l, list_value(e)) when it is bound, and those two are looked up again.
    assert name not in _macros(), f"{name} is a macro of DuckDB's: a query cannot be sealed that calls it"
    if node["class"] == "WINDOW" and "qualified_name" not in node:
        node["function_name"] = name = _WINDOW_MARK + name
    node["catalog"], node["schema"] = "system", "main"
    if "qualified_name" in node:  # DuckDB 2.0
        node["qualified_name"] = {"path": ["system", "main", name]}
    if node.get("is_operator"):
        node["is_operator"] = False  # `a + b` can only be written in full as a call.


def _order_explicitly(node: Tree) -> None:
    if "null_order" in node and "expression" in node:
        if node["type"] == _DEFAULT:
            node["type"] = "ASCENDING"
        if node["null_order"] == _DEFAULT:
            node["null_order"] = "NULLS LAST"
