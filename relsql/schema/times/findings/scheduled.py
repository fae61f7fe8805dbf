"""Find planned rows, such as matches that have not been played: the default as_of would be the time of the last one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.hints import counted
from relsql.schema.finding import Finding
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, Table
from relsql.schema.times.events import event_times_sql, latest_event_sql
from relsql.schema.times.sentinels import is_calendar
from relsql.schema.visibility import since_sql
from relsql.sql_text import literal

FEWEST_TIMES = 5
"""At fewer times than this, rows without values may just be new: their values are still to be written."""


def scheduled_rows(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table, filled: Mapping[str, str]
) -> Iterator[Finding]:
    """The finding about rows of a table with a time that are planned.

    Rows are certainly planned if their time is still to come. They may be planned if the rows of all other tables end
    before them, and if either there are no earlier rows of this table, or columns that are filled in earlier rows are
    empty in them. The days of a calendar are not reported, because they are not events.

    Args:
        con: connection to the data; nothing is written.
        catalog: database that holds the tables.
        schema: all tables.
        table: the table, whose `events` are known.
        filled: for each column that is empty in the newest rows, the last time at which it is filled, as text.
    """
    if is_calendar(con, catalog, schema, table):
        return
    # One day is added, because times may be written in any time zone.
    tomorrow = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0) + datetime.timedelta(days=1)
    planned = _after(con, catalog, table, [literal(tomorrow)])
    if planned:
        yield _finding(
            table, planned, ("has" if planned.rows == 1 else "have") + " a time that is still to come", "now()"
        )
        return
    others = [each for each in schema.timed_tables if each.key != table.key and not each.values_of]
    others = [each for each in others if not is_calendar(con, catalog, schema, each)]
    newest = f"({latest_event_sql(others, lambda each: relation_sql(each, catalog))})"
    if others and (planned := _all_after(con, catalog, table, newest)):
        what = "all lie after the rows of all other tables"
        yield _finding(table, planned, what, f"TIMESTAMP {literal(planned.begin)}")
        return
    if not filled:
        return
    times = [f"CAST({literal(time)} AS TIMESTAMP)" for time in filled.values()]
    planned = _after(con, catalog, table, [newest, *times])
    if planned and planned.times >= FEWEST_TIMES:
        what = f"are the newest and have no {', '.join(filled)}"
        what += ", and no other table has later rows" if others else ""
        yield _finding(table, planned, what, f"TIMESTAMP {literal(planned.begin)}")


def _all_after(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, newest: str) -> _Planned | None:
    """The rows of the table if all of them are after a moment, and at many times; otherwise None."""
    found = _after(con, catalog, table, [newest])
    every = _after(con, catalog, table, ["TIMESTAMP '-infinity'"]) if found and found.times >= FEWEST_TIMES else None
    return found if found and every and every.rows == found.rows else None


@dataclass(frozen=True, slots=True)
class _Planned:
    """Rows after a moment: their number, the number of their times, the first and the last of these, and the moment."""

    rows: int
    times: int
    first: str
    last: str
    begin: str


def _after(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, moments: list[str]) -> _Planned | None:
    """The rows whose time is an event after all `moments`, which are SQL expressions; None if there are none."""
    events = event_times_sql([table], lambda each: relation_sql(each, catalog))
    counts = ["count_star()", "count(DISTINCT t)"]
    counts += [f"{call}::VARCHAR" for call in ("min(t)", "max(t)", "max(begin)")]
    begin = f"SELECT greatest({', '.join(moments)}) AS begin"
    query = f"SELECT {', '.join(counts)} FROM ({events}), ({begin})"
    [row] = con.execute(sealed(f"{query} WHERE {since_sql('t', 'begin')}")).fetchall()
    return _Planned(*row) if row[0] else None


def _finding(table: Table, planned: _Planned, what: str, as_of: str) -> Finding:
    rows = counted(planned.rows, "row")
    text = f"{rows} from {planned.first} to {planned.last} {what}: the default as_of, the newest event, is the time of "
    text += f"such a row; if they are planned and have not happened, call functions with as_of := {as_of}"
    return Finding("warning", table.key, text)
