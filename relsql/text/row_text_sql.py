"""Row text: a table row as the string that the encoder reads, written by a SQL expression.

The format follows the seed paper of this project (arXiv 2605.16085, section 3): the table marker and name, then for
each column the attribute marker and name and the value marker and value; NULL is the empty value. Training and scoring
evaluate the same expression, so that they read the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from relsql.schema.tables import Column, Table
from relsql.schema.times.events import utc_sql
from relsql.schema.types import ZONED_TYPES
from relsql.sql_text import ident, literal
from relsql.text.row_text import ATTRIBUTE_MARKER, TABLE_MARKER, VALUE_MARKER

MAX_VALUE_CHARACTERS = 160
"""Longer values are cut, because all columns of a row have to fit into the encoder's window together."""


def row_text_sql(table: Table, columns: tuple[str, ...], row: str) -> str:
    """The SQL expression of a row's text.

    Args:
        table: the row's table.
        columns: the columns that the text holds, in this order.
        row: alias of the table in the query, or any expression that has the columns as fields.
    """
    parts = [literal(TABLE_MARKER + _clean(table.name))]
    for name in columns:
        marked = ATTRIBUTE_MARKER + _clean(name) + VALUE_MARKER
        parts += [literal(marked), _value_sql(table.column(name), row)]
    return f"concat({', '.join(parts)})"


def row_text(table: Table, columns: Sequence[str], values: Sequence[str]) -> str:
    """The same text as that of the expression of `row_text_sql`, from values that are text and not NULL."""
    parts = [TABLE_MARKER + _clean(table.name)]
    for name, value in zip(columns, values, strict=True):
        parts += [ATTRIBUTE_MARKER, _clean(name), VALUE_MARKER, _clean(value[:MAX_VALUE_CHARACTERS])]
    return "".join(parts)


def _value_sql(column: Column, row: str) -> str:
    value = f"{row}.{ident(column.name)}"
    if column.type in ZONED_TYPES:
        value = utc_sql(value)
    text = value if column.type == "VARCHAR" else f"CAST({value} AS VARCHAR)"
    # Without `<` a value cannot look like a marker. concat() turns NULL into the empty value. Unlike left(),
    # substring() runs once per dictionary entry.
    return f"replace(substring({text}, 1, {MAX_VALUE_CHARACTERS}), '<', '‹')"


def _clean(text: str) -> str:
    return text.replace("<", "‹")
