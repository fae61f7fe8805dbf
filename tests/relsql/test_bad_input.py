"""Strange data and tasks: each one trains to finite metrics and scores, or is refused with a helpful message."""

from __future__ import annotations

import datetime
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import relsql
from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.errors import RelsqlError
from relsql.evaluation.baseline import entity_columns_auc
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.predictions import predict_split
from relsql.gather.sql.seeds import LATEST_EVENT
from relsql.registry.models import active_card
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.schema.reading import read_schema
from relsql.sql_text import literal
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import train
from tests.odd_data import CHURN, CUSTOMERS, FAST, SPEND, create_market, store_bare_weights

Connection = duckdb.DuckDBPyConnection
LINKS = ("orders(customer_id) -> customers", "orders(shop_id) -> shops")
FROZEN = replace(FAST, regime="frozen")

_TYPES = (
    *("DOUBLE", "FLOAT", "INTEGER", "HUGEINT", "BOOLEAN", "DECIMAL(9, 2)", "VARCHAR", "ENUM ('a', 'b')", "UUID"),
    *("DATE", "TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMPTZ", "TIME", "INTERVAL", "BLOB", "INTEGER[]", "STRUCT(a INTEGER)"),
)
ODDITIES = {
    "empty columns": "".join(
        f"ALTER TABLE {table} ADD COLUMN empty{i} {type_};"
        for table in ("customers", "shops", "orders")
        for i, type_ in enumerate(_TYPES)
    ),
    "outliers": """
        UPDATE orders SET amount = [1e308, -1e308, 'inf', '-inf', 'nan', 3.4e38, 1e-320][1 + order_id % 7]
        WHERE order_id % 3 = 0;
        ALTER TABLE customers ADD COLUMN wealth DOUBLE; UPDATE customers SET wealth = 'inf';
        ALTER TABLE orders ADD COLUMN typed VARCHAR;
        UPDATE orders SET typed = ['1e308', '-1e400', 'inf', 'nan', '12', '7', '1e39'][1 + order_id % 7];
    """,
    "two far values": "UPDATE orders SET amount = CASE WHEN order_id % 2 = 0 THEN 3.4e38 ELSE -3.4e38 END;",
    "far dates": """
        UPDATE customers SET born = ['0001-01-01', '9999-12-31', 'infinity', '-infinity', '4000-01-01 (BC)',
                                     '290000-01-01'][1 + customer_id % 6]::DATE;
    """,
    "future rows": """
        INSERT INTO orders BY NAME
        SELECT 100000 + i AS order_id, i % 30 AS customer_id, 1e9 AS amount, 'never seen ' || i % 9 AS note,
            ['2023-06-01', '2999-01-01', '9999-12-31 23:59:59'][1 + i % 3]::TIMESTAMP AS ordered_at
        FROM range(90) t(i);
    """,
    "ancient rows": """
        INSERT INTO orders BY NAME
        SELECT 200000 + i AS order_id, i AS customer_id, TIMESTAMP '0001-01-01' AS ordered_at FROM range(3) t(i);
    """,
    "times that are none": """
        INSERT INTO orders BY NAME
        SELECT 300000 + i AS order_id, i % 30 AS customer_id,
            ['infinity', '-infinity', NULL, '20000-01-01', '0500-01-01 (BC)'][1 + i % 5]::TIMESTAMP AS ordered_at
        FROM range(90) t(i);
    """,
    "an empty child": "CREATE TABLE coupons (customer_id BIGINT, code VARCHAR, worth DOUBLE, issued TIMESTAMP);",
    "an empty grandchild": "CREATE TABLE returns (return_id BIGINT, order_id BIGINT, reason VARCHAR, cost DOUBLE);",
    "an empty parent": """
        CREATE TABLE regions (region_id INTEGER, name VARCHAR, size DOUBLE);
        ALTER TABLE customers ADD COLUMN region_id INTEGER; UPDATE customers SET region_id = customer_id % 4;
    """,
    "long texts": """
        UPDATE orders SET note = repeat('x<é🏁' || chr(0) || ' ', 2000) WHERE order_id % 2 = 0;
        UPDATE customers SET name = '';
    """,
}


