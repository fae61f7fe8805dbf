"""Tests of relsql.schema.times.sentinels: which times are far from the rest, and that they move nothing."""

from __future__ import annotations

import datetime

import duckdb
import hypothesis
import hypothesis.strategies as st
import pytest

from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.tables import EventRange
from relsql.schema.times.events import event_times_sql, latest_event_sql
from relsql.schema.times.sentinels import event_bounds, find_sentinels, with_event_ranges


def events(con: duckdb.DuckDBPyConnection, kind: str, odd: list[str], days: int, start: str = "2020-01-01") -> None:
    con.execute(f"CREATE TABLE events (id INTEGER, seen {kind})")
    con.execute(f"INSERT INTO events SELECT i, TIMESTAMP '{start}' + to_days(i::INTEGER) FROM range({days}) r(i)")
    for value in odd:
        con.execute(f"INSERT INTO events VALUES (-1, CAST('{value}' AS {kind}))")
    declare_table(con, "memory", "events", time_column="seen")


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S"])
@pytest.mark.parametrize("days", [20, 700, 20_000])
def test_times_far_from_the_rest_are_no_events(kind: str, days: int) -> None:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        start = "1960-01-01" if days > 10_000 else "2020-01-01"
        odd = ["9999-12-31", "1900-01-01"] if days < 10_000 else ["9999-12-31"]
        events(con, kind, odd, days, start)
        schema = with_event_ranges(con, "memory", read_schema(con))
        table = schema.table("events")
        found = find_sentinels(con, "memory", table)
        assert found is not None and found.rows == len(odd)
        last = datetime.datetime.fromisoformat(start) + datetime.timedelta(days=days - 1)
        source = lambda each: each.sql()  # noqa: E731
        assert con.execute(latest_event_sql([table], source)).fetchall() == [(last,)]
        [(count, first)] = con.execute(f"SELECT count(*), min(t) FROM ({event_times_sql([table], source)})").fetchall()
        assert (count, first) == (days, datetime.datetime.fromisoformat(start))


@pytest.mark.parametrize(
    ("wrong", "range_"), [("2030-05-01", "2010-01-01 2026-06-30"), ("1995-01-01", "2010-01-01 2026-06-30")]
)
def test_one_row_of_a_wrong_year_is_no_event(wrong: str, range_: str) -> None:
    with duckdb.connect() as con:
        events(con, "TIMESTAMP", [wrong], 6_025, "2010-01-01")
        table = with_event_ranges(con, "memory", read_schema(con)).table("events")
        found = find_sentinels(con, "memory", table)
        assert str(found) == f"{wrong} in 1 row"
        times = event_times_sql([table], lambda each: each.sql())
        [bounds] = con.execute(f"SELECT min(t)::DATE::VARCHAR, max(t)::DATE::VARCHAR FROM ({times})").fetchall()
        assert " ".join(bounds) == range_


def test_several_rows_after_a_gap_and_rows_after_usual_gaps_are_events() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE games AS SELECT make_date(1950 + 4 * i::INTEGER, 7, 1) AS seen FROM range(20) r(i)")
        con.execute("CREATE TABLE later AS SELECT DATE '2010-01-01' + i::INTEGER AS seen FROM range(3000) r(i)")
        con.execute("INSERT INTO later SELECT DATE '2022-01-01' + i::INTEGER FROM range(30) r(i)")
        for name in ("games", "later"):
            declare_table(con, "memory", name, time_column="seen")
            assert find_sentinels(con, "memory", read_schema(con).table(name)) is None


@pytest.mark.parametrize("span", [400, 14_000])
def test_every_planted_value_is_counted(span: int) -> None:
    odd = ["9999-12-31", "2099-12-31", "1900-01-01", "1970-01-01", "infinity"]
    with duckdb.connect() as con:
        events(con, "TIMESTAMP", [*odd, "9999-12-31"], span, "1985-01-01")
        table = read_schema(con).table("events")
        found = find_sentinels(con, "memory", table)
        assert found is not None and found.rows == 6
        assert str(found) == (
            "1900-01-01 in 1 row, 1970-01-01 in 1 row, 2099-12-31 in 1 row, 9999-12-31 in 2 rows, infinity in 1 row"
        )
        last = datetime.datetime(1985, 1, 1) + datetime.timedelta(days=span - 1)
        assert event_bounds(con, "memory", table, found) == ("1985-01-01 00:00:00", str(last))


