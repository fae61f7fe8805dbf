"""The shop with `churn` published, alone and beside a second version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

from relsql.database.connections import transaction
from relsql.registry.models import active_card, read_artifacts, save_model
from relsql.registry.row_embeddings import stored_sql


@pytest.fixture
def published_file(published_shop: Path, tmp_path: Path) -> Path:
    """A copy of the published shop, for a single test."""
    return Path(shutil.copy(published_shop, tmp_path / "published.duckdb"))


@pytest.fixture
def plain(published_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the published shop that relsql is not attached to."""
    with duckdb.connect(str(published_file)) as con:
        yield con


@pytest.fixture(scope="module")
def retrained_shop(published_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with version 1 of `churn` published, and version 2 with the same weights active."""
    path = Path(shutil.copy(published_shop, tmp_path_factory.mktemp("retrained") / "shop.duckdb"))
    with duckdb.connect(str(path)) as con, transaction(con):
        card = active_card(con, "shop", "churn")
        stored = con.sql(f"SELECT text, embedding FROM ({stored_sql(con, 'shop', card)})").to_arrow_table()
        texts, embeddings = stored.column("text").to_pylist(), np.array(stored.column("embedding").to_pylist())
        second = msgspec.structs.replace(card, version=2)
        artifacts = read_artifacts(con, "shop", card)
        save_model(con, "shop", second, artifacts, texts, embeddings.astype(np.float32), trained_from="another")
    return path


@pytest.fixture
def retrained(retrained_shop: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy of the shop with two versions, for a single test."""
    with duckdb.connect(shutil.copy(retrained_shop, tmp_path / "published.duckdb")) as con:
        yield con
