"""Tests of relsql.schema.times.findings.running_totals: columns that count the rows of another table."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute(
        """CREATE TABLE posts AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS day, i % 7 AS comments,
               i % 7 AS comment_count, (i * 7919) % 10 AS view_count, i % 7 AS score FROM range(100) r(i);
           CREATE TABLE comments AS SELECT post, n, DATE '2024-06-01' + n::INTEGER AS day
               FROM range(100) r(post), range(7) s(n) WHERE n < post % 7"""
    )
    declared = Declarations.parse(
        primary_keys=["posts(id)"], links=["comments(post) -> posts(id)"], time_columns=["posts(day)", "comments(day)"]
    )
    declared.store(con, "memory")
    return con


def counted(con: duckdb.DuckDBPyConnection) -> set[str]:
    found = check_schema(con, "memory", read_schema(con))
    return {each.object for each in found if "is the number of its rows of comments" in each.message}


def test_columns_that_count_the_rows_of_another_table_are_named(con: duckdb.DuckDBPyConnection) -> None:
    assert counted(con) == {"posts(comments)", "posts(comment_count)"}
    con.execute("DELETE FROM comments WHERE post % 10 = 3 AND n = 0")
    assert counted(con) == {"posts(comments)", "posts(comment_count)"}, "a few were deleted since"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE posts SET comments = comments + id % 2, comment_count = comment_count + id % 2",
        "DELETE FROM comments WHERE n > 0",
        "DELETE FROM posts WHERE id > 5",
    ],
    ids=["other numbers", "no post has two", "few rows"],
)
def test_other_numbers_are_not(con: duckdb.DuckDBPyConnection, change: str) -> None:
    con.execute(change)
    assert counted(con) == set()
