"""Delayed labels, frozen copies, and models for databases that lag behind."""

from __future__ import annotations

import datetime
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import relsql
from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.predictions import predict_split
from relsql.registry.models import find_model, read_card
from relsql.schema.tables import Column, Schema, Table
from relsql.tasks.labels.frozen_database import frozen_database
from relsql.tasks.regime import DELAYS, check_regime, delayed_labels, ended_labels, split_end
from relsql.training.train import train
from tests.shop import QUICK, TASK, create_shop

DAY = datetime.timedelta(days=1)
LAGGING = replace(
    TASK,
    num_eval_timestamps=2,
    val_timestamp=datetime.datetime(2022, 8, 1),
    test_timestamp=datetime.datetime(2022, 10, 1),
)


def label_rows(count: int = 200) -> pa.Table:
    as_of = [datetime.datetime(2022, 1, 1, 12) + DAY * (i // 10) for i in range(count)]
    columns = {"entity": pa.array(i % 10 for i in range(count)), "as_of": pa.array(as_of, pa.timestamp("us"))}
    return pa.table(columns | {"label": pa.array(i % 3 for i in range(count))})


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))


# Labels


@pytest.mark.parametrize("horizons", [1, 2, 5])
@pytest.mark.parametrize("horizon", [0.25, 7.0])
def test_delays_are_whole_horizons_that_evaluation_has(horizons: int, horizon: float) -> None:
    labels = label_rows()
    found = delayed_labels(labels, replace(TASK, num_eval_timestamps=horizons), horizon, 0)
    assert found.column_names == ["entity", "as_of", "label", "until"]
    assert found.schema.field("until").type == pa.timestamp("us")
    rows = rows_of(found)
    assert len(set(rows)) == len(rows) and rows == sorted(rows, key=lambda row: (row[1], row[0]))
    assert {(row[1] - row[3]) / (DAY * horizon) for row in rows} == set(range(horizons))
    # Every label occurs with fresh data, and in addition with at most the number of delays that are drawn.
    assert [row[:3] for row in rows if row[3] == row[1]] == rows_of(labels)
    times = Counter(row[:3] for row in rows)
    assert set(times.values()) == set(range(1, 1 + min(horizons, DELAYS + 1)))


def test_delays_follow_the_seed_alone() -> None:
    task = replace(TASK, num_eval_timestamps=4)
    one, again, other = (delayed_labels(label_rows(), task, 7.0, seed) for seed in (0, 0, 1))
    assert one.equals(again) and not one.equals(other)
    assert delayed_labels(label_rows(0), task, 7.0, 0).num_rows == 0


def test_ended_labels_end_together() -> None:
    end = datetime.datetime(2022, 1, 5)
    found = ended_labels(label_rows(), end)
    assert found.column("until").to_pylist() == [end] * 200 and found.drop_columns("until").equals(label_rows())


def test_regimes_and_where_they_end() -> None:
    assert [check_regime(name) for name in ("seed-time", "frozen")] == ["seed-time", "frozen"]
    with pytest.raises(TaskError, match="no regime 'frozn'.*did you mean 'frozen'"):
        check_regime("frozn")
    assert [split_end(TASK, split) for split in ("train", "val", "test")] == [
        None,
        TASK.val_timestamp,
        TASK.test_timestamp,
    ]


# Frozen copies


def odd_database(con: duckdb.DuckDBPyConnection) -> Schema:
    """Tables in two schemas, one without time, one with zoned times; a column that the schema leaves out."""
    con.execute("""ATTACH ':memory:' AS "my db"; CREATE SCHEMA "my db"."Sta ging" """)
    con.execute("""CREATE TABLE "my db".people AS SELECT i AS id, 'secret' AS hidden FROM range(5) t(i)""")
    con.execute(
        """CREATE TABLE "my db"."Sta ging"."or ders" AS
           SELECT i AS "the id", CASE WHEN i < 9 THEN TIMESTAMP '2020-01-01' + to_days(i::INTEGER) END AS "at"
           FROM range(12) t(i)"""
    )
    con.execute(
        """CREATE TABLE "my db"."Sta ging".zoned AS
           SELECT i AS id, TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_hours(i::INTEGER) AS "at" FROM range(200) t(i)"""
    )
    tables = [
        Table("people", (Column("id", "BIGINT"),), ("id",)),
        Table("or ders", (Column("the id", "BIGINT"), Column("at", "TIMESTAMP")), ("the id",), "at", "Sta ging"),
        Table("zoned", (Column("id", "BIGINT"), Column("at", "TIMESTAMP WITH TIME ZONE")), (), "at", "Sta ging"),
    ]
    return Schema({table.key: table for table in tables}, ())


