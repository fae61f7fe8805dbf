"""Names, literals and the network's inputs as expressions in Spark's SQL.

They compute what `relsql.gather.node_inputs` and `relsql.text.row_text_sql` compute in DuckDB's. Times are microseconds
since 1970 as BIGINT, in which engines, sessions and file formats agree.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from relsql.gather.layout import DATA_AGE
from relsql.gather.node_inputs import CategoryInput, NodeInputs, NumberInput
from relsql.schema.tables import Column, Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES
from relsql.text.row_text import ATTRIBUTE_MARKER, TABLE_MARKER, VALUE_MARKER
from relsql.text.row_text_sql import MAX_VALUE_CHARACTERS

Value = Callable[[str], str]
"""The expression for a column of a row."""

TEXT_OF_CODES = ""
"""Stands for a text that the row's category codes determine; every other text begins with a marker."""

_EPOCH = datetime.datetime(1970, 1, 1)
_DAY = "86400000000D"
_LARGEST_FLOAT = "3.4028235e38D"


def ident(name: str) -> str:
    """Quote one identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Quote a text. Spark reads backslashes as escapes, and two quotes in a row as the end of one text and another."""
    # Without line breaks, so that a query can be indented.
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"


def microseconds(moment: datetime.datetime) -> int:
    """A zone-less moment as microseconds since 1970."""
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)


def column_of(alias: str) -> Value:
    """The columns of the row with an alias."""
    return lambda name: f"{alias}.{ident(name)}"


def columns_of(alias: str, names: Iterable[str]) -> str:
    """Columns of one relation for a select list."""
    return ", ".join(f"{alias}.{ident(name)}" for name in names)


def stored_sql(column: Column, value: str) -> str:
    """A stored value as it is read: a time as microseconds, any other value as it is."""
    return f"unix_micros(CAST({value} AS TIMESTAMP))" if column.type in TIME_TYPES else value


def age_sql(time: str, as_of: str) -> str:
    """Days from one time to another as DOUBLE."""
    return f"({as_of} - {time}) / {_DAY}"


def number_sql(table: Table, number: NumberInput, value: Value, as_of: str, newest: str) -> str:
    """A number input as FLOAT; NULL when missing.

    Args:
        table: the row's table.
        number: the input.
        value: the row's columns.
        as_of: the moment of the row's reader.
        newest: the time of the newest event that the reader may see.
    """
    if number == DATA_AGE:
        return f"CAST({age_sql(newest, as_of)} AS FLOAT)"
    stored, type_ = value(number.column), table.column(number.column).type
    if number.kind == "age":
        return f"CAST({age_sql(stored, as_of)} AS FLOAT)"
    if number.kind == "text_number":
        return _float_sql(f"try_cast({stored} AS DOUBLE)")
    exact = type_ in ("FLOAT", "BOOLEAN") or (type_ in INTEGER_TYPES and not type_.endswith("HUGEINT"))
    if exact:
        return f"CAST({stored} AS FLOAT)"
    return _float_sql(stored if type_ == "DOUBLE" else f"CAST({stored} AS DOUBLE)")


def _float_sql(double: str) -> str:
    """A DOUBLE as FLOAT, NULL beyond its range; a cast of Spark's would make it infinite."""
    fits = f"abs({double}) <= {_LARGEST_FLOAT} OR abs({double}) = double('Infinity')"
    return f"CASE WHEN {fits} THEN CAST({double} AS FLOAT) END"


def category_sql(category: CategoryInput, value: Value) -> str:
    """The INT code of a category input."""
    values = ", ".join(map(literal, category.values))
    return f"coalesce(CAST(array_position(array({values}), {value(category.column)}) AS INT), 0)"


def text_sql(table: Table, columns: Iterable[str], value: Value) -> str:
    """The text of a row, as in `relsql.text.row_text_sql`."""
    parts = [literal(TABLE_MARKER + _clean(table.name))]
    for name in columns:
        stored = value(name) if _is_text(table.column(name)) else f"CAST({value(name)} AS STRING)"
        cut = f"replace(substring({stored}, 1, {MAX_VALUE_CHARACTERS}), '<', '‹')"
        parts += [literal(ATTRIBUTE_MARKER + _clean(name) + VALUE_MARKER), f"coalesce({cut}, '')"]
    return f"concat({', '.join(parts)})"


def codes_sql(table: Table, inputs: NodeInputs, value: Value, present: str) -> list[str]:
    """The category codes of a row and, if it has text, the text itself: NULL if the condition `present` is false."""
    codes = [category_sql(category, value) for category in inputs.categories]
    if not inputs.text_columns:
        return codes
    text = text_sql(table, inputs.text_columns, value)
    coded = " AND ".join(f"{codes[position]} > 0" for position in inputs.text_codes)
    cases = [f"WHEN {coded} THEN {literal(TEXT_OF_CODES)}"] if coded else []
    cases += [f"WHEN {present} THEN {text}"] if present != "true" else []
    if not cases:
        return [*codes, text]
    return [*codes, f"CASE {' '.join(cases)}{f' ELSE {text}' if present == 'true' else ''} END"]


def _is_text(column: Column) -> bool:
    return column.type == "VARCHAR" or column.type.startswith("ENUM")


def _clean(text: str) -> str:
    return text.replace("<", "‹")
