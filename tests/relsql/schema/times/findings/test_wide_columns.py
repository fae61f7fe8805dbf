"""Tests of relsql.schema.times.findings.wide_columns: one measure in a column for each moment."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.checks import check_schema
from relsql.schema.discovery.propose import apply_proposal, infer_schema
from relsql.schema.reading import read_schema

DAYS = ", ".join(f"i * {n} % 7 AS d_{n}" for n in range(1, 31))
WIDE = f"CREATE TABLE sales AS SELECT 'item ' || i AS id, i % 3 AS store, {DAYS} FROM range(40) r(i)"
CALENDAR = (
    "CREATE TABLE calendar AS SELECT 'd_' || (i + 1) AS d, DATE '2024-01-01' + i::INTEGER AS date FROM range(30) r(i)"
)


def found(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [each.message for each in check_schema(con, "memory", read_schema(con)) if "side by side" in each.message]


@pytest.mark.parametrize(
    "names",
    [
        [f"d_{n}" for n in range(1, 31)],
        [f"1/{n}/20" for n in range(22, 30)],
        [str(year) for year in range(1960, 1970)],
        [f"{year} [YR{year}]" for year in range(1990, 1996)],
        [f"pop{year}" for year in range(2000, 2006)],
        ["Jan-20", "Feb-20", "Mar-20", "Apr-20", "May-20"],
        [f"2020-{n:02}" for n in range(1, 13)],
    ],
)
def test_columns_that_are_moments_are_named(con: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    columns = ", ".join(f'i % 7 AS "{name}"' for name in names)
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {columns} FROM range(40) r(i)")
    [message] = found(con)
    assert f"at {len(names)} moments" in message


@pytest.mark.parametrize(
    "names",
    [
        [f"pixel_{n}" for n in range(60)],
        [f"V{n}" for n in range(28)],
        [f"d_{n}" for n in (1, 2, 5, 9, 11, 40)],
        ["pop_2000", "pop_2010"],
    ],
    ids=["pixels", "components", "gaps", "two"],
)
def test_other_columns_are_not(con: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    columns = ", ".join(f'i % 7 AS "{name}"' for name in names)
    con.execute(f"CREATE TABLE t AS SELECT i AS id, {columns} FROM range(40) r(i)")
    assert found(con) == []


def test_the_statements_make_rows_with_a_time_and_a_link(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(WIDE)
    con.execute(CALENDAR)
    [message] = found(con)
    con.execute(message.partition("make a row of each: ")[2])
    assert con.execute("SELECT count(*), sum(value) FROM sales_by_d").fetchall()[0][0] == 40 * 30
    assert [name for name, *_ in con.execute("DESCRIBE sales").fetchall()] == ["id", "store"]
    apply_proposal(con, "memory", infer_schema(con).split()[0])
    schema = read_schema(con)
    assert {str(link) for link in schema.links} == {"sales_by_d(id) -> sales(id)", "sales_by_d(d) -> calendar(d)"}
    assert schema.table("sales_by_d").time_text == "calendar.date"
    assert found(con) == []
