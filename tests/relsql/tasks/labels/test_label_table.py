"""Labels of a task at every moment of a split; what a label query sees of the tables (`label_table`)."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from relsql.database.cursors import task_cursor
from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from relsql.tasks.entity import entity_table
from relsql.tasks.labels.label_table import default_splits, label_table
from relsql.tasks.splits import SPLITS, horizon_days, timestamps_of
from relsql.tasks.task import Task
from tests.relsql.tasks.labels.buying import (
    TASK,
    Connection,
    at,
    labels,
    pairs,
    query,
    read_timed,
    shop,
    split_timestamps,
    timed,
)


def test_table_has_three_typed_sorted_columns(con: Connection) -> None:
    result = labels(con, shop(con))
    assert [(field.name, str(field.type)) for field in result.table.schema] == [
        ("entity", "int32"),
        ("as_of", "timestamp[us]"),
        ("label", "int64"),
    ]
    days = [at(f"2020-0{d}") for d in ("1-01", "1-11", "1-21", "1-31", "2-10", "2-20")]
    assert pairs(result) == [(entity, day) for day in days for entity in range(4)]
    regression = labels(con, read_timed(con), replace(TASK, task_type="regression", sql=query("count(o.day)")))
    assert str(regression.table.schema.field("label").type) == "double"


def test_splits_follow_relbench(con: Connection) -> None:
    schema = shop(con)
    task = replace(TASK, num_eval_timestamps=5, timedelta="5 days")
    assert split_timestamps(con, "memory", schema, task, "val") == [at("2020-03-01"), at("2020-03-06")]
    assert split_timestamps(con, "memory", schema, task, "test") == [
        at("2020-03-11"),
        at("2020-03-16"),
        at("2020-03-21"),
    ]
    train = split_timestamps(con, "memory", schema, task, "train")
    assert (train[0], train[-1], len(train)) == (at("2020-01-01"), at("2020-02-25"), 12)


def test_calendar_months_are_timedeltas(con: Connection) -> None:
    schema = shop(con)
    task = replace(TASK, timedelta="1 week", val_timestamp=None, test_timestamp=None)
    task = default_splits(con, "memory", schema, task)
    # Four customers give few labels: three weeks of them each, and half of the data to train on.
    assert (task.num_eval_timestamps, task.test_timestamp) == (3, at("2020-03-28") - datetime.timedelta(weeks=3))
    task = replace(TASK, timedelta="1 month", val_timestamp=at("2020-07-31"), test_timestamp=at("2020-09-01"))
    con.execute("INSERT INTO orders (day) VALUES ('2020-12-01')")
    train = split_timestamps(con, "memory", schema, task, "train")
    assert train[-2:] == [at("2020-05-30"), at("2020-06-30")]


def test_default_splits_leave_the_evaluation_windows_at_the_end(con: Connection) -> None:
    schema = shop(con)
    last = at("2020-03-28")
    assert con.execute("SELECT max(day) FROM orders").fetchall() == [(last,)]
    task = default_splits(
        con, "memory", schema, replace(TASK, num_eval_timestamps=2, val_timestamp=None, test_timestamp=None)
    )
    assert task.test_timestamp == last - datetime.timedelta(days=20)
    assert task.val_timestamp == last - datetime.timedelta(days=40)
    for split in ("val", "test"):
        assert len(split_timestamps(con, "memory", schema, task, split)) == 2
    assert default_splits(con, "memory", schema, TASK) == TASK
    assert default_splits(con, "memory", schema, replace(TASK, val_timestamp=None)).val_timestamp == TASK.val_timestamp


def test_infinite_and_null_times_are_not_events(con: Connection) -> None:
    schema = shop(con)
    expected = split_timestamps(con, "memory", schema, TASK, "train")
    con.execute("INSERT INTO orders (day) VALUES ('infinity'), ('-infinity'), (NULL)")
    assert split_timestamps(con, "memory", schema, TASK, "train") == expected
    assert split_timestamps(con, "memory", schema, TASK, "test") == [TASK.test_timestamp]


@pytest.mark.parametrize("density", [2, 4, 7])
def test_dense_training_timestamps_are_shifted_grids(con: Connection, density: int) -> None:
    schema = shop(con)
    found = labels(con, schema, density=density)
    times = sorted({as_of for _, as_of in pairs(found)})
    step = datetime.timedelta(days=10)
    grids = [
        at("2020-02-20") - k * step - datetime.timedelta(microseconds=round(i * 864e9 / density))
        for i in range(density)
        for k in range(6)
    ]
    assert times == sorted(t for t in grids if t >= at("2020-01-01"))
    # Every window is over when validation starts.
    assert max(times) + step <= at("2020-03-01")
    plain = labels(con, schema)
    assert set(pairs(plain)) < set(pairs(found)) and found.table.num_rows == 4 * len(times)
    for split in ("val", "test"):
        assert labels(con, schema, split=split, density=density).table.equals(labels(con, schema, split=split).table)


@pytest.mark.parametrize(
    ("timedelta", "first", "val"),
    [
        # Series of calendar months meet at the end of a short one.
        ("1 month", "2019-01-31", "2020-05-31"),
        ("20 microseconds", "2020-03-01 00:00:00", "2020-03-01 00:00:00.0001"),
    ],
)
def test_dense_timestamps_occur_once(con: Connection, timedelta: str, first: str, val: str) -> None:
    schema = shop(con)
    con.execute("DELETE FROM orders; INSERT INTO orders (day) VALUES (?), ('2020-09-01')", [at(first)])
    task = replace(TASK, timedelta=timedelta, val_timestamp=at(val), test_timestamp=at("2020-08-01"))
    with task_cursor(con, "memory") as cursor:
        times = timestamps_of(cursor, "memory", schema, task, "train", density=30)
    assert times == sorted(set(times)) and len(times) > 75
    assert set(split_timestamps(con, "memory", schema, task, "train")) < set(times)
    ends = con.execute(f"SELECT max(t + INTERVAL '{timedelta}') FROM unnest(?::TIMESTAMP[]) u(t)", [times]).fetchall()
    assert times[0] >= at(first) and ends[0][0] <= at(val)


def test_horizons_are_measured_in_days(con: Connection) -> None:
    spans = {"30 days": 30, "1 week": 7, "1 month": 31, "1 year": 366, "90 minutes": 0.0625}
    assert {span: horizon_days(con, replace(TASK, timedelta=span)) for span in spans} == spans


@pytest.mark.parametrize("time_type", ["DATE", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMPTZ"])
def test_time_column_types(con: Connection, time_type: str) -> None:
    con.execute("SET TimeZone = 'UTC'")
    schema = shop(con, time_type=time_type)
    with duckdb.connect() as other:
        expected = labels(other, shop(other)).table
    con.execute("SET TimeZone = 'Asia/Tokyo'")
    assert labels(con, schema).table.equals(expected)
    zoned = replace(TASK, sql=TASK.sql.replace("t.timestamp AS day", "t.timestamp::TIMESTAMPTZ AS day"))
    assert labels(con, schema, zoned).table.equals(expected)
    assert con.execute("SELECT current_setting('TimeZone')").fetchall() == [("Asia/Tokyo",)]


def test_train_and_val_do_not_see_beyond_the_test_timestamp(con: Connection) -> None:
    schema = shop(con)
    con.execute("INSERT INTO orders VALUES (100, 0, 1, '2020-03-11'), (101, 0, 1, '2020-03-11 00:00:01')")
    task = replace(
        TASK,
        task_type="regression",
        sql="""SELECT t.timestamp AS day, customer, max(o.id) AS label FROM timestamps t, main.orders o
               GROUP BY ALL""",
    )
    seen = {split: labels(con, schema, task, split).table["label"].to_pylist() for split in SPLITS}
    assert max(seen["train"]) == max(seen["val"]) == 100
    assert max(seen["test"]) == 101


def test_tables_outside_main_are_cut_too(con: Connection) -> None:
    con.execute('CREATE SCHEMA "Sta ging"; CREATE TABLE orders (decoy INT)')
    con.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    con.execute("INSERT INTO customers SELECT range FROM range(4)")
    con.execute(
        """CREATE TABLE "Sta ging".orders AS
           SELECT range AS id, range % 4 AS customer, TIMESTAMP '2020-01-01' + to_days(range::INT) AS day
           FROM range(90)"""
    )
    schema = timed(read_schema(con), "Sta ging.orders")
    task = replace(
        TASK,
        task_type="regression",
        sql="""WITH last AS (SELECT customer, max(orders.id) AS label FROM "sta ging".orders GROUP BY customer)
               SELECT t.timestamp AS day, last.*, (SELECT count(*) FROM "Sta ging".orders AS o) AS n
               FROM timestamps t, last; -- done""",
    )
    assert labels(con, schema, task, "train").table["label"].to_pylist()[:4] == [68, 69, 70, 67]
    assert labels(con, schema, task, "test").table["label"].to_pylist() == [88, 89, 86, 87]
    named = replace(task, sql=task.sql.replace('"sta ging".', 'memory."sta ging".'))
    assert labels(con, schema, named, "val").table["label"].to_pylist() == [68, 69, 70, 67]


def test_a_table_called_timestamps_gives_way_to_the_seeds(con: Connection) -> None:
    schema = shop(con)
    expected = labels(con, schema).table
    con.execute("CREATE TABLE Timestamps AS SELECT TIMESTAMP '1990-01-01' AS day")
    schema = timed(timed(read_schema(con), "orders"), "Timestamps")
    task = replace(TASK, val_timestamp=at("2020-03-01"))
    result = labels(con, schema, task).table
    assert result.slice(result.num_rows - expected.num_rows).equals(expected)
    assert con.execute("SELECT * FROM timestamps").fetchall() == [(at("1990-01-01"),)]


def test_odd_identifiers(con: Connection) -> None:
    con.execute("""ATTACH ':memory:' AS "da""ta base"; USE "da""ta base".main""")
    con.execute('CREATE TABLE "Sélect ""x" ("Group" VARCHAR PRIMARY KEY)')
    con.execute('CREATE TABLE "order" ("from" VARCHAR, "Whén, it" TIMESTAMPTZ)')
    con.execute("""INSERT INTO "Sélect ""x" VALUES ('a'), ('b')""")
    con.execute(
        """INSERT INTO "order" SELECT chr(97 + (range % 2)::INT), TIMESTAMP '2020-01-01' + to_days((range ** 1.2)::INT)
           FROM range(40)"""
    )
    schema = timed(read_schema(con, 'da"ta base'), "order", "Whén, it")
    task = Task(
        name="it's",
        task_type="regression",
        entity_table='Sélect "x',
        entity_col="GROUP",
        target_col="valué \"'",
        time_col="select",
        timedelta="5 days",
        sql="""SELECT timestamp AS "select", "from" AS "group", count(*) AS "valué ""'" FROM timestamps
               JOIN "order" ON "Whén, it" > timestamp AND "Whén, it" <= timestamp + INTERVAL '{timedelta}'
               GROUP BY ALL""",
    )
    result = label_table(con, 'da"ta base', schema, task, "train")
    assert set(result.table["entity"].to_pylist()) == {"a", "b"}
    assert result.table.num_rows == 2 * len(split_timestamps(con, 'da"ta base', schema, task, "train"))


def test_catalog_with_a_schema_of_its_own_name(con: Connection) -> None:
    con.execute("CREATE SCHEMA memory; CREATE TABLE memory.memory.orders (decoy INT)")
    con.execute("USE memory.main")
    assert labels(con, shop(con)).table.num_rows == 24


# Rows that are left out


def test_dangling_entities_and_null_labels_are_dropped_and_counted(con: Connection) -> None:
    schema = shop(con)
    con.execute("DELETE FROM customers WHERE id = 2")
    task = replace(
        TASK,
        sql="""SELECT t.timestamp AS day, c AS customer, CASE WHEN c <> 1 THEN c % 2 END AS label
               FROM timestamps t, (VALUES (0), (1), (2), (3), (NULL)) v(c)""",
    )
    result = labels(con, schema, task)
    assert (result.dropped_dangling, result.dropped_null) == (12, 6)
    assert set(result.table["entity"].to_pylist()) == {0, 3}


def test_entities_that_appear_after_the_test_timestamp_are_dangling(con: Connection) -> None:
    schema = shop(con)
    con.execute("ALTER TABLE customers ADD COLUMN since DATE DEFAULT DATE '2020-01-01'")
    con.execute("INSERT INTO customers VALUES (9, 'late', '2020-03-12'), (8, 'in time', '2020-03-11')")
    schema = timed(read_timed(con), "customers", "since")
    result = labels(con, schema, replace(TASK, sql=TASK.sql + " ORDER BY 1"), "test")
    assert result.dropped_dangling == 1
    assert sorted(set(result.table["entity"].to_pylist())) == [0, 1, 2, 3, 8]


def test_entity_key_is_the_primary_key_or_else_the_entity_column(con: Connection) -> None:
    schema = shop(con)
    assert entity_table(schema, TASK).primary_key == ("id",)
    con.execute("CREATE TABLE people (Customer INT)")
    assert entity_table(read_schema(con), replace(TASK, entity_table="people")).primary_key == ("Customer",)


def test_an_entity_with_several_rows_has_one_label_at_each_time(con: Connection) -> None:
    expected = labels(con, shop(con))
    con.execute("CREATE TABLE people AS SELECT (range % 4)::INTEGER AS customer FROM range(8)")
    found = labels(con, read_timed(con), replace(TASK, entity_table="people"))
    assert (found.table.equals(expected.table), found.dropped_dangling) == (True, 0)


def test_entity_takes_the_type_of_the_key(con: Connection) -> None:
    schema = shop(con)
    result = labels(
        con, schema, replace(TASK, sql=f"SELECT * REPLACE (customer::VARCHAR AS customer) FROM ({TASK.sql})")
    )
    assert str(result.table.schema.field("entity").type) == "int32"


# The user's connection


def state(con: Connection) -> list[Any]:
    return [
        con.execute(f"SELECT {what}").fetchall()
        for what in (
            "current_database(), current_schema(), current_setting('TimeZone')",
            "count(*) FROM duckdb_tables()",
            "count(*) FROM duckdb_views()",
            "count(*) FROM duckdb_databases()",
        )
    ]


def test_connection_is_untouched(con: Connection) -> None:
    schema = shop(con)
    con.execute(
        "CREATE SCHEMA other; USE memory.other; SET TimeZone = 'Asia/Tokyo'; CREATE TEMP TABLE timestamps (x INT)"
    )
    before = state(con)
    labels(con, schema)
    with pytest.raises(TaskError):
        labels(con, schema, replace(TASK, sql="SELECT nothing"))
    assert state(con) == before


def test_interruption_passes_and_leaves_nothing(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = shop(con)
    before = state(con)
    cursors = []

    def interrupted(cursor: Connection, *_: object) -> None:
        cursors.append(cursor)
        raise KeyboardInterrupt

    monkeypatch.setattr("relsql.tasks.labels.label_query._keep_known", interrupted)
    with pytest.raises(KeyboardInterrupt):
        labels(con, schema)
    with pytest.raises(duckdb.Error, match=r"(?i)closed"):
        cursors[0].execute("SELECT 1")
    assert state(con) == before


def test_read_only_database(tmp_path: Path) -> None:
    path = str(tmp_path / "shop.duckdb")
    with duckdb.connect(path) as con:
        shop(con)
    with duckdb.connect(path, read_only=True) as con:
        schema = read_timed(con)
        assert label_table(con, "shop", schema, TASK, "train").table.num_rows == 24


def test_open_transaction_neither_blocks_nor_counts(con: Connection) -> None:
    schema = shop(con)
    expected = labels(con, schema).table
    con.execute("BEGIN; DELETE FROM orders; INSERT INTO customers VALUES (77, 'new')")
    assert labels(con, schema).table.equals(expected)
    con.execute("CREATE TABLE more (day TIMESTAMP)")
    with pytest.raises(TaskError, match=r"more.*COMMIT"):
        labels(con, timed(read_timed(con), "more"))
    con.execute("ROLLBACK")
    assert con.execute("SELECT count(*) FROM orders").fetchall() == [(39,)]
