"""Links between DOUBLE and integer columns, as pandas leaves them, give what links between integers give."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.database.connections import transaction
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from tests.shop import create_shop, train_quickly

LINKS = ("orders(customer_id) -> customers", "customers(shop_id) -> shops")


def scores(folder: Path, type_: str) -> dict[int, float]:
    """Scores of a shop whose link columns have a type, published too, which compares ONNX and plain SQL."""
    created, path = folder / f"shop {type_}.duckdb", folder / f"{type_}.duckdb"
    create_shop(created)
    with duckdb.connect(str(path)) as con:
        con.execute(f"ATTACH '{created}' AS source (READ_ONLY)")
        con.execute("CREATE TABLE shops AS FROM source.shops")
        con.execute(f"CREATE TABLE customers AS SELECT * REPLACE (shop_id::{type_} AS shop_id) FROM source.customers")
        con.execute(f"CREATE TABLE orders AS SELECT * REPLACE (customer_id::{type_} AS customer_id) FROM source.orders")
        con.execute("CREATE SCHEMA relsql; CREATE TABLE relsql.tasks AS FROM source.relsql.tasks; DETACH source")
        with transaction(con):
            for table in ("shops", "customers", "orders"):
                declare_table(con, path.stem, table, primary_key=(f"{table[:-1]}_id",))
            declare_table(con, path.stem, "orders", time_column="ordered_at")
            for link in LINKS:
                declare_link(con, path.stem, parse_link(link))
        train_quickly(con, "churn")
        relsql.publish(con, "churn")
        relsql.attach(con)
        return dict(con.execute("SELECT customer_id, predict_churn(customer_id) FROM customers").fetchall())


def test_double_links_give_the_scores_of_integer_links(tmp_path: Path) -> None:
    whole, double = scores(tmp_path, "INTEGER"), scores(tmp_path, "DOUBLE")
    assert len(whole) == 60 and double == pytest.approx(whole, abs=1e-6)
