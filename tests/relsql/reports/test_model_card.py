"""The card of a model: what it says about its data, and that no name in it becomes markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import markdown
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import relsql
from relsql.cli import cli
from relsql.reports.card_pages import card_html
from relsql.reports.model_card import Card, model_card
from relsql.schema.finding import Finding
from tests.relsql.reports.hostile import HOSTILE, require_harmless


@pytest.fixture
def con(shop: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(shop)) as connection:
        yield connection


@pytest.fixture(scope="module")
def card(shop_with_model: Path) -> Card:
    with duckdb.connect(str(shop_with_model), read_only=True) as connection:
        return model_card(connection, "churn")


def test_it_says_what_was_asked_and_of_which_data(con: duckdb.DuckDBPyConnection, card: Card) -> None:
    asked = "how probable is it that churned is 1, in the 30 days after the moment of the question?"
    assert card.question == f"For each row of customers: {asked}"
    assert (card.model, card.version, card.status, card.entity) == ("churn", 1, "active", "customers(customer_id)")
    [times] = con.execute("SELECT count(*), min(ordered_at)::VARCHAR, max(ordered_at)::VARCHAR FROM orders").fetchall()
    data = {table.name: (table.rows, table.first, table.last) for table in card.tables}
    assert data == {"shops": (3, None, None), "customers": (60, None, None), "orders": times}
    assert "No label from 2022-11-01 on was used in training." in " ".join(card.limits)


def test_its_metric_is_that_of_the_registry(con: duckdb.DuckDBPyConnection, card: Card) -> None:
    [(metrics,)] = con.execute("SELECT metrics FROM relsql.models").fetchall()
    stored = json.loads(metrics)
    assert card.metrics["val_roc_auc"] == stored["val_roc_auc"]
    assert card.intervals["val_roc_auc"] == (stored["val_roc_auc_low"], stored["val_roc_auc_high"])
    assert not any(name.endswith("_low") for name in card.metrics)


def test_a_digest_changes_with_a_row_and_not_with_the_order_of_rows(con: duckdb.DuckDBPyConnection, card: Card) -> None:
    def digests() -> dict[str, str | None]:
        return {table.name: table.sha256 for table in model_card(con, "churn").tables}

    before = {table.name: table.sha256 for table in card.tables}
    assert digests() == before
    con.execute("BEGIN; CREATE TEMP TABLE kept AS FROM orders; DELETE FROM orders; ")
    con.execute("INSERT INTO orders FROM kept ORDER BY amount DESC; COMMIT")
    assert digests() == before
    con.execute("UPDATE orders SET note = 'gift!' WHERE order_id = 7")
    after = digests()
    assert after["orders"] != before["orders"]
    assert {**after, "orders": None} == {**before, "orders": None}
    assert model_card(con, "churn").data_sha256 != card.data_sha256


def test_a_table_that_is_gone_is_said_to_be_gone(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("DROP TABLE orders")
    card = model_card(con, "churn")
    assert {table.name: table.rows for table in card.tables} == {"shops": 3, "customers": 60, "orders": None}
    assert card.data_sha256 is None
    assert "| orders | cannot be read |" in card.markdown()


def test_the_command_prints_markdown_or_json(shop: Path) -> None:
    run = CliRunner()
    text = run.invoke(cli, ["card", str(shop), "churn"])
    assert (text.exit_code, text.stdout.splitlines()[0]) == (0, "# Model churn, version 1")
    read = json.loads(run.invoke(cli, ["card", str(shop), "churn@1", "--json"]).stdout)
    assert read["functions"][0] == "predict_churn_v1" and len(read["tables"][0]["sha256"]) == 64
    assert run.invoke(cli, ["card", str(shop), "chrun"]).exit_code == 1


def test_a_notebook_shows_it(shop: Path) -> None:
    with relsql.connect(shop) as connection:
        assert "<h3>Limits</h3>" in relsql.model_card(connection, "churn")._repr_html_()


@given(HOSTILE, st.sampled_from(["model", "question", "label_sql", "paths", "table", "metric", "finding"]))
def test_no_name_becomes_markup(card: Card, name: str, place: str) -> None:
    changed = {
        "paths": {"paths": (name,)},
        "table": {"tables": (replace(card.tables[0], name=name, time=name),)},
        "metric": {"metrics": {name: 1.0}},
        "finding": {"findings": (Finding("warning", name, name),)},
    }.get(place, {place: name})
    hostile = replace(card, **changed)
    require_harmless(card_html(hostile), card_html(card))
    require_harmless(markdown.markdown(hostile.markdown(), extensions=["tables", "fenced_code"]), None)
