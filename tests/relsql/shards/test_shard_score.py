"""Scores in parts equal those of the database, whatever happens to the processes."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.shards.score_part import score_part
from relsql.shards.shard_score import shard_request
from tests.relsql.shards.conftest import MOMENTS, Exported


def scores(folder: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        return con.execute(f"FROM read_parquet('{folder}/*.parquet') ORDER BY customer_id").fetchall()


def require_equal(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Keys, status, evidence, as_of and version are equal, scores to 1e-6."""
    assert [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in expected]
    assert [row[1] for row in found] == pytest.approx([row[1] for row in expected], abs=1e-6)


def in_this_process(model: Exported, into: Path, as_of: datetime.datetime, shards: int) -> None:
    """Compute the parts that are missing; much faster than a process for each."""
    request = shard_request(model.bundle, model.tables, into, as_of, shards)
    request.require_own_folder()
    for part in request.missing():
        score_part(request, part, threads=1)


@pytest.mark.parametrize("shards", [1, 2, 5])
@pytest.mark.parametrize("moment", MOMENTS)
def test_parts_of_a_market_are_the_scores_of_its_database(
    market: Exported, moment: datetime.datetime, shards: int, tmp_path: Path
) -> None:
    in_this_process(market, tmp_path / "scores", moment, shards)
    require_equal(scores(tmp_path / "scores"), market.expected[moment])


@pytest.mark.parametrize("shards", [1, 5])
def test_parts_of_a_shop_are_the_scores_of_its_database(shop: Exported, shards: int, tmp_path: Path) -> None:
    in_this_process(shop, tmp_path / "scores", MOMENTS[1], shards)
    require_equal(scores(tmp_path / "scores"), shop.expected[MOMENTS[1]])


def test_processes(shop: Exported, tmp_path: Path) -> None:
    done = relsql.shard_score(shop.bundle, shop.tables, tmp_path / "scores", as_of=MOMENTS[0], shards=2)
    assert (done.computed, done.missing, done.rows) == (2, 0, 60)
    require_equal(scores(tmp_path / "scores"), shop.expected[MOMENTS[0]])
