"""Proof by mutation: no row after as_of, and no label whose window was open, changes a score.

Every timed table is changed wildly beyond a cut: rows deleted, altered in all columns, moved to other late times, and
added. Everything that may not see beyond the cut has to stay the same to the last bit: the rows gathered for every
seed, scores one by one, weights of models. Scores of many rows in one query may differ because of other batch sizes.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import relsql
from relsql.database.names import current_catalog
from relsql.errors import RelsqlError
from relsql.evaluation.predictions import predict_split
from relsql.registry.models import read_card
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.schema.tables import Column, Table
from relsql.sql_text import ident, literal
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.regime import REGIMES, Regime
from relsql.tasks.splits import Split
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import train
from tests.odd_data import CHURN, CUSTOMERS, FAST, SPEND, create_market, store_bare_weights

Connection = duckdb.DuckDBPyConnection
MOMENTS = tuple(map(datetime.datetime.fromisoformat, ("2021-09-15 08:00:00", "2022-05-02 11:30:00", "2022-10-01")))
IDS = f"range(-1, {CUSTOMERS + 3}) ids(i)"
"""All customers, and some that do not exist or only appear through a mutation."""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market with a trained model `churn`."""
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        train(con, CHURN, name="churn", options=FAST)
    return path


@pytest.fixture
def con(market: Path, tmp_path: Path) -> Iterator[Connection]:
    """A connection to a copy of the market, with `predict_churn` attached."""
    with relsql.connect(shutil.copy(market, tmp_path / "market.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def mutate_after(con: Connection, cut: datetime.datetime, seed: int) -> None:
    """Change every timed table beyond `cut` at random: delete, alter, add, or all of it."""
    rng = np.random.default_rng(seed)
    schema = read_schema(con)
    assert {table.key for table in schema.timed_tables} == {"customers", "products", "orders", "lines", "visits"}
    for table in schema.timed_tables:
        before = digest(con, table, f"<= {literal(cut)}")
        changes = (_add, _alter, _add, _delete)
        for i in rng.permutation(len(changes))[: rng.integers(1, 5)]:
            con.execute(changes[i](table, cut, int(rng.integers(1_000_000))))
        assert digest(con, table, f"<= {literal(cut)}") == before, "the mutation itself leaks"


def digest(con: Connection, table: Table, condition: str) -> list[Any]:
    """Number and hash of the rows whose time meets a condition."""
    query = f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {table.sql()} t WHERE t.{ident(table.time_column or '')}"
    return con.execute(f"{query} {condition}").fetchall()


def _delete(table: Table, cut: datetime.datetime, seed: int) -> str:
    return f"DELETE FROM {table.sql()} WHERE {ident(table.time_column or '')} > {literal(cut)} AND {seed} % 4 > 0"


def _alter(table: Table, cut: datetime.datetime, seed: int) -> str:
    values = ", ".join(f"{ident(c.name)} = {_wild(table, c, cut, seed)}" for c in table.columns)
    return f"UPDATE {table.sql()} SET {values} WHERE {ident(table.time_column or '')} > {literal(cut)}"


def _add(table: Table, cut: datetime.datetime, seed: int) -> str:
    """Copies of all rows, including old ones, at late times; references from and to the rows are the same."""
    changed = [c for c in table.columns if c.name in (*table.primary_key, table.time_column) or seed % 2]
    values = ", ".join(f"{_wild(table, c, cut, seed)} AS {ident(c.name)}" for c in changed if not _is_link(c, table))
    return f"INSERT INTO {table.sql()} SELECT * REPLACE ({values}) FROM {table.sql()}"


def _is_link(column: Column, table: Table) -> bool:
    return column.name.endswith("_id") and column.name not in table.primary_key


def _wild(table: Table, column: Column, cut: datetime.datetime, seed: int) -> str:
    """A value that no row before the cut has: a late time, a new key, a link to any row, a huge number, odd text."""
    noise = f"hash(rowid, {seed}, {literal(column.name)})"
    if column.name == table.time_column:
        start = literal(cut + datetime.timedelta(days=1) if column.type == "DATE" else cut)
        soon = f"{start} + to_microseconds((1 + {noise} % 900)::BIGINT)"
        later = f"{start} + to_days((1 + {noise} % 59)::INTEGER)"
        far = f"[{soon}, {later}, TIMESTAMP '2999-01-01', TIMESTAMP 'infinity'][1 + ({noise} // 7 % 4)::INTEGER]"
        # TIMESTAMP_NS ends in the year 2262.
        return f"coalesce(TRY_CAST({far} AS {column.type}), CAST({later} AS {column.type}))"
    if column.name in table.primary_key:
        return f"{ident(column.name)} + {1_000_000 * (1 + seed)}"
    if _is_link(column, table):
        return f"1 + {noise} % {CUSTOMERS}"
    if column.type == "VARCHAR":
        return f"'never seen ' || {noise} % 3"
    if column.type == "DATE":
        return "DATE '9999-01-01'"
    return f"CAST({'1e308' if column.type == 'DOUBLE' else '1e9'} AS {column.type})"


def scores(con: Connection, as_of: str, ids: str = IDS) -> list[Any]:
    """Score, status, evidence and as_of of all ids."""
    query = f"SELECT i, predict_churn_full(i, as_of := {as_of}) AS p FROM {ids} ORDER BY i"
    return con.execute(f"SELECT i, p.score, p.status, p.evidence, p.as_of FROM ({query})").fetchall()


def one_by_one(con: Connection, moment: datetime.datetime) -> list[Any]:
    """`scores` of some customers, each scored alone."""
    return [scores(con, literal(moment), f"(SELECT {i} AS i)") for i in range(0, CUSTOMERS, 4)]


def gathered(con: Connection, as_of: str) -> list[Any]:
    """All arguments of the model's functions for all ids; the functions have no other access to the tables."""
    catalog = current_catalog(con)
    gather = replace(read_card(con, catalog, "churn", 1).gather(catalog), message_functions={}, coded_texts=False)
    # Also what models of the frozen regime read: how far the data lag behind.
    entity, *others = gather.plan.paths
    plan = replace(gather.plan, paths=(replace(entity, data_age=True), *others))
    gather = replace(gather, rows=replace(gather.rows, plan=plan))
    seeds = f"SELECT i::BIGINT AS _entity, {as_of} AS _as_of FROM {IDS}"
    rows = con.execute(gather.query(seeds) + "\nORDER BY seed._entity").fetchall()
    # The lists are in no order.
    return [[sorted(map(repr, cell)) if isinstance(cell, list) else repr(cell) for cell in row] for row in rows]


def same(found: list[Any], before: list[Any]) -> bool:
    """True for equal statuses and evidence, and scores that differ only as much as other batch sizes explain."""
    assert [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in before]
    mine, theirs = (np.array([row[1] for row in rows], dtype=float) for rows in (found, before))
    return np.allclose(mine, theirs, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("seed", range(6))
def test_rows_after_as_of_change_no_score(con: Connection, seed: int) -> None:
    moment = MOMENTS[seed % 3]
    batch = f"FROM predict_churn_batch(as_of := {literal(moment)}) WHERE score IS NOT NULL ORDER BY customer_id"
    before, rows, alone = scores(con, literal(moment)), gathered(con, literal(moment)), one_by_one(con, moment)
    in_batch = con.execute(batch).fetchall()
    assert len({score for _, score, status, _, _ in before if status == "ok"}) > 5
    con.execute("BEGIN")
    mutate_after(con, moment, seed)
    assert gathered(con, literal(moment)) == rows
    assert one_by_one(con, moment) == alone
    assert same(scores(con, literal(moment)), before)
    assert same(con.execute(batch).fetchall(), in_batch)
    con.execute("ROLLBACK")


@pytest.mark.parametrize("seed", range(3))
def test_each_row_has_its_own_as_of(con: Connection, seed: int) -> None:
    moments = ", ".join(map(literal, MOMENTS))
    as_of = f"[{moments}][1 + abs(i) % 3]"
    before, rows = scores(con, as_of), gathered(con, as_of)
    assert len({row[-1] for row in before}) == 3
    mutate_after(con, MOMENTS[-1], seed)
    assert gathered(con, as_of) == rows
    assert same(scores(con, as_of), before)
    # A later cut for some rows is the past of others: those at the first moment stay as they are.
    mutate_after(con, MOMENTS[0], seed + 10)
    after, later = scores(con, as_of), gathered(con, as_of)
    early = [i for i, row in enumerate(before) if row[-1] == MOMENTS[0]]
    assert [later[i] for i in early] == [rows[i] for i in early]
    assert same([after[i] for i in early], [before[i] for i in early])
    assert later != rows
    assert [row[1] for row in after] != [row[1] for row in before]


def test_rows_at_as_of_count_and_rows_a_microsecond_later_do_not(con: Connection) -> None:
    moment = MOMENTS[0]
    known = {row[0]: row for row in scores(con, literal(moment)) if row[2] == "ok"}
    [(customer,)] = con.execute(
        f"""SELECT customer_id FROM orders WHERE ordered_at <= {literal(moment)} AND customer_id IN {tuple(known)}
            GROUP BY customer_id HAVING count(*) < {FAST.fanout} ORDER BY count(*), customer_id LIMIT 1"""
    ).fetchall()
    for table, time in (("orders", "ordered_at"), ("visits", "seen")):
        for late in (True, False):
            con.execute("BEGIN")
            con.execute(
                f"""INSERT INTO {table} BY NAME SELECT {"90000000 AS order_id, " if table == "orders" else ""}
                    {customer} AS customer_id, {literal(moment)} + to_microseconds({int(late)}) AS {time}"""
            )
            found = {row[0]: row for row in scores(con, literal(moment))}
            con.execute("ROLLBACK")
            assert found[customer][3] == known[customer][3] + (not late), (table, late)
            assert (found[customer][1] == known[customer][1]) == late, (table, late)


@pytest.fixture
def bare_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models hold the bare weights."""
    store_bare_weights(monkeypatch)


def add_crowd(con: Connection, cut: datetime.datetime) -> None:
    """Many late orders: a plan that looked at all rows would see every shop as too large a hub, or orders as rare."""
    con.execute(
        f"""INSERT INTO orders BY NAME SELECT 50000000 + i AS order_id, i % {CUSTOMERS} AS customer_id,
            1 + i % 3 AS shop_id, 7 AS amount, 'late' AS note, {literal(cut)} + to_seconds(1 + i) AS ordered_at
            FROM range(20000) t(i)"""
    )


@pytest.mark.usefixtures("bare_weights")
@pytest.mark.parametrize(
    ("task", "options"),
    [
        (CHURN, FAST),
        (SPEND, replace(FAST, refit=False)),
        (SPEND, replace(FAST, regime="frozen", density=3)),
    ],
)
def test_rows_after_the_test_timestamp_train_the_same_model(task: Task, options: TrainOptions) -> None:
    assert task.test_timestamp is not None
    cards = []
    for late in (False, True):
        with duckdb.connect() as con:
            create_market(con)
            if late:
                mutate_after(con, task.test_timestamp, 1)
                add_crowd(con, task.test_timestamp)
            train(con, task, name="m", options=options)
            cards.append(read_card(con, current_catalog(con), "m", 1))
    assert cards[0].paths == cards[1].paths
    assert cards[0].inputs == cards[1].inputs
    assert cards[0].metrics == cards[1].metrics
    assert cards[0].sha256 == cards[1].sha256
    assert cards[0].stale_after_days == cards[1].stale_after_days


@pytest.mark.usefixtures("bare_weights")
def test_tables_that_no_path_reads_are_cut_for_the_label_query_too() -> None:
    # The window of this label is open: only the cut at the test timestamp keeps later rows out.
    sql = """SELECT t.timestamp, c.customer_id, (SELECT max(price) FROM campaigns) * c.customer_id AS spend
             FROM timestamps t JOIN customers c ON c.joined <= t.timestamp"""
    metrics = []
    for late in (False, True):
        with duckdb.connect() as con:
            campaigns = "CREATE TABLE campaigns AS SELECT price, launched FROM products WHERE price < 5;"
            create_market(con, tables=campaigns)
            declare_table(con, current_catalog(con), "campaigns", time_column="launched")
            if late:
                con.execute("INSERT INTO campaigns VALUES (1000, '2022-10-02')")
            metrics.append(train(con, replace(SPEND, sql=sql), name="m", options=FAST).metrics)
    assert metrics[0] == metrics[1]


@pytest.mark.usefixtures("bare_weights")
def test_hiding_a_time_column_does_not_reveal_later_rows() -> None:
    task = replace(CHURN, remove_columns=(("orders", "ordered_at"),))
    digests = []
    for late in (False, True):
        with duckdb.connect() as con:
            create_market(con)
            if late:
                con.execute(
                    f"UPDATE orders SET amount = 0, note = NULL WHERE ordered_at > {literal(CHURN.test_timestamp)}"
                )
            try:
                train(con, task, name="m", options=FAST)
            except RelsqlError as error:
                digests.append(str(error))
                continue
            digests.append(read_card(con, current_catalog(con), "m", 1).sha256["graph.onnx"])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 64 or "'ordered_at' of table 'orders'" in digests[0]


@pytest.mark.parametrize("timedelta", ["30 days", "1 month", "36 hours"])
@pytest.mark.parametrize("density", [1, 4])
def test_every_label_has_a_closed_window(timedelta: str, density: int) -> None:
    task = replace(CHURN, timedelta=timedelta, val_timestamp=datetime.datetime(2022, 7, 31))
    ends: dict[Split, Any] = {"val": task.test_timestamp, "train": task.val_timestamp}
    with duckdb.connect() as con:
        create_market(con)
        schema = read_schema(con)
        for split, end in ends.items():
            labels = label_table(con, "memory", schema, task, split, density=density).table
            query = f"SELECT count(DISTINCT as_of), max(as_of + INTERVAL '{timedelta}') FROM labels"
            [(moments, last)] = con.execute(query).fetchall()
            assert last <= end
            assert moments == task.num_eval_timestamps if split == "val" else moments > 12 * density
            mutate_after(con, end, density)
            assert label_table(con, "memory", schema, task, split, density=density).table.equals(labels)


@pytest.mark.parametrize("split", ["val", "test"])
def test_frozen_scores_end_where_the_split_starts(con: Connection, split: Split) -> None:
    end = CHURN.val_timestamp if split == "val" else CHURN.test_timestamp
    assert end is not None
    frozen, live = (scores_of_split(con, split, regime) for regime in REGIMES[::-1])
    assert max(as_of for _, as_of in frozen) > end
    assert {pair: score for pair, score in frozen.items() if pair[1] > end} != {
        pair: score for pair, score in live.items() if pair[1] > end
    }
    mutate_after(con, end, 3)
    assert scores_of_split(con, split, "frozen") == frozen
    assert scores_of_split(con, split, "seed-time") != live


def scores_of_split(con: Connection, split: Split, regime: Regime) -> dict[Any, float]:
    """Scores by (entity, as_of), for the labels of entities that the database holds."""
    found = predict_split(con, "churn", split, regime)
    rows = zip(found.entities, found.as_of, found.scores, strict=True)
    return {(entity, as_of): score for entity, as_of, score in rows if np.isfinite(score)}
