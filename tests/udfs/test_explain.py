"""What a row, a column or a table contributes to a score is the score without it, subtracted from the score."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.gather.explain.explanations import LEVELS
from relsql.registry.models import active_card
from relsql.schema.declared.declare import declare_table
from relsql.training.train import train
from tests.odd_data import CHURN, FAST, create_market
from udfs.attach import attach_model
from udfs.macros import explanations

Connection = duckdb.DuckDBPyConnection

KEYS = {
    "shops": "shop_id",
    "customers": "customer_id",
    "products": "product_id",
    "orders": "order_id",
    "lines": "line_id",
}

TIES = """
    UPDATE orders SET ordered_at = date_trunc('month', ordered_at) WHERE order_id % 3 > 0;
    UPDATE orders SET shop_id = 1 + customer_id % 3 WHERE order_id % 2 = 0;
"""
"""Rows of one time, and rows that several paths meet: among the last ones on one, beyond them on another."""

MOMENT = "TIMESTAMP '2022-08-01 00:00:00'"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market with every kind of path, ties, a table without key, and lines with the time of their order."""
    path = tmp_path_factory.mktemp("explained") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con, tables=TIES)
        with transaction(con):
            declare_table(con, current_catalog(con), "lines", time_column="orders.ordered_at")
        train(con, CHURN, name="churn", options=FAST)
    return path


@pytest.fixture
def con(market: Path) -> Iterator[Connection]:
    with relsql.connect(market) as con:
        con.execute("BEGIN")
        yield con


def score(con: Connection, customer: int) -> float:
    [(found,)] = con.execute(f"SELECT predict_churn({customer}, as_of := {MOMENT})").fetchall()
    return float(found)


def explained(con: Connection, customer: int, **options: str) -> list[Any]:
    """Rows (table_name, path, row_key, column_name, value, contribution, logit_contribution, score) in order."""
    given = "".join(f", {name} := {value}" for name, value in ({"top": "NULL"} | options).items())
    columns = "table_name, path, row_key, column_name, value, contribution, logit_contribution, score"
    query = f"SELECT {columns} FROM explain_churn({customer}, as_of := {MOMENT}{given}) ORDER BY rank"
    return con.execute(query).fetchall()


@pytest.mark.parametrize("customer", [3, 20])
def test_a_row_contributes_what_its_deletion_takes_away(con: Connection, customer: int) -> None:
    whole, found = score(con, customer), [row for row in explained(con, customer) if row[3] is None]
    assert {row[0] for row in found} == {*KEYS, "visits"}
    for table, path, key, *_, contribution, _, explained_score in found:
        column = KEYS.get(table, "rowid")
        con.execute(f"DELETE FROM {table} WHERE {column} = {key.removeprefix('row ')}")
        assert contribution == pytest.approx(whole - score(con, customer), abs=1e-6), (table, path, key)
        assert explained_score == pytest.approx(whole, abs=1e-6)
        con.execute("ROLLBACK; BEGIN")


def test_a_table_contributes_what_the_deletion_of_all_its_rows_takes_away(con: Connection) -> None:
    whole, found = score(con, 7), explained(con, 7, level="'table'")
    assert {row[0] for row in found} == {*KEYS, "visits"} - {"customers"}
    for table, *_, contribution, _, _ in found:
        con.execute(f"DELETE FROM {table}")
        assert contribution == pytest.approx(whole - score(con, 7), abs=1e-6), table
        con.execute("ROLLBACK; BEGIN")


def test_a_column_contributes_what_missing_values_take_away(con: Connection) -> None:
    whole = score(con, 7)
    found = {(row[0], row[3]): row for row in explained(con, 7, level="'column'")}
    for table, column in (("orders", "amount"), ("customers", "born"), ("orders", "quantity"), ("visits", "seconds")):
        con.execute(f"UPDATE {table} SET {column} = NULL")
        assert found[table, column][5] == pytest.approx(whole - score(con, 7), abs=1e-6), (table, column)
        con.execute("ROLLBACK; BEGIN")
    assert (found["customers", "grade"][2], found["customers", "grade"][4]) == ("7", "2")
    own = [row for row in explained(con, 7) if row[3] is not None]
    assert sorted(own) == sorted(row for (table, _), row in found.items() if table == "customers")


def test_a_batch_gives_what_single_calls_give(con: Connection) -> None:
    query = f"FROM explain_churn_batch(as_of := {MOMENT}, top := 3) WHERE customer_id IN (3, 7) ORDER BY ALL"
    found = con.execute(query).fetchall()
    single = [f"FROM explain_churn({id}, as_of := {MOMENT}, top := 3)" for id in (3, 7)]
    expected = con.execute(f"{' UNION ALL '.join(single)} ORDER BY ALL").fetchall()
    assert len(found) == 6
    for mine, theirs in zip(found, expected, strict=True):
        assert mine[:7] == theirs[:7]
        assert mine[8:11] == pytest.approx(theirs[8:11], abs=1e-6)
    [(entities, most)] = con.execute(
        f"SELECT count(DISTINCT customer_id), max(rank) FROM explain_churn_batch(as_of := {MOMENT})"
    ).fetchall()
    [(seen,)] = con.execute(f"SELECT count(*) FROM predict_churn_batch(as_of := {MOMENT})").fetchall()
    assert (entities, most) == (seen, 5)


