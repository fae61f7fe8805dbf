"""A shop with a model and with user objects of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest


@pytest.fixture(scope="module")
def owned(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A shop with user objects of every kind."""
    path = Path(shutil.copy(shop_with_model, tmp_path_factory.mktemp("owned") / "shop.duckdb"))
    with duckdb.connect(str(path)) as con:
        con.execute("""CREATE VIEW seen AS FROM orders; CREATE TEMP TABLE passing AS SELECT 1 AS i;
                       CREATE SCHEMA staging; CREATE TABLE staging."my.table" AS SELECT 42 AS answer;
                       CREATE TABLE staging."É" AS SELECT 1 AS i; CREATE TABLE staging."é" AS SELECT 2 AS i""")
        yield con
