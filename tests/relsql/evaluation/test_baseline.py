"""The baseline over the entity table's own columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from relsql.database.connections import transaction
from relsql.evaluation.baseline import entity_columns_auc
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.sql_text import literal
from relsql.tasks.labels.label_table import default_splits
from relsql.tasks.task import Task

pytest.importorskip("sklearn")

TASK = Task(
    name="t",
    task_type="binary_classification",
    entity_table="odd table",
    entity_col="Key",
    target_col="y",
    time_col="t",
    timedelta="10 days",
    num_eval_timestamps=3,
    sql="""SELECT e."Key", s.timestamp AS t, (e.kind = 'good')::INTEGER AS y FROM "odd table" e, timestamps s""",
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Entities whose label is determined by `kind`, and events that only have a time."""
    with duckdb.connect() as con:
        con.execute(
            """CREATE TABLE "odd table" AS
               SELECT i AS "Key", CASE WHEN i % 3 = 0 THEN 'good' WHEN i % 3 = 1 THEN 'bad' END AS kind,
                      i % 3 = 0 AS "leak?", DATE '1990-01-01' + i::INTEGER AS born, i % 5 AS size
               FROM range(60) t(i)"""
        )
        con.execute('ALTER TABLE "odd table" ADD PRIMARY KEY ("Key")')
        days = "SELECT TIMESTAMP '2020-01-01' + to_days(i::INTEGER) AS at FROM range(200) t(i)"
        con.execute(f"CREATE TABLE events AS {days}")
        with transaction(con):
            declare_table(con, "memory", "events", time_column="at")
        yield con


def test_an_informative_column_is_used(con: duckdb.DuckDBPyConnection) -> None:
    found = entity_columns_auc(con, "memory", read_schema(con), TASK)
    assert found == {"val": 1.0, "test": 1.0}


def test_removed_columns_are_not_seen(con: duckdb.DuckDBPyConnection) -> None:
    task = replace(TASK, remove_columns=(("odd table", "kind"), ("odd table", "leak?")))
    found = entity_columns_auc(con, "memory", read_schema(con), task, ("test",))
    assert list(found) == ["test"] and found["test"] < 0.9


def test_regression_is_measured_by_mean_absolute_error(con: duckdb.DuckDBPyConnection) -> None:
    sql = """SELECT e."Key", s.timestamp AS t, 10 * e.size AS y FROM "odd table" e, timestamps s"""
    task = replace(TASK, task_type="regression", sql=sql)
    found = entity_columns_auc(con, "memory", read_schema(con), task, ("train", "test"))
    # The mean would be off by 12.
    assert 0 <= found["train"] < 2 and 0 <= found["test"] < 2


@pytest.mark.parametrize(("target", "most"), [("mean", 12.7), ("median", 7.0), ("quantile(0.9)", 4.0)])
def test_regression_predicts_the_target_of_the_task(con: duckdb.DuckDBPyConnection, target: str, most: float) -> None:
    """A fifth of the labels is 30, the others 0, whatever the columns say.

    The constant that is the target has an RMSE of 12, an MAE of 6 or a pinball loss of 2.4. The median would have an
    RMSE of 13.4 and a pinball loss of 5.4, the mean an MAE of 9.6.
    """
    sql = """SELECT e."Key", s.timestamp AS t, CASE WHEN hash(e."Key", s.timestamp) % 5 = 0 THEN 30.0 ELSE 0 END AS y
             FROM "odd table" e, timestamps s"""
    task = replace(TASK, task_type="regression", target=target, sql=sql)
    found = entity_columns_auc(con, "memory", read_schema(con), task, ("train",))
    assert found["train"] <= most


def test_only_training_labels_are_fitted(con: duckdb.DuckDBPyConnection) -> None:
    start = default_splits(con, "memory", read_schema(con), TASK).val_timestamp
    turned = f"((e.kind IS NOT DISTINCT FROM 'good') <> (s.timestamp >= {literal(start)}))::INTEGER"
    task = replace(TASK, sql=TASK.sql.replace("(e.kind = 'good')::INTEGER", turned))
    found = entity_columns_auc(con, "memory", read_schema(con), task, ("train", "val", "test"))
    assert found == {"train": 1.0, "val": 0.0, "test": 0.0}


def test_the_connection_is_left_as_it_is(con: duckdb.DuckDBPyConnection) -> None:
    before = con.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    entity_columns_auc(con, "memory", read_schema(con), TASK, ("val",))
    assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == before
