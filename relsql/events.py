"""The times of all events: the rows, of any table that has a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from relsql.features import time_sql
from relsql.schema import Table
from relsql.sql import indented


def event_times_sql(tables: Iterable[Table], source: Callable[[Table], str]) -> str:
    """A query for the times `t` of all events in `tables`, if any has a time; infinite times are no events.

    `source` gives the relation to read for a table, in SQL.
    """
    timed = [table for table in dict.fromkeys(tables) if table.time_column]
    if not timed:
        return "SELECT CAST(NULL AS TIMESTAMP) AS t WHERE false"
    parts = [f"SELECT {time_sql(table, 'r')} AS t FROM {source(table)} r" for table in timed]
    return "SELECT t\nFROM (\n" + indented("\nUNION ALL ".join(parts)) + "\n)\nWHERE isfinite(t)"


def latest_event_sql(tables: Iterable[Table], source: Callable[[Table], str]) -> str:
    """A query for the time of the latest event in `tables`; NULL when there is none. Arguments as above."""
    return f"SELECT max(t) FROM ({event_times_sql(tables, source)})"
