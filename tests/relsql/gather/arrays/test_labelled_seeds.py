from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

pytest.importorskip("torch")

from relsql.gather.arrays import labelled_seeds as module
from relsql.gather.arrays.blocks import SeedSet, concat_blocks, newest_event_days, newest_evidence_days
from relsql.gather.arrays.labelled_seeds import FEW_MOMENTS, gather_seeds
from relsql.gather.sql.latest_rows import LatestRows
from relsql.gather.sql.query import Gather
from relsql.training.plan import Plan, make_plan
from tests.shop import QUICK, TASK, create_shop
from udfs.functions import create_arrow_function

TIMES = [datetime.datetime(2022, month, 1) for month in (3, 6, 9)]


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seeds") / "shop.duckdb"
    create_shop(path)
    return path


def text_length(texts: pa.Array) -> pa.Array:
    """Replaces the function that returns the id of a text; sealed queries call registered functions, not macros."""
    return pc.fill_null(pc.utf8_length(texts), 0)


@pytest.fixture
def shop_con(shop_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(shop_file), read_only=True) as con:
        create_arrow_function(con, "text_length", text_length, ["VARCHAR"], "INTEGER")
        yield con


@pytest.fixture
def plan(shop_con: duckdb.DuckDBPyConnection) -> Plan:
    return make_plan(shop_con, "shop", TASK, fanout=QUICK.fanout)


def label_rows(entities: list[int], until: list[datetime.datetime] | None = None) -> pa.Table:
    """Labels 0, 1, ... of all entities at all times."""
    keys = [(entity, time) for time in TIMES for entity in entities]
    columns = {"entity": [key[0] for key in keys], "as_of": [key[1] for key in keys]}
    table = pa.table(columns | {"label": np.arange(len(keys))})
    return table if until is None else table.append_column("until", pa.array(until, pa.timestamp("us")))


def gathered(con: duckdb.DuckDBPyConnection, plan: Plan, labels: pa.Table, catalog: str = "shop") -> SeedSet:
    gather = Gather(LatestRows(plan.rows, catalog), "text_length")
    return gather_seeds(con, gather, plan.layouts, labels)


def assert_equal(one: SeedSet, other: SeedSet) -> None:
    np.testing.assert_array_equal(one.as_of_days, other.as_of_days)
    np.testing.assert_array_equal(one.labels, other.labels)
    for mine, theirs in zip(one.blocks, other.blocks, strict=True):
        np.testing.assert_array_equal(mine.counts, theirs.counts)
        np.testing.assert_allclose(mine.totals, theirs.totals, rtol=1e-6)
        orders = np.argsort(mine.slot), np.argsort(theirs.slot)
        for name in ("slot", "numbers", "categories", "texts"):
            np.testing.assert_array_equal(getattr(mine, name)[orders[0]], getattr(theirs, name)[orders[1]])


