"""Keys: which of several unique columns, and which columns together."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.discovery.proposals import SURE
from relsql.schema.discovery.propose import KeyProposal, infer_schema


def keys(con: duckdb.DuckDBPyConnection, *statements: str) -> dict[str, KeyProposal]:
    for statement in statements:
        con.execute(statement)
    return {key.table: key for key in infer_schema(con).keys}


def test_the_key_is_what_other_tables_refer_to(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE patients AS SELECT i AS row_id, 1000 + 3 * i AS subject_id FROM range(100) r(i)",
        "CREATE TABLE visits AS SELECT i AS row_id, 1000 + 3 * (i % 80) AS subject_id FROM range(300) r(i)",
        "CREATE TABLE codes AS SELECT i AS row_id, 'label ' || i AS label FROM range(50) r(i)",
    )
    assert {table: key.columns for table, key in found.items()} == {
        "patients": ("subject_id",), "visits": ("row_id",), "codes": ("row_id",),
    }  # fmt: skip
    assert "1 column refers to it" in found["patients"].evidence
    assert all(key.confidence >= SURE for key in found.values())


@pytest.mark.parametrize("name", ["index", "row_id", "rowid", "row_number", "Unnamed: 0"])
def test_row_numbers_are_keys_where_nothing_else_is(con: duckdb.DuckDBPyConnection, name: str) -> None:
    found = keys(con, f'CREATE TABLE facts AS SELECT i AS "{name}", i % 9 AS level FROM range(200) r(i)')
    assert found["facts"].columns == (name,) and found["facts"].confidence >= SURE


def test_texts_with_spaces_are_keys_if_others_refer_to_them(con: duckdb.DuckDBPyConnection) -> None:
    clubs = "CREATE TABLE clubs AS SELECT 'club of town ' || i AS name, i % 7 AS rank FROM range(30) r(i)"
    assert keys(con, clubs) == {}
    games = "CREATE TABLE games AS SELECT i AS id, 'club of town ' || i % 29 AS home_club FROM range(90) r(i)"
    assert keys(con, games)["clubs"].columns == ("name",)


def test_one_row_for_each_row_of_another_table(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE basics AS SELECT 'tt' || i * 7 AS tconst, i % 50 AS year FROM range(300) r(i)",
        "CREATE TABLE ratings AS SELECT 'tt' || i * 14 AS tconst, i % 9 AS stars FROM range(150) r(i)",
    )
    assert found["ratings"].columns == ("tconst",) and "one row for each row of basics" in found["ratings"].evidence


def test_a_key_of_its_own_is_preferred_to_a_link_that_is_unique(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE orders AS SELECT md5('o' || i) AS order_id, i % 9 AS amount FROM range(300) r(i)",
        """CREATE TABLE order_reviews AS SELECT md5('r' || i) AS review_id, md5('o' || i) AS order_id, i % 5 AS stars
           FROM range(280) r(i)""",
    )
    assert found["order_reviews"].columns == ("review_id",)


def test_a_table_that_only_joins_others_is_known_by_all_of_them(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE films AS SELECT i AS film_id FROM range(200) r(i)",
        "CREATE TABLE genres AS SELECT i AS genre_id FROM range(30) r(i)",
        "CREATE TABLE film_genres AS SELECT i AS film_id, i % 30 AS genre_id FROM range(200) r(i)",
    )
    assert found["film_genres"].columns == ("film_id", "genre_id") and found["film_genres"].confidence >= SURE


def test_columns_that_other_tables_have_too_are_preferred(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE franchises AS SELECT 'F' || i AS franchID FROM range(30) r(i)",
        """CREATE TABLE teams AS SELECT 'F' || t AS franchID, 1990 + y AS yearID, 'T' || t AS teamID, t * y AS wins
           FROM range(25) a(t), range(20) b(y)""",
        """CREATE TABLE salaries AS SELECT i AS id, 1990 + i % 20 AS yearID, 'T' || hash(i) % 25 AS teamID
           FROM range(900) r(i)""",
    )
    assert found["teams"].columns == ("yearID", "teamID") and "salaries has the same columns" in found["teams"].evidence


def test_few_rows_that_are_unique_by_chance_are_no_sure_key(con: duckdb.DuckDBPyConnection) -> None:
    found = keys(
        con,
        "CREATE TABLE customers AS SELECT i AS customer_id FROM range(2000) r(i)",
        "CREATE TABLE products AS SELECT i AS product_id FROM range(2000) r(i)",
        """CREATE TABLE sales AS SELECT i * 7 % 1900 AS customer_id, i * 11 % 1700 AS product_id, i % 3 AS amount
           FROM range(2500) r(i)""",
    )
    assert found["sales"].confidence < SURE and "by chance" in found["sales"].evidence


def test_a_number_that_is_called_so_in_other_tables_is_a_key(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE Studenten AS SELECT 10000 + i * 131 % 90000 AS MatrNr, 'N' || i % 200 AS Nachname
                FROM range(500) r(i);
            CREATE TABLE Pruefungen AS SELECT 10000 + (i * 7 % 500) * 131 % 90000 AS MatrNr, i % 40 AS Kurs,
                i % 5 AS Note FROM range(3000) r(i)"""
    )
    proposal = infer_schema(con)
    assert [(key.table, key.columns, key.confidence >= 0.8) for key in proposal.keys] == [
        ("Studenten", ("MatrNr",), True)
    ]
    assert [str(each.link) for each in proposal.links] == ["Pruefungen(MatrNr) -> Studenten(MatrNr)"]
