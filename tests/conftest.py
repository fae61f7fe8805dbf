"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest


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