def test_seeds_come_in_the_order_of_their_labels(shop_con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    seeds = gathered(shop_con, plan, label_rows([5, 3, 41, 8]))
    assert seeds.labels.tolist() == list(range(12)) and len(seeds) == 12
    assert seeds.as_of_days.tolist() == [
        (time - datetime.datetime(1970, 1, 1)).days for time in TIMES for _ in range(4)
    ]
    orders = next(i for i, path in enumerate(plan.paths) if path.name == "orders")
    query = "SELECT count(*) FROM orders WHERE customer_id = ? AND ordered_at <= ?"
    expected = [shop_con.execute(query, [entity, time]).fetchall()[0][0] for time in TIMES for entity in (5, 3, 41, 8)]
    assert seeds.blocks[orders].totals[:, 0].tolist() == expected and max(expected) > QUICK.fanout
    assert seeds.blocks[orders].counts.tolist() == [min(QUICK.fanout, count) for count in expected]


def test_unknown_entities_are_left_out(shop_con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    seeds = gathered(shop_con, plan, label_rows([5, 999, 8]))
    assert seeds.labels.tolist() == [0, 2, 3, 5, 6, 8]
    pairs = replace(gathered(shop_con, plan, label_rows([5, 8])), labels=seeds.labels)
    assert_equal(seeds, pairs)


def test_many_queries_give_the_same_as_one(
    shop_con: duckdb.DuckDBPyConnection, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = label_rows(list(range(10)))
    whole = gathered(shop_con, plan, labels)
    monkeypatch.setattr(module, "SEEDS_PER_QUERY", 7)
    done: list[float] = []
    gather = Gather(LatestRows(plan.rows, "shop"), "text_length")
    assert_equal(gather_seeds(shop_con, gather, plan.layouts, labels, done.append), whole)
    assert done == sorted(done) and len(done) == 5 and done[-1] == 1.0


def test_data_end_where_labels_say(shop_con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    entities = list(range(10))
    late = gathered(shop_con, plan, label_rows(entities, [time for time in TIMES for _ in entities]))
    assert_equal(late, gathered(shop_con, plan, label_rows(entities)))
    end = datetime.datetime(2022, 2, 5, 8)
    seeds = gathered(shop_con, plan, label_rows(entities, [end] * 30))
    shop_con.execute("ATTACH ':memory:' AS cut (READ_WRITE)")
    for table in ("shops", "customers", "orders"):
        where = "WHERE ordered_at <= ?" if table == "orders" else "WHERE ? IS NOT NULL"
        shop_con.execute(f"CREATE TABLE cut.{table} AS FROM shop.{table} {where}", [end])
    assert_equal(seeds, gathered(shop_con, plan, label_rows(entities), "cut"))
    assert seeds.blocks[-1].totals.sum() < late.blocks[-1].totals.sum()


def test_many_moments_give_the_same_as_one_by_one(shop_con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    moments = [datetime.datetime(2021, month, 1) for month in range(1, 13)]
    assert len(moments) > FEW_MOMENTS
    labels = pa.table({"entity": list(range(20)) * 12, "as_of": sorted(moments * 20), "label": np.arange(240)})
    together = gathered(shop_con, plan, labels)
    alone = [gathered(shop_con, plan, labels.slice(20 * i, 20)) for i in range(12)]
    assert len(together) > 100
    assert together.labels.tolist() == [label for part in alone for label in part.labels]
    blocks = [concat_blocks([part.blocks[i] for part in alone], x.fanout) for i, x in enumerate(plan.layouts)]
    days = np.concatenate([part.as_of_days for part in alone])
    assert_equal(together, SeedSet(tuple(blocks), days, together.labels))


def test_one_label_with_several_ends(shop_con: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    ends = [datetime.datetime(2021, 6, 1), datetime.datetime(2022, 1, 1), TIMES[0]]
    one = label_rows([7]).slice(0, 1)
    labels = pa.concat_tables([one] * 3).append_column("until", pa.array(ends, pa.timestamp("us")))
    seeds = gathered(shop_con, plan, labels)
    counts = seeds.blocks[-1].totals[:, 0]
    assert len(seeds) == 3 and counts[0] < counts[1] < counts[2]


def test_a_bad_time_is_no_evidence_by_which_status_stale_is_judged(shop_file: Path, tmp_path: Path) -> None:
    """Some customers have nothing but an order of 1900-01-01."""
    with duckdb.connect(shutil.copy(shop_file, tmp_path / "shop.duckdb")) as con:
        create_arrow_function(con, "text_length", text_length, ["VARCHAR"], "INTEGER")
        con.execute("INSERT INTO customers SELECT 900 + i, 'late', NULL, 1 FROM range(30) t(i)")
        con.execute("INSERT INTO orders SELECT 90000 + i, 900 + i, 1, NULL, '1900-01-01' FROM range(30) t(i)")
        plan = make_plan(con, "shop", TASK, fanout=4)
        seeds = gathered(con, plan, label_rows([0, 900]))
    evidence = newest_evidence_days(seeds.blocks, plan.paths, plan.schema)
    events = newest_event_days(seeds, plan.paths, plan.schema)
    assert (evidence > 40_000).tolist() == [False, True] * 3
    assert np.isfinite(events).tolist() == [True, False] * 3
    np.testing.assert_array_equal(events[::2], evidence[::2])
