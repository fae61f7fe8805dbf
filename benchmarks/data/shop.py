"""Databases for the speed benchmark: any number of rows, generated in DuckDB, the same for the same size.

one-hop     customers, each with 20 orders; orders are stored in order of time, so that a customer's are scattered
hub         the same orders also reference shops; one shop has 100,000 of them (or a tenth, if there are few orders)
ten-table   each customer's 20 rows are in four tables of children (orders, payments, visits, tickets) and one of
            grandchildren (the items of orders); customers reference regions and so have siblings, tickets reference
            agents, payments reference methods, items reference products
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from relsql.database.connections import open_database, transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.tables import Link
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task

ORDERS_PER_CUSTOMER = 20
HOT_SHOP_ORDERS = 100_000
SHOP_ORDERS = 1_000
HUB_ROWS = 100
"""Customers of a region, and tickets of an agent."""

LATEST = "TIMESTAMP '2024-01-01'"
"""All rows are before this time."""

Tables = dict[str, tuple[str, str | None]]
"""Key and time column by table."""

_CUSTOMERS: Tables = {"customers": ("customer_id", "joined"), "orders": ("order_id", "ordered")}
_TEN: Tables = {
    "items": ("item_id", "added"),
    "payments": ("payment_id", "paid"),
    "visits": ("visit_id", "visited"),
    "tickets": ("ticket_id", "opened"),
    "regions": ("region_id", None),
    "products": ("product_id", None),
    "methods": ("method_id", None),
    "agents": ("agent_id", None),
}
SCHEMAS: dict[str, tuple[Tables, tuple[tuple[str, str], ...]]] = {
    "one-hop": (_CUSTOMERS, (("orders", "customers"),)),
    "hub": (_CUSTOMERS | {"shops": ("shop_id", None)}, (("orders", "customers"), ("orders", "shops"))),
    "ten-table": (
        _CUSTOMERS | _TEN,
        (
            ("orders", "customers"),
            ("payments", "customers"),
            ("visits", "customers"),
            ("tickets", "customers"),
            ("items", "orders"),
            ("items", "products"),
            ("payments", "methods"),
            ("tickets", "agents"),
            ("customers", "regions"),
        ),
    ),
}
"""Tables of each variant, and its links from child to parent, each over the parent's key."""

VARIANTS = tuple(SCHEMAS)

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
    """Write the database to `path`, under a temporary name until it is complete; an existing file is kept."""
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
    return _ten_tables(size) if size.variant == "ten-table" else [*_shops(size), _customers(size), _orders(size)]


def _customers(size: Size, columns: str = "") -> str:
    return f"""CREATE TABLE customers AS
        SELECT CAST(1 + i AS BIGINT) AS customer_id,
            TIMESTAMP '2020-01-01' + to_seconds(CAST(hash(i, 'joined') % (366 * 86400) AS BIGINT)) AS joined,
            ['private', 'business', 'public'][CAST(1 + hash(i, 'segment') % 3 AS INTEGER)] AS segment,
            CAST(hash(i, 'age') % 80 AS INTEGER) AS age{columns}
        FROM range({size.customers}) t(i)"""


def _shops(size: Size) -> list[str]:
    if size.variant != "hub":
        return []
    return [_lookup("shops", "shop_id", _shop_count(size), "50 + hash(i, 'area') % 950 AS area")]


def _shop_count(size: Size) -> int:
    return max(2, size.orders // SHOP_ORDERS)


def _orders(size: Size) -> str:
    shop = ""
    if size.variant == "hub":
        hot, others = min(HOT_SHOP_ORDERS, size.orders // 10), _shop_count(size) - 1
        shop = f"if(hash(i, 'hot') % {size.orders} < {hot}, 1, 2 + hash(i, 'shop') % {others})"
        shop = f", CAST({shop} AS BIGINT) AS shop_id"
    columns = f"""round(1 + 99.0 * (hash(i, 'amount') % 10000) / 10000, 2) AS amount,
            ['web', 'phone', 'shop', 'post'][CAST(1 + hash(i, 'channel') % 4 AS INTEGER)] AS channel{shop}"""
    return _events("orders", "order_id", "ordered", size.orders, _drawn("customer", size.customers), columns)


def _ten_tables(size: Size) -> list[str]:
    n, products = size.customers, 200
    regions, agents = max(2, n // HUB_ROWS), max(2, 2 * n // HUB_ROWS)
    customer = _drawn("customer", n)
    amount = "round(1 + 99.0 * (hash(i, 'amount') % 10000) / 10000, 2) AS amount"
    return [
        _lookup("regions", "region_id", regions, "hash(i, 'income') % 900 AS income"),
        _lookup("methods", "method_id", 4, "['card', 'cash', 'bank', 'voucher'][CAST(1 + i AS INTEGER)] AS method"),
        _lookup("products", "product_id", products, "hash(i, 'price') % 500 AS price"),
        _lookup("agents", "agent_id", agents, "hash(i, 'hired') % 20 AS years"),
        _customers(size, f", {_drawn('region', regions)}"),
        _events("orders", "order_id", "ordered", 4 * n, customer, amount),
        # Two items an order, added when it is made.
        _events(
            "items",
            "item_id",
            "added",
            8 * n,
            f"CAST(1 + i // 2 AS BIGINT) AS order_id, {_drawn('product', products)}",
            "CAST(1 + hash(i, 'pieces') % 5 AS INTEGER) AS pieces",
        ),
        _events("payments", "payment_id", "paid", 3 * n, f"{customer}, {_drawn('method', 4)}", amount),
        _events("visits", "visit_id", "visited", 3 * n, customer, "CAST(hash(i, 'pages') % 40 AS INTEGER) AS pages"),
        _events(
            "tickets",
            "ticket_id",
            "opened",
            2 * n,
            f"{customer}, {_drawn('agent', agents)}",
            "['billing', 'delivery', 'account'][CAST(1 + hash(i, 'topic') % 3 AS INTEGER)] AS topic",
        ),
    ]


def _drawn(parent: str, count: int) -> str:
    """A foreign key column that references a random one of `count` parent rows."""
    return f"CAST(1 + hash(i, '{parent}') % {count} AS BIGINT) AS {parent}_id"


def _lookup(table: str, key: str, rows: int, column: str) -> str:
    return f"CREATE TABLE {table} AS SELECT CAST(1 + i AS BIGINT) AS {key}, {column} FROM range({rows}) t(i)"


def _events(table: str, key: str, time: str, rows: int, links: str, columns: str) -> str:
    """Three years of rows in order of time, which belong to random parents."""
    return f"""CREATE TABLE {table} AS
        SELECT CAST(1 + i AS BIGINT) AS {key}, {links},
            TIMESTAMP '2021-01-01' + to_microseconds(CAST(i * (1094.0 * 86400e6 / {rows}) AS BIGINT)) AS {time},
            {columns}
        FROM range({rows}) t(i)"""


def _declare(con: duckdb.DuckDBPyConnection, size: Size) -> None:
    """Store keys, times, links and the task; the tables have no constraints, because keys make large inserts slow."""
    catalog = current_catalog(con)
    tables, links = SCHEMAS[size.variant]
    with transaction(con):
        for table, (key, time) in tables.items():
            declare_table(con, catalog, table, primary_key=(key,), time_column=time)
        for child, parent in links:
            key = tables[parent][0]
            declare_link(con, catalog, Link(child, (key,), parent, (key,), "declared"))
        save_task(con, catalog, CHURN)
