"""The encoder benchmark on a database that trains in seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks.speed import encoder as benchmark
from benchmarks.speed.encoder import Speed, measure, sampled, table, targets, write_json
from benchmarks.speed.report import target_lines
from tests.shop import CUSTOMERS, QUICK, TASK, create_shop


def test_every_row_has_the_weights_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    found = measure("shop", path, TASK.name, QUICK, sample=150, threads=1, repeats=1)
    names = ["transformers loop", "exported", "+ length buckets", "+ identical once", "int8"]
    assert [speed.name for speed in found] == names
    with duckdb.connect(str(path)) as con:
        [(orders,)] = con.execute("SELECT count(*) FROM orders").fetchall()
    # Names of customers, cities of shops, and three notes; every order has a text.
    assert [speed.rows for speed in found] == [150, 150, 150, *[orders + CUSTOMERS + 3] * 2]
    assert [speed.encoded for speed in found] == [150, 150, 150, *[3 + CUSTOMERS + 3] * 2]
    assert found[0].ratio == 1.0 and all(speed.seconds > 0 for speed in found)
    assert max(speed.difference for speed in found[:4]) < 1e-5 < found[4].difference < 1.0
    assert len(table(found).splitlines()) == 2 + len(found)
    write_json(tmp_path / "encoder.json", found, 1)
    assert [row["name"] for row in json.loads((tmp_path / "encoder.json").read_text())["rows"]] == names


def test_other_weights_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shop.duckdb"
    create_shop(path)
    real = benchmark.exported_loop
    monkeypatch.setattr(benchmark, "exported_loop", lambda *given: real(*given) + np.float32(1e-3))
    with pytest.raises(AssertionError, match="exported"):
        measure("shop", path, TASK.name, QUICK, sample=20, threads=1, repeats=1)


def test_targets_are_met_or_missed_by_what_was_measured() -> None:
    speed = Speed("shop", "+ identical once", 1000, 10, 0.5, 5.01, 0.0)
    assert target_lines(targets([speed, replace(speed, name="int8", ratio=9.0)])) == (
        "shop, rows/s, times the transformers loop: target >= 5, measured 5.01, met"
    )
    assert target_lines(targets([replace(speed, ratio=4.96)])).endswith("measured 4.96, missed")
    assert "| shop | + identical once | 1,000 | 10 | 2,000 | 5.0 |" in table([speed])


def test_a_sample_keeps_the_order(con: duckdb.DuckDBPyConnection) -> None:
    query = sampled("SELECT i::VARCHAR AS text FROM range(1000) t(i)", 50)
    found = [int(text) for (text,) in con.execute(query).fetchall()]
    assert len(found) == 50 and found == sorted(found) and found[-1] > 900
    assert [int(text) for (text,) in con.execute(query).fetchall()] == found
