"""Bundles of models, the tables that they were trained on as Parquet files, and the scores of their databases."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.sql_text import ident, literal
from relsql.training.train import train
from tests.odd_data import CHURN, FAST, create_market
from tests.shop import create_shop, train_quickly

MOMENTS = (datetime.datetime(2022, 6, 1), datetime.datetime(2022, 12, 20, 8))


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that was exported, and what its database says at each moment."""

    bundle: Path
    tables: Path
    expected: dict[datetime.datetime, list[tuple[Any, ...]]]


def write_tables(con: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str]) -> None:
    """Write tables as Parquet files; `orders` as a folder of two."""
    folder.mkdir()
    for table in tables:
        if table == "orders":
            (folder / table).mkdir()
            for i in range(2):
                target = literal(str(folder / table / f"{i}.parquet"))
                con.execute(f"COPY (FROM {table} WHERE order_id % 2 = {i}) TO {target} (FORMAT parquet)")
        else:
            target = literal(str(folder / f"{table}.parquet"))
            con.execute(f"COPY {ident(table)} TO {target} (FORMAT parquet)")


def exported(con: duckdb.DuckDBPyConnection, folder: Path, tables: Sequence[str], key: str) -> Exported:
    relsql.export_model(con, "churn", folder / "model")
    write_tables(con, folder / "tables", tables)
    relsql.attach(con)
    query = f"FROM predict_churn_batch(as_of := $1) ORDER BY {key}"
    expected = {moment: con.execute(query, [moment]).fetchall() for moment in MOMENTS}
    return Exported(folder / "model", folder / "tables", expected)


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every kind of path."""
    folder = tmp_path_factory.mktemp("market")
    with duckdb.connect(str(folder / "market.duckdb")) as con:
        create_market(con)
        train(con, CHURN, name="churn", options=FAST)
        tables = ("shops", "customers", "products", "orders", "lines", "visits")
        return exported(con, folder, tables, "customer_id")


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("shop")
    create_shop(folder / "shop.duckdb")
    with duckdb.connect(str(folder / "shop.duckdb")) as con:
        train_quickly(con, "churn")
        return exported(con, folder, ("shops", "customers", "orders"), "customer_id")
