"""Columns that copy the label, and columns that a model wrote, in training and evaluation."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli
from relsql.database.connections import transaction
from relsql.evaluation.copied_labels import copied_labels
from relsql.evaluation.doubts import trained_on
from relsql.evaluation.evaluate import evaluate
from relsql.gather.arrays.blocks import SeedSet
from relsql.registry.models import read_card
from relsql.registry.runs import Run, recorded_findings
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.finding import Finding
from relsql.schema.tables import Link
from relsql.scoring.score_table import score_into
from relsql.tasks.task import Task
from relsql.training.data import gather_labels, training_labels
from relsql.training.plan import Plan, make_plan
from tests.shop import QUICK, SPEND_TASK, TASK, create_shop, train_quickly

Connection = duckdb.DuckDBPyConnection
LATEST = datetime.datetime(2022, 8, 2)
"""The latest training timestamp of the shop's tasks."""


@pytest.fixture
def con(tmp_path: Path) -> Iterator[Connection]:
    create_shop(tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        yield con


def planned(con: Connection, task: Task) -> tuple[Plan, SeedSet]:
    plan = make_plan(con, "shop", task, fanout=4)
    labels = training_labels(con, "shop", plan, regime="seed-time", density=1, seed=0)
    with con.cursor() as cursor:
        _, seeds = gather_labels(cursor, "shop", plan, labels, Run("m", task.name))
    return plan, seeds["train"]


def copied_columns(plan: Plan, seeds: SeedSet) -> tuple[Finding, ...]:
    return copied_labels(plan.task, plan.schema, plan.layouts, seeds)


def copied(con: Connection, task: Task) -> list[str]:
    return [finding.object for finding in copied_columns(*planned(con, task))]


BUYS = """EXISTS (FROM orders o WHERE o.customer_id = customers.customer_id AND o.ordered_at > '2022-08-02'
                  AND o.ordered_at <= '2022-09-01')"""


def test_no_column_of_the_shop_gives_the_label_away(con: Connection) -> None:
    assert copied(con, TASK) == []
    assert copied(con, SPEND_TASK) == []


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("BOOLEAN", BUYS),
        ("VARCHAR", f"CASE WHEN {BUYS} THEN 'active' ELSE 'gone' END"),
        ("INTEGER", f"CASE WHEN {BUYS} THEN 3 ELSE 7 END"),
        ("DOUBLE", f"CASE WHEN {BUYS} THEN 1 ELSE 0 END + hash(customer_id) % 100 / 1000"),
    ],
)
def test_a_copied_label_is_found(con: Connection, type_: str, value: str) -> None:
    """The copy is of the labels of one timestamp, as it is when somebody fills in a column once."""
    con.execute(f"ALTER TABLE customers ADD COLUMN outcome {type_}; UPDATE customers SET outcome = {value}")
    assert copied(con, TASK) == ["customers(outcome)"]
    assert copied(con, replace(TASK, remove_columns=(("customers", "outcome"),))) == []


def test_a_copied_number_is_found(con: Connection) -> None:
    con.execute(
        """ALTER TABLE customers ADD COLUMN total DOUBLE;
           UPDATE customers SET total = coalesce((SELECT sum(amount) * 1.19 FROM orders o
               WHERE o.customer_id = customers.customer_id AND o.ordered_at > '2022-08-02'
                 AND o.ordered_at <= '2022-09-01'), 0)"""
    )
    assert copied(con, SPEND_TASK) == ["customers(total)"]


def test_a_copy_in_the_latest_row_of_a_path_is_found(con: Connection) -> None:
    """Two earlier calls say the opposite or nothing, so that the mean over all of them does not give the label."""
    con.execute(
        f"""CREATE TABLE calls (call_id INTEGER PRIMARY KEY, customer_id BIGINT REFERENCES customers (customer_id),
                                result VARCHAR, called_at TIMESTAMP);
            INSERT INTO calls SELECT row_number() OVER (), customer_id,
                CASE WHEN i = 0 AND {BUYS} OR i > 0 AND hash(customer_id, i) % 2 = 0 THEN 'kept' ELSE 'lost' END,
                TIMESTAMP '2022-07-01' - to_days(i::INTEGER)
            FROM customers, range(3) r(i)"""
    )
    with transaction(con):
        declare_table(con, "shop", "calls", time_column="called_at")
    assert copied(con, TASK) == ["calls(result)"]


