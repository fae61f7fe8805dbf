"""Data that leave little or nothing to learn from: training ends, scores are numbers in range, and plain SQL has them.

What each case takes away from the shop must never become NaN: a deviation of 0, a mean over no rows, a class without
labels in some fold.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

pytest.importorskip("torch")

import relsql
from relsql.database.names import current_catalog
from relsql.errors import TrainingError
from relsql.registry.models import read_models
from relsql.schema.declared.declare import declare_link
from relsql.schema.tables import Link
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import QUICK, SPEND_TASK, TASK, create_shop, train_quickly

CASES = {
    "constant numbers": "UPDATE orders SET amount = 7",
    "missing numbers": "UPDATE orders SET amount = NULL",
    "infinite numbers": "UPDATE orders SET amount = 'infinity'",
    "huge numbers": "UPDATE orders SET amount = 1e300 * amount",
    "all categories rare": "ALTER TABLE orders ADD COLUMN kind VARCHAR; UPDATE orders SET kind = md5(order_id || '')",
    "one category": "ALTER TABLE orders ADD COLUMN kind VARCHAR; UPDATE orders SET kind = 'only one'",
    "all texts equal": "UPDATE orders SET note = 'same'",
    "no texts": "UPDATE orders SET note = NULL",
    "a hub with one row": "ALTER TABLE orders ADD COLUMN kiosk INTEGER; UPDATE orders SET kiosk = 1 WHERE order_id = 7",
    "hubs without rows": "ALTER TABLE orders ADD COLUMN kiosk INTEGER",
    "a path without rows": "CREATE TABLE visits (visit_id BIGINT PRIMARY KEY, "
    "customer_id BIGINT REFERENCES customers (customer_id), seen_at TIMESTAMP)",
}


@pytest.mark.parametrize("case", CASES)
def test_scores_are_numbers_in_range_and_plain_sql_has_them(tmp_path: Path, case: str) -> None:
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        con.execute(CASES[case])
        if "hub" in case:
            declare_link(con, "shop", Link("orders", ("kiosk",), "shops", ("shop_id",)))
        train_quickly(con, "churn", TASK.name)
        relsql.publish(con, "churn")
        published = dict(con.execute("SELECT customer_id, predict_churn(customer_id) FROM customers").fetchall())
    with relsql.connect(path) as con:
        scores = dict(con.execute("SELECT customer_id, predict_churn(customer_id) FROM customers").fetchall())
    assert len(scores) == 60
    assert all(score is not None and 0 <= score <= 1 for score in scores.values())
    assert all(math.isclose(score, published[customer], abs_tol=1e-5) for customer, score in scores.items())


@pytest.mark.parametrize("task", [TASK, SPEND_TASK], ids=["churn", "spend"])
def test_few_labels_are_enough_for_finite_scores_and_a_warning(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    sql = task.sql.replace("GROUP BY ALL", "WHERE a.customer_id < 12 AND month(t.timestamp) IN (6, 7, 9) GROUP BY ALL")
    with duckdb.connect(str(path)) as con:
        model = train(con, replace(task, name="few", sql=sql), name="few", options=QUICK)
        assert any("labels" in str(finding) for finding in model.findings)
        assert all(math.isfinite(value) for value in model.metrics.values())
    with relsql.connect(path) as con:
        scores = [score for (score,) in con.execute("SELECT predict_few(customer_id) FROM customers").fetchall()]
    assert len(scores) == 60 and all(score is not None and math.isfinite(score) for score in scores)


def test_training_that_diverges_stores_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        with pytest.raises(TrainingError, match="training loss is .* --learning-rate"):
            train(con, TASK, name="churn", options=replace(QUICK, learning_rate=1e30, epochs=6))
        assert not read_models(con, current_catalog(con))
