"""A leak check finds planted leaks of every kind, and none where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relsql.cli import cli
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.evaluation.leaks.changes import Change, How, Kept, changed_database
from relsql.evaluation.leaks.leakcheck import DEFAULT_SEEDS, QUICK_SEEDS, LeakCheck, leakcheck
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.schema.reading import read_schema
from relsql.schema.tables import Table
from relsql.schema.visibility import and_visible_sql
from relsql.sql_text import ident, literal
from tests.odd_data import CHURN, create_market
from tests.shop import TASK, contents, create_shop

SEEDS = 100


@pytest.fixture
def market(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    create_market(con)
    return con


def leaks(found: LeakCheck) -> set[tuple[str, str, str | None]]:
    """What leaks or looks like it: check, table, column."""
    return {(row.check, row.table, row.column) for row in found.rows if row.verdict != "ok"}


def test_a_clean_database_passes_and_every_timed_table_was_tried(market: duckdb.DuckDBPyConnection) -> None:
    before = contents(market)
    found = leakcheck(market, CHURN, seeds=SEEDS)
    assert leaks(found) == set() and found.clean
    tried = {row.table for row in found.rows if row.check == "features, later rows garbled" and row.seeds > SEEDS // 4}
    assert tried == {"customers", "products", "orders", "lines", "visits"}
    assert contents(market) == before


def test_a_model_is_checked_by_its_scores_too(shop_with_model: Path) -> None:
    with open_database(shop_with_model, read_only=True) as con:
        found = leakcheck(con, "churn", seeds=SEEDS)
    assert found.clean and found.subject == "model churn version 1"
    assert {row.check for row in found.rows if row.seeds} >= {
        "scores, later rows deleted",
        "scores, later rows garbled",
        "labels, rows after the window deleted",
    }


def test_a_gather_that_reads_later_rows_is_found_and_the_table_is_named(
    market: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_but_visits(table: Table, row: str, end: str) -> str:
        return "" if table.key == "visits" else and_visible_sql(table, row, end)

    monkeypatch.setattr("relsql.gather.sql.latest_rows.and_visible_sql", all_but_visits)
    found = leakcheck(market, CHURN, seeds=SEEDS)
    assert leaks(found) == {(f"features, later rows {how}", "visits", None) for how in ("deleted", "garbled")}


def test_a_table_declared_without_its_time_is_found(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(
            """CREATE TABLE complaints AS SELECT order_id AS complaint_id, customer_id, amount AS damage,
               ordered_at + INTERVAL 3 DAY AS filed_at FROM orders WHERE order_id % 2 = 0"""
        )
        catalog = current_catalog(con)
        declare_table(con, catalog, "complaints", primary_key=("complaint_id",), time_column="")
        declare_link(con, catalog, parse_link("complaints(customer_id) -> customers"))
        found = leakcheck(con, TASK, seeds=SEEDS)
        late = ("features, rows later by another time", "complaints", "filed_at")
        assert late in leaks(found)
        quick = leakcheck(con, TASK, quick=True)
        assert leaks(quick) == {late} and len(quick.moments) == 1
        assert max(row.seeds for row in quick.rows if row.check.startswith("features")) <= QUICK_SEEDS
        declare_table(con, catalog, "complaints", primary_key=("complaint_id",), time_column="filed_at")
        assert leaks(leakcheck(con, TASK, seeds=SEEDS)) == set()


def test_a_column_that_is_filled_in_later_is_found(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("ALTER TABLE orders ADD COLUMN returned_at TIMESTAMP")
        con.execute(
            """UPDATE orders SET returned_at = ordered_at + to_days((2 + order_id * 37 % 400)::INTEGER)
               WHERE order_id % 3 = 0"""
        )
        found = leakcheck(con, TASK, seeds=SEEDS)
        assert ("features, column filled in later", "orders", "returned_at") in leaks(found)
        hidden = replace(TASK, remove_columns=(("orders", "returned_at"),))
        assert leaks(leakcheck(con, hidden, seeds=SEEDS)) == set()


def test_a_copy_of_the_answer_is_found(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("ALTER TABLE customers ADD COLUMN status VARCHAR")
        con.execute(
            f"""UPDATE customers SET status = CASE WHEN churned = 1 THEN 'left' ELSE 'here' END FROM (
                WITH timestamps AS (SELECT TIMESTAMP '2022-08-02' AS timestamp) {TASK.label_sql}) l
                WHERE l.customer_id = customers.customer_id"""
        )
        assert ("column predicts the labels", "customers", "status") in leaks(leakcheck(con, TASK, seeds=SEEDS))


@pytest.mark.parametrize("bound", ["", " AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}' * 2"])
def test_a_label_query_that_looks_beyond_its_window_is_found(tmp_path: Path, bound: str) -> None:
    create_shop(tmp_path / "shop.duckdb")
    wide = TASK.sql.replace(" AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}'", bound)
    assert wide != TASK.sql
    with open_database(tmp_path / "shop.duckdb", read_only=True) as con:
        for options in ({"seeds": 4}, {"quick": True}):
            found = leakcheck(con, replace(TASK, sql=wide), **options)
            assert leaks(found) == {("labels, rows after the window deleted", "orders", None)}


def test_a_second_clock_shows_rows_that_became_known_too_late(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("ALTER TABLE orders ADD COLUMN entered DATE")
        con.execute("UPDATE orders SET entered = ordered_at + to_days((order_id % 20)::INTEGER)")
        found = leakcheck(con, TASK, seeds=SEEDS, known_columns=["orders(entered)"])
        assert ("features, rows later by another time", "orders", "entered") in leaks(found)
        declare_table(con, current_catalog(con), "orders", time_column="ordered_at", known_column="entered")
        hidden = replace(TASK, remove_columns=(("orders", "entered"),))

        assert leaks(leakcheck(con, hidden, seeds=SEEDS)) == set()


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_command_ends_with_1_if_something_leaks(tmp_path: Path, form: str) -> None:
    create_shop(tmp_path / "shop.duckdb")
    arguments = ["leakcheck", str(tmp_path / "shop.duckdb"), TASK.name, "--seeds", "40", "--format", form]
    clean = CliRunner().invoke(cli, arguments)
    assert (clean.exit_code, clean.stderr.count("nothing leaks")) == (0, 1)
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("UPDATE relsql.tasks SET sql = replace(sql, '{timedelta}', '90 days')")
    wide = CliRunner().invoke(cli, arguments)
    assert wide.exit_code == 1
    assert "leak: orders: the label query reads rows after as_of + horizon" in wide.stderr
    if form == "json":
        assert {row["verdict"] for row in json.loads(wide.stdout)["rows"]} == {"ok", "leak"}


def test_the_command_names_the_defaults_of_the_function() -> None:
    shown = " ".join(CliRunner().invoke(cli, ["leakcheck", "--help"]).stdout.split())
    assert f"Default: {DEFAULT_SEEDS}; with --quick {QUICK_SEEDS}." in shown


@pytest.fixture(scope="module")
def large_market() -> Iterator[duckdb.DuckDBPyConnection]:
    """A market that examples share, because they only read it."""
    with duckdb.connect() as con:
        create_market(con)
        yield con


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.datetimes(datetime(2020, 12, 1), datetime(2023, 2, 1)), how=st.sampled_from(["deleted", "garbled"]))
def test_a_changed_copy_keeps_the_past_and_only_the_past(
    large_market: duckdb.DuckDBPyConnection, moment: datetime, how: How
) -> None:
    con, schema = large_market, read_schema(large_market)
    change = Change(how, {table.key: Kept.until(table, moment) for table in schema.timed_tables})
    with changed_database(con, "memory", schema, change) as copy:
        for table in schema.tables.values():
            past = f"{ident(table.time_column)} <= {literal(moment)}" if table.time_column else "true"
            ours, theirs = (rows(con, table.sql(place), past) for place in ("memory", copy))
            assert ours == theirs
            later, others = (rows(con, table.sql(place), f"NOT ({past})") for place in ("memory", copy))
            assert len(others) == (0 if how == "deleted" else len(later))
            assert not later or later != others


def rows(con: duckdb.DuckDBPyConnection, table: str, where: str) -> list[tuple[object, ...]]:
    return con.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {table} WHERE {where} ORDER BY ALL ASC").fetchall()
