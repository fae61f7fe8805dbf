"""Node inputs: which columns of a table become numbers, categories and text, and the SQL that reads them.

Numbers reach the network unchanged (NULL = missing); it standardises them with statistics of its training seeds.
Times become ages: days between the column and `as_of`. Integers with few distinct values are also read as categories,
by the network itself. Textual categories become small integers, 0 for NULL and for values that were rare or absent in
training. Keys say nothing about an entity and are left out.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Literal

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.events import age_sql, as_timestamp_sql, time_sql
from relsql.schema.types import INTEGER_TYPES, TIME_OF_DAY_TYPES, TIME_TYPES, WHOLE_FLOATS, ZONED_TYPES, is_number
from relsql.schema.visibility import where_visible_sql
from relsql.sql_text import ident, literal
from relsql.text.row_text_sql import row_text_sql

MAX_CATEGORIES = 64
MAX_DISTINCT_CATEGORIES = 256
MIN_CATEGORY_ROWS = 8
MAX_CODED_TEXTS = 4_096
"""Largest number of possible texts of a table for which category codes may be used instead of the text."""

NUMERIC_TEXT_SHARE = 0.9
TIME_CORRELATION = 0.98
"""Rank correlation with the row's time above which a column is left out."""

MAX_RANKED_ROWS = 1_000_000
"""Ranks sort the rows in memory. Of a larger table a sample is ranked: the error of its correlation is about .001."""

CATEGORY_SEPARATOR = "\x1f"
# DuckDB 1.5 has no literal with a NUL character.
_UNWRITABLE = frozenset({CATEGORY_SEPARATOR, "\0"})

_OTHER_TYPES = ("BOOLEAN", "BLOB", "BIT", "UUID", "INTERVAL")
"""Types that are neither numbers nor times, and whose text carries no information."""


NumberKind = Literal["number", "text_number", "age", "data_age", "time_of_day", "interval"]


@dataclass(frozen=True, slots=True)
class NumberInput:
    """A column read as one FLOAT; NULL = missing.

    The kind `data_age` is not a column: it is the number of days by which the data lag behind as_of, see
    `relsql.gather.layout.DATA_AGE`. `categories` are the values that the network also embeds as categories; empty for
    a column that is only a quantity.
    """

    column: str
    kind: NumberKind
    categories: tuple[float, ...] = ()

    @property
    def is_age(self) -> bool:
        """True if the number depends on as_of."""
        return self.kind in ("age", "data_age")


@dataclass(frozen=True, slots=True)
class CategoryInput:
    """A column read as the 1-based position of its value, as text, in `values`; 0 = NULL, rare or unseen.

    It is textual, or holds integers that FLOAT cannot tell apart.
    """

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeInputs:
    """What the network reads of one table's rows.

    `numbers` starts with the row's age when the table has a time column. `text_columns` is empty when the table has
    no textual column; then its rows have no text embedding.
    """

    table: str
    numbers: tuple[NumberInput, ...]
    categories: tuple[CategoryInput, ...]
    text_columns: tuple[str, ...]

    @property
    def static_numbers(self) -> tuple[NumberInput, ...]:
        """The numbers that do not depend on as_of."""
        return tuple(number for number in self.numbers if not number.is_age)

    @property
    def ages(self) -> tuple[NumberInput, ...]:
        """The numbers that depend on as_of."""
        return tuple(number for number in self.numbers if number.is_age)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that are read, each once."""
        names = [i.column for i in self.numbers] + [i.column for i in self.categories] + list(self.text_columns)
        return tuple(dict.fromkeys(names))

    @property
    def text_codes(self) -> tuple[int, ...]:
        """Positions in `categories` of the text columns; empty if codes cannot determine a row's text."""
        positions = {category.column: i for i, category in enumerate(self.categories)}
        found = tuple(positions[name] for name in self.text_columns if name in positions)
        texts = math.prod(len(self.categories[position].values) for position in found)
        return found if len(found) == len(self.text_columns) and texts <= MAX_CODED_TEXTS else ()


def number_sql(table: Table, number: NumberInput, row: str, as_of: str) -> str:
    """A number input as an expression that casts to FLOAT; NULL when missing."""
    column = table.column(number.column)
    value = f"{row}.{ident(column.name)}"
    if number.kind == "age":
        return age_sql(as_timestamp_sql(column, row), as_of)
    if number.kind == "time_of_day":
        return f"epoch(CAST({value} AS TIME))"
    if number.kind == "interval":
        return f"epoch({value}) / 86400.0"
    if number.kind == "text_number":
        return f"TRY_CAST(TRY_CAST({value} AS DOUBLE) AS FLOAT)"
    # A DOUBLE or HUGEINT beyond the range of FLOAT is missing, not an error.
    safe = column.type in INTEGER_TYPES and column.type not in ("HUGEINT", "UHUGEINT")
    return value if safe else f"TRY_CAST({value} AS FLOAT)"


def category_sql(category: CategoryInput, row: str) -> str:
    """The INTEGER code of a category input."""
    # All values are in one literal, because a list of literals makes planning slow.
    values = literal(CATEGORY_SEPARATOR.join(category.values))
    value = f"CAST({row}.{ident(category.column)} AS VARCHAR)"
    return f"coalesce(list_position(string_split({values}, chr({ord(CATEGORY_SEPARATOR)})), {value}), 0)"


def text_sql(table: Table, inputs: NodeInputs, row: str) -> str:
    """The row text of a row, over the text columns of `inputs`."""
    return row_text_sql(table, inputs.text_columns, row)


