"""A database for tests of the gather query: a shop that has every kind of path."""

from __future__ import annotations

from typing import Any

from relsql.schema.tables import Column, Link, Schema, Table
from tests.relsql.gather.sql.answers import DAYS
from tests.relsql.gather.sql.reference import Database, Row


def shop(**names: str) -> Database:
    """customers -> regions, orders -> customers and stores, lines -> orders; stores have visits."""
    t = {n: names.get(n, n) for n in ("customers", "regions", "orders", "stores", "lines", "notices", "visits")}
    value = (Column("value", "DOUBLE"), Column("letter", "VARCHAR"))
    time = (Column("time", "TIMESTAMP"),)

    def table(name: str, *columns: str, key: tuple[str, ...] = ("id",), timed: bool = False) -> Table:
        named = tuple(Column(c, "INTEGER") for c in columns)
        return Table(t[name], (*named, *value, *(time if timed else ())), key, "time" if timed else None)

    tables = [
        table("customers", "id", "region"),
        table("regions", "id"),
        table("orders", "id", "customer", "store", timed=True),
        table("stores", "id"),
        table("lines", "order", "line", key=("order", "line"), timed=True),
        table("notices", "region", key=(), timed=True),
        table("visits", "store", key=(), timed=True),
    ]
    links = (
        Link(t["customers"], ("region",), t["regions"], ("id",)),
        Link(t["orders"], ("customer",), t["customers"], ("id",)),
        Link(t["orders"], ("store",), t["stores"], ("id",)),
        Link(t["lines"], ("order",), t["orders"], ("id",)),
        Link(t["notices"], ("region",), t["regions"], ("id",)),
        Link(t["visits"], ("store",), t["stores"], ("id",)),
    )
    numbers = iter(range(1000))

    def row(**values: Any) -> Row:
        number = next(numbers)
        return {"value": float(number), "letter": (None, "a", "b", "c")[number % 4], **values}

    rows = {
        t["customers"]: [row(id=i, region=i % 2 if i < 4 else None) for i in range(6)],
        t["regions"]: [row(id=0)],
        t["orders"]: [row(id=i, customer=i % 3, store=i % 4, time=DAYS[i % 3]) for i in range(12)],
        t["stores"]: [row(id=i) for i in range(3)],
        t["lines"]: [row(order=i // 2, line=i % 2, time=DAYS[i % 4]) for i in range(30)],
        t["notices"]: [row(region=i % 2, time=DAYS[i % 4]) for i in range(8)],
        t["visits"]: [row(store=i % 4, time=DAYS[i % 4]) for i in range(20)],
    }
    return Database(Schema({x.key: x for x in tables}, links), rows)
