"""Tests of temporary tables: they are not in the file, and each message about one says how to keep it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import SchemaError
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.labels.temporary_tables import refuse_temporary_reads
from tests.shop import QUICK, TASK, create_shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    create_shop(tmp_path / "shop.duckdb")
    with relsql.connect(tmp_path / "shop.duckdb") as con:
        con.execute('CREATE TEMP TABLE "Recent" AS FROM orders; CREATE TEMP TABLE vips AS FROM customers')
        con.execute('CREATE TEMP TABLE "two words" AS FROM orders')
        yield con


KEEP = 'Fix: CREATE TABLE "Recent" AS FROM temp."Recent"'


@pytest.mark.parametrize("name", ["Recent", "recent", "temp.recent", '"Recent"'])
def test_a_temporary_table_is_named_as_one(shop: duckdb.DuckDBPyConnection, name: str) -> None:
    with pytest.raises(SchemaError, match="is a temporary table of this connection") as caught:
        declare_table(shop, "shop", name, primary_key=("order_id",))
    assert str(caught.value).endswith(KEEP)
    with pytest.raises(SchemaError, match="is a temporary table of this connection"):
        declare_link(shop, "shop", Link(name, ("customer_id",), "customers", ()))


def test_tasks_name_it_too(shop: duckdb.DuckDBPyConnection) -> None:
    other_entity = replace(TASK, entity_table="VIPs")
    other_orders = replace(TASK, sql=TASK.sql.replace("JOIN orders o", 'JOIN "two words" o'))
    for task, name, kept in ((other_entity, "VIPs", "vips"), (other_orders, "two words", "two words")):
        with pytest.raises(SchemaError, match=f"{name}.* is a temporary table of this connection") as caught:
            relsql.train(shop, task, name="churn", options=QUICK)
        assert str(caught.value).endswith(f'Fix: CREATE TABLE "{kept}" AS FROM temp."{kept}"')


def test_tables_of_the_file_and_ctes_hide_temporary_ones(shop: duckdb.DuckDBPyConnection) -> None:
    shop.execute("CREATE TEMP TABLE orders AS FROM shop.main.orders")
    refuse_temporary_reads(shop, "shop", TASK)
    refuse_temporary_reads(shop, "shop", replace(TASK, sql=f"WITH vips AS ({TASK.sql}) FROM vips"))
    refuse_temporary_reads(shop, "shop", replace(TASK, sql="DROP TABLE vips"))


def test_the_fix_works(shop: duckdb.DuckDBPyConnection) -> None:
    for name in ("Recent", "two words"):
        with pytest.raises(SchemaError) as caught:
            read_schema(shop, also=[name])
        assert caught.value.fix is not None
        shop.execute(caught.value.fix)
        assert read_schema(shop).table(name).column_names


def test_a_temporary_table_hides_no_table_of_the_file(shop: duckdb.DuckDBPyConnection) -> None:
    expected = label_table(shop, "shop", read_schema(shop), TASK, "train")
    shop.execute("CREATE TEMP TABLE orders AS FROM shop.main.orders LIMIT 3")
    schema = read_schema(shop)
    assert schema.table("orders").primary_key == ("order_id",)
    assert label_table(shop, "shop", schema, TASK, "train").table.equals(expected.table)
