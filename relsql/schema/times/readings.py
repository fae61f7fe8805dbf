"""How to read a time that is stored as something else: text, epoch seconds, YYYYMMDD, YYMMDD, a month, a year.

A reading is an expression over the row, found by the values of the column: it must read nearly all of them. A number
without the name of a time must also be whole and in a narrower range, and it stays doubtful, because ids can look the
same. A month or a year is read as its end, because a row of a year is certainly known when the year is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.schema.tables import Column, Table
from relsql.schema.times.periods import PERIOD_END, period_readings
from relsql.schema.types import FLOAT_TYPES, INTEGER_TYPES, is_decimal
from relsql.sql_text import ident, literal

MIN_READ = 0.95
"""A reading must give a time for at least this share of the values; the rest are typing errors and placeholders."""

PLAIN_NUMBER = "a plain number"
"""The rival of a reading as epoch numbers, if the name of the column does not say that it is a time."""

YEAR_END = "the end of the year"
MONTH_END = "YYYYMM, the end of the month"
_PERIODS = {YEAR_END: "1 YEAR", MONTH_END: "1 MONTH"}
PARTIAL = "ISO text, the end of the month or year where the day is missing"

MISSING_TEXTS = ("", r"\n", "null", "na", "n/a", "nan", "none", "-", "?")
"""Texts, in lower case, that stand for a missing value."""

MAX_SAMPLED_TEXTS = 2_000
_EARLIEST = "TIMESTAMP '1000-01-01'"
"""Earlier times are not accepted, because a year of two digits does not mean a year of the first century."""

_DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d/%m/%y"),
    *("%m/%d/%y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d.%m.%y"),
    *("%y/%m/%d", "%y-%m-%d"),
    *("%y%m%d", "%m%d%Y", "%d%m%Y"),
)
_LETTERS = str.maketrans({"%": "", "m": "MM", "d": "DD", "Y": "YYYY"})
_COMPACT = ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%dT%H%M%S")
_WRITTEN = (
    *("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S GMT"),
    *("%d/%b/%Y:%H:%M:%S %z", "%A, %B %d, %Y"),
)
"""Formats of mails, logs and C's ctime."""

