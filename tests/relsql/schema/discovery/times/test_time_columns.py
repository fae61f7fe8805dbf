"""Proposed times: which of several dates, dates with a time of day, and what is already known."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.declared.declarations import Declarations
from relsql.schema.discovery.propose import SURE, infer_schema


def time_of(con: duckdb.DuckDBPyConnection, table: str) -> str | None:
    [found] = [each.column for each in infer_schema(con).times if each.table == table]
    return found


@pytest.mark.parametrize("columns", ["admittime, dischtime", "dischtime, admittime"])
@pytest.mark.parametrize("type_", ["TIMESTAMP", "VARCHAR"])
def test_a_stay_is_known_from_its_start(con: duckdb.DuckDBPyConnection, columns: str, type_: str) -> None:
    con.execute(
        f"""CREATE TABLE stays AS SELECT i AS hadm_id, {columns} FROM (
            SELECT i, start::{type_} AS admittime, (start + to_hours(1 + i % 50))::{type_} AS dischtime
            FROM (SELECT i, TIMESTAMP '2020-01-01' + to_hours(7 * (i - (i % 10 = 9)::INTEGER)) AS start
                  FROM range(300) r(i)))"""
    )
    assert time_of(con, "stays") in ("admittime", 'try_cast("admittime" AS TIMESTAMP)')


def test_a_row_that_is_recorded_later_is_not_known_from_its_earliest_date(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE readings AS SELECT i AS reading_id, DATE '2020-01-09' + i::INTEGER AS recorded_on,
           DATE '2020-01-01' + i::INTEGER AS happened_on FROM range(300) r(i)"""
    )
    assert time_of(con, "readings") == "recorded_on"


def test_a_time_of_day_belongs_to_the_date_of_its_name(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE flights AS SELECT i AS fid, DATE '2020-01-01' + i::INTEGER AS dep_date,
           TIME '08:00:00' AS dep_time, DATE '2020-01-02' + i::INTEGER AS arr_date, TIME '09:00:00' AS arr_time,
           TIMESTAMP '2021-05-05' AS upd FROM range(300) r(i)"""
    )
    assert time_of(con, "flights") == """"dep_date" + coalesce("dep_time", TIME '23:59:59')"""


def test_a_time_of_day_of_another_date_is_left_alone(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE visits AS SELECT i AS visit_id, DATE '2020-01-01' + i::INTEGER AS visit_date,
           DATE '2020-03-01' + i::INTEGER AS due_date, TIME '09:00:00' AS due_time FROM range(300) r(i)"""
    )
    assert time_of(con, "visits") == "visit_date"


