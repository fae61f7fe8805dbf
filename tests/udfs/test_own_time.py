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
from relsql.registry.models import read_card
from relsql.sql import literal
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
MICROSECOND = datetime.timedelta(microseconds=1)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market with a trained model `amount`, whose rows also have a history of their customer."""
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        train(con, AMOUNT, name="amount", options=replace(FAST, event_hubs=True))
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
