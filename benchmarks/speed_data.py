"""Databases for the speed benchmark: plain rows of any number, drawn by DuckDB itself, the same for the same size.

one-hop   customers, each with 20 orders; the orders lie in the order of time, so that a customer's are scattered
hub       the same orders also point at shops; one shop has 100,000 of them (a tenth, when there are fewer orders)
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.declare import declare_link, declare_table
from relsql.schema import Link, current_catalog
from relsql.store import open_database, transaction
from relsql.task import Task, save_task

ORDERS_PER_CUSTOMER = 20
HOT_SHOP_ORDERS = 100_000
SHOP_ORDERS = 1_000
VARIANTS = ("one-hop", "hub")
LATEST = "TIMESTAMP '2024-01-01'"
"""All rows lie before it."""

CHURN = Task(
    name="churn",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer_id",
    target_col="churn",
    time_col="timestamp",
    timedelta="30 days",
    description="Will the customer place no order in the next 30 days?",
    sql="""
        SELECT t.timestamp, c.customer_id,
            CAST(count(o.order_id) = 0 AS INTEGER) AS churn
        FROM timestamps t
        JOIN customers c ON c.joined <= t.timestamp AND c.customer_id <= 2000
        LEFT JOIN orders o ON o.customer_id = c.customer_id
            AND o.ordered > t.timestamp AND o.ordered <= t.timestamp + INTERVAL '30 days'
        GROUP BY ALL""",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a database is, and of which variant."""

    customers: int
    variant: str = "one-hop"

    @property
    def orders(self) -> int:
        """Number of linked rows in all."""
        return self.customers * ORDERS_PER_CUSTOMER

    @property
    def file_name(self) -> str:
        """Name of its DuckDB file."""
        return f"{self.variant}-{self.customers}.duckdb"


def create(path: Path, size: Size) -> None:
    """Write the database to `path`, under a temporary name until it is complete; a file that is there is kept."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with closing(open_database(temporary, must_exist=False)) as con:
        for statement in _statements(size):
            con.execute(statement)
        _declare(con, size)
    temporary.replace(path)


def _statements(size: Size) -> list[str]:
    shop_column, shop = "", ""
    statements = []
    if size.variant == "hub":
        hot = min(HOT_SHOP_ORDERS, size.orders // 10)
        shops = max(2, size.orders // SHOP_ORDERS)
        statements.append(
            f"""CREATE TABLE shops AS
                SELECT CAST(1 + i AS BIGINT) AS shop_id, 50 + hash(i, 'area') % 950 AS area FROM range({shops}) t(i)"""
        )
        shop_column = ", shop_id"
        shop = f", CAST(if(hash(i, 'hot') % {size.orders} < {hot}, 1, 2 + hash(i, 'shop') % {shops - 1}) AS BIGINT)"
    statements.append(
        f"""CREATE TABLE customers AS
            SELECT CAST(1 + i AS BIGINT) AS customer_id,
                TIMESTAMP '2020-01-01' + to_seconds(CAST(hash(i, 'joined') % (366 * 86400) AS BIGINT)) AS joined,
                ['private', 'business', 'public'][CAST(1 + hash(i, 'segment') % 3 AS INTEGER)] AS segment,
                CAST(hash(i, 'age') % 80 AS INTEGER) AS age
            FROM range({size.customers}) t(i)"""
    )
    # Three years of orders in the order of time; whose they are is drawn.
    statements.append(
        f"""CREATE TABLE orders (order_id, customer_id, ordered, amount, channel{shop_column}) AS
            SELECT CAST(1 + i AS BIGINT), CAST(1 + hash(i, 'customer') % {size.customers} AS BIGINT),
                TIMESTAMP '2021-01-01' + to_microseconds(CAST(i * (1094.0 * 86400e6 / {size.orders}) AS BIGINT)),
                round(1 + 99.0 * (hash(i, 'amount') % 10000) / 10000, 2),
                ['web', 'phone', 'shop', 'post'][CAST(1 + hash(i, 'channel') % 4 AS INTEGER)]{shop}
            FROM range({size.orders}) t(i)"""
    )
    return statements


def _declare(con: duckdb.DuckDBPyConnection, size: Size) -> None:
    """Store keys, times, links and the task: the tables themselves declare none, since keys make large inserts slow."""
    catalog = current_catalog(con)
    with transaction(con):
        declare_table(con, catalog, "customers", primary_key=("customer_id",), time_column="joined")
        declare_table(con, catalog, "orders", primary_key=("order_id",), time_column="ordered")
        declare_link(con, catalog, Link("orders", ("customer_id",), "customers", ("customer_id",), "declared"))
        if size.variant == "hub":
            declare_table(con, catalog, "shops", primary_key=("shop_id",))
            declare_link(con, catalog, Link("orders", ("shop_id",), "shops", ("shop_id",), "declared"))
        save_task(con, catalog, CHURN)
