"""A small invented market with every kind of link path and several types of times, to which tests add odd data.

Keys, links and times are declared, so that no constraint prevents strange rows.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.tasks.task import Task
from tests.shop import QUICK

CUSTOMERS = 30
FAST = replace(QUICK, density=1, epochs=1)

CHURN = Task(
    name="market-churn",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer_id",
    target_col="churned",
    time_col="timestamp",
    timedelta="30 days",
    num_eval_timestamps=2,
    val_timestamp=datetime.datetime(2022, 8, 1),
    test_timestamp=datetime.datetime(2022, 10, 1),
    sql="""
        SELECT t.timestamp, c.customer_id, (count(o.order_id) = 0)::BIGINT AS churned
        FROM timestamps t
        JOIN customers c ON c.joined <= t.timestamp
        LEFT JOIN orders o ON o.customer_id = c.customer_id
          AND o.ordered_at > t.timestamp AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}'
        GROUP BY ALL""",
)

SPEND = replace(
    CHURN,
    name="market-spend",
    task_type="regression",
    target_col="spend",
    sql=CHURN.sql.replace("(count(o.order_id) = 0)::BIGINT AS churned", "coalesce(sum(o.quantity), 0) AS spend"),
)

_TABLES = f"""
    CREATE TABLE shops AS SELECT i AS shop_id, 'town ' || i AS town FROM range(1, 4) t(i);
    CREATE TABLE customers AS
    SELECT i AS customer_id, 'customer ' || i AS name, (i % 5)::INTEGER AS grade, 1 + i % 3 AS shop_id,
        DATE '1960-01-01' + (i * 211)::INTEGER AS born,
        TIMESTAMP '2021-02-01' + to_days((i * i % 700)::INTEGER) AS joined
    FROM range({CUSTOMERS}) t(i);
    CREATE TABLE products AS
    SELECT i AS product_id, 'thing ' || i AS label, i * 1.5 AS price, DATE '2021-01-01' + (i * 60)::INTEGER AS launched
    FROM range(12) t(i);
    CREATE TABLE orders AS
    SELECT row_number() OVER (ORDER BY day, i) AS order_id, i AS customer_id, 1 + hash(i, day) % 3 AS shop_id,
        round(5 + hash(i, day) % 900 / 10, 2) AS amount, (1 + hash(day, i, 2) % 9)::INTEGER AS quantity,
        ['gift', 'express', NULL][1 + (hash(day, i) % 3)::INTEGER] AS note,
        TIMESTAMP '2021-03-01 08:00:00' + to_days(day::INTEGER) AS ordered_at
    FROM range({CUSTOMERS}) c(i), range(0, 660, 7) d(day)
    WHERE hash(i, day, 1) % 100 < 5 + (i * 17 % 40);
    CREATE TABLE lines AS
    SELECT order_id * 10 + j AS line_id, order_id, (order_id + j) % 12 AS product_id, j AS position,
        (ordered_at + to_minutes(j))::TIMESTAMPTZ AS added
    FROM orders, range(2) t(j);
    CREATE TABLE visits AS
    SELECT customer_id, 'page ' || order_id % 5 AS page, amount * 3 AS seconds, ordered_at::TIMESTAMP_NS AS seen
    FROM orders WHERE order_id % 2 = 0;
"""

_KEYS = {
    "shops": ("shop_id", None),
    "customers": ("customer_id", "joined"),
    "products": ("product_id", "launched"),
    "orders": ("order_id", "ordered_at"),
    "lines": ("line_id", "added"),
    "visits": (None, "seen"),
}
LINKS = (
    "customers(shop_id) -> shops",
    "orders(customer_id) -> customers",
    "orders(shop_id) -> shops",
    "lines(order_id) -> orders",
    "lines(product_id) -> products",
    "visits(customer_id) -> customers",
)


def create_market(
    con: duckdb.DuckDBPyConnection, *, tables: str = "", links: tuple[str, ...] = LINKS, timed: bool = True
) -> None:
    """Create the market in the current database.

    Args:
        con: an open connection.
        tables: statements that change the tables before keys, links and times are declared.
        links: the links to declare.
        timed: False leaves all times undeclared.
    """
    con.execute("SET TimeZone = 'UTC'")
    con.execute(_TABLES + tables)
    catalog = current_catalog(con)
    with transaction(con):
        for table, (key, time) in _KEYS.items():
            declare_table(con, catalog, table, primary_key=(key,) if key else (), time_column=time if timed else None)
        for link in links:
            declare_link(con, catalog, parse_link(link))


def store_bare_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training store bare weights instead of ONNX components, which is faster and tests training just as well."""
    from safetensors.torch import save

    from exporters.onnx import export

    def store(module: Any, *_: object) -> tuple[bytes, float]:
        return save(module.state_dict()), 0.0

    def store_graph(module: Any, *_: object) -> tuple[dict[str, bytes], float]:
        return {"graph.onnx": store(module)[0]}, 0.0

    for name in ("export_encoder", "export_head"):
        monkeypatch.setattr(export, name, store)
    monkeypatch.setattr(export, "export_graph", store_graph)
