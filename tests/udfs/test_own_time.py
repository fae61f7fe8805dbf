"""Rows that are asked about as of their own time: nothing of that moment, nothing later, and not their own cell."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.database.names import current_catalog
from relsql.evaluation.explanations.importance import importance
from relsql.registry.models import read_card
from relsql.sql_text import literal
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.odd_data import CHURN, FAST, create_market
from tests.udfs.test_no_leak import mutate_after

Connection = duckdb.DuckDBPyConnection
AMOUNT = Task.from_manifest(
    {
        "name": "order-amount",
        "kind": "autocomplete",
        "task_type": "regression",
        "entity_table": "orders",
        "target_col": "amount",
        "remove_columns": [["orders", "note"], ["visits", "seconds"]],
        "val_timestamp": CHURN.val_timestamp,
        "test_timestamp": CHURN.test_timestamp,
    }
)
AGAIN = Task.from_manifest(
    {
        "name": "order-again",
        "kind": "event",
        "task_type": "binary_classification",
        "entity_table": "orders",
        "entity_col": "order_id",
        "target_col": "again",
        "time_col": "ordered_at",
        "timedelta": "14 days",
        "val_timestamp": CHURN.val_timestamp,
        "test_timestamp": CHURN.test_timestamp,
        "sql": """SELECT o.order_id, o.ordered_at, count(n.order_id) > 0 AS again FROM orders o
                  LEFT JOIN orders n ON n.customer_id = o.customer_id AND n.ordered_at > o.ordered_at
                    AND n.ordered_at <= o.ordered_at + INTERVAL '{timedelta}' GROUP BY ALL""",
    }
)
MICROSECOND = datetime.timedelta(microseconds=1)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market with trained models `amount` and `again`, whose rows also have a history of their customer."""
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        for task, name in ((AMOUNT, "amount"), (AGAIN, "again")):
            train(con, task, name=name, options=replace(FAST, event_hubs=True))
    return path


