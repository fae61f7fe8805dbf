"""Queries that DuckDB would parse or plan for minutes, or end the process with, are refused at once."""

from __future__ import annotations

import time

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relsql.database.queries.query_size import MAX_COMMENTS, MAX_JOINS, MAX_NAME_PARTS, MAX_NESTING, MAX_SELECTS
from relsql.database.queries.query_size import text_excess as excess
from relsql.database.queries.syntax_tree import NotOneSelectError, parse

TOO_LARGE = {
    "a name of many parts": ("SELECT x" + ".a" * 60_000, "name of more than"),
    "nested joins": (f"FROM {'(' * 9000}t{' CROSS JOIN t)' * 9000}", "nested too deeply"),
    "comments within each other": (f"SELECT {'/*' * 60_000}1{'*/' * 60_000}", "comments"),
    "many joins": (f"FROM t{' CROSS JOIN t' * 400}", "joins"),
    "many unions": (f"SELECT 1{' UNION SELECT 1' * 8000}", "SELECTs"),
    "brackets": (f"SELECT {'[' * 300}1{']' * 300}", "nested too deeply"),
}


@pytest.mark.parametrize("title", TOO_LARGE)
def test_what_is_too_large_is_refused_at_once(con: duckdb.DuckDBPyConnection, title: str) -> None:
    query, message = TOO_LARGE[title]
    started = time.perf_counter()
    with pytest.raises(NotOneSelectError, match=message):
        parse(con, query)
    assert time.perf_counter() - started < 3


def test_what_reaches_a_limit_is_parsed(con: duckdb.DuckDBPyConnection) -> None:
    for query in (
        f"SELECT x{'.a' * (MAX_NAME_PARTS - 1)}",
        f"FROM t{' CROSS JOIN t' * MAX_JOINS}",
        f"SELECT 1{' UNION ALL SELECT 1' * (MAX_SELECTS - 1)}",
        f"SELECT {'/**/' * MAX_COMMENTS} 1",
        f"SELECT * FROM (VALUES {', '.join(['(1)'] * 5000)})",
    ):
        parse(con, query)


def test_queries_of_relsqls_own_may_be_large(con: duckdb.DuckDBPyConnection) -> None:
    assert parse(con, TOO_LARGE["many joins"][0], is_own=True)


WITHOUT_BRACKETS = ["'((('", '"[[["', "$${{{$$", "'é('", "/* (( */", "-- ((\n", "e'\\'('", "()"]


@given(st.lists(st.sampled_from(WITHOUT_BRACKETS), max_size=300))
def test_only_brackets_of_the_query_count(parts: list[str]) -> None:
    around = " ".join(parts)
    assert excess(f"SELECT {around}") is None
    deep = "".join(f"( {part}" for part in [*parts, *[""] * MAX_NESTING])
    assert excess(f"SELECT ({deep}") == "it is nested too deeply"
