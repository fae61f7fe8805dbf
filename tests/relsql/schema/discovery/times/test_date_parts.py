"""Tests of relsql.schema.discovery.times.date_parts: dates whose parts are columns of their own."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.discovery.propose import SURE, infer_schema

ROWS = "FROM (SELECT i, DATE '2019-06-01' + (i // 2)::INTEGER AS d FROM range(600) r(i))"


def range_of(con: duckdb.DuckDBPyConnection, columns: str) -> tuple[str, str] | None:
    """The first and the last proposed time of a table with these columns, as text."""
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {columns} {ROWS}")
    found = [each.column for each in infer_schema(con).times if each.column and each.confidence >= SURE]
    if not found:
        return None
    times = con.execute(f"SELECT min({found[0]})::TIMESTAMP::VARCHAR, max({found[0]})::TIMESTAMP::VARCHAR FROM t")
    [(first, last)] = times.fetchall()
    return first, last


@pytest.mark.parametrize(
    "columns",
    [
        'year(d) AS "Year", month(d) AS "Month", day(d) AS "DayofMonth", isodow(d) AS "DayOfWeek"',
        "year(d) AS iyear, month(d) AS imonth, day(d) AS iday",
        "year(d) AS arrival_date_year, monthname(d) AS arrival_date_month, day(d) AS arrival_date_day_of_month, "
        "weekofyear(d) AS arrival_date_week_number",
        "year(d)::VARCHAR AS start_yr, lpad(month(d)::VARCHAR, 2, '0') AS start_mo, day(d)::DOUBLE AS start_day, "
        "year(d) + 1 AS end_yr",
    ],
    ids=["flights", "run together", "month by name", "text and floats"],
)
def test_year_month_and_day_are_one_date(con: duckdb.DuckDBPyConnection, columns: str) -> None:
    assert range_of(con, columns) == ("2019-06-01 00:00:00", "2020-03-26 00:00:00")


def test_a_missing_day_is_the_end_of_its_month(con: duckdb.DuckDBPyConnection) -> None:
    day = "CASE WHEN i % 10 = 9 THEN 0 ELSE day(d) END AS day"
    assert range_of(con, f"year(d) AS year, month(d) AS month, {day}") == ("2019-06-01 00:00:00", "2020-04-01 00:00:00")


def test_without_a_day_it_is_the_end_of_the_month(con: duckdb.DuckDBPyConnection) -> None:
    assert range_of(con, "year(d) AS year, month(d) AS month") == ("2019-07-01 00:00:00", "2020-04-01 00:00:00")


@pytest.mark.parametrize(
    "columns",
    [
        "year(d) AS birth_year, month(d) AS birth_month, day(d) AS birth_day",
        "month(d) AS month, day(d) AS day",
        "200 * i AS model_year, i AS model_month",
    ],
    ids=["births", "no year", "other numbers"],
)
def test_other_columns_are_no_dates(con: duckdb.DuckDBPyConnection, columns: str) -> None:
    assert range_of(con, columns) is None