def fit_node_inputs(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    key: str,
    *,
    until: datetime.datetime,
    all_text: bool = False,
) -> NodeInputs:
    """Choose the node inputs of one table, looking only at rows with time <= `until`.

    Args:
        con: connection to the data.
        catalog: database that holds the table.
        schema: its tables and links.
        key: `Table.key` of the table.
        until: end of the training time range, inclusive; rows of tables without time all count.
        all_text: also put every column into the text, as the seed paper does.
    """
    table = schema.table(key)
    linked = {name for link in schema.links_from(key) for name in link.child_columns}
    source = f"{relation_sql(table, catalog)} r"
    if table.time_column:
        source += where_visible_sql(table, "r", until)
    numbers: list[NumberInput] = []
    categories: list[CategoryInput] = []
    text: list[str] = []
    if table.time_column:
        numbers.append(NumberInput(table.time_column, "age"))
    [(rows,)] = con.execute(sealed(f"SELECT count(*) FROM {source}")).fetchall()
    for column in table.columns:
        if column.name in (*table.primary_key, *linked, table.time_column):
            continue
        if table.time_column and _follows_row_time(con, source, table, column, rows):
            continue
        kind = _number_kind(con, source, column)
        values = _category_values(con, source, column)
        if kind:
            codes = tuple(map(float, values)) if column.type in INTEGER_TYPES and _are_distinct(values) else ()
            numbers.append(NumberInput(column.name, kind, codes))
            values = () if codes else values
        if values:
            categories.append(CategoryInput(column.name, values))
        if _is_textual(column) or (all_text and _has_fixed_text(column)):
            text.append(column.name)
    return NodeInputs(key, tuple(numbers), tuple(categories), tuple(text))


def _follows_row_time(con: duckdb.DuckDBPyConnection, source: str, table: Table, column: Column, rows: int) -> bool:
    """True for a column that grows or falls with the row's own time, such as a season or a running number.

    At scoring, such a column has values outside the range seen in training. The row's age carries the same information
    without that problem.
    """
    if not is_number(column.type) and column.type not in TIME_TYPES:
        return False
    # A residue of the hash picks the same rows in every run, with any number of threads.
    stride = -(-rows // MAX_RANKED_ROWS)
    drawn = f"AND hash(value, time) % {stride} = 0" if stride > 1 else ""
    query = f"""
        SELECT corr(value_rank, time_rank), count(DISTINCT value)
        FROM (
            SELECT value, rank() OVER (ORDER BY value ASC) AS value_rank, rank() OVER (ORDER BY time ASC) AS time_rank
            FROM (SELECT r.{ident(column.name)} AS value, {time_sql(table, "r")} AS time FROM {source})
            WHERE value IS NOT NULL AND time IS NOT NULL {drawn}
        )"""
    correlation, distinct = con.execute(sealed(query)).fetchall()[0]
    return correlation is not None and distinct > 2 and abs(correlation) > TIME_CORRELATION


def _is_textual(column: Column) -> bool:
    if is_number(column.type) or column.type in (*TIME_TYPES, *TIME_OF_DAY_TYPES, *_OTHER_TYPES):
        return False
    return _has_fixed_text(column)


def _has_fixed_text(column: Column) -> bool:
    """False if the text of a value depends on the session: zoned timestamps within a LIST, STRUCT, MAP or UNION."""
    return column.type in ZONED_TYPES or not any(zoned in column.type for zoned in ZONED_TYPES)


def _number_kind(con: duckdb.DuckDBPyConnection, source: str, column: Column) -> NumberKind | None:
    kind = column.type
    if is_number(kind) or kind == "BOOLEAN":
        return "number"
    if kind in TIME_TYPES:
        return "age"
    if kind in TIME_OF_DAY_TYPES:
        return "time_of_day"
    if kind == "INTERVAL":
        return "interval"
    if kind != "VARCHAR":
        return None
    name = f"r.{ident(column.name)}"
    [(numeric, known)] = con.execute(
        sealed(f"SELECT count(TRY_CAST({name} AS DOUBLE)), count({name}) FROM {source}")
    ).fetchall()
    return "text_number" if known and numeric >= NUMERIC_TEXT_SHARE * known else None


def _are_distinct(integers: tuple[str, ...]) -> bool:
    """True if integers, as text, are as different as FLOATs: codes of nine digits are not."""
    return all(abs(int(value)) <= WHOLE_FLOATS for value in integers)


def _category_values(con: duckdb.DuckDBPyConnection, source: str, column: Column) -> tuple[str, ...]:
    """The values that get a code, most frequent first; each occurs in at least `MIN_CATEGORY_ROWS` rows.

    Empty unless the column has between 2 and `MAX_DISTINCT_CATEGORIES` distinct values.
    """
    if column.type not in (*INTEGER_TYPES, "VARCHAR") and not column.type.startswith("ENUM"):
        return ()
    name = f"r.{ident(column.name)}"
    [(distinct,)] = con.execute(sealed(f"SELECT approx_count_distinct({name}) FROM {source}")).fetchall()
    if not 2 <= distinct <= 4 * MAX_DISTINCT_CATEGORIES:
        return ()
    query = f"""
        SELECT value, count(*) FROM (SELECT CAST({name} AS VARCHAR) AS value FROM {source})
        WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value ASC"""
    found = con.execute(sealed(query)).fetchall()
    if not 2 <= len(found) <= MAX_DISTINCT_CATEGORIES:
        return ()
    kept = [value for value, rows in found if rows >= MIN_CATEGORY_ROWS and not _UNWRITABLE.intersection(value)]
    return tuple(kept[:MAX_CATEGORIES])
