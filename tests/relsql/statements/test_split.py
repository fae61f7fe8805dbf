"""Where statements end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relsql.statements.split import is_blank, is_complete, split_statements


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1;"], " SELECT 2"),
        ("SELECT ';' AS \"a;b\", $$;$$ -- ;\n; x", ["SELECT ';' AS \"a;b\", $$;$$ -- ;\n;"], " x"),
        ("SELECT 'Zürich;' /* ; */; SELECT '€';", ["SELECT 'Zürich;' /* ; */;", "SELECT '€';"], ""),
        (" ;; SELECT 1;;", ["SELECT 1;"], ""),
        ("SELECT 'open; ", [], "SELECT 'open; "),
        ("SELEC 1; ) (;", ["SELEC 1;", ") (;"], ""),
    ],
)
def test_only_a_semicolon_of_the_statement_ends_it(text: str, statements: list[str], rest: str) -> None:
    assert split_statements(text) == (statements, rest)


@pytest.mark.parametrize(
    ("text", "blank"),
    [("", True), (" \n", True), ("-- ;", True), ("/* a */ ", True), ("/* a", False), ("'a", False), ("SELECT", False)],
)
def test_comments_are_blank_unless_they_are_open(text: str, blank: bool) -> None:
    assert is_blank(text) is blank


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("", True),
        (".tables", True),
        ("SELECT 1", False),
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1; SELECT", False),
        ("SELECT 'a;", False),
        ("SELECT 1 -- ;", False),
        ("SELEC 1;", True),
    ],
)
def test_enter_runs_what_is_complete(text: str, complete: bool) -> None:
    assert is_complete(text) is complete


@given(st.lists(st.text("a1 ';\"-/*$é€\n"), min_size=1, max_size=5))
def test_quoted_pieces_come_back_whole(pieces: list[str]) -> None:
    written = ["SELECT '" + piece.replace("'", "''") + "';" for piece in pieces]
    assert split_statements(" ".join(written)) == (written, "")
