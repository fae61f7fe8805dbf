"""Find the time of day that belongs to a date: `src_date DATE, src_time TIME` are one time of two columns."""

from __future__ import annotations

from dataclasses import dataclass

from relsql.schema.discovery.names import word_set, words
from relsql.schema.discovery.profile import Profiler
from relsql.schema.tables import Column, Table
from relsql.schema.types import TIME_OF_DAY_TYPES
from relsql.sql import ident

_TIME_OF_DAY = word_set("time hour at start started kickoff clock begin")
_DAY = word_set("date day")


@dataclass(frozen=True, slots=True)
class Clock:
    """A column that is a time of day: its name, and the SQL that reads it."""

    column: str
    expression: str


def find_clocks(data: Profiler, table: Table) -> list[Clock]:
    """The columns of a table that are times of day, by type, or by name and values."""
    found = []
    for column in table.columns:
        if not set(words(column.name)) & _TIME_OF_DAY:
            continue
        name = ident(column.name)
        if column.type in TIME_OF_DAY_TYPES[:1]:
            found.append(Clock(column.name, name))
        elif column.type == "VARCHAR":
            query = f"SELECT count({name}), count(try_cast({name} AS TIME)) FROM {table.sql(data.catalog)}"
            values, read = data.one(query)
            dated = f"SELECT count(try_cast({name} AS TIMESTAMP)) FROM {table.sql(data.catalog)}"
            if values and read >= 0.9 * values and not data.one(dated)[0]:
                found.append(Clock(column.name, f"try_cast({name} AS TIME)"))
    return found


def time_of_day(column: Column, clocks: list[Clock], *, alone: bool) -> str | None:
    """The time of day of a date, in SQL; None if no clock belongs to it, or several may.

    Args:
        column: the date.
        clocks: the clocks of its table.
        alone: the table has no other date, so its only clock needs no common name with it.
    """
    stem = set(words(column.name)) - _DAY
    named = [clock for clock in clocks if stem and set(words(clock.column)) - _TIME_OF_DAY == stem]
    found = named or (clocks if alone else [])
    # A row whose time of day is unknown is known at the end of the day.
    return f"coalesce({found[0].expression}, TIME '23:59:59')" if len(found) == 1 else None