@pytest.mark.parametrize(("type_", "value"), [("TIMESTAMP", "day"), ("BIGINT", "epoch(day)")])
def test_the_time_of_a_table_is_no_copy(con: Connection, type_: str, value: str) -> None:
    """Whoever called lately buys: the age of the latest call gives the labels of the latest timestamp away."""
    con.execute(
        f"""CREATE TABLE calls (call_id INTEGER PRIMARY KEY, customer_id BIGINT REFERENCES customers (customer_id),
                                called {type_}, since DATE);
            INSERT INTO calls SELECT customer_id, customer_id, {value}, day + to_days((hash(customer_id) % 9)::INTEGER)
            FROM (SELECT customer_id, CASE WHEN {BUYS} THEN TIMESTAMP '2022-07-01' ELSE '2022-05-01' END
                                      - to_hours((hash(customer_id) % 100)::INTEGER) AS day FROM customers)"""
    )
    with transaction(con):
        declare_table(con, "shop", "calls", time_column="called")
    assert copied(con, TASK) == ["calls(since)"]


def test_a_column_that_only_correlates_is_not_reported(con: Connection) -> None:
    con.execute(
        f"""ALTER TABLE customers ADD COLUMN hint INTEGER;
            UPDATE customers SET hint = ({BUYS} <> (hash(customer_id, 5) % 10 = 0))::INTEGER"""
    )
    assert copied(con, TASK) == []


def test_chance_is_no_finding(con: Connection) -> None:
    """With two positives among many, some column puts both first."""
    plan, seeds = planned(con, TASK)
    few = seeds.labels * 0
    few[-2:] = 1
    assert copied_columns(plan, replace(seeds, labels=few)) == ()


@pytest.fixture
def scored(shop: Path) -> Iterator[Connection]:
    with duckdb.connect(str(shop)) as con:
        relsql.attach(con)
        yield con


def left_out(con: Connection, task: Task = TASK, *, read_scores: bool = False) -> tuple[list[str], Plan]:
    plan = make_plan(con, "shop", task, fanout=4, read_scores=read_scores)
    return [finding.object for finding in plan.findings], plan


def test_a_column_that_the_model_wrote_is_left_out(scored: Connection) -> None:
    scored.execute("ALTER TABLE customers ADD COLUMN risk DOUBLE")
    assert left_out(scored)[0] == []
    scored.execute("UPDATE customers SET risk = predict_churn(customer_id)")
    found, plan = left_out(scored)
    assert found == ["customers(risk)"]
    assert ("customers", "risk") in plan.task.remove_columns
    assert "risk" not in plan.schema.table("customers").column_names
    # For another question about the same entity it is the same.
    assert left_out(scored, SPEND_TASK)[0] == ["customers(risk)"]
    found, plan = left_out(scored, read_scores=True)
    assert found == []
    assert "risk" in plan.schema.table("customers").column_names


def test_a_column_with_scores_as_of_a_job_is_left_out(scored: Connection) -> None:
    as_of = datetime.datetime(2022, 10, 1)
    score_into(scored, "churn", "risks", as_of=as_of)
    scored.execute("ALTER TABLE customers ADD COLUMN risk FLOAT")
    scored.execute(
        "UPDATE customers SET risk = (FROM risks SELECT score WHERE risks.customer_id = customers.customer_id)"
    )
    assert left_out(scored)[0] == ["risks", "customers(risk)"]


def test_a_linked_table_of_scores_is_not_read(scored: Connection) -> None:
    score_into(scored, "churn", "risks")
    with transaction(scored):
        declare_link(scored, "shop", Link("risks", ("customer_id",), "customers", ("customer_id",)))
    found, plan = left_out(scored)
    assert found == ["risks"]
    assert "risks" not in plan.schema.tables


def test_scores_that_somebody_stored_in_a_linked_table_are_left_out(scored: Connection) -> None:
    scored.execute("CREATE TABLE stored AS SELECT customer_id, predict_churn(customer_id) AS p FROM customers")
    with transaction(scored):
        declare_link(scored, "shop", Link("stored", ("customer_id",), "customers", ("customer_id",)))
    assert left_out(scored)[0] == ["stored(p)"]