ODD_LINKS = {
    "an empty child": "coupons(customer_id) -> customers",
    "an empty grandchild": "returns(order_id) -> orders",
    "an empty parent": "customers(region_id) -> regions",
}


def create_odd(con: Connection, *names: str) -> None:
    """The market, with some of its oddities."""
    create_market(con, tables="".join(ODDITIES[name] for name in names), links=LINKS)
    catalog = current_catalog(con)
    with transaction(con):
        if "an empty child" in names:
            declare_table(con, catalog, "coupons", time_column="issued")
        if "an empty parent" in names:
            declare_table(con, catalog, "regions", primary_key=("region_id",))
        for name in ODD_LINKS.keys() & names:
            declare_link(con, catalog, parse_link(ODD_LINKS[name]))


@pytest.fixture
def bare_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store bare weights in models, since these tests are about training."""
    store_bare_weights(monkeypatch)


@pytest.mark.usefixtures("bare_weights")
@pytest.mark.parametrize(("name", "number"), [(name, i) for i, name in enumerate(ODDITIES)])
def test_odd_data_train_to_finite_metrics(con: Connection, name: str, number: int) -> None:
    create_odd(con, name)
    task, options = ((CHURN, FAST), (SPEND, FROZEN))[number % 2]
    metrics = train(con, task, name="m", options=options).metrics
    assert all(map(math.isfinite, metrics.values()))
    assert 0 <= metrics.get("val_roc_auc", 0.5) <= 1


@pytest.mark.usefixtures("bare_weights")
@pytest.mark.parametrize("factor", [1e-12, 1e22, -1e24])
def test_labels_of_any_size_are_learnt(con: Connection, factor: float) -> None:
    create_odd(con)
    task = replace(SPEND, sql=SPEND.sql.replace("sum(o.quantity)", f"sum(o.quantity * {factor})"))
    metrics = train(con, task, name="m", options=replace(FAST, epochs=3)).metrics
    labels = con.execute("SELECT avg(quantity) FROM orders").fetchall()[0][0] * abs(factor)
    assert 0 < metrics["val_mae"] < 3 * labels


ODD_TEST = f"(t.timestamp >= TIMESTAMP '{CHURN.test_timestamp}') = (c.customer_id % 2 = 1)"
"""True for even customers in training and validation, and for odd ones in test."""


@pytest.fixture(scope="module")
def odd_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A market with all oddities at once and the models `churn` (seed-time) and `spend` (frozen)."""
    path = tmp_path_factory.mktemp("odd") / "odd.duckdb"
    with duckdb.connect(str(path)) as con:
        left_out = ("two far values", "an empty grandchild", "an empty parent")
        create_odd(con, *(name for name in ODDITIES if name not in left_out))
        for name, task, options in (("churn", CHURN, FAST), ("spend", SPEND, FROZEN)):
            task = replace(task, sql=task.sql.replace("LEFT JOIN", f"AND {ODD_TEST} LEFT JOIN"))
            train(con, task, name=name, options=options)
    return path


@pytest.fixture
def odd(odd_market: Path, tmp_path: Path) -> Iterator[Connection]:
    """A connection to a copy of the odd market, with its models attached."""
    with relsql.connect(shutil.copy(odd_market, tmp_path / "odd.duckdb")) as connection:
        yield connection


LATEST = literal(LATEST_EVENT)
AS_OFS = (
    "NULL",
    LATEST,
    "'2021-03-05'",
    "'2022-09-01'",
    "'1970-01-01'",
    "'infinity'",
    "'-infinity'",
    "joined",
    "'9999-01-01'",
)
"""Moments: constant, by row, beyond all data."""


