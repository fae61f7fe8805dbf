"""The rows that a model of a task could read (relsql.gather.task_rows)."""

from __future__ import annotations

import datetime

import duckdb

from relsql.gather.task_rows import task_inputs, task_paths, task_rows
from relsql.schema.reading import read_schema
from relsql.tasks.task import Task

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, city VARCHAR);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), amount DOUBLE, day TIMESTAMP
);
CREATE TABLE unlinked (id INTEGER PRIMARY KEY);
INSERT INTO customers SELECT i, 'Ulm' FROM range(5) t(i);
INSERT INTO orders
SELECT i, i % 5, i % 7, TIMESTAMP '2022-01-01' + INTERVAL (i) DAY FROM range(30) t(i);
CREATE SCHEMA relsql;
CREATE TABLE relsql.schema_tables (table_name VARCHAR, primary_key VARCHAR[], time_column VARCHAR, origin VARCHAR);
INSERT INTO relsql.schema_tables VALUES ('orders', ['id'], 'day', 'declared');
"""

TASK = Task(
    name="spend",
    task_type="regression",
    entity_table="customers",
    entity_col="id",
    target_col="spent",
    time_col="day",
    timedelta="3 days",
    sql="SELECT 1",
    val_timestamp=datetime.datetime(2022, 1, 10),
    test_timestamp=datetime.datetime(2022, 1, 20),
)


def test_a_plan_reads_what_the_entity_reaches(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(SHOP)
    schema = read_schema(con, "memory")
    paths = task_paths(con, "memory", schema, TASK).paths
    rows = task_rows(schema, TASK, paths, task_inputs(con, "memory", schema, TASK, paths))
    assert [path.describe() for path in rows.paths] == ["customers", "customers <- orders, last 16"]
    assert rows.paths[1].count_days == (3, 12, 48)
    assert list(rows.inputs) == list(rows.schema.tables) == ["customers", "orders"]
    assert rows.schema.table("orders").column_names == ("id", "customer", "amount", "day")


def test_a_part_of_the_paths_needs_a_part_of_the_tables(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(SHOP)
    schema = read_schema(con, "memory")
    paths = task_paths(con, "memory", schema, TASK).paths
    inputs = task_inputs(con, "memory", schema, TASK, paths)
    assert list(task_rows(schema, TASK, paths[:1], inputs).inputs) == ["customers"]
