"""Times that stand for "unknown" or "no end", such as 9999-12-31: found by their distance from the other times.

Such times do not count as events. They move neither the default as_of, which is the latest event, nor the training
timestamps, which begin at the first one. Their rows stay visible by the same rule as any other.

The days of a calendar, such as `dim_date`, are not events either: it is filled in years ahead. A calendar has one row
for each day, month or year, names for the parts of a date, and other tables take their time from it.

A bad time may arrive after training. A model therefore keeps a limit for new events, which a call can apply without
looking at all times: see `with_event_ranges`.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.hints import counted
from relsql.schema.discovery.names import word_set, words
from relsql.schema.relations import relation_sql
from relsql.schema.tables import EventRange, Schema, Table
from relsql.schema.times.events import event_times_sql, time_sql

MIN_GAP_DAYS = 730
"""Times closer than this to the others are ordinary: bookings are made a year ahead."""

MAX_STRAY_SHARE, MAX_STRAYS = 0.01, 3
"""At most this share and this number of rows (but always one) may have a wrong year. To set so few rows apart from the
rest, a gap only has to be unusual."""

UNUSUAL = 5
"""A gap is unusual if it is longer than two years, and longer than this many times the longest other gap."""

MIN_USUAL = 20
"""With fewer distinct days it is unclear which gaps are usual."""

MIN_YEARS_AHEAD = 10
"""New events are expected for at least this many years: a model that is used longer has to be trained again."""

MIN_CALENDAR = 12
"""A shorter table of regular days may be something else."""

SAME_STEP = 1.11
"""The longest step of a calendar may be this many times its shortest, because months have 28 to 31 days."""

_DATE_PARTS = word_set("calendar date year quarter month moy week weekday dow holiday")

MAX_LISTED = 6
"""At most this many sentinels of a column are named."""

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
        texts = [f"{value} in {counted(rows, 'row')}" for value, rows in self.values]
        return ", ".join(texts[:MAX_LISTED]) + (", .." if len(texts) > MAX_LISTED else "")


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of a table or column.

    `days` are the distinct finite ones as text, day since 1970 and number of rows, in order; those at positions `low`
    to `high` are ordinary. `infinite` are the others, with their numbers of rows.
    """

    days: list[tuple[str, int, int]]
    infinite: list[tuple[str, int]]
    low: int
    high: int

    @property
    def last(self) -> int | None:
        """The last ordinary day; None if there is none."""
        return self.days[self.high][1] if self.days else None

    def events(self) -> EventRange:
        """The range of the events among these times, which ends in the middle of the gaps around them."""
        days, low, high = self.days, self.low, self.high
        after = _middle(days[low - 1][1], days[low][1]) if low else None
        before = _middle(days[high][1], days[high + 1][1]) if high + 1 < len(days) else None
        return EventRange(after, before)

    @property
    def is_regular(self) -> bool:
        """True if there is one row for each of the ordinary days, which are a day, a month or another step apart."""
        found = self.days[self.low : self.high + 1]
        steps = [later[1] - earlier[1] for earlier, later in pairwise(found)]
        once = len(found) >= MIN_CALENDAR and all(rows == 1 for _, _, rows in found)
        return once and max(steps) <= SAME_STEP * min(steps)

    def span(self) -> int:
        """The number of days from the first ordinary day to the last."""
        return self.days[self.high][1] - self.days[self.low][1] if self.days else 0


