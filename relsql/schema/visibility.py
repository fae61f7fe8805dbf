"""What may be seen at a moment. This is the only place that compares a row's time with the moment of a reader.

A reader's data end at a moment, inclusive: the as_of of a score, or an earlier one where a database lags behind. A row
may be seen if its time is at or before that end. So

* a row whose time is NULL, in a table that has times, is never seen: nobody can tell when it was known;
* a row at minus infinity is always seen, one at infinity only by a reader whose data never end;
* zoned times are compared as UTC, whatever the session's time zone;
* rows of a table without time are always seen.

All that can leak the future calls these functions: labels, the gather, what columns are fitted on, texts, seeds, plain
SQL, baselines. A test holds that nobody else compares times (`tests/relsql/schema/test_visibility.py`).
"""

from __future__ import annotations

import datetime

from relsql.schema.tables import Table
from relsql.schema.times import time_sql
from relsql.sql import literal


def visible_time_sql(time: str, end: str) -> str:
    """The condition that a row of this time may be seen; both are expressions of type TIMESTAMP."""
    return f"{time} <= {end}"


def visible_sql(table: Table, row: str, end: str) -> str:
    """The condition that a row of a table may be seen, as an expression; empty if all rows may.

    Args:
        table: the row's table.
        row: its alias in the query.
        end: where the reader's data end, an expression of type TIMESTAMP.
    """
    return visible_time_sql(time_sql(table, row), end) if table.time_column else ""


def and_visible_sql(table: Table, row: str, end: str) -> str:
    """`visible_sql` behind the condition of a join: ` AND ...`, or nothing."""
    condition = visible_sql(table, row, end)
    return f" AND {condition}" if condition else ""


def where_visible_sql(table: Table, row: str, end: datetime.datetime) -> str:
    """`visible_sql` for data that end at a fixed moment, behind a FROM: ` WHERE ...`, or nothing."""
    condition = visible_sql(table, row, literal(end))
    return f" WHERE {condition}" if condition else ""


def opaque_sql(condition: str) -> str:
    """A condition as a CASE: the same for every row, while DuckDB neither estimates it nor pushes it into a scan."""
    return f"CASE WHEN {condition} THEN true END"


def asof_visible_sql(end: str, time: str) -> str:
    """`visible_time_sql` for an ASOF join, which finds the latest of the rows that may be seen."""
    return f"{end} >= {time}"


def known_time_sql(time: str) -> str:
    """The condition that a row may be seen by some reader."""
    return f"{time} IS NOT NULL"


def since_sql(time: str, begin: str) -> str:
    """The condition that a row lies within a span that begins at a moment, exclusive."""
    return f"{time} > {begin}"
