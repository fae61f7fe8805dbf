"""Write SQL text: quoted identifiers, literals and readable statements."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Container, Iterable
from typing import NamedTuple

COMMA = ",\n"
"""Separates the items of a list that is written with one item per line."""

_QUOTED_OR_BREAK = re.compile(r"""--[^\n]*|'(?:[^']|'')*'|"(?:[^"]|"")*"|\n(?!\n)""")


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


class Cte(NamedTuple):
    """A common table expression: its name, its query, and a line that says what its rows are."""

    name: str
    query: str
    comment: str = ""


def with_ctes(ctes: Iterable[Cte], body: str, *, materialized: Container[str] = ()) -> str:
    """Write `WITH name AS (query), ... body`, indented, with each comment above its CTE.

    A CTE whose name is in `materialized` is computed once, so that all its readers see the same rows even if its query
    is not deterministic.
    """
    parts = []
    for name, query, comment in ctes:
        how = "AS MATERIALIZED" if name in materialized else "AS"
        parts.append((f"-- {comment}\n" if comment else "") + f"{name} {how} (\n{indented(query)}\n)")
    return ("WITH\n" + ",\n".join(parts) + "\n" + body) if parts else body


def field_sql(value: str, name: str) -> str:
    """A field of a struct, outside of sealed SQL; for `(value).name` DuckDB looks up a function by its bare name."""
    return f"system.main.struct_extract({value}, {literal(name)})"
