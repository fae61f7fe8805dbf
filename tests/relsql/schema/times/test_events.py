"""The latest event of a database: the greatest finite time of its tables."""

from __future__ import annotations

import datetime
from typing import cast

import duckdb
import pytest

from relsql.schema.tables import Column, Table
from relsql.schema.times.events import event_times_sql, latest_event_sql
from tests.relsql.gather.sql.answers import DAYS
from tests.relsql.gather.sql.shop import shop


def test_latest_event_is_the_greatest_time_of_timed_tables(con: duckdb.DuckDBPyConnection) -> None:
    database = shop()
    database.create(con, "shop")

    def latest(*tables: str) -> datetime.datetime | None:
        query = latest_event_sql(map(database.schema.table, tables), lambda table: table.sql("shop"))
        [(found,)] = con.execute(query).fetchall()
        return cast("datetime.datetime | None", found)

    assert latest("customers", "orders", "lines", "orders") == DAYS[3]
    assert latest("orders") == DAYS[2]
    assert latest("stores") is None
    con.execute("UPDATE shop.orders SET time = 'infinity' WHERE id = 5")
    assert latest("orders") == DAYS[2]
    con.execute("UPDATE shop.orders SET time = '-infinity'")
    assert latest("orders") is None
    con.execute("DELETE FROM shop.orders")
    assert latest("orders") is None


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ"])
def test_latest_event_of_every_type_of_time(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    con.execute(f"SET TimeZone = 'Asia/Tokyo'; CREATE TABLE events (t {kind})")
    [(name,)] = con.execute("SELECT data_type FROM duckdb_columns() WHERE table_name = 'events'").fetchall()
    table = Table("events", (Column("t", name),), (), "t")

    def check(expected: str | None) -> None:
        latest = latest_event_sql([table], lambda table: table.sql())
        every = event_times_sql([table], lambda table: table.sql())
        found = f"SELECT CAST(({latest}) AS VARCHAR), CAST((SELECT max(t) FROM ({every})) AS VARCHAR)"
        assert con.execute(found).fetchall() == [(expected, expected)]

    check(None)
    con.execute("INSERT INTO events VALUES (NULL), ('-infinity'), ('infinity')")
    check(None)
    con.execute("INSERT INTO events VALUES ('1969-12-30'), ('1844-03-15')")
    hours_before = "1969-12-29 15:00:00" if kind == "TIMESTAMPTZ" else "1969-12-30 00:00:00"
    check(hours_before)
    if kind == "DATE":
        con.execute("INSERT INTO events VALUES ('294247-01-11')")
        check(hours_before)
        con.execute("INSERT INTO events VALUES ('294247-01-10')")
        check("294247-01-10 00:00:00")
