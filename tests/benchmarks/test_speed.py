"""The speed benchmark: its databases, its timings of every row, and what it says of the targets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from benchmarks import speed
from benchmarks.speed import measure, table, target_lines, targets, train_model, write_json
from benchmarks.speed_data import ORDERS_PER_CUSTOMER, Size, create
from benchmarks.timing import Timing, Work, peak_bytes, timed
from relsql.schema import read_schema
from tests.shop import QUICK

SMALL = Size(400, "hub")


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as con:
        return con.execute(query).fetchall()


def test_databases_have_the_rows_of_their_size_and_are_the_same_again(tmp_path: Path) -> None:
    for name in ("one", "two"):
        create(tmp_path / name, SMALL)
    counts = "SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT count(*) FROM shops)"
    assert rows(tmp_path / "one", counts) == [(400, 400 * ORDERS_PER_CUSTOMER, 8)]
    for key in ("customers", "orders", "shops"):
        digest = f"SELECT sum(hash(t)) FROM {key} t"
        assert rows(tmp_path / "one", digest) == rows(tmp_path / "two", digest)
    # A tenth of so few orders is the hot shop's.
    [(hot, others)] = rows(tmp_path / "one", "SELECT count(*) FILTER (shop_id = 1), max(shop_id) FROM orders")
    assert 700 < int(str(hot)) < 900 and others == 8
    # The orders come in the order of time, and a customer's are apart.
    late = "SELECT ordered < lag(ordered) OVER (ORDER BY order_id) AS late FROM orders"
    assert rows(tmp_path / "one", f"SELECT count(*) FROM ({late}) WHERE late") == [(0,)]
    with duckdb.connect(str(tmp_path / "one"), read_only=True) as con:
        schema = read_schema(con)
    assert {(link.child, link.parent) for link in schema.links} == {("orders", "customers"), ("orders", "shops")}


def test_every_row_is_timed_and_scores_every_customer(tmp_path: Path) -> None:
    model = train_model(tmp_path, SMALL, QUICK)
    stored = model.stat().st_mtime_ns
    found = measure(model, tmp_path, replace(SMALL, customers=300), threads=2, repeats=1)
    # The rows that score all, the hundred and the one.
    assert {name: timing.entities for name, timing in found.items()} == {
        **dict.fromkeys(("gather", "network", "batch", "own as_of"), 300),
        "hundred": 100,
        "one": 1,
    }
    assert all(0 < t.warm_seconds < t.cold_seconds and t.peak_bytes > 50e6 for t in found.values())
    assert train_model(tmp_path, SMALL, QUICK).stat().st_mtime_ns == stored
    results = {SMALL: found}
    lines = table(results).splitlines()
    assert len(lines) == 2 + len(found) and "| gather |" in lines[2] and "| 1.00 |" in lines[2]
    write_json(tmp_path / "speed.json", results, 2)
    assert [row["row"] for row in json.loads((tmp_path / "speed.json").read_text())["rows"]] == list(found)


def test_targets_are_met_or_missed_by_what_was_measured() -> None:
    def timings(customers: int, batch_seconds: float, one_seconds: float, peak: int) -> dict[str, Timing]:
        batch = Timing(batch_seconds, batch_seconds, customers, peak)
        return {"batch": batch, "one": Timing(1.0, one_seconds, 1, peak)}

    few, many = timings(10_000, 0.1, 0.01, 10**9), timings(1_000_000, 14.0, 0.03, 4 * 10**9)
    found = targets({Size(10_000): few, Size(1_000_000): many, Size(10_000, "hub"): many})
    assert [(target.wanted, round(target.measured, 3), target.met) for target in found] == [
        ("<= 20", 10.0, True),
        ("<= 20", 30.0, False),
        (">= 75,000", 71428.571, False),
        ("<= 3", 4.0, False),
        ("<= 1.3", 1.4, False),
    ]
    assert "one of 10,000 customers, warm, ms: target <= 20, measured 10.00, met" in target_lines(found)


def test_an_unknown_variant_is_refused() -> None:
    from click.testing import CliRunner

    found = CliRunner().invoke(speed.main, ["--variants", "two-hop"])
    assert found.exit_code == 2 and "one-hop, hub" in found.output


def allocate(size_bytes: int) -> Work:
    """Holds memory, and counts how often it is done."""
    held = bytearray(size_bytes)
    done: list[int] = []

    def work() -> int:
        done.append(len(held))
        return len(done)

    return work


@pytest.mark.parametrize("repeats", [0, 3])
def test_timings_are_of_another_process(repeats: int) -> None:
    before = peak_bytes()
    small, large = (timed(allocate, size, repeats=repeats) for size in (1, 600_000_000))
    assert small.entities == large.entities == 1
    assert large.peak_bytes - small.peak_bytes > 400e6 and peak_bytes() - before < 300e6
