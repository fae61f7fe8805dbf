"""Names of columns that suggest a parent: both names, roles, abbreviations, prefixes; and those that only seem to."""

from __future__ import annotations

import re

import duckdb
import pytest

from relsql.schema.discovery.names import abbreviation_match, is_key_name, is_row_number, role_match, table_words, words
from relsql.schema.discovery.propose import SURE, infer_schema


def keys(table: str, column: str, rows: int, step: int = 7) -> str:
    return f"CREATE TABLE {table} AS SELECT 1000 + {step} * i AS {column}, i % 9 AS level FROM range({rows}) r(i)"


def child(table: str, column: str, keys_used: int, step: int = 7) -> str:
    value = f"1000 + {step} * (hash(i) % {keys_used})::INTEGER"
    return f"CREATE TABLE {table} AS SELECT {value} AS {column}, i % 40 AS points FROM range(900) r(i)"


def sure_links(con: duckdb.DuckDBPyConnection, *statements: str) -> set[str]:
    for statement in statements:
        con.execute(statement)
    return {str(each.link) for each in infer_schema(con).links if each.confidence >= SURE}


@pytest.mark.parametrize(
    ("parent", "key", "column"),
    [
        ("raw_items", "sku", "item_sku"),
        ("codes", "row_id", "code_row"),
        ("players", "player_id", "captain"),
        ("staff", "staff_id", "manager_id"),
        ("departments", "id", "dept_id"),
        ("accounts", "id", "acct_id"),
        ("date_dim", "date_sk", "sold_date_sk"),
        ("movies", "id", "movieId"),
        ("districts", "A1", "district_id"),
        ("people", "id", "pid"),
        ("teams", "id", "home"),
    ],
)
def test_a_name_that_suggests_its_parent(con: duckdb.DuckDBPyConnection, parent: str, key: str, column: str) -> None:
    first = f"CREATE TABLE {parent} AS SELECT i AS {key}, i % 9 AS level FROM range(1, 61) r(i)"
    second = (
        f"CREATE TABLE notes AS SELECT 1 + (hash(i) % 60)::INTEGER AS {column}, i % 40 AS points FROM range(900) r(i)"
    )
    assert sure_links(con, first, second) == {f"notes({column}) -> {parent}({key})"}


def test_an_abbreviation_with_a_rival_is_not_sure(con: duckdb.DuckDBPyConnection) -> None:
    tables = keys("people", "id", 60), keys("places", "id", 60), child("notes", "pid", 60)
    assert sure_links(con, *tables) == set()
    [proposed] = [each for each in infer_schema(con).links if each.link.child == "notes"]
    assert "would fit as well" in proposed.evidence


@pytest.mark.parametrize("used", [20, 61])
def test_initials_need_values_that_cover_the_keys(con: duckdb.DuckDBPyConnection, used: int) -> None:
    assert sure_links(con, keys("people", "id", 60, 1), child("notes", "pid", used, 1)) == set()


@pytest.mark.parametrize("column", ["home", "captain"])
def test_a_flag_with_the_name_of_a_role_is_no_link(con: duckdb.DuckDBPyConnection, column: str) -> None:
    parents = [f"CREATE TABLE {name} AS SELECT i AS id FROM range(60) r(i)" for name in ("teams", "players")]
    flags = f"CREATE TABLE games AS SELECT i + 5000 AS game_id, i % 2 AS {column} FROM range(900) r(i)"
    assert sure_links(con, *parents, flags) == set()


def test_a_first_number_is_a_key_only_for_links_that_have_the_name_of_its_table(con: duckdb.DuckDBPyConnection) -> None:
    first = "CREATE TABLE districts AS SELECT i AS A1, i % 7 AS A2 FROM range(1, 61) r(i)"
    second = "CREATE TABLE notes AS SELECT 1 + i % 60 AS A1, i % 40 AS points FROM range(900) r(i)"
    assert sure_links(con, first, second) == set()
    assert not infer_schema(con).keys


def test_a_repeated_name_is_no_link_beside_the_key(con: duckdb.DuckDBPyConnection) -> None:
    links = sure_links(
        con,
        "CREATE TABLE customers AS SELECT i AS customer_id, 'Name ' || i AS name FROM range(1, 61) r(i)",
        """CREATE TABLE orders AS SELECT i AS order_id, 1 + i % 60 AS customer_id,
           'Name ' || (1 + i % 60) AS customer_name FROM range(900) r(i)""",
    )
    assert links == {"orders(customer_id) -> customers(customer_id)"}


