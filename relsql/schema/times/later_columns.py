"""Find columns that are filled in after their row appears: a score at an earlier `as_of` reads them too early.

Two signs are looked for in the rows of a table with a time, be it the row's own or that of its header:

- dates after the row's time in most rows that have one, such as a date of delivery;
- columns that are filled in older rows, but not yet in any of the newest ones, such as a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from relsql.hints import command, remove_column
from relsql.schema.declared.text import columns_text
from relsql.schema.discovery.names import OUTCOME_WORDS, PLANNED_WORDS, UPDATE_WORDS, words
from relsql.schema.finding import Finding, column_object
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.events import as_timestamp_sql, changed_after_sql, time_sql
from relsql.schema.times.scheduled import scheduled_rows
from relsql.schema.types import TIME_TYPES
from relsql.schema.visibility import known_time_sql, since_sql
from relsql.sql import ident

MOST = 0.5
"""The share of rows from which on a date is one that lies after its row's time."""

FEWEST_ROWS = 5
"""Of fewer rows, or fewer times of rows, nothing is said."""

CHANCE = 1e-4
"""The newest times are empty for a reason if a column that is filled at random would leave them empty less often."""

_TIME, _LAST = ident("time of row"), ident("last time")
_NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class _Dated:
    """How many of a table's rows have a time, how many of these have a date, and in how many it is later."""

    rows: int
    dated: int
    later: int

    @property
    def is_later(self) -> bool:
        """True if the date lies after the row's time as a rule."""
        return self.dated >= FEWEST_ROWS and self.later > MOST * self.dated


@dataclass(frozen=True, slots=True)
class _Filled:
    """At how many of a table's times a column is filled, how many times, the newest, it leaves empty, and the last."""

    times: int
    filled: int
    empty: int
    last: str | None

    @property
    def is_later(self) -> bool:
        """True if chance does not explain that the newest times are empty."""
        if not self.filled or self.empty < FEWEST_ROWS:
            return False
        share = self.filled / (self.times - self.empty)
        return share >= 1 or self.empty * math.log1p(-share) < math.log(CHANCE)


def later_columns(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> Iterator[Finding]:
    """The columns of a table with a time that seem to be filled in after their row appears, and its planned rows.

    The range of the table's events is known.
    """
    columns = [column for column in table.columns if _is_judged(table, column)]
    dates = [column for column in columns if column.type in TIME_TYPES]
    later = set[str]()
    for date, counts in _dates(con, catalog, table, dates):
        if counts.is_later:
            later.add(date.name)
            text = f"lies after the row's own time in {counts.later:,} of the {counts.dated:,} rows that have it"
            yield _finding(table, date, text, hides=counts.rows > counts.dated)
    others = [column for column in columns if column.name not in later]
    last: dict[str, str] = {}
    for column, filled in _filled(con, catalog, table, others):
        if filled.is_later:
            text = f"is empty at the {filled.empty:,} newest times of its rows, and filled at {filled.filled:,} of the "
            text += f"{filled.times - filled.empty:,} before"
            yield _finding(table, column, text, hides=True)
            last |= {column.name: filled.last} if filled.last else {}
    yield from scheduled_rows(con, catalog, schema, table, last)


def _is_judged(table: Table, column: Column) -> bool:
    """A date of the last change has a finding of its own."""
    if column.computed or column.name in {table.time_column, *table.primary_key}:
        return False
    return column.type not in TIME_TYPES or not set(words(column.name)) & UPDATE_WORDS


def _dates(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, dates: list[Column]
) -> Iterator[tuple[Column, _Dated]]:
    """How each date of a table's rows lies to the row's time."""
    time, counts = time_sql(table, "r"), [f"count({time_sql(table, 'r')})"]
    for column in dates:
        value = as_timestamp_sql(column, "r")
        counts.append(f"count({value}) FILTER (WHERE {known_time_sql(time)})")
        counts.append(f"count_if({changed_after_sql(time, value)})")
    rows, *found = con.execute(f"SELECT {', '.join(_main(counts))} FROM {relation_sql(table, catalog)} r").fetchall()[0]
    for column, dated, later in zip(dates, found[::2], found[1::2], strict=True):
        yield column, _Dated(rows, dated, later)


def _filled(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, columns: list[Column]
) -> Iterator[tuple[Column, _Filled]]:
    """How each column is filled along the times of a table. Rows of one time, such as one order's, count once."""
    if not columns:
        return
    relation, time = relation_sql(table, catalog), time_sql(table, "r")
    filled = [f"bool_or({_is_filled_sql(column)}) AS {ident(column.name)}" for column in columns]
    last = [f"max({_TIME}) FILTER (WHERE {ident(column.name)}) AS {ident(column.name)}" for column in columns]
    counts = ["count_star()"]
    for column in columns:
        name = ident(column.name)
        counts += [f"count_if(moments.{name})", f"count_if({since_sql(f'moments.{_TIME}', f'final.{name}')})"]
        counts.append(f"max(CAST(final.{name} AS VARCHAR))")
    newest = _newest_sql(columns, time)
    query = f"""WITH newest AS (SELECT {", ".join(_main(newest))} FROM {relation} r),
        moments AS (SELECT {time} AS {_TIME}, {", ".join(_main(filled))} FROM {relation} r, newest
                    WHERE {known_time_sql(time)} GROUP BY ALL),
        final AS (SELECT {", ".join(_main(last))} FROM moments)
        SELECT {", ".join(_main(counts))} FROM moments, final"""
    times, *found = con.execute(query).fetchall()[0]
    for column, count, empty, last_filled in zip(columns, found[::3], found[1::3], found[2::3], strict=True):
        yield column, _Filled(times, count, empty, last_filled)


def _newest_sql(columns: list[Column], time: str) -> list[str]:
    """The value of each outcome in the newest row: `open`, `false` and 0 also mean that it is not known yet."""
    outcomes = [column for column in columns if _is_outcome(column)]
    values = [f"arg_max_null(r.{ident(each.name)}, {time}) AS {ident(each.name)}" for each in outcomes]
    return values or ["count_star() AS rows"]


def _is_filled_sql(column: Column) -> str:
    name = ident(column.name)
    if _is_outcome(column):
        return f"r.{name} IS DISTINCT FROM {_NEWEST}.{name} AND r.{name} IS NOT NULL"
    return f"r.{name} IS NOT NULL"


def _is_outcome(column: Column) -> bool:
    return bool(set(words(column.name)) & OUTCOME_WORDS)


def _main(calls: list[str]) -> list[str]:
    """Calls of functions that no macro of the user replaces."""
    return [f"system.main.{call}" for call in calls]


def _finding(table: Table, column: Column, text: str, *, hides: bool) -> Finding:
    """The finding about a column, with its answers; `hides`: there are rows without a value."""
    text = f"{text}: it seems to be filled in later, and a score at an earlier as_of reads it too early; to leave it "
    text += f"out, {remove_column(table.key, column.name)}"
    if column.type in TIME_TYPES:
        known = command("init", "FILE", "--known-column", columns_text(table.key, column.name))
        text += f"; to hide each row until then{', and rows without it for good' if hides else ''}: {known}"
    is_planned = bool(set(words(column.name)) & PLANNED_WORDS)
    text += "; if it is set when the row appears, there is nothing to do" if is_planned else ""
    return Finding("info" if is_planned else "warning", column_object(table.key, column.name), text)