@pytest.fixture
def con(market: Path, tmp_path: Path) -> Iterator[Connection]:
    """A connection to a copy of the market, with `predict_amount` attached."""
    with relsql.connect(shutil.copy(market, tmp_path / "market.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def asked(con: Connection) -> list[tuple[int, datetime.datetime]]:
    """Some orders and their times, those with the most other orders at the same moment."""
    query = """SELECT order_id, ordered_at FROM orders
               ORDER BY count(*) OVER (PARTITION BY ordered_at) DESC, hash(order_id) LIMIT 3"""
    return con.execute(query).fetchall()


def score(con: Connection, order: int, as_of: str = "") -> Any:
    """Score, status, evidence and as_of of an order that is scored alone."""
    query = f"SELECT predict_amount_full(o{as_of and f', as_of := {as_of}'}) AS p FROM (SELECT {order} AS o)"
    return con.execute(f"SELECT p.score, p.status, p.evidence, p.as_of FROM ({query})").fetchall()[0]


def gathered(con: Connection, order: int, moment: datetime.datetime) -> list[Any]:
    """Everything that the model's functions read for an order."""
    gather = replace(
        read_card(con, current_catalog(con), "amount", 1).gather(current_catalog(con)),
        message_functions={},
        coded_texts=False,
    )
    rows = con.execute(gather.query(f"SELECT {order}::BIGINT AS _entity, {literal(moment)} AS _as_of")).fetchall()
    return [[sorted(map(repr, cell)) if isinstance(cell, list) else repr(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("seed", range(3))
def test_own_cell_same_moment_and_later_rows_change_no_score(con: Connection, seed: int) -> None:
    order, moment = asked(con)[seed]
    [same] = con.execute("SELECT count(*) FROM orders WHERE ordered_at = ?", [moment]).fetchall()
    assert same[0] > 5, "no other order has the same moment"
    before, rows = score(con, order), gathered(con, order, moment)
    assert before[1] == "ok" and before[2] > 0 and before[3] == moment
    con.execute(f"CREATE TEMP TABLE own AS FROM orders WHERE order_id = {order}")
    mutate_after(con, moment - MICROSECOND, seed)
    con.execute(f"DELETE FROM orders WHERE order_id = {order}")
    for cell, note in (("NULL", "NULL"), ("1e308", "'never seen'"), ("-7", "'gift'")):
        con.execute(f"INSERT INTO orders SELECT * REPLACE ({cell} AS amount, {note} AS note) FROM own")
        assert gathered(con, order, moment) == rows
        assert score(con, order) == before
        con.execute(f"DELETE FROM orders WHERE order_id = {order}")


def test_earlier_cells_are_history(con: Connection) -> None:
    order, moment = asked(con)[0]
    before = score(con, order)
    earlier = f"ordered_at < {literal(moment)}"
    for column, value in (("amount", "amount * 3 + 1000"), ("note", "'seen before'")):
        con.execute("BEGIN")
        con.execute(f"UPDATE orders SET {column} = {value} WHERE {earlier}")
        assert score(con, order)[0] != before[0], column
        con.execute("ROLLBACK")


def test_a_row_is_asked_about_as_of_its_own_time_whatever_the_moment(con: Connection) -> None:
    order, moment = asked(con)[0]
    own = score(con, order)
    for later in (literal(moment), "TIMESTAMP '2022-12-31'", "TIMESTAMP 'infinity'"):
        assert score(con, order, later) == own
    before = score(con, order, literal(moment - MICROSECOND))
    assert before[:3] == (None, "unknown_entity", 0)
    assert con.execute(f"SELECT predict_amount({order}, as_of := NULL), predict_amount(-1)").fetchall() == [
        (None, None)
    ]
    for time in ("NULL", "'infinity'", "'-infinity'"):
        con.execute(f"UPDATE orders SET ordered_at = {time} WHERE order_id = {order}")
        assert score(con, order)[:2] == (None, "unknown_entity"), time


def test_a_batch_asks_about_empty_cells_only(con: Connection) -> None:
    con.execute("UPDATE orders SET amount = NULL WHERE order_id % 40 = 0")
    batch = dict(con.execute("SELECT order_id, score FROM predict_amount_batch()").fetchall())
    empty = dict(con.execute("SELECT order_id, predict_amount(order_id) FROM orders WHERE amount IS NULL").fetchall())
    assert len(batch) > 10
    assert batch == pytest.approx(empty, abs=1e-5, rel=1e-5)
    cut = datetime.datetime(2022, 1, 1)
    known = con.execute(f"SELECT order_id FROM orders WHERE amount IS NULL AND ordered_at <= {literal(cut)}").fetchall()
    early = con.execute(f"SELECT order_id FROM predict_amount_batch(as_of := {literal(cut)})").fetchall()
    assert 0 < len(early) < len(batch) and {*early} == {*known}
    con.execute("UPDATE orders SET amount = predict_amount(order_id) WHERE amount IS NULL")
    filled = dict(con.execute("SELECT order_id, amount FROM orders WHERE order_id % 40 = 0").fetchall())
    assert filled == pytest.approx(batch, abs=1e-5, rel=1e-5)
    assert con.execute("FROM predict_amount_batch()").fetchall() == []


def test_events_are_asked_about_as_of_their_own_time(con: Connection) -> None:
    order, moment = asked(con)[0]
    query = f"SELECT p.score, p.status, p.as_of FROM (SELECT predict_again_full({order}) AS p)"
    before = con.execute(query).fetchall()
    assert 0 < before[0][0] < 1 and before[0][1:] == ("ok", moment)
    counts = "SELECT (SELECT count(*) FROM predict_again_batch()), (SELECT count(*) FROM orders)"
    [(scored, orders)] = con.execute(counts).fetchall()
    assert scored == orders
    con.execute(f"CREATE TEMP TABLE own AS FROM orders WHERE order_id = {order}")
    mutate_after(con, moment - MICROSECOND, 1)
    con.execute(f"DELETE FROM orders WHERE order_id = {order}")
    con.execute("INSERT INTO orders FROM own")
    assert con.execute(query).fetchall() == before
    # What the row itself says is read: nothing of it is hidden, because nothing of it is the label.
    con.execute(f"UPDATE orders SET amount = 1e6, note = 'gift', quantity = 500 WHERE order_id = {order}")
    assert con.execute(query).fetchall() != before


def test_plain_sql_agrees_with_the_networks(con: Connection) -> None:
    con.execute("UPDATE orders SET amount = NULL WHERE order_id % 40 = 0")
    calls = """SELECT order_id, p.score, p.status, p.evidence, p.as_of FROM (
                   SELECT order_id, predict_amount_full(order_id) AS p FROM orders WHERE order_id % 20 = 0)
               UNION ALL BY NAME FROM (SELECT -order_id AS order_id, score, status, evidence, as_of
                                       FROM predict_amount_batch()) ORDER BY order_id"""
    onnx = con.execute(calls).fetchall()
    relsql.detach(con)
    found = relsql.publish(con, "amount")
    assert (
        found.parity is not None
        and found.parity.seeds > 100
        and found.parity.pending == 0
        and found.parity.largest <= 1e-5
    )
    plain = con.execute(calls).fetchall()
    assert [row[0] for row in plain if row[0] < 0] and [row[2:] for row in plain] == [row[2:] for row in onnx]
    assert [row[1] for row in plain] == pytest.approx([row[1] for row in onnx], rel=1e-5)
    order, moment = asked(con)[0]
    own = score(con, order)
    con.execute(f"UPDATE orders SET amount = -1, note = 'other' WHERE order_id = {order}")
    con.execute(f"DELETE FROM orders WHERE ordered_at >= {literal(moment)} AND order_id <> {order}")
    assert score(con, order)[0] == pytest.approx(own[0], rel=1e-6) and score(con, order)[1:] == own[1:]


def test_jobs_score_empty_cells_and_follow_changes(con: Connection) -> None:
    con.execute("UPDATE orders SET amount = NULL WHERE order_id % 40 = 0")
    relsql.score_into(con, "amount", "guesses", changed_only=True)
    read = "SELECT order_id, as_of, score FROM {} ORDER BY order_id"
    first = con.execute(read.format("guesses")).fetchall()
    batch = con.execute(read.format("predict_amount_batch()")).fetchall()
    assert [row[:2] for row in first] == [row[:2] for row in batch]
    assert [row[2] for row in first] == pytest.approx([row[2] for row in batch], rel=1e-5)
    times = dict(con.execute("SELECT order_id, ordered_at FROM orders").fetchall())
    assert all(as_of == times[order] for order, as_of, _ in first)
    # A cell that is filled is asked about no longer, an own cell that is emptied is, and no other score changes.
    con.execute("UPDATE orders SET amount = 5 WHERE order_id = (SELECT max(order_id) FROM orders WHERE amount IS NULL)")
    job = relsql.score_into(con, "amount", "guesses", changed_only=True)
    assert (job.entities, job.scored) == (len(first) - 1, 0)
    assert con.execute(read.format("guesses")).fetchall() == first[:-1]


def test_states_of_rows_are_those_that_the_score_is_made_of(con: Connection) -> None:
    order, moment = asked(con)[0]
    query = f"SELECT embed_amount({order}), embed_amount(-1), embed_amount(NULL)"
    [(state, unknown, none)] = con.execute(query).fetchall()
    assert len(state) == FAST.channels and any(state) and (unknown, none) == (None, None)
    of_all = dict(con.execute("SELECT order_id, embed_amount(order_id) FROM orders WHERE order_id % 9 < 2").fetchall())
    alone = con.execute("SELECT embed_amount(9)").fetchall()[0][0]
    assert of_all[9] == pytest.approx(alone, abs=1e-5) and of_all[9] != of_all[10]
    con.execute(f"DELETE FROM orders WHERE ordered_at >= {literal(moment)} AND order_id <> {order}")
    con.execute(f"UPDATE orders SET amount = 1e9 WHERE order_id = {order}")
    assert con.execute(query).fetchall() == [(state, None, None)]


def test_explanations_take_rows_out_of_the_history_of_a_row(con: Connection) -> None:
    [(order,)] = con.execute(
        "SELECT order_id FROM orders WHERE amount IS NOT NULL ORDER BY ordered_at DESC, order_id ASC LIMIT 1"
    ).fetchall()
    [(score,)] = con.execute("SELECT predict_amount(?)", [order]).fetchall()
    explained = con.execute("SELECT * FROM explain_amount(?, top := NULL)", [order]).fetchdf().to_dict("records")
    assert explained and all(row["score"] == pytest.approx(score, abs=1e-6) for row in explained)
    assert "amount" not in {row["column_name"] for row in explained}
    other = next(row for row in explained if row["table_name"] == "orders" and row["row_key"] != str(order))
    con.execute("BEGIN")
    con.execute("DELETE FROM orders WHERE order_id = ?", [int(other["row_key"])])
    [(without,)] = con.execute("SELECT predict_amount(?)", [order]).fetchall()
    con.execute("ROLLBACK")
    assert other["contribution"] == pytest.approx(score - without, abs=1e-6)


def test_a_counterfactual_of_a_value_needs_a_threshold(con: Connection) -> None:
    [(order,)] = con.execute("SELECT max(order_id) FROM orders").fetchall()
    with pytest.raises(duckdb.InvalidInputException, match="counterfactual needs a threshold in the unit of the score"):
        con.execute("SELECT * FROM explain_amount(?, counterfactual := true)", [order]).fetchall()
    given = "counterfactual := true, threshold := 0"
    assert con.execute(f"SELECT count(*) >= 0 FROM explain_amount(?, {given})", [order]).fetchall() == [(True,)]


def test_card_and_importance_are_about_rows_at_their_own_time(con: Connection) -> None:
    assert relsql.model_card(con, "amount").question.endswith("at the row's own time?")
    found = importance(con, "amount", "val")
    assert {each.table for each in found if each.level == "table"} >= {"customers"}
    assert all(each.labels > 0 for each in found)
