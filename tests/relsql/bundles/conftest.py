"""A market with every kind of link path, a model `churn` over it, and the bundle of the model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.training.train import train
from tests.odd_data import CHURN, FAST, create_market


@pytest.fixture(scope="package")
def trained_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "market.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        train(con, CHURN, name="churn", options=FAST)
    return path


@pytest.fixture(scope="package")
def exported(trained_market: Path) -> Path:
    """The bundle; copy it before changing it."""
    folder = trained_market.with_name("model")
    with duckdb.connect(str(trained_market), read_only=True) as con:
        relsql.export_model(con, "churn", folder)
    return folder


@pytest.fixture
def market(trained_market: Path, tmp_path: Path) -> Path:
    """A copy of the market with its model, for a single test."""
    return Path(shutil.copy(trained_market, tmp_path / "market.duckdb"))


@pytest.fixture(scope="package")
def published(trained_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The market with its model in plain SQL too; copy it before writing to it."""
    path = Path(shutil.copy(trained_market, tmp_path_factory.mktemp("published") / "market.duckdb"))
    with duckdb.connect(str(path)) as con:
        relsql.publish(con, "churn")
    return path


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, for a single test."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Another file with the tables of the market, and no model."""
    with duckdb.connect(str(tmp_path / "other.duckdb")) as con:
        create_market(con)
        yield con
