"""Queries become syntax trees, and whatever is not one SELECT is named."""

from __future__ import annotations

import json
from typing import cast

import duckdb
import pytest

from relsql.database.queries.syntax_tree import NotOneSelectError, nodes, parse, write


class Failing:
    """A connection whose parser answers with an error."""

    def __init__(self, message: str) -> None:
        self.answer = json.dumps({"error": True, "error_type": "unknown", "error_message": message})

    def execute(self, *_: object) -> Failing:
        return self

    def fetchone(self) -> tuple[str]:
        return (self.answer,)


@pytest.mark.parametrize("message", ["Allocation failure", "Out of Memory Error: could not allocate block"])
def test_a_lack_of_memory_is_not_taken_for_another_statement(message: str) -> None:
    with pytest.raises(duckdb.OutOfMemoryException, match=message):
        parse(cast("duckdb.DuckDBPyConnection", Failing(message)), "SELECT 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DROP TABLE t", "it is not a query"),
        ("SELECT 1; SELECT 2", "it has 2 statements"),
        ("SELEC 1", "syntax error"),
    ],
)
def test_what_is_not_one_select_is_named(con: duckdb.DuckDBPyConnection, text: str, message: str) -> None:
    with pytest.raises(NotOneSelectError, match=message):
        parse(con, text)


def test_a_tree_is_written_as_the_query_that_it_was_read_from(con: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT a + 1 AS b FROM (VALUES (1), (2)) t(a) WHERE a > 1"
    tree = parse(con, query)
    assert con.execute(write(con, tree)).fetchall() == con.execute(query).fetchall() == [(3,)]
    assert any(node.get("class") == "COMPARISON" for node in nodes(tree))
