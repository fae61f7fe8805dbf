"""Tests of relsql.schema.times.findings.relative_times: numbers that count from a start which is not in the data."""

from __future__ import annotations

import shlex

import duckdb
import pytest

from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema

STAYS = """
    CREATE TABLE stays (stay_id INTEGER PRIMARY KEY, ward INTEGER);
    INSERT INTO stays SELECT i, i % 4 FROM range(50) r(i);
    CREATE TABLE labs AS SELECT i % 50 AS stay_id, 7 * i - 600 AS labresultoffset, i % 9 AS value FROM range(900) r(i);
    CREATE TABLE drugs AS SELECT i % 50 AS stay_id, 60 * i AS stop_minutes_after, 30 * i AS minutes_after,
        i % 20 AS duration_days FROM range(200) r(i);
"""


def finding(con: duckdb.DuckDBPyConnection) -> Finding:
    [found] = [each for each in check_schema(con, "memory", read_schema(con)) if each.object == "all tables"]
    return found


def test_they_are_named_with_the_options_that_make_times_of_them(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(STAYS)
    message = finding(con).message
    assert "labs(labresultoffset), drugs(minutes_after) may count from a start" in message.replace(
        "drugs(minutes_after), labs(labresultoffset)", "labs(labresultoffset), drugs(minutes_after)"
    )
    options = shlex.split(message.partition("relsql init FILE ")[2])
    assert options[::2] == ["--time-column"] * 2
    Declarations.parse(time_columns=options[1::2]).store(con, "memory")
    schema = read_schema(con)
    assert schema.table("labs").time_column and schema.table("drugs").time_column
    assert "to_minutes" in str(schema.table("drugs").time_text)


@pytest.mark.parametrize("column", ["duration_days", "age", "lap_time_minutes", "days_of_birth", "update_count"])
def test_other_numbers_are_not(con: duckdb.DuckDBPyConnection, column: str) -> None:
    con.execute(f"CREATE TABLE t AS SELECT i AS id, i % 40 AS {column}, 'x' AS name FROM range(90) r(i)")
    assert "count from a start" not in finding(con).message