def databases(con: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in con.execute("SELECT database_name FROM duckdb_databases()").fetchall()}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_frozen_copy_ends_where_it_should(con: duckdb.DuckDBPyConnection, zone: str) -> None:
    schema = odd_database(con)
    con.execute(f"SET TimeZone = '{zone}'")
    before = databases(con)
    end = datetime.datetime(2020, 1, 5)
    with frozen_database(con, "my db", schema, end) as frozen:
        people, orders, zoned = (schema.tables[key].sql(frozen) for key in schema.tables)
        assert con.execute(f"SELECT * FROM {people} ORDER BY id").fetchall() == [(i,) for i in range(5)]
        # The end is inclusive, and rows without a time are left out.
        query = f'SELECT "the id", "at" FROM {orders} ORDER BY 1'
        assert con.execute(query).fetchall() == [(i, datetime.datetime(2020, 1, 1 + i)) for i in range(5)]
        assert con.execute(f"SELECT max(id), count(*) FROM {zoned}").fetchall() == [(96, 97)]
    assert databases(con) == before
    assert con.execute("""SELECT count(*) FROM "my db"."Sta ging"."or ders" """).fetchall() == [(12,)]


def test_a_frozen_copy_goes_away_whatever_happens(con: duckdb.DuckDBPyConnection) -> None:
    schema = odd_database(con)
    before = databases(con)
    end = datetime.datetime(2020, 1, 5)
    with pytest.raises(KeyboardInterrupt), frozen_database(con, "my db", schema, end):
        raise KeyboardInterrupt
    con.execute('DROP TABLE "my db".people')
    with pytest.raises(duckdb.CatalogException, match="people"), frozen_database(con, "my db", schema, end):
        pass
    assert databases(con) == before


# Models


@pytest.fixture(scope="module")
def lagging_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with the model `late`, for a database that ends up to a horizon before as_of."""
    path = tmp_path_factory.mktemp("lagging") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        train(con, LAGGING, name="late", options=replace(QUICK, regime="frozen", refit=False))
    return path


def test_frozen_scores_are_those_of_a_database_without_the_later_rows(lagging_shop: Path, tmp_path: Path) -> None:
    with relsql.connect(lagging_shop, read_only=True) as con:
        frozen, live = (predict_split(con, "late", "test", regime) for regime in ("frozen", "seed-time"))
        assert predict_split(con, "late", "test").scores.tolist() == frozen.scores.tolist()
    cut = Path(shutil.copy(lagging_shop, tmp_path / "cut.duckdb"))
    with relsql.connect(cut) as con:
        con.execute("DELETE FROM orders WHERE ordered_at > ?", [LAGGING.test_timestamp])
        expected = [
            con.execute("SELECT predict_late(?, as_of := ?)", list(label)).fetchall()[0][0]
            for label in zip(frozen.entities, frozen.as_of, strict=True)
        ]
    np.testing.assert_allclose(frozen.scores, expected, atol=1e-6)
    # Only the later one of the two test timestamps misses rows.
    late = np.array([as_of > datetime.datetime(2022, 10, 1) for as_of in frozen.as_of])
    assert late.any() and not late.all()
    np.testing.assert_allclose(frozen.scores[~late], live.scores[~late], atol=1e-6)
    assert np.abs(frozen.scores[late] - live.scores[late]).max() > 1e-4


def test_a_frozen_model_is_judged_in_both_regimes(lagging_shop: Path) -> None:
    with relsql.connect(lagging_shop, read_only=True) as con:
        own, live = evaluate(con, "late", "test"), evaluate(con, "late", "test", "seed-time")
        train_split = [evaluate(con, "late", "train", regime).metrics for regime in ("frozen", "seed-time")]
        with pytest.raises(TaskError, match="no regime"):
            evaluate(con, "late", "test", "frosen")  # type: ignore[arg-type]
    assert (own.regime, live.regime) == ("frozen", "seed-time") and own.rows == live.rows > 60
    assert own.metrics["log_loss"] != pytest.approx(live.metrics["log_loss"], abs=1e-6)
    # The rows of training labels are fresh in both.
    assert train_split[0] == pytest.approx(train_split[1], abs=1e-8)


def test_validation_in_training_is_that_of_the_frozen_database(lagging_shop: Path) -> None:
    with relsql.connect(lagging_shop, read_only=True) as con:
        stored = find_model(con, current_catalog(con), "late").metrics["val_roc_auc"]
        card = read_card(con, current_catalog(con), "late", 1)
        assert evaluate(con, "late", "val").metrics["roc_auc"] == pytest.approx(stored, abs=1e-5)
        assert evaluate(con, "late", "val", "seed-time").metrics["roc_auc"] != pytest.approx(stored, abs=1e-5)
    assert card.regime == "frozen" and "regime" not in card.options


def test_frozen_databases_of_two_threads_are_two(lagging_shop: Path) -> None:
    with relsql.connect(lagging_shop) as con, ThreadPoolExecutor(2) as threads:
        expected = predict_split(con, "late", "test").scores
        with con.cursor() as one, con.cursor() as other:
            found = threads.map(lambda cursor: predict_split(cursor, "late", "test").scores, [one, other])
            for scores in found:
                np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_frozen_evaluation_leaves_the_connection_as_it_was(lagging_shop: Path) -> None:
    with relsql.connect(lagging_shop, read_only=True) as con:
        query = "SELECT predict_late(7), (SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE 'predict_%')"
        before, attached = con.execute(query).fetchall(), databases(con)
        for _ in range(2):
            evaluate(con, "late", "test")
        assert con.execute(query).fetchall() == before and databases(con) == attached