def with_event_ranges(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> Schema:
    """The schema with the range of event times of each timed table; a range that is known already is kept.

    Every range has a latest end, so that it also applies to events that arrive later. The end lies as far after the
    newest event of all tables as the events of the table span, but at least `MIN_YEARS_AHEAD` years. It lies earlier,
    but not within these years, if there is a day before it that programs use for a missing date. The range of a
    calendar ends with the newest event of the other tables.
    """
    found = {table.key: _times(con, catalog, table) for table in schema.timed_tables if table.events is None}
    calendars = {key for key in _may_be_calendars(schema) & found.keys() if found[key].is_regular}
    ends = {key: times.last for key, times in found.items() if times.last is not None}
    last = max((end for key, end in ends.items() if key not in calendars), default=max(ends.values(), default=None))
    tables = dict(schema.tables)
    for key, times in found.items():
        events = times.events()
        limit = None if last is None else _moment(last + 1) if key in calendars else _limit(last, times.span())
        before = min((end for end in (events.before, limit) if end), default=None)
        tables[key] = replace(tables[key], events=replace(events, before=before))
    return replace(schema, tables=tables)


def is_calendar(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> bool:
    """True for a table of regular days from which other tables take their time."""
    return table.key in _may_be_calendars(schema) and _times(con, catalog, table).is_regular


def _may_be_calendars(schema: Schema) -> set[str]:
    """The keys of the tables from which others take their time, and that name parts of a date."""
    headers = {each.row_time.header.key for each in schema.timed_tables if each.row_time and each.row_time.header}
    return {key for key in headers if _names_dates(schema.tables.get(key))}


def _names_dates(table: Table | None) -> bool:
    names = (table.name, *(name for name in table.stored_names if name != table.time_column)) if table else ()
    return any(_DATE_PARTS & set(words(name)) for name in names)


def _limit(last: int, span: int) -> datetime.datetime | None:
    """The first moment after the day `last` that is not an event, for a table whose events span `span` days."""
    earliest = last + MIN_YEARS_AHEAD * 366
    missing = (day for day in map(_day_number, _KNOWN) if day >= earliest)
    limit = min(max(earliest, last + span), *missing, _LATEST_DAY)
    return _moment(limit) if limit > last else None


def find_sentinels(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, time: str | None = None
) -> Sentinels | None:
    """The sentinels among the times of a table; None if there are none. Nothing is written.

    `time`, a TIMESTAMP expression over the row `r`, is examined instead of the table's own time.
    """
    times = _times(con, catalog, table, time)
    odd = [(text, rows) for text, _, rows in (*times.days[: times.low], *times.days[times.high + 1 :])]
    odd += times.infinite
    return Sentinels(tuple(odd), times.events()) if odd else None


def _times(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, time: str | None = None) -> _Times:
    time = time or time_sql(table, "r")
    query = f"""
        SELECT CASE WHEN isfinite(t) THEN CAST(CAST(t AS DATE) AS VARCHAR) ELSE CAST(t AS VARCHAR) END,
               CASE WHEN isfinite(t) THEN epoch(date_trunc('day', t)) / 86400 END AS day, count(*)
        FROM (SELECT {time} AS t FROM {relation_sql(table, catalog)} r) WHERE t IS NOT NULL
        GROUP BY 1, 2 ORDER BY 2 ASC NULLS LAST, 1 ASC"""
    found = con.execute(sealed(query)).fetchall()
    days = [(text, int(day), rows) for text, day, rows in found if day is not None]
    low, high = _ordinary(days)
    return _Times(days, [(text, rows) for text, day, rows in found if day is None], low, high)


def event_bounds(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, found: Sentinels | None
) -> tuple[str | None, str | None]:
    """The first and the last time of a table without its sentinels, which were `found`; None if there are no events."""
    timed = replace(table, events=found.events if found else EventRange())
    times = event_times_sql([timed], lambda each: relation_sql(each, catalog))
    [(first, last)] = con.execute(sealed(f"SELECT min(t)::VARCHAR, max(t)::VARCHAR FROM ({times})")).fetchall()
    return first, last


def _ordinary(found: list[tuple[str, int, int]]) -> tuple[int, int]:
    """Positions of the first and last of the sorted distinct days that are ordinary. `found` as in `_Times.days`."""
    days, texts = [day for _, day, _ in found], [text for text, _, _ in found]
    low, high = 0, len(days) - 1
    if len(days) < MIN_DAYS:
        return low, high
    span = days[len(days) * 19 // 20] - days[len(days) // 20]
    middle = len(days) // 2
    for i in range(middle, 0, -1):
        allowed = _allowed_gap(span, texts[i - 1], alone=_all_known(texts[: i - 1]))
        if days[i] - days[i - 1] > min(allowed, _usual_gap(found, 0, i)):
            low = i
            break
    for i in range(middle, len(days) - 1):
        allowed = _allowed_gap(span, texts[i + 1], alone=_all_known(texts[i + 2 :]))
        if days[i + 1] - days[i] > min(allowed, _usual_gap(found, i + 1, len(days))):
            high = i
            break
    return low, high


def _usual_gap(found: list[tuple[str, int, int]], first: int, end: int) -> float:
    """The longest gap before the days `first` to `end` at which they still count as ordinary.

    It is infinite if they are too many days or rows to be mistakes, or if there are too few other days to know which
    gaps are usual. Of the other days, the twentieth that is farthest from the gap is ignored.
    """
    if end - first > MAX_STRAYS or len(found) - (end - first) < MIN_USUAL:
        return math.inf
    rows, strays = (sum(each for *_, each in part) for part in (found, found[first:end]))
    if strays > max(1, min(MAX_STRAYS, MAX_STRAY_SHARE * rows)):
        return math.inf
    cut = (len(found) - (end - first)) // 20
    inner = found[cut:first] if first else found[end : len(found) - cut]
    return max(MIN_GAP_DAYS, UNUSUAL * max(later[1] - earlier[1] for earlier, later in pairwise(inner)))


def _all_known(days: list[str]) -> bool:
    return all(day.removesuffix(" (BC)") in _KNOWN for day in days)


def _allowed_gap(span: int, next_day: str, *, alone: bool) -> float:
    """The longest gap, in days, at which `next_day` beyond the gap still counts as ordinary.

    `alone`: all days beyond `next_day` are days that programs use for a missing date.
    """
    known = alone and _all_known([next_day])
    return max(MIN_GAP_DAYS / 2, 0.1 * span) if known else max(MIN_GAP_DAYS, span)


_EPOCH = datetime.datetime(1970, 1, 1)
_LATEST_DAY = (datetime.datetime(9999, 12, 30) - _EPOCH).days


def _middle(first: int, second: int) -> datetime.datetime:
    """The moment halfway between two days since 1970."""
    return _moment((first + second) // 2)


def _moment(day: int) -> datetime.datetime:
    """The midnight that a day since 1970 begins with, or the nearest one that Python's years 1 to 9999 contain."""
    earliest = (datetime.datetime(1, 1, 2) - _EPOCH).days
    return _EPOCH + datetime.timedelta(days=min(max(earliest, day), _LATEST_DAY))


def _day_number(text: str) -> int:
    return (datetime.datetime.fromisoformat(text) - _EPOCH).days