def test_a_computed_time_is_no_part_of_a_key(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE TABLE players AS SELECT 'player' || i AS player_id FROM range(90) r(i);
        CREATE TABLE awards AS SELECT 'player' || i % 90 AS player_id, 1000 + i // 90 AS won FROM range(270) r(i);
        """
    )
    Declarations.parse(time_columns=["awards(make_timestamp(won, 1, 1, 0, 0, 0.0))"]).store(con, "memory")
    assert [key.table for key in infer_schema(con).keys] == ["players"]


DAYS = {
    "DATE": "DATE '2020-01-01' + i::INTEGER",
    "number": "strftime(DATE '2020-01-01' + i::INTEGER, '%Y%m%d')::INTEGER",
    "text": "strftime(DATE '2020-01-01' + i::INTEGER, '%d.%m.%Y')",
}
CLOCKS = {
    "TIME": "TIME '09:30:00' + to_hours(i % 9)",
    "HH:MM": "strftime(TIMESTAMP '2020-01-01 09:30' + to_hours(i % 9), '%H:%M')",
    "12 hours": "strftime(TIMESTAMP '2020-01-01 09:30' + to_hours(i % 9), '%I:%M %p')",
    "HHMM": "930 + 100 * (i % 9)",
    "HHMMSS": "93000 + 10000 * (i % 9)",
    "HHMM as text": "lpad((930 + 100 * (i % 9))::VARCHAR, 4, '0')",
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("day", DAYS)
def test_a_day_and_a_time_of_day_are_one_time(con: duckdb.DuckDBPyConnection, day: str, clock: str) -> None:
    # The letters of a name say nothing about how it is read.
    con.execute(
        f"CREATE TABLE games AS SELECT i AS game_id, {DAYS[day]} AS MATCH_DAY, {CLOCKS[clock]} AS kickoff "
        "FROM range(300) r(i)"
    )
    con.execute("INSERT INTO games SELECT 300, arg_max(MATCH_DAY, game_id), NULL FROM games")
    time = time_of(con, "games")
    con.execute(f"CREATE TABLE found AS SELECT game_id, CAST({time} AS TIMESTAMP) AS t FROM games")
    first, last, unknown = con.execute(
        "SELECT min(t), max(t) FILTER (game_id = 8), max(t) FILTER (game_id = 300) FROM found"
    ).fetchall()[0]
    assert [str(first), str(last)] == ["2020-01-01 09:30:00", "2020-01-09 17:30:00"]
    assert str(unknown) == "2020-10-26 23:59:59"


@pytest.mark.parametrize("name", ["hr", "start_hour"])
def test_what_happens_in_an_hour_is_known_at_its_end(con: duckdb.DuckDBPyConnection, name: str) -> None:
    con.execute(
        f"CREATE TABLE trips AS SELECT i AS trip_id, DATE '2020-01-01' + (i // 24)::INTEGER AS day, i % 24 AS {name} "
        "FROM range(2400) r(i)"
    )
    last = con.execute(f"SELECT CAST({time_of(con, 'trips')} AS TIMESTAMP)::VARCHAR FROM trips WHERE trip_id = 38")
    assert last.fetchone() == ("2020-01-02 14:59:59",)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hours", "i % 900"),
        ("time", "i % 60"),
        ("time", "i * 7 % 3000"),
        ("duration", "TIME '00:00:00' + to_minutes(i % 90)"),
        ("start", "i % 900"),
    ],
)
def test_other_numbers_and_durations_are_no_times_of_day(
    con: duckdb.DuckDBPyConnection, name: str, values: str
) -> None:
    con.execute(
        f"""CREATE TABLE laps AS SELECT i AS lap_id, DATE '2020-01-01' + i::INTEGER AS day, {values} AS "{name}"
            FROM range(3000) r(i)"""
    )
    assert time_of(con, "laps") == "day"


def test_the_range_of_a_proposed_time_is_that_of_its_events(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE visits AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS day FROM range(100) r(i)")
    con.execute("INSERT INTO visits VALUES (100, DATE '9999-12-31'), (101, DATE '1900-01-01')")
    [proposed] = infer_schema(con).times
    assert "from 2024-01-01 to 2024-04-09 and far from these 1900-01-01 in 1 row" in proposed.evidence


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("DATE '1990-01-01' + i::INTEGER AS first_credit, day AS issued", "issued"),
        (
            "strftime(DATE '1990-01-01' + i::INTEGER, '%b-%Y') AS credit_since, strftime(day, '%b-%Y') AS issue_d",
            "issue",
        ),
        ("day - 9 AS previous_start, day AS start", "start"),
        ("day - 9 AS opened_on, day AS start", "opened_on"),
    ],
    ids=["years before", "months", "by its name", "days before"],
)
def test_what_lies_long_before_is_older_than_its_row(
    con: duckdb.DuckDBPyConnection, columns: str, expected: str
) -> None:
    con.execute(
        f"CREATE TABLE loans AS SELECT i AS loan_id, {columns} "
        "FROM (SELECT i, DATE '2015-01-01' + (3 * i)::INTEGER AS day FROM range(600) r(i))"
    )
    assert expected in str(time_of(con, "loans"))


@pytest.mark.parametrize(
    ("value", "first"),
    [
        ("strftime(day, '%m%d%Y')", "2015-01-01"),
        ("strftime(day, '%m%d%Y')::BIGINT", "2015-01-01"),
        ("strftime(day, '%d%m%Y')", "2015-01-01"),
        ("month(day) || '/' || day(day) || '/' || right(year(day)::VARCHAR, 2)", "2015-01-01"),
        ("strftime(day, '%Y%j')::INTEGER", "2015-01-01"),
        ("strftime(day, '%Y%m%d05')::BIGINT", "2015-01-01"),
        ("day - DATE '1899-12-30'", "2015-01-01"),
        ("(epoch(day) + 7)::BIGINT::VARCHAR", "2015-01-01"),
        ("strftime(day, '%A, %B %d, %Y')", "2015-01-01"),
        ("strftime(day, '%d/%m/%Y, %H:%M:%S')", "2015-01-01"),
        ("strftime(day, '%G-W%V')", "2015-01-05"),
        ("strftime(day, '%m/%Y')", "2015-02-01"),
        ("strftime(day, '%Y/%m')", "2015-02-01"),
        ("(year(day)) || '/' || right((year(day) + 1)::VARCHAR, 2)", "2017-01-01"),
    ],
    ids=[
        *("MMDDYYYY", "MMDDYYYY as a number", "DDMMYYYY", "a year of two digits", "a day of the year", "an hour"),
        *("spreadsheets", "epoch as text", "in words", "with a comma", "weeks", "months", "months last", "seasons"),
    ],
)
def test_forms_of_dates(con: duckdb.DuckDBPyConnection, value: str, first: str) -> None:
    con.execute(
        f"CREATE TABLE gifts AS SELECT i AS gift_id, {value} AS gift_dt "
        "FROM (SELECT i, DATE '2015-01-01' + i::INTEGER AS day FROM range(600) r(i))"
    )
    [found] = [each for each in infer_schema(con).times if each.table == "gifts"]
    assert found.confidence >= SURE
    assert con.execute(f"SELECT min({found.column})::DATE::VARCHAR FROM gifts").fetchall() == [(first,)]
