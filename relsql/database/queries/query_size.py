"""Limits on the size of queries from others, because DuckDB cannot be interrupted while it parses and plans a query.

A query of a few kilobytes is enough to keep DuckDB busy for hours, or to crash the process: 2,000 nested joins take 5
seconds to parse and 400 joins a minute to plan, 20,000 nested comments take 10 seconds to skip, and a name
of 60,000 parts crashes the process (DuckDB 1.5.5 and 2.0.0).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import duckdb

MAX_NESTING = 200
"""The greatest depth of nested brackets."""

MAX_COMMENTS = 1000
MAX_NAME_PARTS = 16
"""`database.schema.table.column` has four; every further one is a field of a struct."""

MAX_JOINS = 100
MAX_SELECTS = 1000

_OPENING, _CLOSING = frozenset(b"([{"), frozenset(b")]}")


def text_excess(sql: str) -> str | None:
    """Why a query is too large to be parsed: `it has more than 1,000 comments`; None if it is not."""
    # Counted first, because finding the end of nested comments is the slow part.
    if sql.count("/*") > MAX_COMMENTS:
        return f"it has more than {MAX_COMMENTS:,} comments"
    text = sql.encode(errors="replace")
    level = 0
    for position, kind in duckdb.tokenize(text.decode()):
        if kind == duckdb.token_type.operator:
            level += (text[position] in _OPENING) - (text[position] in _CLOSING)
            if level > MAX_NESTING:
                return "it is nested too deeply"
    return None


def tree_excess(nodes: Iterable[dict[str, Any]]) -> str | None:
    """Why a query is too large to be planned: `it has more than 100 joins`; None if it is not.

    Args:
        nodes: all nodes of its syntax tree.
    """
    kinds: Counter[str] = Counter()
    for node in nodes:
        if len(node.get("column_names", ())) > MAX_NAME_PARTS:
            return f"it has a name of more than {MAX_NAME_PARTS} parts"
        kinds[str(node.get("type"))] += 1
    if kinds["JOIN"] > MAX_JOINS:
        return f"it has more than {MAX_JOINS} joins"
    return f"it has more than {MAX_SELECTS:,} SELECTs" if kinds["SELECT_NODE"] > MAX_SELECTS else None
