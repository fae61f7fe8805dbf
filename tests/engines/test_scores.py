"""Scores of Sail, or of Spark, are those of DuckDB. `make test-engines` runs these tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
import relsql.spark
from relsql.errors import RelsqlError, ScoringError
from relsql.spark.jobs import spark_score
from tests.engines.conftest import SHOP_MOMENTS, Exported

MODELS = ("shop", "market", "league", "f1")


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Exported:
    found: Exported = request.getfixturevalue(request.param)
    return found


def rows_of(frame: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, frame.collect()))


def require_equal(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Keys, status, evidence, as_of and version are equal, scores to 1e-5."""
    assert [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in expected]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in expected], abs=1e-5)


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_all_entities(session: Any, model: Exported) -> None:
    registered = model.registered(session)
    for moment, expected in model.expected.items():
        assert len({row[2] for row in expected}) >= 1 and expected
        require_equal(rows_of(registered.score(moment)), expected)


@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_each_at_its_own_moment(session: Any, model: Exported) -> None:
    expected = sorted(row for rows in model.expected.values() for row in rows[:40])
    seeds = session.createDataFrame(
        [(row[0], row[4]) for row in expected * 2], f"{model.key} bigint, as_of timestamp_ntz"
    )
    found = sorted(rows_of(model.registered(session).predict(seeds)), key=lambda row: (row[0], row[4]))
    require_equal(found, sorted(expected, key=lambda row: (row[0], row[4])))


@pytest.mark.parametrize("model", ["shop", "market"], indirect=True)
def test_some_entities_and_unknown_ones(session: Any, model: Exported) -> None:
    moment, expected = next(iter(model.expected.items()))
    asked = session.createDataFrame([(row[0],) for row in expected[:5]] + [(10**9,)], f"{model.key} bigint")
    *known, unknown = rows_of(model.registered(session).score(moment, asked))
    require_equal(known, expected[:5])
    assert unknown == (10**9, None, "unknown_entity", 0, moment, expected[0][5])


def test_a_customer_with_many_orders(session: Any, shop: Exported, tmp_path: Path) -> None:
    shutil.copy(shop.database, tmp_path / "shop.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute("""
            INSERT INTO orders BY NAME
            SELECT * EXCLUDE (i) REPLACE (1000000 + i AS order_id, ordered_at - to_seconds(i) AS ordered_at)
            FROM (FROM orders ORDER BY order_id LIMIT 1), range(100000) t(i)""")
        con.execute(f"COPY orders TO '{tmp_path / 'orders.parquet'}' (FORMAT parquet)")
        relsql.attach(con)
        query = "FROM predict_churn_batch(as_of := $1) ORDER BY customer_id"
        expected = con.execute(query, [SHOP_MOMENTS[1]]).fetchall()
    frames = {**shop.frames(session), "orders": session.read.parquet(str(tmp_path / "orders.parquet"))}
    require_equal(rows_of(relsql.spark.score(session, shop.bundle, tables=frames, as_of=SHOP_MOMENTS[1])), expected)


def test_a_job_writes_a_folder_and_replaces_none(shop: Exported, session: Any, tmp_path: Path) -> None:
    done = spark_score(shop.bundle, str(tmp_path / "scores"), as_of=SHOP_MOMENTS[1], tables=shop.tables)
    assert (done.model, done.rows) == ("churn", len(shop.expected[SHOP_MOMENTS[1]]))
    with duckdb.connect() as con:
        found = con.execute(f"FROM read_parquet('{tmp_path}/scores/*.parquet') ORDER BY ALL").fetchall()
    require_equal(found, shop.expected[SHOP_MOMENTS[1]])
    with pytest.raises(RelsqlError, match="exists"):
        spark_score(shop.bundle, str(tmp_path / "scores"), as_of=SHOP_MOMENTS[1], tables=shop.tables)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores"]


def refused(session: Any, model: Exported, frames: dict[str, Any]) -> str:
    with pytest.raises(RelsqlError) as error:
        relsql.spark.register(session, model.bundle, tables=frames)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_other_tables_are_refused(session: Any, shop: Exported) -> None:
    frames = shop.frames(session)
    renamed = frames["orders"].withColumnRenamed("ordered_at", "at")
    assert "column orders.ordered_at is missing" in refused(session, shop, {**frames, "orders": renamed})
    cast = frames["orders"].withColumn("ordered_at", frames["orders"]["ordered_at"].cast("string"))
    assert "column orders.ordered_at is string, was TIMESTAMP" in refused(session, shop, {**frames, "orders": cast})
    without = {name: frame for name, frame in frames.items() if name != "orders"}
    assert "table orders is missing" in refused(session, shop, without)
    keyless = frames["customers"].drop("customer_id")
    assert "column customers.customer_id is missing" in refused(session, shop, {**frames, "customers": keyless})
    twice = frames["customers"].union(frames["customers"])
    assert "more than one row with the key" in refused(session, shop, {**frames, "customers": twice})


def test_a_session_of_another_time_zone_is_refused(session: Any, shop: Exported) -> None:
    session.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        assert "time zone is Europe/Berlin" in refused(session, shop, shop.frames(session))
    finally:
        session.conf.set("spark.sql.session.timeZone", "UTC")


def test_other_entities_are_refused(session: Any, shop: Exported) -> None:
    model = shop.registered(session)
    with pytest.raises(ScoringError, match="the column 'as_of' of the entities is missing"):
        model.predict(session.createDataFrame([(1,)], "customer_id bigint"))
    with pytest.raises(ScoringError, match="the column 'customer_id' of the entities is string"):
        model.score(SHOP_MOMENTS[0], session.createDataFrame([("1",)], "customer_id string"))