@pytest.mark.parametrize("level", LEVELS)
def test_the_size_of_the_batches_that_pass_the_network_changes_nothing(
    con: Connection, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    whole = explained(con, 20, level=f"'{level}'")
    monkeypatch.setattr("relsql.gather.arrays.left_rows.BATCH", 3)
    parts = explained(con, 20, level=f"'{level}'")
    assert len(whole) >= len(KEYS)
    assert {row[:5]: row[5] for row in parts} == pytest.approx({row[:5]: row[5] for row in whole}, abs=1e-6)


def test_the_scale_of_the_logit(con: Connection) -> None:
    for *_, contribution, on_logit, whole in explained(con, 3):
        less = whole - contribution
        assert on_logit == pytest.approx(math.log(whole / (1 - whole)) - math.log(less / (1 - less)), abs=1e-6)


def test_what_would_change_a_score_is_what_crosses_the_threshold_and_the_smallest_comes_first(con: Connection) -> None:
    everything = explained(con, 3)
    whole = everything[0][7]
    reach = sorted(abs(row[5]) for row in everything)[-3]
    bound = whole - reach * 0.999 * (1 if sum(row[5] > reach for row in everything) else -1)
    found = explained(con, 3, counterfactual="true", threshold=str(bound))
    crossing = [row for row in everything if (row[7] >= bound) != (row[7] - row[5] >= bound)]
    assert sorted(found) == sorted(crossing) and found
    assert [abs(row[5]) for row in found] == sorted(abs(row[5]) for row in found)


def test_without_an_id_or_an_entity_there_is_nothing_to_explain(con: Connection) -> None:
    for id in ("NULL", "-1"):
        assert con.execute(f"FROM explain_churn({id})").fetchall() == []
    with pytest.raises(duckdb.Error, match="level is not one of row, column, table"):
        explained(con, 3, level="'cell'")


def test_the_command_prints_what_the_functions_return(market: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["explain", str(market), *arguments], prog_name="relsql")
        assert result.exit_code == 0, result.output
        return result.stdout

    with relsql.connect(market) as con:
        expected = con.execute("SELECT * FROM explain_churn(7, top := 4) ORDER BY rank").fetchall()
    found = json.loads(run("churn", "7", "--top", "4", "--format", "json"))
    assert [row["contribution"] for row in found] == pytest.approx([row[8] for row in expected], abs=1e-6)
    lines = run("churn", "7", "--top", "4").splitlines()
    assert lines[0].split()[:3] == ["customer_id", "rank", "path"] and len(lines) == 2 + 4
    assert len(run("churn", "--as-of", "2022-08-01", "--top", "1", "--format", "csv").splitlines()) > 10
    wrong = CliRunner().invoke(cli, ["explain", str(market), "churn", "7", "8"], prog_name="relsql")
    assert "one value for each of: customer_id" in wrong.stderr


def test_plain_sql_explains_as_onnx_does(market: Path, tmp_path: Path) -> None:
    published = Path(shutil.copy(market, tmp_path / "published.duckdb"))
    with duckdb.connect(str(published)) as con:
        relsql.publish(con, "churn")
    for level in LEVELS:
        with relsql.connect(market) as con:
            expected = sorted(explained(con, 7, level=f"'{level}'"), key=str)
        with duckdb.connect(str(published)) as con:
            found = sorted(explained(con, 7, level=f"'{level}'"), key=str)
        by_thing = {tuple(row[:5]): row[5:] for row in expected}
        assert {tuple(row[:5]) for row in found} == by_thing.keys() and found
        for row in found:
            assert row[5:] == pytest.approx(by_thing[tuple(row[:5])], abs=1e-5), row


def test_a_model_of_an_earlier_build_is_explained_alike(con: Connection) -> None:
    catalog = current_catalog(con)
    card = active_card(con, catalog, "churn")
    former = {name: digest for name, digest in card.sha256.items() if name != "explained.onnx"}
    assert len(former) == len(card.sha256) - 1
    attach_model(con, catalog, msgspec.structs.replace(card, sha256=former), suffix="earlier")
    columns = "table_name, path, row_key, column_name, value, contribution"
    query = f"SELECT {columns} FROM explain_%s(3, as_of := {MOMENT}, top := NULL) ORDER BY ALL"
    now, before = (con.execute(query.replace("%s", name)).fetchall() for name in ("churn", "earlier"))
    assert [row[:5] for row in now] == [row[:5] for row in before] and len(now) > 20
    assert [row[-1] for row in now] == pytest.approx([row[-1] for row in before], abs=1e-6)


def test_importance_is_the_metric_without_it(market: Path) -> None:
    result = CliRunner().invoke(cli, ["importance", str(market), "churn", "--json"], prog_name="relsql")
    assert result.exit_code == 0, result.output
    found = {(each["table"], each["column"]): each for each in json.loads(result.stdout)}
    assert {table for table, column in found if column is None} == {*KEYS, "visits"} - {"customers"}
    for each in found.values():
        assert each["gain"] == pytest.approx(each["whole"] - each["without"])
        assert each["interval"][0] <= each["gain"] <= each["interval"][1]
    with relsql.connect(market) as con:
        con.execute("BEGIN; DELETE FROM visits")
        metrics = relsql.evaluate(con, "churn", "val").metrics
    assert found["visits", None]["without"] == pytest.approx(metrics["roc_auc"], abs=1e-6)


def test_scores_of_one_entity_at_two_moments_are_ranked_apart(con: Connection) -> None:
    seeds = "SELECT 1 AS _entity, unnest([TIMESTAMP '2021-03-01', TIMESTAMP '2021-04-01']) AS _as_of"
    card = active_card(con, current_catalog(con), "churn")
    query = explanations(card, current_catalog(con)).query(seeds, "table")
    ranks = con.execute(f"SELECT as_of, list(rank ORDER BY rank ASC) FROM ({query}) GROUP BY as_of").fetchall()
    assert len(ranks) == 2 and all(found == list(range(1, len(found) + 1)) for _, found in ranks)
