"""The benchmark of published models, on a small database."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

from benchmarks.speed.plain_sql import largest_difference, published_copy, seconds, with_target


def test_a_published_copy_is_timed_and_compared(shop_with_model: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(shop_with_model, tmp_path / "source.duckdb"))
    file = published_copy(source, tmp_path / "plain.duckdb", "churn")
    assert 0 < seconds(file, "SELECT count(score) FROM predict_churn_batch()", 2) < 60
    assert largest_difference(file, "churn", "customer_id", "customers") <= 1e-5
    with pytest.raises(click.ClickException, match="predict_nothing"):
        seconds(file, "SELECT predict_nothing(1)", 1)


def test_targets() -> None:
    assert with_target("x", "<=", 0.4, 0.3)[2].met and not with_target("x", ">=", 10.0, 9.9)[2].met
