"""Numbers that count from a start, such as `labresultoffset` or `DAYS_CREDIT`. The user has to declare them as times.

Neither their unit nor their start is in the data. If they count from one moment, or from the start of each entity, such
as the admission of a patient, they become times once an arbitrary day is chosen as day 0. An as_of then says how long
after the start a question is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relsql.schema.declared.text import time_text
from relsql.schema.discovery.names import LATER_WORDS, word_set, words
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.types import is_number
from relsql.sql_text import ident

BEGIN = "make_date(2000, 1, 1)"
"""Day 0, in SQL. It is the same for all tables, so that their times fit together."""

_UNITS = (
    ("second", "to_seconds(CAST({} AS BIGINT))"),
    ("minute", "to_minutes(CAST({} AS BIGINT))"),
    ("hour", "to_hours(CAST({} AS BIGINT))"),
    ("day", "to_days(CAST({} AS INTEGER))"),
    ("week", "to_days(7 * CAST({} AS INTEGER))"),
    ("month", "to_months(CAST({} AS INTEGER))"),
)
_SHORT = {"secs": "second", "mins": "minute", "hrs": "hour"}
_COUNTED = re.compile(r"(secs|mins|hrs|(?:second|minute|hour|day|week|month)s)(?=_|[A-Z]|$)", re.IGNORECASE)
_FROM = re.compile(r"since|offset|elapsed|relative|from_start|after_", re.IGNORECASE)
_TIMES = word_set("date time timestamp ts step t offset")
_NO_TIMES = word_set("birth born age plan duration total length mean avg average per count number")


@dataclass(frozen=True, slots=True)
class RelativeTime:
    """A column that seems to count from a start, and the time of a row by it, which begins with `BEGIN`."""

    table: str
    column: str
    time: str

    def __str__(self) -> str:
        return f"{self.table}({self.column})"


def relative_times(schema: Schema) -> Iterator[RelativeTime]:
    """For each table without a time the first number whose name says that it counts from a start, if there is one."""
    for table in schema.tables.values():
        found = [each for column in table.columns if (each := _relative_time(schema, table, column))]
        # An end comes after its start.
        yield from sorted(found, key=lambda each: bool(LATER_WORDS & set(words(each.column))))[:1]


def options_of(schema: Schema, times: list[RelativeTime]) -> Iterator[str]:
    """The options of `relsql init` that declare relative times."""
    for each in times:
        yield from ("--time-column", time_text(each.table, each.time, schema.table(each.table).column_names))


def _relative_time(schema: Schema, table: Table, column: Column) -> RelativeTime | None:
    keys = {*table.primary_key, *(name for link in schema.links_from(table.key) for name in link.child_columns)}
    parts = words(column.name)
    if table.time_column or column.computed or column.name in keys or not is_number(column.type):
        return None
    if not parts or set(parts) & _NO_TIMES:
        return None
    counted = _COUNTED.match(column.name)
    starts = counted and counted.end() < len(column.name)
    if not (starts or _FROM.search(column.name) or parts[0] in _TIMES or parts[-1] in _TIMES):
        return None
    named = _COUNTED.search(column.name)
    unit = named.group(1).lower() if named else "seconds" if parts == ("time",) else "days"
    unit = _SHORT.get(unit, unit.removesuffix("s"))
    interval = dict(_UNITS)[unit].format(ident(column.name))
    return RelativeTime(table.key, column.name, f"{BEGIN} + {interval}")
