"""The gather query of the shop."""

from __future__ import annotations

import duckdb
import pytest

from relsql.gather.sql.query import Gather
from tests.relsql.gather.sql.answers import TEXT_LENGTH, planned
from tests.relsql.gather.sql.shop import shop


@pytest.fixture
def shop_gather(con: duckdb.DuckDBPyConnection) -> Gather:
    database = shop()
    database.create(con, "shop")
    con.execute(TEXT_LENGTH)
    return planned(con, database, "shop", "customers", 3)
