"""Count in which rows of a table a column is filled, and how its dates compare with the rows' times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Table
from relsql.schema.times.events import changed_after_sql, time_sql
from relsql.schema.times.findings.open_values import NEWEST, Judged, is_open
from relsql.schema.visibility import known_time_sql, since_sql
from relsql.sql_text import ident

MOST = 0.5
"""A date is taken for a later one if it lies after the row's time in more than this share of rows."""

FEWEST_ROWS = 5
"""Fewer rows, or fewer times of rows, are too few to judge by."""

CHANCE = 1e-4
"""If chance leaves the same rows empty with a probability below this, it does not explain why they are empty."""

_TIME, _FILLED = ident("time of row"), ident("is filled")


@dataclass(frozen=True, slots=True)
class Dated:
    """How many rows of a table have a time, and how many of these have a date.

    In `after` of these the date is later than the time, in `later` by more than a day. `same` says that all dates are
    the same.
    """

    rows: int
    dated: int
    after: int
    later: int
    same: bool

    @property
    def open(self) -> int:
        """The number of rows without a date."""
        return self.rows - self.dated

    @property
    def is_constant(self) -> bool:
        """True if all dates are equal, such as the date of a load, which says nothing about a row."""
        return self.dated >= FEWEST_ROWS and self.same

    @property
    def is_later(self) -> bool:
        """True if the date lies after the row's time as a rule."""
        return self.dated >= FEWEST_ROWS and self.later > MOST * self.dated and not self.is_constant


@dataclass(frozen=True, slots=True)
class Filled:
    """At how many of a table's times a column is filled, and at how many of the newest it is still empty.

    `value` is the value that stands for an empty one; None or empty if there is no such value. `last` is the last time
    at which it is filled, as text.
    """

    times: int
    filled: int
    empty: int
    value: str | None
    last: str | None

    @property
    def is_later(self) -> bool:
        """True if chance does not explain that the newest times are empty."""
        if not self.filled or self.empty < FEWEST_ROWS:
            return False
        share = self.filled / (self.times - self.empty)
        return share >= 1 or self.empty * math.log1p(-share) < math.log(CHANCE)


def count_dates(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, dates: list[Judged]) -> list[Dated]:
    """How each date of a table compares with the times of its rows."""
    time = time_sql(table, "r")
    counts = [f"count({time})"]
    for each in dates:
        counts.append(f"count({each.time}) FILTER (WHERE {known_time_sql(time)})")
        counts.append(f"count_if({since_sql(each.time, time)})")
        counts.append(f"count_if({changed_after_sql(time, each.time)})")
        counts.append(f"min({each.time}) IS NOT DISTINCT FROM max({each.time})")
    query = f"SELECT {', '.join(counts)} FROM {relation_sql(table, catalog)} r"
    rows, *found = con.execute(sealed(query)).fetchall()[0]
    return [Dated(rows, *found[at : at + 4]) for at in range(0, len(found), 4)]


def count_filled(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, columns: list[Judged]) -> list[Filled]:
    """How each column is filled over the times of a table. Rows of one time, such as one order's, count once."""
    if not columns:
        return []
    time = time_sql(table, "r")
    filled = [f"bool_or({each.filled_sql}) AS {ident(each.name)}" for each in columns]
    last = [f"max({_TIME}) FILTER (WHERE {ident(each.name)}) AS {ident(each.name)}" for each in columns]
    counts = ["count_star()"]
    for each in columns:
        name = ident(each.name)
        counts += [f"count_if(moments.{name})", f"count_if({since_sql(f'moments.{_TIME}', f'final.{name}')})"]
        counts += [f"any_value(CAST({NEWEST}.{name} AS VARCHAR))" if each.has_newest else "any_value(NULL::VARCHAR)"]
        counts.append(f"max(CAST(final.{name} AS VARCHAR))")
    query = f"""WITH {NEWEST} AS ({_newest_sql(catalog, table, columns)}),
        moments AS (SELECT {time} AS {_TIME}, {", ".join(filled)}
                    FROM {relation_sql(table, catalog)} r, {NEWEST}
                    WHERE {known_time_sql(time)} GROUP BY ALL),
        final AS (SELECT {", ".join(last)} FROM moments)
        SELECT {", ".join(counts)} FROM moments, final, {NEWEST}"""
    times, *found = con.execute(sealed(query)).fetchall()[0]
    return [
        Filled(times, found[at], found[at + 1], _open_value(each, found[at + 2]), found[at + 3])
        for at, each in zip(range(0, len(found), 4), columns, strict=True)
    ]


def _open_value(each: Judged, newest: str | None) -> str | None:
    """The value of the newest row where it stands for an empty one."""
    return newest if each.is_outcome or is_open(newest) else None


def _newest_sql(catalog: str, table: Table, columns: list[Judged]) -> str:
    """A query for the newest row's values of the columns whose open values depend on it."""
    time = time_sql(table, "r")
    values = [
        f"arg_max_null(r.{ident(each.name)}, {time}) AS {ident(each.name)}" for each in columns if each.has_newest
    ]
    return f"SELECT {', '.join(values or ['count_star() AS rows'])} FROM {relation_sql(table, catalog)} r"


def empty_with(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, main: Judged, others: tuple[Judged, ...]
) -> Iterator[tuple[Judged, str | None, int]]:
    """The columns that are empty in exactly the rows where `main` is, with their value for empty and their number."""
    if not others:
        return
    names = [ident(each.name) for each in others]
    firsts = [f"first({name}) FILTER (WHERE NOT {_FILLED}) AS {name}" for name in names]
    counts = [f"count_if(NOT {_FILLED})", f"count_if({_FILLED})"]
    for name in names:
        counts.append(f"count_if((pairs.{name} IS NOT DISTINCT FROM open.{name}) = {_FILLED})")
        counts.append(f"any_value(CAST(open.{name} AS VARCHAR))")
    query = f"""WITH {NEWEST} AS ({_newest_sql(catalog, table, [main])}),
        pairs AS (SELECT {main.filled_sql} AS {_FILLED}, {", ".join(f"r.{name}" for name in names)}
                  FROM {relation_sql(table, catalog)} r, {NEWEST}),
        open AS (SELECT {", ".join(firsts)} FROM pairs)
        SELECT {", ".join(counts)} FROM pairs, open"""
    empty, filled, *found = con.execute(sealed(query)).fetchall()[0]
    if _same_by_chance(empty, filled) >= CHANCE:
        return
    for each, different, value in zip(others, found[::2], found[1::2], strict=True):
        if not different and (is_open(value) or each.is_outcome):
            yield each, value, empty


def _same_by_chance(empty: int, filled: int) -> float:
    """The probability that two columns with this many empty rows leave the same rows empty by chance."""
    choices = math.lgamma(empty + filled + 1) - math.lgamma(empty + 1) - math.lgamma(filled + 1)
    return math.exp(-choices)