def test_a_column_in_the_order_of_the_scores_is_doubtful_but_read(scored: Connection) -> None:
    scored.execute(
        "ALTER TABLE customers ADD COLUMN points DOUBLE; UPDATE customers SET points = 100 * predict_churn(customer_id)"
    )
    found, plan = left_out(scored)
    assert found == ["customers(points)"]
    assert plan.task.remove_columns == ()
    assert "docs/tasks.md#remove_columns" in str(plan.findings[0])


def test_a_number_of_the_users_own_is_not_mistaken(scored: Connection) -> None:
    scored.execute("ALTER TABLE customers ADD COLUMN weight DOUBLE")
    scored.execute("UPDATE customers SET weight = hash(customer_id) % 1000 / 1000")
    assert left_out(scored)[0] == []


def test_train_and_evaluate_say_what_they_found_once(con: Connection, tmp_path: Path) -> None:
    con.execute(f"ALTER TABLE customers ADD COLUMN outcome BOOLEAN; UPDATE customers SET outcome = {BUYS}")
    model = train_quickly(con, "churn")
    objects = [finding.object for finding in model.findings]
    # The table customers has no time.
    assert objects == ["customers", "customers(outcome)", "task customer-churn"]
    assert model.metrics["val_roc_auc_low"] < model.metrics["val_roc_auc"] < model.metrics["val_roc_auc_high"]
    assert "val    60 labels" in "\n".join(model.splits)
    recorded = recorded_findings(con, "shop", "churn", 1)
    assert recorded == model.findings
    # Commands print in full only what `relsql inspect` does not show.
    assert [finding.inspected for finding in recorded] == [True, False, False]
    again = train_quickly(con, "churn")
    assert again.reused
    assert again.findings == model.findings
    result = evaluate(con, "churn")
    assert [finding.object for finding in result.findings] == ["task customer-churn", *objects]
    low, high = result.intervals["roc_auc"]
    assert low < result.metrics["roc_auc"] < high
    con.close()
    shown = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "shop.duckdb"), "churn"])
    assert shown.stderr.count("customers(outcome)") == 1
    assert "95% interval" in shown.stdout


def test_evaluate_names_a_column_that_gives_the_labels_of_its_split_away(shop: Path) -> None:
    """A copy of the test labels, which training cannot see."""
    with duckdb.connect(str(shop)) as con:
        con.execute("ALTER TABLE customers ADD COLUMN outcome INTEGER; UPDATE customers SET outcome = hash(name) % 50")
        train_quickly(con, "late")
        later = BUYS.replace("08-02", "11-01").replace("09-01", "12-01")
        con.execute(f"UPDATE customers SET outcome = ({later})::INTEGER")
        for regime in ("seed-time", "frozen"):
            found = {each.object: each.message for each in evaluate(con, "late", regime=regime).findings}
            assert "alone predicts the test labels of task customer-churn (AUC 1.000)" in found["customers(outcome)"]
        assert "customers(outcome)" not in {each.object for each in evaluate(con, "late", "train").findings}


def test_evaluate_says_that_a_model_has_seen_its_labels(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        said = {
            split: [each.message for each in evaluate(con, "churn", split).findings if each.object.startswith("model")]
            for split in ("train", "val", "test")
        }
        card = read_card(con, "shop", "churn", 1)
    assert said["test"] == []
    assert "was trained on the train labels, so these metrics are too good" in said["train"][0]
    assert "was trained again on the val labels" in said["val"][0]
    unfitted = msgspec.structs.replace(card, options=card.options | {"refit": False})
    assert "was chosen and calibrated by the val labels" in next(trained_on(unfitted, "val")).message
    shown = CliRunner().invoke(cli, ["evaluate", str(shop), "churn", "--split", "val"])
    assert "warning: model churn version 1: was trained again on the val labels" in shown.stderr


def test_training_says_which_columns_are_filled_in_later_until_the_task_leaves_them_out(con: Connection) -> None:
    con.execute("ALTER TABLE orders ADD COLUMN sent_on DATE; UPDATE orders SET sent_on = ordered_at + INTERVAL 3 DAY")
    found = [each.object for each in make_plan(con, "shop", TASK, fanout=4).schema_findings]
    assert found == ["customers", "orders(sent_on)"]
    plan = make_plan(con, "shop", replace(TASK, remove_columns=(("orders", "sent_on"),)), fanout=4)
    assert [each.object for each in plan.schema_findings] == ["customers"]


def test_read_scores_is_an_option_of_training() -> None:
    assert not QUICK.read_scores
    assert "--read-scores" in CliRunner().invoke(cli, ["train", "--help"]).output
