"""Compare a date with the first event of each row: a time at which rows appear is not followed by years without events.

A customer's first order soon follows the registration, at least for some customers, while even the youngest driver's
first race comes many years after birth. And events before a date show that the row already existed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from relsql.schema.discovery.profile import Profiler
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Link, Table
from relsql.schema.times.events import time_sql
from relsql.sql_text import ident

DAY = 86_400.0
MIN_ENTITIES = 8
"""With fewer rows that have events, the time from a date to the first event is not evidence."""


@dataclass(frozen=True, slots=True)
class Lag:
    """The delay from a date to the first event of its row, over `rows` rows; times in seconds.

    `early` is the 5 % quantile of the delay, `before` the share of rows with events clearly before the date, and `span`
    the time from the first to the last event.
    """

    rows: int
    early: float
    before: float
    span: float


def disagreement(lag: Lag, *, named: bool) -> str | None:
    """Why a date is not the time at which rows appear, judged by their first events; None if it may be.

    `named` says that it has the name of such a time, so more is needed to refute it.
    """
    if lag.early > max(30 * DAY, 0.1 * lag.span) * (5 if named else 1):
        return f"even the quickest 5 % of {lag.rows:,} rows have their first event {_duration(lag.early)} later"
    if lag.before > 0.2:
        return f"{100 * lag.before:.0f} % of {lag.rows:,} rows have events before it"
    return None


def _duration(seconds: float) -> str:
    days = seconds / DAY
    return f"{days / 365.25:.1f} years" if days > 730 else f"{days:.0f} days"


def first_event_lag(data: Profiler, table: Table, chosen: Mapping[str, Table], least: int = MIN_ENTITIES) -> Lag | None:
    """Compare the table's time with the first event of each row in the tables that point at it, if there are any.

    With fewer rows than `least` that have events, the result is None.
    """
    children = [link for link in data.schema.links_to(table.key) if link.child in chosen and link.child != table.key]
    if not children:
        return None
    firsts = " UNION ALL ".join(_first_events(data, link, chosen[link.child]) for link in children)
    width = len(children[0].parent_columns)
    keys = children[0].parent_columns
    if any(link.parent_columns != keys for link in children):
        return None
    matches = " AND ".join(f"p.{ident(key)} = e.k{i}" for i, key in enumerate(keys))
    names = ", ".join(f"k{i}" for i in range(width))
    time = time_sql(table, "p")
    query = f"""
        WITH events AS ({firsts}),
        entities AS (SELECT {names}, min(first) AS first FROM events GROUP BY ALL),
        span AS (SELECT max(last) - min(first) AS span FROM events),
        lags AS (
            SELECT e.first - epoch({time}) AS lag
            FROM entities e JOIN {relation_sql(table, data.catalog)} p ON {matches} WHERE {time} IS NOT NULL
        )
        SELECT count(*), quantile_cont(lag, 0.05),
               avg(CASE WHEN lag < -greatest({2 * DAY}, 0.01 * span) THEN 1 ELSE 0 END), any_value(span)
        FROM lags CROSS JOIN span
    """
    try:
        rows, early, before, span = data.one(query)
    except duckdb.ConversionException:
        return None
    return Lag(rows, early, before, span) if rows >= least and span is not None else None


def _first_events(data: Profiler, link: Link, child: Table) -> str:
    keys = ", ".join(f"r.{ident(name)} AS k{i}" for i, name in enumerate(link.child_columns))
    time = time_sql(child, "r")
    grouped = ", ".join(f"r.{ident(name)}" for name in link.child_columns)
    return f"""SELECT {keys}, min(epoch({time})) AS first, max(epoch({time})) AS last
               FROM {relation_sql(child, data.catalog)} r WHERE {time} IS NOT NULL GROUP BY {grouped}"""
