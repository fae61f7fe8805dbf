"""Declarations as text: `table(column)`, `table(time)` and `child(column) -> parent(column)`.

Names with special characters are in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from relsql.database.names import join_name, split_name
from relsql.errors import SchemaError
from relsql.schema.tables import Link
from relsql.sql_text import ident


def parse_columns(text: str) -> tuple[str, tuple[str, ...]]:
    """Read `table(column, ...)`; names with special characters are in double quotes.

    Returns:
        The table's key and its columns, which may be empty: `drivers()`.

    Raises:
        SchemaError: the text has another form.
    """
    match = re.fullmatch(_REFERENCE, text)
    if not match or match.group(2) is None:
        raise SchemaError(f"'{text}' names no columns", expected="the form table(column) or table(column, column)")
    return _table(match.group(1)), split_columns(match.group(2))


def parse_time(text: str) -> tuple[str, str]:
    """Read `table(time)`: the time is a column, a header's or an expression, see `relsql.schema.times.row_times`.

    Returns:
        The table's key and the time; the name of a column is without its quotes.

    Raises:
        SchemaError: the text has another form.
    """
    match = re.fullmatch(rf"\s*({_TABLE})\s*\((.*)\)\s*", text, re.DOTALL)
    time = match.group(2).strip() if match else ""
    if not match or not time:
        raise SchemaError(
            f"'{text}' names no time column",
            expected="the form table(column), table(header.column) or table(expression)",
        )
    return _table(match.group(1)), _unquoted(time) if re.fullmatch(_PART, time) else time


def parse_link(text: str) -> Link:
    """Read `child(column, ...) -> parent` or `child(column, ...) -> parent(column, ...)`.

    Returns:
        The link; its `parent_columns` are empty when the text leaves them to the parent's primary key.

    Raises:
        SchemaError: the text has another form.
    """
    match = re.fullmatch(f"{_REFERENCE}->{_REFERENCE}", text)
    if not match or not (match.group(2) or "").strip():
        raise SchemaError(
            f"'{text}' is not a link", expected="the form child(column) -> parent or child(a) -> parent(b)"
        )
    child, child_columns, parent, parent_columns = match.groups()
    return Link(_table(child), split_columns(child_columns), _table(parent), split_columns(parent_columns or ""))


def split_columns(text: str) -> tuple[str, ...]:
    """Read a list of columns, `team, season`, without their quotes."""
    return tuple(_unquoted(part) for part in re.findall(r'"(?:[^"]|"")+"|[^",]+', text) if part.strip())


def join_columns(names: Sequence[str]) -> str:
    """The inverse of `split_columns`: names are quoted only where they have to be."""
    return ", ".join(name if re.fullmatch(r"[^\s\",()][^\",()]*(?<!\s)", name) else ident(name) for name in names)


def columns_text(table: str, *columns: str) -> str:
    """The inverse of `parse_columns` for the key of a table: `orders(delivered_at)`, `"my table"("a,b")`."""
    return f"{table_text(table)}({join_columns(columns)})"


def time_text(table: str, time: str, columns: Sequence[str]) -> str:
    """The inverse of `parse_time` for a table with these columns; expressions and headers' times do not change."""
    return columns_text(table, time) if time in columns else f"{table_text(table)}({time})"


def link_text(link: Link) -> str:
    """The inverse of `parse_link`."""
    return f"{columns_text(link.child, *link.child_columns)} -> {columns_text(link.parent, *link.parent_columns)}"


_PLAIN = r'[^\s",()>=.-]+'


def table_text(key: str) -> str:
    """The key of a table as a declaration writes it: quoted only where it has to be."""
    return key if re.fullmatch(rf"{_PLAIN}(\.{_PLAIN})?", key) else ident(key)


_PART = r'(?:"(?:[^"]|"")+"|[^"(),]+?)'
_TABLE = rf"{_PART}(?:\s*\.\s*{_PART})*"
_REFERENCE = rf"\s*({_TABLE})\s*(?:\((\s*|\s*{_PART}\s*(?:,\s*{_PART}\s*)*)\)\s*)?"


def _unquoted(part: str) -> str:
    part = part.strip()
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _table(text: str) -> str:
    """The text by which a table is looked up: a single name without its quotes, or a qualified name as written."""
    parts = split_name(text)
    return parts[0] if len(parts) == 1 else join_name(*parts)
