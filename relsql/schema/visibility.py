"""Which rows are visible at a moment. This is the only module that compares the time of a row with that moment.

The data that a reader may use end at a moment, inclusive: the as_of of a score, or earlier where a database lags
behind. A row is visible if its time is at or before that end. A task may ask for rows strictly before as_of. Times have
a resolution of microseconds, so the data of such a task end one microsecond earlier. It follows that

* a row whose time is NULL, in a table that has times, is never visible, because nobody knows when it became known;
* a row at minus infinity is always visible, and a row at infinity only to a reader whose data have no end;
* zoned times are compared as UTC, whatever the session's time zone;
* rows of a table without a time column are always visible;
* the entity's own row is visible at as_of itself under both rules, because without it there is nothing to ask about.

Everything that could leak the future calls these functions: labels, the gather, the statistics of columns, texts,
seeds, plain SQL, baselines. A test checks that no other module compares times
(`tests/relsql/schema/test_visibility.py`).
"""

from __future__ import annotations

import datetime
from typing import Literal

from relsql.schema.tables import Table
from relsql.schema.times.events import time_sql
from relsql.sql_text import literal

VisibilityRule = Literal["at-or-before", "before"]
"""Which rows a task's model sees at as_of: those at or before it, or those strictly before it."""

VISIBILITY_RULES: tuple[VisibilityRule, ...] = ("at-or-before", "before")


def end_before_sql(end: str) -> str:
    """The end of data that lie strictly before the moment `end`, an expression of type TIMESTAMP."""
    return f"{end} - to_microseconds(1)"


def visible_time_sql(time: str, end: str) -> str:
    """The condition that a row with this time is visible; both arguments are expressions of type TIMESTAMP."""
    return f"{time} <= {end}"


def visible_sql(table: Table, row: str, end: str) -> str:
    """The condition that a row of a table is visible, as an expression; empty if all rows are.

    Args:
        table: the row's table.
        row: its alias in the query.
        end: the moment at which the reader's data end, inclusive; an expression of type TIMESTAMP.
    """
    return visible_time_sql(time_sql(table, row), end) if table.time_column else ""


def and_visible_sql(table: Table, row: str, end: str) -> str:
    """`visible_sql` to append to the condition of a join: ` AND ...`, or an empty string."""
    condition = visible_sql(table, row, end)
    return f" AND {condition}" if condition else ""


def where_visible_sql(table: Table, row: str, end: datetime.datetime) -> str:
    """`visible_sql` for data that end at a fixed moment, to append to a FROM: ` WHERE ...`, or an empty string."""
    condition = visible_sql(table, row, literal(end))
    return f" WHERE {condition}" if condition else ""


def and_at_own_time_sql(table: Table, row: str, moment: str) -> str:
    """The condition that `moment` is the row's own time, to append to the condition of a join.

    If seeds are rows as of their own time, the visibility rule may exclude the seed's own row, which has that time. So
    the row is found by this condition instead, and only at that moment.
    """
    return f" AND {time_sql(table, row)} = {moment}"


def opaque_sql(condition: str) -> str:
    """A condition written as a CASE: it selects the same rows, but DuckDB cannot estimate it or push it into a scan."""
    return f"CASE WHEN {condition} THEN true END"


def asof_visible_sql(end: str, time: str) -> str:
    """`visible_time_sql` for an ASOF join, which finds the latest visible row."""
    return f"{end} >= {time}"


def known_time_sql(time: str) -> str:
    """The condition that a row is visible to some reader."""
    return f"{time} IS NOT NULL"


def both_clocks_sql(happened: str, known: str) -> str:
    """The time of a row with two clocks: the later one, because a row counts when both are at or before the end.

    NULL if either is NULL: such a row is never visible.
    """
    return f"CASE WHEN {happened} IS NOT NULL AND {known} IS NOT NULL THEN greatest({happened}, {known}) END"


def since_sql(time: str, begin: str) -> str:
    """The condition that a row is within a span that begins at a moment, exclusive."""
    return f"{time} > {begin}"


def within_sql(time: str, begin: str | None, end: str) -> str:
    """The condition that a time is within a window (begin, end]; a begin of None is the beginning of time."""
    return f"{since_sql(time, begin)} AND {visible_time_sql(time, end)}" if begin else visible_time_sql(time, end)
