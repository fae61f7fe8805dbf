"""Times that stand for "unknown" or "no end", such as 9999-12-31: found by their distance from the other times.

Such times do not count as events. They move neither the default as_of, which is the latest event, nor the training
timestamps, which begin at the first one. Their rows stay visible by the same rule as any other.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

import duckdb

from relsql.schema.relations import relation_sql
from relsql.schema.tables import EventRange, Schema, Table
from relsql.schema.times.events import event_times_sql, time_sql

MIN_GAP_DAYS = 730
"""Times closer than this to the others are ordinary: bookings are made a year ahead."""

MAX_LISTED = 6
"""So many sentinels of a column are named."""

MIN_DAYS = 5
"""With fewer distinct days it is unclear which of them are the ordinary ones."""

_KNOWN = frozenset(
    (
        *("9999-12-31", "9999-01-01", "2999-12-31", "2999-01-01", "2199-12-31", "2100-01-01", "2099-12-31"),
        *("2099-01-01", "0001-01-01", "1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1901-01-01"),
        *(
            "1970-01-01",
            "1980-01-01",
            "1601-01-01",
            "1677-09-21",
            "1858-11-17",
            "1904-01-01",
            "2262-04-11",
            "2079-06-06",
        ),
    )
)
"""Days that databases, spreadsheets and programs use for a missing date."""


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The values of a time that do not count as events, as ISO dates or infinity, each with its number of rows.

    `events` is the range that the other times lie in.
    """

    values: tuple[tuple[str, int], ...]
    events: EventRange

    @property
    def rows(self) -> int:
        """The number of rows that have one of them."""
        return sum(rows for _, rows in self.values)

    def __str__(self) -> str:
        texts = [f"{value} in {rows:,} {'row' if rows == 1 else 'rows'}" for value, rows in self.values]
        return ", ".join(texts[:MAX_LISTED]) + (", .." if len(texts) > MAX_LISTED else "")


def with_event_ranges(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Schema:
    """The schema with the range of event times of each timed table; a range that is known is not looked for again."""
    tables = dict(schema.tables)
    for table in schema.timed_tables:
        if table.events is None:
            found = find_sentinels(con, catalog, table)
            tables[table.key] = replace(table, events=found.events if found else EventRange())
    return replace(schema, tables=tables)


def find_sentinels(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, time: str | None = None
) -> Sentinels | None:
    """The sentinels among the times of a table; None without any. Nothing is written.

    `time` is another time of its rows, a TIMESTAMP over the row `r`.
    """
    time = time or time_sql(table, "r")
    query = f"""
        SELECT CASE WHEN isfinite(t) THEN CAST(CAST(t AS DATE) AS VARCHAR) ELSE CAST(t AS VARCHAR) END,
               CASE WHEN isfinite(t) THEN epoch(date_trunc('day', t)) / 86400 END AS day, count(*)
        FROM (SELECT {time} AS t FROM {relation_sql(table, catalog)} r) WHERE t IS NOT NULL
        GROUP BY 1, 2 ORDER BY 2 ASC NULLS LAST, 1 ASC"""
    found = con.execute(query).fetchall()
    days = [(text, int(day), rows) for text, day, rows in found if day is not None]
    low, high = _ordinary([day for _, day, _ in days], [text for text, _, _ in days])
    odd = [(text, rows) for text, _, rows in (*days[:low], *days[high + 1 :])]
    odd += [(text, rows) for text, day, rows in found if day is None]
    if not odd:
        return None
    after = _middle(days[low - 1][1], days[low][1]) if low else None
    before = _middle(days[high][1], days[high + 1][1]) if high + 1 < len(days) else None
    return Sentinels(tuple(odd), EventRange(after, before))


def event_bounds(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, found: Sentinels | None
) -> tuple[str | None, str | None]:
    """The first and the last time of a table without its sentinels, which were `found`; None if no event has one."""
    timed = replace(table, events=found.events if found else EventRange())
    times = event_times_sql([timed], lambda each: relation_sql(each, catalog))
    [(first, last)] = con.execute(f"SELECT min(t)::VARCHAR, max(t)::VARCHAR FROM ({times})").fetchall()
    return first, last


def _ordinary(days: list[int], texts: list[str]) -> tuple[int, int]:
    """Positions of the first and last of the sorted distinct days that are ordinary."""
    low, high = 0, len(days) - 1
    if len(days) < MIN_DAYS:
        return low, high
    span = days[len(days) * 19 // 20] - days[len(days) // 20]
    middle = len(days) // 2
    for i in range(middle, 0, -1):
        if days[i] - days[i - 1] > _allowed_gap(span, texts[i - 1], alone=_all_known(texts[: i - 1])):
            low = i
            break
    for i in range(middle, len(days) - 1):
        if days[i + 1] - days[i] > _allowed_gap(span, texts[i + 1], alone=_all_known(texts[i + 2 :])):
            high = i
            break
    return low, high


def _all_known(days: list[str]) -> bool:
    return all(day.removesuffix(" (BC)") in _KNOWN for day in days)


def _allowed_gap(span: int, next_day: str, *, alone: bool) -> float:
    """The longest gap, in days, before the next day that leaves that day ordinary.

    `alone` says that only days which programs use for a missing date lie beyond it.
    """
    known = alone and _all_known([next_day])
    return max(MIN_GAP_DAYS / 2, 0.1 * span) if known else max(MIN_GAP_DAYS, span)


def _middle(first: int, second: int) -> datetime.datetime:
    """The moment halfway between two days since 1970, which Python's years 1 to 9999 contain."""
    earliest, latest = datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)
    day = max((earliest - datetime.datetime(1970, 1, 1)).days, (first + second) // 2)
    return min(latest, datetime.datetime(1970, 1, 1) + datetime.timedelta(days=min(day, 2_932_000)))
