"""Days, weeks and steps that are numbered, in data without any date: day 5 is five days after an arbitrary day.

This applies only if no table has another time, because next to dates it would matter which day is day 0. Without dates
it does not: the differences between times are right, and windows, ages and orders depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relsql.schema.discovery.names import LATER_WORDS, word_set, words
from relsql.schema.discovery.profile import Profile, Profiler
from relsql.schema.discovery.proposals import TimeProposal
from relsql.schema.discovery.times.clocks import find_clocks, time_of_day
from relsql.schema.tables import Column, Table
from relsql.schema.types import INTEGER_TYPES
from relsql.sql_text import ident

_PART_WORDS = word_set("of month year quarter")
"""Words of numbers that start again at 1, such as the day of a month."""

SURE = 0.8
"""The confidence of such a time. It is high, because without a time all rows would be visible at every as_of."""

BEGIN = "2000-01-01"
"""Day 0. It is the same for all tables, so that their times fit together."""

LONGEST = 20_000
"""A column with a larger number counts something else."""

MIN_DENSE = 0.5
"""At least this share of the numbers between the smallest and the largest must occur in one of the tables."""

MIN_FILLED = 0.95


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit that is numbered: its word, the largest number within a longer unit, and the time since day 0, in SQL.

    The numbers of a `signed` unit may lie before day 0.
    """

    word: str
    most_within: int
    interval: str
    signed: bool = False


_UNITS = (
    _Unit("day", 366, "to_days({})"),
    _Unit("date", 31, "to_days({})", signed=True),
    _Unit("week", 53, "to_days(7 * {} + 1)"),
    _Unit("hour", 24, "to_hours({} + 1)"),
    _Unit("step", 30, "to_days({})"),
)
"""A day is read as its beginning, as dates are; a week and an hour as their end. The length of a step is unknown, so it
is read like a day."""


def counter_proposals(data: Profiler, tables: Sequence[Table]) -> Iterator[TimeProposal]:
    """The times of tables by a column that numbers days or weeks; none if no table has nearly all of the numbers."""
    found = [each for table in tables for each in _counters(data, table)]
    main = [profile for _, _, profile, is_main in found if is_main]
    if not main:
        return
    last = max(float(profile.high or 0) for profile in main)
    for table in tables:
        own = [each for each in found if each[0] is table and float(each[2].high or 0) <= 1.1 * last]
        if own:
            _, (column, unit), profile, _ = own[0]
            time = _time_sql(data, table, column, unit)
            counted = "a day, by its name a date" if unit.signed else f"a {unit.word}"
            counted += " of a day each" if unit.word == "step" else ""
            evidence = f"read as the number of {counted}, with {BEGIN} as day 0, because no table has a date; "
            evidence += f"from {profile.low} to {profile.high} in {profile.rows:,} rows"
            yield TimeProposal(table.key, time, evidence, SURE)


def _counters(data: Profiler, table: Table) -> list[tuple[Table, tuple[Column, _Unit], Profile, bool]]:
    """The columns of a table that may number days or weeks, best first, and whether they do by their values alone."""
    found = []
    for column in table.columns:
        profile, parts = data.profiles[table.key][column.name], set(words(column.name))
        units = [unit for unit in _UNITS if unit.word in parts and not parts & _PART_WORDS]
        filled = profile.rows and profile.values >= MIN_FILLED * profile.rows
        if len(units) != 1 or not filled or column.type not in INTEGER_TYPES or profile.low is None:
            continue
        low, high = float(profile.low), float(profile.high or 0)
        first = low if units[0].signed else 0.0
        if low >= (-LONGEST if units[0].signed else 0) and high <= LONGEST and high - first > units[0].most_within:
            main = profile.distinct >= MIN_DENSE * (high - low + 1)
            later = bool(parts & LATER_WORDS)
            found.append((later, _UNITS.index(units[0]), (table, (column, units[0]), profile, main and not later)))
    return [each for *_, each in sorted(found, key=lambda each: each[:2])]


def _time_sql(data: Profiler, table: Table, column: Column, unit: _Unit) -> str:
    """The time of a row: the day, with the time of day if another column has it."""
    number = f"CAST({ident(column.name)} AS INTEGER)"
    clock = time_of_day(column, find_clocks(data, table), alone=True) if unit.word == "day" else None
    if clock:
        return f"DATE '{BEGIN}' + {number} + {clock}"
    return f"TIMESTAMP '{BEGIN}' + {unit.interval.format(number)}"
