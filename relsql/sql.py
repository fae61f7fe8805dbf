"""Write SQL text: quoted identifiers, literals and readable statements."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Container, Iterable

COMMA = ",\n"
"""Separates the items of a list that is written with one item per line."""

_QUOTED_OR_BREAK = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\n(?!\n)""")


def ident(name: str) -> str:
    """Quote one identifier: `we"ird` -> `"we""ird"`."""
    return '"' + name.replace('"', '""') + '"'


def qualified(*parts: str | None) -> str:
    """Quote and join the parts of a name; parts that are None are left out."""
    return ".".join(ident(part) for part in parts if part is not None)


def literal(value: object) -> str:
    """Write a Python value as a DuckDB literal.

    Raises:
        TypeError: for a type that has no literal form here.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"'{value}'::DOUBLE"
        return f"{value!r}::DOUBLE" if "e" in repr(value) else repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    raise TypeError(f"no SQL literal for {type(value).__name__}")


def indented(text: str, spaces: int = 4) -> str:
    """Indent every line of a query; line breaks within literals and quoted names stay as they are."""
    pad = " " * spaces
    return pad + _QUOTED_OR_BREAK.sub(
        lambda found: found.group() + (pad if found.group() == "\n" else ""), text.strip("\n")
    )


def with_ctes(ctes: Iterable[tuple[str, str]], body: str, *, materialized: Container[str] = ()) -> str:
    """Write `WITH name AS (query), ... body`, indented.

    A CTE whose name is in `materialized` is computed once, so that all its readers see the same rows even if its query
    is not deterministic.
    """
    how = {True: "AS MATERIALIZED", False: "AS"}
    parts = [f"{name} {how[name in materialized]} (\n{indented(query)}\n)" for name, query in ctes]
    return ("WITH " + ",\n".join(parts) + "\n" + body) if parts else body