_TIMES = ("", ", %H:%M:%S", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_TIME_WORDS = frozenset(
    (
        *("time", "date", "dt", "day", "ts", "timestamp", "epoch", "at", "on", "when", "created", "updated"),
        *("occurred", "dte"),
        *("started", "ended", "start", "end", "posted", "logged", "recorded", "seconds", "millis", "unix", "since"),
    )
)
_SERIAL_WORDS = frozenset(("date", "dt", "datetime"))
_YEAR_WORDS = frozenset(("year", "yr", "season"))
_MONTH_WORDS = frozenset(("month", "period", "yearmonth", "yyyymm", "ym")) | _TIME_WORDS
_NUMBER_WORDS = frozenset(
    (
        *("id", "key", "no", "nr", "num", "number", "code", "ref", "phone", "mobile", "fax", "zip", "account"),
        *("sku", "ean", "upc", "isbn", "hash", "seed", "population", "size", "bytes", "count", "votes", "views"),
        *("amount", "price", "total", "cost", "value", "balance", "revenue", "salary", "lat", "lon", "x", "y"),
    )
)
"""Words of numbers that are not times, whatever their size."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a column is read as a time.

    Attributes:
        expression: SQL over the row, which gives a TIMESTAMP or DATE, or NULL.
        meaning: the reading in words, for messages.
        share: share of the values that it reads as a time.
        ambiguous: the rival reading that fits the values equally well; empty if there is none.
        period: the length of the period whose end it reads, as an interval in SQL; empty for a time.
    """

    expression: str
    meaning: str
    share: float
    ambiguous: str = ""
    period: str = ""

    @property
    def is_vague(self) -> bool:
        """True if the time itself may lie long before the one that is read."""
        return bool(self.period)


def is_missing_sql(text: str) -> str:
    """The condition that a text stands for a missing value; NULL for NULL."""
    return f"system.main.lower(system.main.trim({text})) IN ({', '.join(map(literal, MISSING_TEXTS))})"


def find_reading(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, column: Column, words: frozenset[str]
) -> Reading | None:
    """The reading of a column as a time that its values support, or None.

    Args:
        con: connection; only reads.
        catalog: database that holds the table.
        table: the table.
        column: its column.
        words: the lower-case words of the column's name.
    """
    relation = table.sql(catalog)
    if column.type == "VARCHAR":
        return _text_reading(con, relation, column, words)
    if column.type in (*INTEGER_TYPES, *FLOAT_TYPES) or is_decimal(column.type):
        return _number_reading(con, relation, column, words)
    return None


def _text_reading(
    con: duckdb.DuckDBPyConnection, relation: str, stored: Column, words: frozenset[str]
) -> Reading | None:
    column = ident(stored.name)
    sample = (
        f"SELECT DISTINCT trim({column}) AS v FROM {relation} WHERE NOT {is_missing_sql(column)} "
        f"ORDER BY hash(v) ASC, v ASC LIMIT {MAX_SAMPLED_TEXTS}"
    )
    begins = "regexp_matches(v, '^[0-9]') OR regexp_matches(v, '^[A-Za-z]{3,9}[ .,]+([A-Za-z]{3} +)?[0-9]')"
    begins += " OR regexp_matches(v, '^[A-Z][a-z]+, [A-Z][a-z]+ [0-9]')"
    query = f"""SELECT count(*), count(*) FILTER (WHERE ({begins}) AND length(v) BETWEEN 6 AND 40),
                       count(*) FILTER (WHERE TRY_CAST(v AS TIMESTAMP) >= {_EARLIEST}),
                       count(*) FILTER (WHERE regexp_full_match(v, '[0-9]{{9,}}')),
                       count(*) FILTER (WHERE regexp_full_match(v, '(1[5-9]|2[01])[0-9]{{2}}')),
                       count(*) FILTER (WHERE regexp_full_match(v, '(1[5-9]|2[01])[0-9]{{2}}-(0[1-9]|1[0-2])'))
                FROM ({sample})"""
    [(values, dated, iso, digits, years, months)] = con.execute(sealed(query)).fetchall()
    if not values:
        return None
    if iso >= MIN_READ * values:
        return _over_rows(con, relation, column, f"try_cast({column} AS TIMESTAMP)", "ISO text")
    if years >= MIN_READ * values and words & _YEAR_WORDS:
        return _over_rows(con, relation, column, _end_sql(column, "%Y", "YEAR"), YEAR_END, "1 YEAR")
    if iso + months > (1 - MIN_READ) * values and iso + months + years >= MIN_READ * values:
        ends = f"{_end_sql(column, '%Y-%m', 'MONTH')}, {_end_sql(column, '%Y', 'YEAR')}"
        return _over_rows(
            con, relation, column, f"coalesce(try_cast({column} AS TIMESTAMP), {ends})", PARTIAL, "1 YEAR"
        )
    period = _period_reading(con, relation, column, sample, values)
    if period or dated < MIN_READ * values:
        return period
    formats = [*(date + time for date in _DATES for time in _TIMES), *_COMPACT, *_WRITTEN]
    counts = ", ".join(f"count(*) FILTER (WHERE try_strptime(v, {literal(each)}) >= {_EARLIEST})" for each in formats)
    [found] = con.execute(sealed(f"SELECT {counts} FROM ({sample})")).fetchall()
    best = max(found)
    if best < MIN_READ * values:
        # Epoch seconds may be text, too.
        return _number_reading(con, relation, stored, words) if digits >= MIN_READ * values else None
    chosen, *rivals = [each for each, count in zip(formats, found, strict=True) if count == best]
    time = f"try_strptime({column}, {literal(chosen)})"
    # The format has a zone, so the value is a moment: in UTC, whatever the zone of the session.
    time = f"make_timestamp(epoch_us({time}))" if "%z" in chosen else time
    reading = _over_rows(con, relation, column, time, f"text as {chosen}")
    return reading and replace(reading, ambiguous=", ".join(rivals))


def _period_reading(
    con: duckdb.DuckDBPyConnection, relation: str, column: str, sample: str, values: int
) -> Reading | None:
    """The reading of texts that name periods; `sample` is a query for some of the texts, `values` their number."""
    forms = list(period_readings(column))
    counts = ", ".join(f"count(*) FILTER ({condition})" for condition, *_ in forms)
    [found] = con.execute(sealed(f"SELECT {counts} FROM ({sample})")).fetchall()
    best = max(found)
    _, expression, period = forms[found.index(best)]
    return _over_rows(con, relation, column, expression, PERIOD_END, period) if best >= MIN_READ * values else None


def _end_sql(text: str, format_: str, unit: str) -> str:
    """The end of the month or year that a text names."""
    return f"try_strptime({text}, {literal(format_)}) + INTERVAL 1 {unit}"


def _number_reading(
    con: duckdb.DuckDBPyConnection, relation: str, column: Column, words: frozenset[str]
) -> Reading | None:
    name = ident(column.name)
    query = f"""SELECT quantile_disc(v, 0.02), quantile_disc(v, 0.98), bool_and(v = floor(v))
                FROM (SELECT TRY_CAST({name} AS DOUBLE) AS v FROM {relation}) WHERE v NOT IN (0, -1) AND isfinite(v)"""
    [(low, high, whole)] = con.execute(sealed(query)).fetchall()
    if low is None:
        return None
    for expression, meaning in _number_readings(name, low, high, bool(whole), words):
        reading = _over_rows(con, relation, name, expression, meaning, _PERIODS.get(meaning, ""))
        if reading:
            # Ids and barcodes may be as large as times are.
            unsure = meaning.startswith("epoch") and not words & _TIME_WORDS
            return replace(reading, ambiguous=PLAIN_NUMBER) if unsure else reading
    return None


def _number_readings(
    name: str, low: float, high: float, whole: bool, words: frozenset[str]
) -> Iterator[tuple[str, str]]:
    number = f"try_cast({name} AS BIGINT)"
    if whole and low >= 15_000_101 and high <= 22_991_231:
        yield f"try_strptime(try_cast({number} AS VARCHAR), '%Y%m%d')", "YYYYMMDD"
    if whole and low >= 1500_01_01_00_00_00 and high <= 2299_12_31_23_59_59:
        yield f"try_strptime(try_cast({number} AS VARCHAR), '%Y%m%d%H%M%S')", "YYYYMMDDHHMMSS"
    if whole and words & _MONTH_WORDS and low >= 1500_01 and high <= 2199_12:
        yield _end_sql(f"try_cast({number} AS VARCHAR)", "%Y%m", "MONTH"), MONTH_END
    if whole and words & _TIME_WORDS and low >= 10101 and high <= 991231:
        yield f"try_strptime(printf('%06d', {number}), '%y%m%d')", "YYMMDD"
    if whole and words & _TIME_WORDS and low >= 1500_001 and high <= 2299_366:
        yield f"try_strptime(try_cast({number} AS VARCHAR), '%Y%j')", "a year and its day, YYYYDDD"
    if whole and words & _TIME_WORDS and low >= 1500_01_01_00 and high <= 2299_12_31_23:
        yield f"try_strptime(try_cast({number} AS VARCHAR), '%Y%m%d%H')", "YYYYMMDDHH"
    if whole and words & _SERIAL_WORDS and low >= 25_569 and high <= 54_789:
        yield f"DATE '1899-12-30' + try_cast({number} AS INTEGER)", "days since 1899-12-30, as in spreadsheets"
    if whole and words & _TIME_WORDS and all(1500 <= each % 10_000 <= 2299 for each in (low, high)):
        for format_ in ("%m%d%Y", "%d%m%Y"):
            yield f"try_strptime(printf('%08d', {number}), {literal(format_)})", format_.translate(_LETTERS)
    if whole and words & _YEAR_WORDS and low >= 1500 and high <= 2200:
        yield f"make_timestamp({number} + 1, 1, 1, 0, 0, 0.0)", YEAR_END
    named = bool(words & _TIME_WORDS)
    if not named and (words & _NUMBER_WORDS or not whole):
        return
    for power, unit in ((0, "seconds"), (3, "milliseconds"), (6, "microseconds"), (9, "nanoseconds")):
        first, last = (1.5e8, 4.2e9) if named else (6.3e8, 2.2e9)
        if first * 10**power <= low and high <= last * 10**power:
            micros = f"{number} * {10 ** (6 - power)}" if power <= 6 else f"{number} // 1000"
            if not whole:
                micros = f"CAST({name} * {10 ** (6 - power)} AS BIGINT)"
            yield f"make_timestamp({micros})", f"epoch {unit}"


def _over_rows(
    con: duckdb.DuckDBPyConnection, relation: str, column: str, expression: str, meaning: str, period: str = ""
) -> Reading | None:
    """The reading, if it gives a time for nearly all values of the column."""
    present = f"count(*) FILTER (WHERE NOT {is_missing_sql(f'CAST({column} AS VARCHAR)')})"
    query = f"SELECT {present}, count(TRY({expression})) FROM {relation}"
    [(values, read)] = con.execute(sealed(query)).fetchall()
    share = read / values if values else 0.0
    return Reading(expression, meaning, share, period=period) if share >= 0.9 * MIN_READ else None
