"""Tests of relsql.schema.discovery.times.counters: days and weeks that are numbered, where there is no date."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.discovery.propose import SURE, apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.times.events import time_sql

BASKETS = """
    CREATE TABLE baskets AS SELECT i AS basket_id, i % 40 AS household, 1 + i // 4 AS DAY, 1 + i // 28 AS WEEK_NO,
        100 * (i % 24) + i % 60 AS TRANS_TIME, 1 + i % 7 AS day_of_week FROM range(2800) r(i);
    CREATE TABLE campaigns AS SELECT i AS campaign_id, 300 + 10 * i AS START_DAY, 340 + 10 * i AS END_DAY
        FROM range(30) r(i);
"""


def bounds(con: duckdb.DuckDBPyConnection, name: str) -> tuple[str, str] | None:
    apply_proposal(con, "memory", infer_schema(con).split()[0])
    table = read_schema(con).table(name)
    if not table.time_column:
        return None
    time = time_sql(table, "r")
    [found] = con.execute(f"SELECT min({time})::VARCHAR, max({time})::VARCHAR FROM {relation_sql(table)} r").fetchall()
    return found[0], found[1]


def test_numbered_days_are_times_where_there_is_no_date(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(BASKETS)
    assert bounds(con, "baskets") == ("2000-01-02 00:00:00", "2001-12-01 15:39:00")
    assert bounds(con, "campaigns") == ("2000-10-27 00:00:00", "2001-08-13 00:00:00")


def test_numbered_weeks_are_read_as_their_ends(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(BASKETS + "ALTER TABLE baskets DROP DAY; DROP TABLE campaigns")
    # The seven days of week 1 are days 1 to 7.
    assert bounds(con, "baskets") == ("2000-01-09 00:00:00", "2001-12-02 00:00:00")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE holidays AS SELECT i AS holiday_id, DATE '2024-01-01' + i::INTEGER AS day FROM range(50) r(i)",
        "UPDATE baskets SET DAY = 1 + DAY % 31, WEEK_NO = 1 + WEEK_NO % 52",
        "ALTER TABLE baskets RENAME DAY TO amount; ALTER TABLE baskets RENAME WEEK_NO TO n",
    ],
    ids=["there is a date", "days of a month", "other names"],
)
def test_other_numbers_are_no_times(con: duckdb.DuckDBPyConnection, statement: str) -> None:
    con.execute(BASKETS + statement)
    found = [each for each in infer_schema(con).times if each.column and each.confidence >= SURE]
    assert not [each for each in found if each.table != "holidays"]


def test_days_that_are_called_dates_may_lie_before_day_0(con: duckdb.DuckDBPyConnection) -> None:
    """Days since a course began: students register and look around before."""
    con.execute(
        "CREATE TABLE clicks AS SELECT i % 30 AS student_id, i // 10 - 20 AS date, i % 7 AS n FROM range(2400) r(i)"
    )
    assert bounds(con, "clicks") == ("1999-12-12 00:00:00", "2000-08-07 00:00:00")


def test_numbered_steps_and_hours_are_times(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE transfers AS SELECT 1 + i // 5 AS step, i % 7 AS amount FROM range(700) r(i);
           CREATE TABLE loads AS SELECT i // 2 AS hour, i % 7 AS amount FROM range(960) r(i)"""
    )
    assert bounds(con, "transfers") == ("2000-01-02 00:00:00", "2000-05-20 00:00:00")
    assert bounds(con, "loads") == ("2000-01-01 01:00:00", "2000-01-21 00:00:00")
