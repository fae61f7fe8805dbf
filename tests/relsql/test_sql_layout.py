"""Generated SQL reads well: a comment above each CTE, no long lines; laying it out changes nothing of its meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.database.names import current_catalog
from relsql.database.queries.syntax_tree import parse
from relsql.publishing.publish import publication_sql
from relsql.registry.models import active_card
from relsql.sql_layout import WIDTH, comment_sql, readable
from relsql.sql_text import ident, indented, literal
from udfs.macros import batch_sql

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "gather").glob("*.sql"))
CTE = re.compile(r"(?m)^( *)(?:\"[^\"]+\"|\w+) AS (?:MATERIALIZED )?\($")

STRUCT = re.compile(r"\{[^{}\[\]()]*:[^{}\[\]()]*,[^{}]*\}")
"""A struct of two fields that begins and ends in a line."""
QUOTED = re.compile(r"'(?:[^']|'')*'|--.*")


def tree(sql: str) -> Any:
    """The syntax tree of a query without positions in its text."""

    def cleaned(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: cleaned(value) for key, value in node.items() if not key.startswith("query_location")}
        return [cleaned(item) for item in node] if isinstance(node, list) else node

    with duckdb.connect() as con:
        return cleaned(parse(con, sql))


def uncommented(sql: str) -> list[str]:
    """Names of CTEs without a comment on the line above them."""
    lines = sql.splitlines()
    return [line for i, line in enumerate(lines) if CTE.match(line) and not lines[i - 1].lstrip().startswith("-- ")]


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_the_gather_reads_well(file: Path) -> None:
    sql = file.read_text(encoding="utf-8")
    assert max(map(len, sql.splitlines())) <= WIDTH
    assert not uncommented(sql) and len(CTE.findall(sql)) > 2
    assert readable(sql) == sql


def test_a_published_model_reads_well(shop_with_model: Path) -> None:
    with duckdb.connect(str(shop_with_model), read_only=True) as con:
        sql = publication_sql(con, "churn")
        card = active_card(con, current_catalog(con), "churn")
    assert not uncommented(sql) and len(CTE.findall(sql)) > 50
    assert [line for line in sql.splitlines() if len(line) > WIDTH] == []
    assert "COMMENT ON" in sql and [line for line in sql.splitlines() if STRUCT.search(QUOTED.sub("", line))] == []
    query = card.gather("shop").query("SELECT 1 AS _entity, TIMESTAMP '2020-01-01' AS _as_of")
    assert tree(readable(query)) == tree(query)
    assert tree(readable(batch_sql(card, "shop"))) == tree(batch_sql(card, "shop"))


NAMES = st.text(st.sampled_from("ab,'\"(){}[] \n-"), min_size=1, max_size=12)
LEAVES = st.one_of(NAMES.map(literal), NAMES.map(ident), st.integers(0, 10**6).map(str))


def compound(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(parts, min_size=1, max_size=5)
    return st.one_of(
        lists.map(lambda items: "{" + ", ".join(f"f{i}: {item}" for i, item in enumerate(items)) + "}"),
        lists.map(lambda items: "[" + ", ".join(items) + "]"),
        lists.map(lambda items: f"coalesce({', '.join(items)})"),
        lists.map(lambda items: "(" + " AND ".join(f"{item} = 1" for item in items) + ")"),
        lists.map(lambda items: f"CASE {' '.join(f'WHEN {item} THEN 1' for item in items)} ELSE 2 END"),
        parts.map(lambda item: f"sum({item}) FILTER (WHERE {item} = 1)"),
        LEAVES.map(lambda item: f"row_number() OVER (PARTITION BY {item} ORDER BY {item} ASC)"),
    )


@settings(max_examples=40)
@given(st.lists(st.recursive(LEAVES, compound, max_leaves=25), min_size=1, max_size=4))
def test_laying_out_changes_nothing(expressions: list[str]) -> None:
    query = "SELECT " + ", ".join(f"{expression} AS c{i}" for i, expression in enumerate(expressions)) + " FROM t"
    laid_out = readable(query)
    assert tree(laid_out) == tree(query)
    assert readable(laid_out) == laid_out


def test_a_quote_in_a_comment_opens_no_literal() -> None:
    query = "-- each row's text\nSELECT 'two\nlines' AS a,\n    \"odd\n-- name\" AS b"
    assert indented(query) == "    -- each row's text\n    SELECT 'two\nlines' AS a,\n        \"odd\n-- name\" AS b"
    assert readable(query) == query


@given(st.text(st.sampled_from("ab'- ."), min_size=1, max_size=400))
def test_a_comment_has_short_lines_and_says_what_it_was_given(text: str) -> None:
    sql = comment_sql("TABLE t", f"x{text}x")
    words = text.split(" ")
    assert max(map(len, sql.splitlines())) <= WIDTH or max(map(len, words)) > WIDTH // 4
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t (a INTEGER); {sql}")
        [(comment,)] = con.execute("SELECT comment FROM duckdb_tables()").fetchall()
    assert comment.split() == f"x{text}x".split()


def test_a_struct_of_two_fields_has_a_line_for_each() -> None:
    assert readable("SELECT {a: 1, b: 2} AS s") == "SELECT {\n    a: 1,\n    b: 2\n} AS s"
