"""Find dates whose parts are columns of their own: `Year, Month, DayofMonth`, or `arrival_date_year` and so on.

The columns of one date have the same name except for the part: `start_year` does not go with `end_month`. If the day is
missing, the date is read as the end of its month.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relsql.database.queries.sealed import sealed
from relsql.schema.discovery.names import words
from relsql.schema.discovery.profile import Profiler
from relsql.schema.tables import Column, Table
from relsql.schema.times.readings import Reading
from relsql.schema.types import FLOAT_TYPES, INTEGER_TYPES
from relsql.sql_text import ident

MIN_READ = 0.95
"""At least this share of the rows with a year have a date."""

_PARTS = {
    "day": (("day", "of", "month"), ("dayof", "month"), ("dayofmonth",), ("mday",), ("dom",), ("day",), ("dd",)),
    "month": (("month",), ("mon",), ("mo",), ("mm",)),
    "year": (("year",), ("yr",), ("yyyy",)),
}
"""For each part of a date the words that name it, the longest first, because `DayofMonth` is not a month."""

_LEAST_ENDING = 3
"""Shorter words are not looked for at the end of a name, because they end too many other words. `iyear` is a year, but
`address` is not `ss`."""


@dataclass(frozen=True, slots=True)
class DateParts:
    """A date in several columns: the columns, and how they are read."""

    columns: tuple[Column, ...]
    reading: Reading


def find_date_parts(data: Profiler, table: Table) -> Iterator[DateParts]:
    """The dates of a table that are stored in two or three columns."""
    named: dict[tuple[str, ...], dict[str, Column]] = {}
    for column in table.columns:
        if not column.computed and column.type in (*INTEGER_TYPES, *FLOAT_TYPES, "VARCHAR"):
            part, rest = _part(words(column.name))
            named.setdefault(rest, {}).setdefault(part, column)
    for parts in named.values():
        if {"year", "month"} <= parts.keys():
            found = _reading(data, table, parts)
            kept = tuple(parts[each] for each in ("year", "month", "day") if each in parts)
            yield from [DateParts(kept, found)] if found else []


def _part(name: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The part of a date that a column has by the words of its name, and the other words; empty if it has none."""
    for part, forms in _PARTS.items():
        for form in forms:
            at = next((i for i in range(len(name)) if name[i : i + len(form)] == form), None)
            if at is not None:
                return part, name[:at] + name[at + len(form) :]
            [*_, last] = form
            if len(form) == 1 and len(last) >= _LEAST_ENDING and name and name[-1].endswith(last):
                return part, (*name[:-1], name[-1].removesuffix(last))
    return "", name


def _reading(data: Profiler, table: Table, parts: dict[str, Column]) -> Reading | None:
    """The reading of the parts as a date, or else as the end of a month; None if the values do not form dates."""
    year, month = _number(parts["year"]), _number(parts["month"])
    if parts["month"].type == "VARCHAR":
        by_name = f"month(try_strptime(left(trim({ident(parts['month'].name)}), 3), '%b'))"
        month = f"coalesce({month}, {by_name})"
    of_month = f"(try_strptime(printf('%04d-%02d', {year}, {month}), '%Y-%m') + INTERVAL 1 MONTH)"
    readings = [(of_month, "the end of the month that two columns name", "1 MONTH")]
    if "day" in parts:
        date = f"try_strptime(printf('%04d-%02d-%02d', {year}, {month}, {_number(parts['day'])}), '%Y-%m-%d')"
        names = ", ".join(f"'{each.name}'" for each in parts.values())
        three = f"a date in three columns, {names}"
        ends = f"{three}, or the end of the month"
        readings = [(date, three, ""), (f"coalesce({date}, {of_month})", ends, ""), *readings]
    for expression, meaning, period in readings:
        query = f"SELECT count({year}), count({expression}) FROM {table.sql(data.catalog)}"
        query += f" WHERE {year} BETWEEN 1500 AND 2200"
        dated, read = data.con.execute(sealed(query)).fetchall()[0]
        if read >= MIN_READ * data.rows(table) > 0 and read >= MIN_READ * dated:
            return Reading(expression, meaning, read / dated, period=period)
    return None


def _number(column: Column) -> str:
    return f"try_cast({ident(column.name)} AS BIGINT)"
