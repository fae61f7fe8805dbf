"""How a column says that its value is not known yet: by NULL, or by a value that stands for it.

Such a value is called open. Dates may be stored as text or numbers: what does not read as a time, such as '' or 0, is
open, and so are sentinels such as 9999-12-31. In other columns text that stands for a missing value is open, such as
''. 0 and -1 are open if the newest row has them. If the name suggests an outcome, any value of the newest row is open:
a status `open` or a `false` then means that the outcome is not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed_expression
from relsql.schema.discovery.names import OUTCOME_WORDS, words
from relsql.schema.tables import Column, Table
from relsql.schema.times.events import as_timestamp_sql
from relsql.schema.times.readings import MISSING_TEXTS, PLAIN_NUMBER, find_reading, is_missing_sql
from relsql.schema.times.sentinels import find_sentinels
from relsql.schema.types import TIME_TYPES, is_number
from relsql.sql_text import ident, literal

NEWEST = "newest"
"""The alias of the newest row's values in `Judged.filled_sql`."""

_OPEN = (*MISSING_TEXTS, "0", "-1", "false")
"""Values, as text, that stand for empty in rows where another column is empty."""

_SAMPLED = 100


@dataclass(frozen=True, slots=True)
class Judged:
    """A column and how it is read.

    Attributes:
        column: the column.
        time: its time as a TIMESTAMP over the row `r`, NULL where it is open; empty if the column is not a time.
    """

    column: Column
    time: str = ""

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.column.name

    @property
    def is_outcome(self) -> bool:
        """True if the name suggests a value that is written after the row appears."""
        return not self.time and bool(set(words(self.name)) & OUTCOME_WORDS)

    @property
    def has_newest(self) -> bool:
        """True if the newest row decides which values are open."""
        return self.is_outcome or (not self.time and is_number(self.column.type))

    @property
    def filled_sql(self) -> str:
        """The condition that the row `r` has a value; never NULL."""
        value, newest = f"r.{ident(self.name)}", f"{NEWEST}.{ident(self.name)}"
        if self.time:
            return f"{self.time} IS NOT NULL"
        if self.is_outcome:
            return f"{value} IS DISTINCT FROM {newest} AND {value} IS NOT NULL"
        if is_number(self.column.type):
            # A type such as UHUGEINT cannot hold -1, so DuckDB would convert its values to a type that can.
            is_open = f"CAST({value} AS DOUBLE) IN (0::DOUBLE, -1::DOUBLE)"
            return f"{value} IS NOT NULL AND NOT ({is_open} AND {value} IS NOT DISTINCT FROM {newest})"
        text = f" AND NOT {is_missing_sql(value)}" if self.column.type == "VARCHAR" else ""
        return f"{value} IS NOT NULL{text}"


def is_open(value: str | None) -> bool:
    """True for a value, as text, that may stand for an empty one where another column is empty, too."""
    return value is None or value.strip().lower() in _OPEN


def judged(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, column: Column) -> Judged:
    """A column with its reading as a time, if its values support one."""
    if column.type in TIME_TYPES:
        return Judged(column, _ordinary(con, catalog, table, as_timestamp_sql(column, "r")))
    if not _may_be_time(con, catalog, table, column):
        return Judged(column)
    reading = find_reading(con, catalog, table, column, frozenset(words(column.name)))
    # A plain number may be an id.
    if reading is None or reading.ambiguous == PLAIN_NUMBER:
        return Judged(column)
    time = f"TRY_CAST(TRY({sealed_expression(reading.expression)}) AS TIMESTAMP)"
    if reading.period:
        # A row is known long before its year ends: its date is certainly later only if the year begins later.
        time = f"({time} - INTERVAL {reading.period})"
    return Judged(column, _ordinary(con, catalog, table, time))


def _may_be_time(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, column: Column) -> bool:
    """False for text that is clearly not a time, by a few rows: to find a reading takes all distinct texts."""
    if column.type != "VARCHAR":
        return is_number(column.type)
    name = ident(column.name)
    dated = f"system.main.length({name}) BETWEEN 6 AND 40 AND system.main.regexp_matches({name}, '[0-9]')"
    query = f"""SELECT system.main.bool_or({dated}) FROM
                (SELECT {name} FROM {table.sql(catalog)} WHERE NOT {is_missing_sql(name)} LIMIT {_SAMPLED})"""
    return bool(con.execute(query).fetchall()[0][0])


def _ordinary(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, time: str) -> str:
    """A time without its sentinels."""
    found = find_sentinels(con, catalog, table, time)
    if found is None:
        return time
    after, before = found.events.after, found.events.before
    ends = [f"{time} > {literal(after)}"] if after else []
    ends += [f"{time} < {literal(before)}"] if before else []
    return f"CASE WHEN {' AND '.join([f'system.main.isfinite({time})', *ends])} THEN {time} END"
