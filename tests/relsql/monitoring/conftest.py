"""The shop with a ledger: scores of six moments, the last of which no window of has closed."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

import relsql
from tests.relsql.cli.conftest import run as run

MOMENTS = [
    datetime.datetime(2022, month, day) for month, day in ((10, 15), (11, 2), (11, 6), (11, 10), (11, 14), (12, 5))
]
"""Orders end on 2022-12-16, and the labels that training reads on 2022-11-01."""


@pytest.fixture(scope="session")
def kept_shop(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop after jobs with `--keep-history`; copy it before writing to it."""
    path = Path(shutil.copy(shop_with_model, tmp_path_factory.mktemp("kept") / "shop.duckdb"))
    with relsql.connect(path) as con:
        con.execute("INSERT INTO customers VALUES (500, 'never orders', NULL, 1)")
        for as_of in MOMENTS:
            relsql.score_into(con, "churn", "risk", as_of=as_of, keep_history=True, overwrite=True)
    return path


@pytest.fixture
def kept(kept_shop: Path, tmp_path: Path) -> Path:
    """A copy of the shop with a ledger, for a single test."""
    return Path(shutil.copy(kept_shop, tmp_path / "shop.duckdb"))
