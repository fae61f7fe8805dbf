"""A task and its labels, over customers and their orders."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import duckdb

from relsql.database.cursors import task_cursor
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.labels.label_table import LabelTable, default_splits, label_table
from relsql.tasks.splits import Split, timestamps_of
from relsql.tasks.task import Task

Connection = duckdb.DuckDBPyConnection


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


QUERY = """
    SELECT t.timestamp AS day, c.id AS customer, {label} AS label
    FROM timestamps t CROSS JOIN customers c
    LEFT JOIN orders o ON o.customer = c.id AND o.day > t.timestamp AND o.day <= t.timestamp + INTERVAL '{timedelta}'
    GROUP BY ALL
"""


def query(label: str) -> str:
    return QUERY.replace("{label}", label)


TASK = Task(
    name="buys",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer",
    target_col="label",
    time_col="day",
    timedelta="10 days",
    sql=query("(count(o.day) > 0)::INT"),
    val_timestamp=at("2020-03-01"),
    test_timestamp=at("2020-03-11"),
)


def shop(con: Connection, *, time_type: str = "TIMESTAMP", orders: str = "orders") -> Schema:
    """Create 4 customers and their 39 orders from 2020-01-01 to 2020-03-29; days without orders lie between."""
    con.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR)")
    con.execute("INSERT INTO customers SELECT range, 'c' || range FROM range(4)")
    con.execute(
        f"""CREATE TABLE {orders} AS SELECT range AS id, (range * range % 7) % 4 AS customer, range * 1.5 AS amount,
            CAST(TIMESTAMP '2020-01-01' + to_days((range * 2.3)::INT) AS {time_type}) AS day FROM range(39)"""
    )
    return timed(read_schema(con), orders)


def timed(schema: Schema, key: str, column: str = "day") -> Schema:
    return replace(schema, tables=schema.tables | {key: replace(schema.tables[key], time_column=column)})


def labels(con: Connection, schema: Schema, task: Task = TASK, split: Any = "train", *, density: int = 1) -> LabelTable:
    return label_table(con, "memory", schema, task, split, density=density)


def split_timestamps(
    con: Connection, catalog: str, schema: Schema, task: Task, split: Split
) -> list[datetime.datetime]:
    with task_cursor(con, catalog) as cursor:
        return timestamps_of(cursor, catalog, schema, default_splits(con, catalog, schema, task), split)


def pairs(result: LabelTable) -> list[tuple[Any, Any]]:
    return list(zip(result.table["entity"].to_pylist(), result.table["as_of"].to_pylist(), strict=True))


def read_timed(con: Connection) -> Schema:
    return timed(read_schema(con), "orders")
