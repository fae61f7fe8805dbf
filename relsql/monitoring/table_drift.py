"""What has changed since training in one table and the columns of it that a model reads. Queries only."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.gather.node_inputs import NodeInputs, NumberInput, number_sql
from relsql.monitoring.distributions import Distribution, categories, quantity
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Table
from relsql.schema.times.events import age_sql, as_timestamp_sql, time_sql
from relsql.schema.visibility import visible_time_sql, within_sql
from relsql.sql_text import Cte, ident, literal, with_ctes


@dataclass(frozen=True, slots=True)
class Ranges:
    """The ranges that are compared: rows up to `until` (then), and rows after `since` up to `newest` (now)."""

    until: datetime.datetime
    since: datetime.datetime
    newest: datetime.datetime


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of a table then and now.

    Attributes:
        then, now: numbers of rows.
        per_day_then, per_day_now: rows per day: then since the first row, now over the whole range.
        newest: time of the newest row.
        age_days: from that time to the end of the range now.
        longest_gap_days: the longest time without a row then; None if all rows have the same time.
    """

    then: int
    now: int
    per_day_then: float | None
    per_day_now: float | None
    newest: datetime.datetime | None
    age_days: float | None
    longest_gap_days: float | None


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """A column of a table, and what is compared of it.

    `kind` is `number`, `age` (days until the row's time), `category` or `text` (its length).
    """

    column: str
    kind: str
    values: Distribution


def table_rows(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, ranges: Ranges) -> TableRows:
    """Count the rows of a table with a time."""
    until, since, newest = (literal(t) for t in (ranges.until, ranges.since, ranges.newest))
    of_rows = f"SELECT {time_sql(table, 'r')} AS t FROM {relation_sql(table, catalog)} r"
    then, now = visible_time_sql("t", until), within_sql("t", since, newest)
    first, last = f"min(t) FILTER ({then})", f"max(t) FILTER ({visible_time_sql('t', newest)})"
    gap = age_sql("lag(t) OVER (ORDER BY t ASC)", "t")
    query = with_ctes(
        [
            Cte("seen", f"SELECT t FROM ({of_rows}) WHERE isfinite(t)", "Times of all rows"),
            Cte("moments", f"SELECT DISTINCT t FROM seen WHERE {then}", "Different times then"),
            Cte("gaps", f"SELECT {gap} AS days FROM moments", "Days between them"),
        ],
        f"SELECT count(*) FILTER ({then}), count(*) FILTER ({now}),\n"
        f"    {age_sql(first, until)}, {age_sql(since, newest)},\n"
        f"    {last}, {age_sql(last, newest)}, (SELECT max(days) FROM gaps)\nFROM seen",
    )
    [(rows_then, rows_now, days_then, days_now, last_row, age, gap_days)] = con.execute(sealed(query)).fetchall()
    per_day_then, per_day_now = _per_day(rows_then, days_then), _per_day(rows_now, days_now)
    return TableRows(rows_then, rows_now, per_day_then, per_day_now, last_row, age, gap_days)


def _per_day(rows: int, days: float | None) -> float | None:
    return rows / days if days and days > 0 else None


def column_values(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, inputs: NodeInputs, ranges: Ranges
) -> Iterator[ColumnValues]:
    """The columns of a table with a time that the model reads, each then and now; not the time itself."""
    coded = {category.column for category in inputs.categories}
    for number in inputs.numbers:
        if number.column != table.time_column and number.kind != "data_age":
            yield _number(con, catalog, table, number, ranges)
    for category in inputs.categories:
        text = f"CAST(r.{ident(category.column)} AS VARCHAR)"
        values = categories(con, _rows(catalog, table, text, ranges), category.values)
        yield ColumnValues(category.column, "category", values)
    for name in inputs.text_columns:
        if name not in coded and name not in {number.column for number in inputs.numbers}:
            length = f"length(CAST(r.{ident(name)} AS VARCHAR))"
            yield ColumnValues(name, "text", quantity(con, _rows(catalog, table, length, ranges)))


def _number(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, number: NumberInput, ranges: Ranges
) -> ColumnValues:
    if number.kind == "age":
        # Dates move on with time. How long before its row a date lies does not.
        age = age_sql(as_timestamp_sql(table.column(number.column), "r"), time_sql(table, "r"))
        return ColumnValues(number.column, "age", quantity(con, _rows(catalog, table, age, ranges)))
    if number.categories:
        text = f"CAST(r.{ident(number.column)} AS VARCHAR)"
        known = {f"{value:.0f}" for value in number.categories}
        return ColumnValues(number.column, "category", categories(con, _rows(catalog, table, text, ranges), known))
    value = number_sql(table, number, "r", literal(ranges.newest))
    return ColumnValues(number.column, "number", quantity(con, _rows(catalog, table, value, ranges)))


def _rows(catalog: str, table: Table, value: str, ranges: Ranges) -> str:
    """A query for the value of each row of both ranges, and whether the row is from now."""
    time, until, since, newest = time_sql(table, "r"), *map(literal, (ranges.until, ranges.since, ranges.newest))
    now = within_sql(time, since, newest)
    both = f"({visible_time_sql(time, until)}) OR ({now})"
    return f"SELECT {value} AS value, {now} AS fresh FROM {relation_sql(table, catalog)} r WHERE {both}"