@pytest.mark.parametrize("model", ["churn", "spend"])
def test_plain_sql_of_odd_data_scores_as_onnx_does(odd: Connection, model: str) -> None:
    published = relsql.publish(odd, model)
    assert published.parity is not None and published.parity.seeds > CUSTOMERS and published.parity.pending == 0
    for as_of in AS_OFS:
        # The temporary macros of the attached model take precedence over those in the file.
        onnx, sql = (
            full_scores(odd, macro, as_of) for macro in (f"predict_{model}_full", f"odd.main.predict_{model}_full")
        )
        assert [row[1:] for row in sql] == [row[1:] for row in onnx], as_of
        largest = max([1.0, *(abs(row[0]) for row in onnx if row[0] is not None)])
        assert [row[0] for row in sql] == pytest.approx([row[0] for row in onnx], abs=1e-5 * largest), as_of


def full_scores(con: Connection, macro: str, as_of: str) -> list[tuple[Any, ...]]:
    """The results of a macro for all customers."""
    return con.execute(
        f"""SELECT r.score, r.status, r.evidence, r.as_of::VARCHAR, r.version
            FROM (SELECT {macro}(customer_id, as_of := {as_of}) AS r, customer_id FROM customers)
            ORDER BY customer_id"""
    ).fetchall()


def check_scores(con: Connection, as_of: str) -> None:
    """All customers that exist at as_of have a finite score; a probability lies between 0 and 1."""
    until = "TIMESTAMP 'infinity'" if as_of == LATEST else as_of
    query = f"""SELECT joined <= {until},
                       predict_churn_full(customer_id, as_of := {as_of}),
                       predict_spend_full(customer_id, as_of := {as_of})
                FROM customers"""
    rows = con.execute(query).fetchall()
    assert len(rows) >= CUSTOMERS
    for known, churn, spend in rows:
        assert (churn["status"] != "unknown_entity") == (spend["status"] != "unknown_entity") == known
        if known:
            assert 0 <= churn["score"] <= 1
            assert math.isfinite(spend["score"])
        else:
            assert churn["score"] is spend["score"] is None


@pytest.mark.parametrize(
    "as_of",
    [LATEST, *(f"TIMESTAMP '{t}'" for t in ("0001-01-01", "2022-05-02", "2022-12-01", "2999-01-02", "9999-12-31"))],
)
def test_odd_data_give_finite_scores_at_any_time(odd: Connection, as_of: str) -> None:
    check_scores(odd, as_of)


@pytest.mark.parametrize("model", ["churn", "spend"])
@pytest.mark.parametrize("regime", ["seed-time", "frozen"])
def test_entities_unseen_in_training_are_evaluated(odd: Connection, model: str, regime: Any) -> None:
    seen = set(predict_split(odd, model, "train").entities) | set(predict_split(odd, model, "val").entities)
    found = predict_split(odd, model, "test", regime)
    assert seen.isdisjoint(found.entities) and len(set(found.entities)) > 5
    result = evaluate(odd, model, "test", regime)
    assert result.rows + result.unscored == len(found.scores)
    # Only in a frozen database a customer may still be unknown.
    assert result.unscored < result.rows if regime == "frozen" else result.unscored == 0
    assert {"roc_auc", "log_loss"} <= result.metrics.keys() or {"mae", "rmse", "r2"} <= result.metrics.keys()
    assert all(map(math.isfinite, result.metrics.values()))


