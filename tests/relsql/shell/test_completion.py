"""Completion with Tab."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from relsql.shell.completion import Names, read_names, suggest
from udfs.attach import attach


@pytest.fixture(scope="module")
def names(shop_with_model: Path) -> Names:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{shop_with_model}' AS shop (READ_ONLY); USE shop")
        con.execute('CREATE TEMP TABLE "my orders" ("Order No" INTEGER, "select" INTEGER, driverId INTEGER)')
        attach(con)
        return read_names(con)


def texts(before: str, names: Names, after: str = "") -> list[str]:
    return [suggestion.text for suggestion in suggest(before, after, names)]


def test_tables_follow_from(names: Names) -> None:
    models = {"predict_churn_batch(", "explain_churn(", "explain_churn_batch("}
    assert {"customers", "orders", "shops", '"my orders"'} | models == set(texts("SELECT * FROM ", names))
    assert texts("select * from orders o join cust", names) == ["customers"]


def test_columns_of_the_named_tables_come_first(names: Names) -> None:
    assert texts("SELECT ", names, " FROM orders")[:2] == ["order_id", "customer_id"]
    assert texts("SELECT * FROM customers WHERE b", names)[0] == "born"


@pytest.mark.parametrize("before", ["SELECT o.a", "SELECT orders.a", 'SELECT "orders".a', "SELECT O.A"])
def test_columns_follow_their_table_or_its_alias(before: str, names: Names) -> None:
    assert texts(before, names, " FROM customers AS c, orders AS o") == ["amount"]


def test_tables_follow_their_schema(names: Names) -> None:
    assert texts("FROM main.sh", names) == ["shops"]
    assert "models" in texts("FROM relsql.", names)


def test_models_are_functions_and_what_relsql_calls_inside_is_not_offered(names: Names) -> None:
    assert texts("SELECT predict_", names) == ["predict_churn(", "predict_churn_batch(", "predict_churn_full("]
    assert not [text for text in texts("SELECT relsql_", names) if "encode_churn" not in text]


def test_keywords_keep_the_case_that_was_begun(names: Names) -> None:
    assert "SELECT" in texts("SEL", names)
    assert "select" in texts("sel", names)


def test_names_are_quoted_where_sql_needs_it(names: Names) -> None:
    assert texts('FROM "my', names) == ['"my orders"']
    assert texts('SELECT "my orders".', names, ' FROM "my orders"') == ['"Order No"', '"select"', "driverId"]


def test_completion_takes_the_place_of_what_was_typed(names: Names) -> None:
    (suggestion,) = suggest("SELECT * FROM shops WHERE ci", "", names)
    assert (suggestion.text, suggestion.length, suggestion.kind) == ("city", 2, "column")


def test_nothing_is_offered_for_a_name_that_is_new(names: Names) -> None:
    assert texts("SELECT zzz", names) == []