def test_new_rows_after_training_are_events() -> None:
    with duckdb.connect() as con:
        events(con, "TIMESTAMP", ["2099-01-01"], 400)
        table = with_event_ranges(con, "memory", read_schema(con)).table("events")
        con.execute("INSERT INTO events VALUES (1000, '2027-03-04')")
        assert con.execute(latest_event_sql([table], lambda each: each.sql())).fetchall() == [
            (datetime.datetime(2027, 3, 4),)
        ]


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S"])
@pytest.mark.parametrize("trained_with", [[], ["9999-12-31"], ["infinity"]])
def test_bad_times_that_arrive_after_training_are_no_events(kind: str, trained_with: list[str]) -> None:
    odd = [] if kind == "TIMESTAMP_S" and trained_with == ["infinity"] else trained_with
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'America/New_York'")
        events(con, kind, odd, 400)
        table = with_event_ranges(con, "memory", read_schema(con)).table("events")
        query = latest_event_sql([table], lambda each: each.sql())
        before = con.execute(query).fetchall()
        for late in ("9999-12-31", "2999-01-01", "2262-04-11", "2099-12-31", "2079-06-06", "2035-01-01"):
            con.execute(f"INSERT INTO events VALUES (-1, CAST('{late}' AS {kind}))")
            assert con.execute(query).fetchall() == before, late
        times = event_times_sql([table], lambda each: each.sql())
        assert con.execute(f"SELECT max(t) FROM ({times})").fetchall() == before
        con.execute(f"INSERT INTO events VALUES (-1, CAST('2029-12-31' AS {kind}))")
        [(newest,)] = con.execute(query).fetchall()
        assert newest.date() == datetime.date(2029, 12, 31)


def test_a_long_history_lets_events_come_for_as_long() -> None:
    with duckdb.connect() as con:
        events(con, "DATE", [], 59 * 365, "1955-01-01")
        con.execute("CREATE TABLE visits AS SELECT DATE '2021-06-01' AS day")
        declare_table(con, "memory", "visits", time_column="day")
        ranged = with_event_ranges(con, "memory", read_schema(con))
        assert ranged.table("events").events == EventRange(before=datetime.datetime(2079, 6, 6))
        assert ranged.table("visits").events == EventRange(before=datetime.datetime(2031, 6, 9))


@pytest.mark.parametrize("last", ["9999-12-31", "9995-01-01", "2100-01-01"])
def test_a_limit_leaves_all_events_of_training(last: str) -> None:
    with duckdb.connect() as con:
        events(con, "DATE", [last], 3, "2020-01-01")
        table = with_event_ranges(con, "memory", read_schema(con)).table("events")
        [(newest,)] = con.execute(latest_event_sql([table], lambda each: each.sql())).fetchall()
        assert newest == datetime.datetime.fromisoformat(last)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(st.lists(st.integers(0, 3_000), min_size=1, max_size=40))
def test_ordinary_times_stay_events(offsets: list[int]) -> None:
    """Data whose gaps are shorter than two years have no sentinels, however bursty they are."""
    steps = [0]
    for offset in sorted(offsets):
        steps.append(min(offset, steps[-1] + 700))
    with duckdb.connect() as con:
        con.execute("CREATE TABLE events (id INTEGER, seen DATE)")
        con.executemany("INSERT INTO events VALUES (1, DATE '2010-01-01' + ?::INTEGER)", [(step,) for step in steps])
        declare_table(con, "memory", "events", time_column="seen")
        assert find_sentinels(con, "memory", read_schema(con).table("events")) is None


@pytest.mark.parametrize("step", ["1 day", "1 month"])
@pytest.mark.parametrize("used", [True, False])
def test_days_of_a_calendar_are_no_events(step: str, used: bool) -> None:
    with duckdb.connect() as con:
        con.execute(
            f"""CREATE TABLE dates AS SELECT i AS id, (DATE '2020-01-01' + i::INTEGER * INTERVAL '{step}')::DATE AS day
                FROM range(100) r(i);
                INSERT INTO dates VALUES (-1, NULL), (-2, '9999-12-31');
                CREATE TABLE sales AS SELECT i AS sale, i % 30 AS day_id, DATE '2020-02-02' AS paid FROM range(90) r(i)
            """
        )
        Declarations.parse(
            primary_keys=["dates(id)"],
            links=["sales(day_id) -> dates(id)"],
            time_columns=["dates(day)", "sales(dates.day)" if used else "sales(paid)"],
        ).store(con, "memory")
        schema = with_event_ranges(con, "memory", read_schema(con))
        newest = latest_event_sql(schema.timed_tables, lambda each: relation_sql(each, "memory"))
        [(last, expected)] = con.execute(
            f"SELECT ({newest}), max(day) FROM dates WHERE id BETWEEN 0 AND {29 if used else 99}"
        ).fetchall()
        assert last.date() == expected
        # New rows after training move the newest event, though the calendar's range has ended.
        con.execute("INSERT INTO sales VALUES (90, 70, '2020-03-01')")
        [(moved,)] = con.execute(newest).fetchall()
        [(day,)] = con.execute(f"SELECT day FROM dates WHERE id = {70 if used else 99}").fetchall()
        assert moved.date() == day