def test_rows_stranger_than_all_in_training_are_scored(odd: Connection) -> None:
    odd.execute("""
        INSERT INTO shops (shop_id, town) VALUES (99, NULL), (98, 'a town unseen');
        UPDATE customers SET grade = 2147483647, name = NULL WHERE customer_id % 3 = 0;
        UPDATE customers SET grade = NULL, empty0 = 7, empty6 = 'x', empty7 = 'b', empty10 = '2020-01-01'
        WHERE customer_id % 3 = 1;
        UPDATE orders SET shop_id = 98 + order_id % 3;
        INSERT INTO coupons SELECT i % 30, 'code ' || i, ['nan', 1e300, '-inf'][1 + i % 3], '2022-04-01'
        FROM range(900) t(i);
        INSERT INTO orders BY NAME
        SELECT 400000 + i AS order_id, i % 30 AS customer_id, 'unseen ' || i AS note, 'inf'::DOUBLE AS amount,
            -2147483648 AS quantity, i::DOUBLE AS empty0, '1e999' AS typed, TIMESTAMP '2022-05-01' AS ordered_at
        FROM range(600) t(i);
    """)
    for as_of in (LATEST, "TIMESTAMP '2022-05-02'"):
        check_scores(odd, as_of)


def test_the_latest_event_is_finite(odd: Connection) -> None:
    [(full,)] = odd.execute("SELECT predict_churn_full(1)").fetchall()
    # Times at the ends of the range are finite too, but they do not count as events.
    ordinary = "ordered_at BETWEEN TIMESTAMP '1900-01-02' AND TIMESTAMP '2100-01-01'"
    [(latest,)] = odd.execute(f"SELECT max(ordered_at) FROM orders WHERE {ordinary}").fetchall()
    assert str(full["as_of"]) == str(latest)


def few_labels(task: Task, rows: str) -> Task:
    """The task with hand-written labels `(time, customer, label)`, for the timestamps that are requested."""
    sql = f"""SELECT t.timestamp, customer_id, label AS {task.target_col}
              FROM timestamps t JOIN (VALUES {rows}) v(day, customer_id, label) ON t.timestamp = day::TIMESTAMP"""
    return replace(task, sql=sql)


YES_NO_VAL = "('2022-08-01', 1, 0), ('2022-08-01', 2, 1)"


@pytest.mark.usefixtures("bare_weights")
@pytest.mark.parametrize(
    ("task", "rows", "options"),
    [
        (CHURN, f"('2022-07-02', 1, 0), ('2022-07-02', 2, 1), {YES_NO_VAL}", FAST),
        (CHURN, f"('2022-06-02', 1, 0), ('2022-07-02', 1, 1), {YES_NO_VAL}", replace(FROZEN, epochs=10)),
        (SPEND, "('2022-07-02', 1, 5), ('2022-06-02', 1, 7), ('2022-08-01', 1, 6)", replace(FAST, density=3)),
        (SPEND, "('2022-07-02', 1, 5), ('2022-07-02', 2, -7), ('2022-08-31', 1, 0)", replace(FROZEN, epochs=10)),
    ],
)
def test_two_labels_train(con: Connection, task: Task, rows: str, options: TrainOptions) -> None:
    create_odd(con)
    phases: dict[str, dict[str, float]] = {}
    metrics = train(con, few_labels(task, rows), name="m", options=options, progress=record(phases)).metrics
    assert 2 <= phases["labels"]["train_labels"] <= 4
    assert all(map(math.isfinite, metrics.values()))


def record(phases: dict[str, dict[str, float]]) -> Any:
    """A progress callback that keeps the metrics of each finished phase."""

    def keep(phase: str, fraction: float, metrics: dict[str, float]) -> None:
        if fraction == 1.0:
            phases[phase] = dict(metrics)

    return keep