def test_a_text_that_is_repeated_under_a_longer_name_is_no_link(con: duckdb.DuckDBPyConnection) -> None:
    links = sure_links(
        con,
        "CREATE TABLE customers AS SELECT i AS customer_id, 'Long Street ' || i AS address FROM range(1, 61) r(i)",
        """CREATE TABLE orders AS SELECT i AS order_id, 1 + i % 60 AS customer_id,
           'Long Street ' || (1 + i % 60) AS ship_address FROM range(900) r(i)""",
    )
    assert links == {"orders(customer_id) -> customers(customer_id)"}


def test_abbreviations() -> None:
    assert abbreviation_match("dept_id", ("department",)) == abbreviation_match("ACCT_KEY", ("account",)) == 0.75
    assert abbreviation_match("po_id", ("purchase", "order")) == 0.75
    assert abbreviation_match("pid", ("person",)) == 0.6
    # A vowel needs the letter before it; numbers, plain words and columns without the name of a key abbreviate nothing.
    for column, table in (("cat_id", "contract"), ("dept_no", "department"), ("dept", "department"), ("bid", "bidder")):
        assert abbreviation_match(column, (table,)) == 0.0


def test_roles() -> None:
    assert role_match("captain", ("player",)) == role_match("store_manager_id", ("employee",)) == 0.85
    assert role_match("captain", ("team",)) == role_match("player", ("captain",)) == role_match("id", ("staff",)) == 0.0


def test_words_of_names() -> None:
    assert [words(each) for each in ("movies", "cities", "buses", "houses", "diagnoses")] == [
        ("movie",), ("city",), ("bus",), ("house",), ("diagnosis",),
    ]  # fmt: skip
    assert table_words("date_dim") == table_words("dim_date") == ("date",)
    assert is_key_name("driverid") and not is_key_name("paid") and not is_key_name("valid")
    assert is_row_number("row_id") and not is_row_number("code_row")


def test_evidence_says_what_it_counts(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE TABLE titles AS SELECT 'tt' || i AS tconst, DATE '2020-01-01' + i::INTEGER AS day FROM range(600) r(i);
        CREATE TABLE casts AS SELECT 'tt' || i * 5 // 7 AS tconst, 1 + i * 5 % 7 // 5 AS ordering FROM range(800) r(i);
        """
    )
    proposal = infer_schema(con)
    assert re.search(r"about 1\.[2-5] rows per key", proposal.links[0].evidence)
    assert {each.table: each.evidence for each in proposal.keys}["titles"] == (
        "unique and never NULL in 600 rows, 1 column refers to it"
    )
    [header] = [each.evidence for each in proposal.times if each.table == "casts"]
    assert header.startswith("the time of its row of titles, because ")


def test_of_a_table_and_those_that_extend_it_the_main_one_is_the_parent(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """
        CREATE TABLE name_basics AS SELECT 'nm' || (10000 + 7 * i) AS nconst, i % 9 AS born FROM range(600) r(i);
        CREATE TABLE title_basics AS SELECT 'tt' || (10000 + 7 * i) AS tconst, i % 90 AS kind FROM range(600) r(i);
        CREATE TABLE title_crew AS SELECT tconst, 'P ' || hash(tconst) % 70 AS director FROM title_basics;
        CREATE TABLE title_episode AS SELECT 'tt' || (10000 + 7 * i) AS tconst, i % 9 AS season,
            'tt' || (10000 + 7 * (400 + i % 200)) AS parentTconst FROM range(400) r(i);
        CREATE TABLE title_akas AS SELECT 'tt' || (10000 + 7 * i) AS titleId, o AS ordering
            FROM range(400) r(i), range(3) q(o);
        """
    )
    assert sure_links(con) == {
        "title_crew(tconst) -> title_basics(tconst)",
        "title_episode(tconst) -> title_basics(tconst)",
        "title_episode(parentTconst) -> title_basics(tconst)",
        "title_akas(titleId) -> title_basics(tconst)",
    }
