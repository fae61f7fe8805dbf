"""The times of all events. An event is a row of any table that has a time column."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from relsql.schema.tables import Column, EventRange, Table
from relsql.schema.types import ZONED_TYPES
from relsql.sql_text import ident, indented, literal

_LAST_EVENTS = {
    "TIMESTAMP": "< TIMESTAMP 'infinity'",
    "TIMESTAMP WITH TIME ZONE": "< TIMESTAMPTZ 'infinity'",
    "DATE": "<= DATE '294247-01-10'",
}
"""For each type of time column, the condition that a value is not later than an event can be, if no range is known."""


def event_times_sql(
    tables: Iterable[Table], source: Callable[[Table], str], columns: Callable[[Table], str] = lambda _: ""
) -> str:
    """A query for the times `t` of all events in `tables`, empty if no table has a time.

    Infinite times and sentinels do not count.

    Args:
        tables: the tables.
        source: returns the relation to read for a table, in SQL.
        columns: returns more columns of a table's row `r`, to append to a select list.
    """
    timed = _timed(tables)
    if not timed:
        return "SELECT CAST(NULL AS TIMESTAMP) AS t WHERE false"
    parts = []
    for table in timed:
        time, events = time_sql(table, "r"), table.events or EventRange()
        ends = [f"{time} > {literal(events.after)}"] if events.after else []
        ends += [f"{time} < {literal(events.before)}"] if events.before else []
        where = f" WHERE {' AND '.join(ends)}" if ends else ""
        parts.append(f"SELECT {time} AS t{columns(table)} FROM {source(table)} r{where}")
    return "SELECT *\nFROM (\n" + indented("\nUNION ALL ".join(parts)) + "\n)\nWHERE isfinite(t)"


def latest_event_sql(tables: Iterable[Table], source: Callable[[Table], str]) -> str:
    """A query for the time of the latest event in `tables`, or NULL. Arguments as in `event_times_sql`."""
    timed = _timed(tables)
    if not timed:
        return "SELECT CAST(NULL AS TIMESTAMP) AS t"
    parts = [_latest_of_table_sql(table, source(table)) for table in timed]
    return "SELECT max(t) AS t\nFROM (\n" + indented("\nUNION ALL\n".join(parts)) + "\n)\nWHERE isfinite(t)"


def _timed(tables: Iterable[Table]) -> list[Table]:
    """The tables that have a time, without duplicates."""
    return [table for table in dict.fromkeys(tables) if table.time_column]


def _latest_of_table_sql(table: Table, relation: str) -> str:
    """A query for the latest time of a table, without times beyond the range of event times.

    It compares a bare column with a constant, so that DuckDB 2.0 can answer from statistics, without a scan, wherever
    they are exact.
    """
    assert table.time_column is not None
    column = table.column(table.time_column)
    before = table.events.before if table.events else None
    if column.type not in _LAST_EVENTS:
        return f"SELECT max(t) AS t FROM ({event_times_sql([table], lambda _: relation)})"
    name = ident(column.name)
    last = _before_sql(column.type, before) if before else _LAST_EVENTS[column.type]
    newest = f"SELECT max(r.{name}) AS {name} FROM {relation} r WHERE r.{name} {last}"
    return f"SELECT {as_timestamp_sql(column, 'newest')} AS t FROM ({newest}) newest"


def _before_sql(type_: str, before: datetime.datetime) -> str:
    """The condition that a value of one of the types in `_LAST_EVENTS` is earlier than a moment, in that type."""
    if type_ == "DATE":
        return f"{'<' if before.time() == datetime.time() else '<='} DATE {literal(before.date().isoformat())}"
    if type_ in ZONED_TYPES:
        return f"< TIMESTAMPTZ {literal(before.isoformat(' ') + '+00')}"
    return f"< {literal(before)}"


def utc_sql(value: str) -> str:
    """A zoned timestamp as zone-less TIMESTAMP in UTC, whatever the session's time zone.

    The conversion through epoch_us is 20 times faster than `timezone('UTC', ...)`, which also fails at the end of the
    range on DuckDB 1.5. epoch_us has no value for infinity, so the cast handles that one; it does not depend on a zone.
    """
    zoned = f"CAST({value} AS TIMESTAMP WITH TIME ZONE)"
    return f"coalesce(make_timestamp(epoch_us({zoned})), CAST({zoned} AS TIMESTAMP))"


def time_sql(table: Table, row: str) -> str:
    """The row's time as zone-less TIMESTAMP (UTC for zoned columns); the table must have a time column."""
    assert table.time_column is not None
    return as_timestamp_sql(table.column(table.time_column), row)


def as_timestamp_sql(column: Column, row: str) -> str:
    """A date or time column as zone-less TIMESTAMP; NULL beyond the range of TIMESTAMP."""
    return value_as_timestamp_sql(f"{row}.{ident(column.name)}", column.type)


def value_as_timestamp_sql(value: str, type_: str) -> str:
    """`as_timestamp_sql` for an expression of one of `TIME_TYPES`."""
    if type_ == "TIMESTAMP":
        return value
    return utc_sql(value) if type_ in ZONED_TYPES else f"TRY_CAST({value} AS TIMESTAMP)"


def age_sql(time: str, as_of: str) -> str:
    """Days from one TIMESTAMP expression to another as DOUBLE; NULL for infinity."""
    # epoch() is a DOUBLE, so the difference of distant times cannot overflow as BIGINT would. It is NULL for infinity.
    return f"(epoch({as_of}) - epoch({time})) / 86400.0"


def changed_after_sql(time: str, changed: str) -> str:
    """The condition that a row was changed more than a day after its time; both are expressions of type TIMESTAMP."""
    return f"epoch({changed}) - epoch({time}) > 86400"