NO_VAL_CLASS = "('2022-07-02', 1, 0), ('2022-07-02', 2, 1), ('2022-08-01', 1, 1)"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (few_labels(CHURN, f"('2022-07-02', 1, 1), {YES_NO_VAL}"), "all train labels are 1"),
        (few_labels(CHURN, f"('2022-07-02', 1, 0), ('2022-07-02', 2, 0), {YES_NO_VAL}"), "all train labels are 0"),
        (few_labels(CHURN, NO_VAL_CLASS), "all val labels are 1"),
        (few_labels(CHURN, f"('2022-07-02', 1, 3), {YES_NO_VAL}"), "'churned' holds 3"),
        (few_labels(CHURN, YES_NO_VAL), "no rows for the train timestamps"),
        (few_labels(CHURN, f"('2022-07-02', 77, 1), {YES_NO_VAL}"), "names a row of table 'customers'"),
        (few_labels(CHURN, f"('2022-07-02', 1, NULL), {YES_NO_VAL}"), "all train labels are NULL"),
        (few_labels(SPEND, "('2022-07-02', 1, 5), ('2022-08-01', 1, 6)"), "all train labels are 5"),
        (few_labels(SPEND, "('2022-07-02', 1, 5), ('2022-07-02', 2, 5)"), "all train labels are 5"),
        (few_labels(SPEND, "('2022-07-02', 1, 5), ('2022-07-02', 2, 6)"), "no rows for the val timestamps"),
        (few_labels(SPEND, "('2022-07-02', 1, 5), ('2022-07-02', 2, 1e308)"), r"'spend' holds 1e\+308"),
        (few_labels(SPEND, "('2022-07-02', 1, 5), ('2022-07-02', 2, '-inf'::DOUBLE)"), "'spend' holds -inf"),
        (few_labels(SPEND, "('2022-07-02', 1, 'nan'::DOUBLE), ('2022-07-02', 2, 1)"), "'spend' holds nan"),
    ],
)
@pytest.mark.parametrize("options", [FAST, FROZEN])
def test_useless_labels_are_refused(con: Connection, task: Task, message: str, options: TrainOptions) -> None:
    create_odd(con)
    refused(con, task, message, options, task.name)


def refused(con: Connection, task: Task, message: str, options: TrainOptions, thing: str) -> None:
    """Check that training stops with a message that names the problem and a fix."""
    with pytest.raises(RelsqlError, match=message) as caught:
        train(con, task, name="m", options=options)
    assert f"'{thing}'" in caught.value.problem
    assert caught.value.fix or caught.value.expected
    assert "\n" not in str(caught.value)


def test_a_database_without_times_is_refused(con: Connection) -> None:
    create_market(con, timed=False)
    refused(con, CHURN, "no table has a time,.*Fix: relsql init FILE --time-column", FAST, CHURN.name)


def test_times_that_are_all_null_are_refused(con: Connection) -> None:
    everything = ("customers", "joined"), ("products", "launched"), ("orders", "ordered_at"), ("lines", "added")
    nothing = "".join(f"UPDATE {table} SET {time} = NULL;" for table, time in (*everything, ("visits", "seen")))
    create_market(con, tables=nothing)
    refused(con, CHURN, "there is no event", FAST, CHURN.name)


def test_entities_that_appear_after_their_labels_are_refused(con: Connection) -> None:
    create_odd(con)
    con.execute("UPDATE customers SET joined = TIMESTAMP '2022-09-20'")
    task = replace(CHURN, sql=CHURN.sql.replace("c.joined <= t.timestamp", "true"))
    refused(con, task, "no entity of the train labels is visible.*customers", FAST, CHURN.name)


@pytest.mark.usefixtures("bare_weights")
@pytest.mark.usefixtures("bare_weights")
def test_splits_are_chosen_from_events_and_not_from_far_times(con: Connection) -> None:
    create_odd(con, "future rows")
    task = replace(CHURN, val_timestamp=None, test_timestamp=None)
    train(con, task, name="m", options=FAST)
    chosen = active_card(con, "memory", "m").task
    assert chosen.val_timestamp and chosen.test_timestamp
    assert chosen.val_timestamp < chosen.test_timestamp < datetime.datetime(2030, 1, 1)


@pytest.mark.parametrize("task", [CHURN, SPEND])
def test_the_baseline_takes_odd_columns(con: Connection, task: Task) -> None:
    create_odd(con, "empty columns", "outliers", "far dates", "times that are none", "long texts")
    found = entity_columns_auc(con, "memory", read_schema(con), task)
    assert found.keys() == {"val", "test"}
    assert np.isfinite(list(found.values())).all()
