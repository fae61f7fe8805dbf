"""Find the time of day that belongs to a date: `src_date DATE, src_time TIME` are one time of two columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relsql.schema.discovery.names import word_set, words
from relsql.schema.discovery.profile import Profiler
from relsql.schema.tables import Column, Table
from relsql.schema.types import FLOAT_TYPES, INTEGER_TYPES, TIME_OF_DAY_TYPES
from relsql.sql_text import ident, literal

_TIME_OF_DAY = word_set("time at start started kickoff kick off tipoff ko clock begin hhmm hhmmss hm hms tod of day")
_HOUR = word_set("hour hr hh")
_TIME_OF_DAY = _TIME_OF_DAY | _HOUR
_DAY = word_set("date day ymd yyyymmdd")
_OTHERS = word_set("duration lap elapsed fastest runtime length total year yr")
"""Words of durations and years, whose numbers may read as HHMM."""


MIN_READ = 0.9
"""At least this share of the values are times of day; the rest are typing errors and placeholders."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A column that is a time of day: its name, and the SQL that reads it."""

    column: str
    expression: str


def find_clocks(data: Profiler, table: Table) -> list[Clock]:
    """The columns of a table that are times of day, by type, or by name and values."""
    found = []
    for column in table.columns:
        parts = set(words(column.name))
        if column.computed or parts & _OTHERS or not (parts & _TIME_OF_DAY or column.type == TIME_OF_DAY_TYPES[0]):
            continue
        expression = next((each for each in _readings(column) if _reads(data, table, column, each)), None)
        found += [Clock(column.name, expression)] if expression else []
    return found


def _readings(column: Column) -> Iterator[str]:
    """How the values of a column may be read as times of day, in SQL."""
    name = ident(column.name)
    if column.type == TIME_OF_DAY_TYPES[0]:
        yield name
    if column.type == "VARCHAR":
        yield f"try_cast({name} AS TIME)"
        yield f"CAST(try_strptime(trim({name}), '%I:%M %p') AS TIME)"
    if column.type in (*INTEGER_TYPES, *FLOAT_TYPES, "VARCHAR"):
        if set(words(column.name)) & _HOUR:
            # What happened in an hour is certainly known at its end.
            yield f"make_time(try_cast({name} AS BIGINT), 59, 59)"
        # 930 is half past nine.
        for digits, format_ in ((4, "%H%M"), (6, "%H%M%S")):
            number = f"printf('%0{digits}d', try_cast({name} AS BIGINT))"
            yield f"CAST(try_strptime({number}, {literal(format_)}) AS TIME)"


def _reads(data: Profiler, table: Table, column: Column, expression: str) -> bool:
    """True if a reading gives a time of day for nearly all values, unless they are full timestamps or small numbers.

    Minutes and ratings can be read as HHMM too, but then no time is later than ten o'clock.
    """
    if column.type == TIME_OF_DAY_TYPES[0]:
        return True
    name = ident(column.name)
    dated = f"count(try_cast(CAST({name} AS VARCHAR) AS TIMESTAMP))"
    late = f"count(*) FILTER (TRY({expression}) >= TIME '10:00:00')"
    query = f"SELECT count({name}), count(TRY({expression})), {dated}, {late} FROM {table.sql(data.catalog)}"
    values, read, days, hours = data.one(query)
    return read >= MIN_READ * values and not days and bool(hours or not values)


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
