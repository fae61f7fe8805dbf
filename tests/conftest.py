"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

try:
    import hypothesis
except ImportError:
    pass  # Tests that need it are skipped.
else:
    # The time of an example depends on how busy the machine is, not on the code.
    hypothesis.settings.register_profile("relsql", deadline=None)
    hypothesis.settings.load_profile("relsql")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the RelBench 3 data sets, from RELSQL_DATA or beside the repository."""
    path = Path(os.environ.get("RELSQL_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not path.is_dir():
        pytest.skip(f"no data sets in '{path}': set RELSQL_DATA to a folder with RelBench 3 data sets")
    return path


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an empty database in memory."""
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def shop_with_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file with a trained model `churn` (see `tests/shop.py`); copy it before writing to it."""
    from tests.shop import create_shop, train_quickly

    path = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as connection:
        train_quickly(connection, "churn")
    return path


@pytest.fixture(scope="session")
def published_shop(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with `churn` in plain SQL too; copy it before writing to it."""
    from relsql.publishing.publish import publish

    path = Path(shutil.copy(shop_with_model, tmp_path_factory.mktemp("published") / "shop.duckdb"))
    with duckdb.connect(str(path)) as connection:
        publish(connection, "churn")
    return path


@pytest.fixture
def shop(shop_with_model: Path, tmp_path: Path) -> Path:
    """A copy of the shop with a trained model, for a single test."""
    return Path(shutil.copy(shop_with_model, tmp_path / "shop.duckdb"))
