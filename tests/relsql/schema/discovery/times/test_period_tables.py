"""Tests of relsql.schema.discovery.times.period_tables: a table for each month or year."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.discovery.propose import apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.times.events import time_sql


def create(con: duckdb.DuckDBPyConnection, *names: str, extra: str = "") -> None:
    for name in names:
        con.execute(f'CREATE TABLE "{name}" AS SELECT i AS customer, i * 7 AS calls{extra} FROM range(100) r(i)')


def time_of(con: duckdb.DuckDBPyConnection, name: str) -> str | None:
    apply_proposal(con, "memory", infer_schema(con))
    table = read_schema(con).table(name)
    if table.time_column is None:
        return None
    [(time,)] = con.execute(f"SELECT DISTINCT {time_sql(table, 'r')}::VARCHAR FROM {relation_sql(table)} r").fetchall()
    return str(time)


@pytest.mark.parametrize(
    ("names", "end"),
    [
        (("usage_2023_11", "usage_2023_12"), "2023-12-01 00:00:00"),
        (("usage_2023_12", "usage_2024_01"), "2024-01-01 00:00:00"),
        (("calls202301", "calls202302"), "2023-02-01 00:00:00"),
        (("Q2023-Q3 sums", "Q2023-Q4 sums"), "2023-10-01 00:00:00"),
        (("census2010", "census2020"), "2011-01-01 00:00:00"),
    ],
)
def test_rows_are_known_at_the_end_of_the_period(
    con: duckdb.DuckDBPyConnection, names: tuple[str, ...], end: str
) -> None:
    create(con, *names)
    assert time_of(con, names[0]) == end


@pytest.mark.parametrize("names", [("usage_2023", "usage_old"), ("part_1001", "part_1002"), ("t12023011", "t12023012")])
def test_other_numbers_in_names_are_no_periods(con: duckdb.DuckDBPyConnection, names: tuple[str, ...]) -> None:
    create(con, *names)
    assert time_of(con, names[0]) is None


def test_tables_of_other_columns_and_those_with_a_time_are_left_alone(con: duckdb.DuckDBPyConnection) -> None:
    create(con, "usage_2023", extra=", DATE '2023-01-01' + i::INTEGER AS day")
    create(con, "usage_2024", extra=", 3 AS other")
    create(con, "usage_2025", extra=", DATE '2025-01-01' + i::INTEGER AS day")
    assert time_of(con, "usage_2024") is None
    assert read_schema(con).table("usage_2023").time_column == "day"
