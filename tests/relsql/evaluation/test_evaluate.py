"""What a regression predicts, from the task to the functions that users call, on skewed sums."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli as main
from relsql.cli.inspection import inspect, render_text
from relsql.schema.declared.declare import declare_table
from tests.shop import QUICK, SPEND_TASK, TASK, create_shop, rewrite_card

# Each order is log-normal (deviation 1.2), and half of the labels are 0.
NORMAL = (
    "sqrt(-2 * ln((hash(order_id, 1) % 1000000 + 1) / 1000001)) * cos(2 * pi() * (hash(order_id, 2) % 1000) / 1000)"
)
SKEWED = f"UPDATE orders SET amount = exp(3 + (customer_id % 5 - 2) / 2 + 1.2 * {NORMAL})"
OPTIONS = relsql.TrainOptions(encoder_steps=2, fanout=4, channels=16, epochs=6, batch_size=64, threads=1)
TARGETS = {"spend_mean": "mean", "spend_median": "median", "spend_high": "quantile(0.9)"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with skewed amounts, and a model of each target for the sum that a customer spends."""
    path = tmp_path_factory.mktemp("targets") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        con.execute(SKEWED)
        for name, target in TARGETS.items():
            relsql.train(con, replace(SPEND_TASK, name=name, target=target), name=name, options=OPTIONS)
    return path


@pytest.fixture
def con(trained: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with relsql.connect(Path(shutil.copy(trained, tmp_path / "shop.duckdb"))) as con:
        yield con


def test_means_add_up_to_the_labels_of_validation_and_medians_do_not(con: duckdb.DuckDBPyConnection) -> None:
    found = {target: relsql.evaluate(con, name, "val") for name, target in TARGETS.items()}
    assert {target: result.target for target, result in found.items()} == {target: target for target in found}
    metrics = {target: result.metrics for target, result in found.items()}
    assert metrics["mean"]["sum_ratio"] == pytest.approx(1, abs=0.05)
    assert metrics["median"]["mean_score"] < 0.6 * metrics["median"]["mean_label"]
    assert metrics["median"]["mae"] < metrics["mean"]["mae"]
    assert metrics["quantile(0.9)"]["coverage"] == pytest.approx(0.9, abs=0.1)
    assert [next(iter(each)) for each in metrics.values()] == ["rmse", "mae", "pinball"]


def test_training_chooses_by_the_metric_of_the_target(con: duckdb.DuckDBPyConnection) -> None:
    rows = con.execute("SELECT name, metrics FROM relsql.models").fetchall()
    first = {name: next(iter(json.loads(metrics))) for name, metrics in rows}
    assert first == {"spend_mean": "val_rmse", "spend_median": "val_mae", "spend_high": "val_pinball"}


@pytest.mark.parametrize("name", TARGETS)
def test_the_full_form_names_the_target_attached_and_in_plain_sql(con: duckdb.DuckDBPyConnection, name: str) -> None:
    query = f"SELECT customer_id, predict_{name}_full(customer_id) FROM customers ORDER BY customer_id"
    attached: list[tuple[int, dict[str, Any]]] = con.execute(query).fetchall()
    assert list(attached[0][1])[:6] == ["score", "status", "evidence", "as_of", "version", "target"]
    for _, full in attached:
        assert 0 <= full["low"] <= max(full["score"], 0) <= full["high"] and full["label"] is None
    assert any(full["low"] < full["high"] for _, full in attached)
    assert {full["target"] for _, full in attached} == {TARGETS[name]}
    done = relsql.publish(con, name)
    assert done.parity is not None and done.parity.largest <= 1e-5
    relsql.detach(con)
    plain = con.execute(query).fetchall()
    for (_, one), (_, other) in zip(attached, plain, strict=True):
        # An end is the score plus or minus a number, so it differs by as much as the score.
        near = max(1e-3, 1e-4 * abs(one["score"]))
        close = {field: pytest.approx(one[field], rel=1e-4, abs=near) for field in ("score", "low", "high")}
        assert other == one | close
    assert con.execute(f"SELECT predict_{name}_full(NULL)").fetchall() == [(None,)]


def test_models_and_inspect_name_the_target(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    text = render_text(inspect(con, "shop"))
    con.close()
    listed = CliRunner().invoke(main, ["models", str(tmp_path / "shop.duckdb")]).output
    for name, target in TARGETS.items():
        [line] = [line for line in listed.splitlines() if line.startswith(name)]
        assert target in line
        assert any(name in line and target in line for line in text.splitlines())


def test_a_card_without_a_target_predicts_medians(con: duckdb.DuckDBPyConnection) -> None:
    """So are the cards of earlier builds."""
    [(text,)] = con.execute("SELECT card FROM relsql.models WHERE name = 'spend_median'").fetchall()
    card = json.loads(text)
    del card["task"]["target"]
    before = con.execute("SELECT predict_spend_median_full(7)").fetchall()
    rewrite_card(con, json.dumps(card), "name = 'spend_median'")
    relsql.attach(con, models=["spend_median"])
    assert con.execute("SELECT predict_spend_median_full(7)").fetchall() == before
    assert before[0][0]["target"] == "median"


def test_a_frozen_copy_has_the_columns_that_times_are_computed_from(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("ALTER TABLE orders ADD COLUMN entered DATE")
        con.execute("UPDATE orders SET entered = ordered_at + to_days((order_id % 20)::INTEGER)")
        declare_table(con, "shop", "orders", time_column="ordered_at", known_column="entered")
        hidden = replace(TASK, remove_columns=(("orders", "entered"),))
        relsql.train(con, hidden, name="m", options=replace(QUICK, regime="frozen"))
        assert relsql.evaluate(con, "m").rows > 10
