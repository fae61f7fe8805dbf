"""The population stability index: its laws, and how far chance takes it."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from relsql.monitoring.distributions import categories, quantity
from relsql.monitoring.psi import psi, psi_by_chance

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

counts = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=12)


@given(counts)
def test_it_is_symmetric_never_negative_and_nothing_for_the_same_shares(pairs: list[tuple[int, int]]) -> None:
    then, now = zip(*pairs, strict=True)
    found = psi(then, now)
    if not sum(then) or not sum(now):
        assert found is None and psi_by_chance(then, now) is None
        return
    assert found is not None and found >= 0 and found == pytest.approx(psi(now, then))
    assert psi(then, then) == pytest.approx(0)


@pytest.mark.parametrize(("before", "after", "bins"), [(100_000, 60, 11), (500, 500, 4), (3_000, 200, 30)])
def test_chance_stays_below_its_bound(before: int, after: int, bins: int) -> None:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(bins, 5.0))
    beyond = 0
    for _ in range(2_000):
        then, now = random.multinomial(before, shares), random.multinomial(after, shares)
        beyond += (psi(then.tolist(), now.tolist()) or 0) > (psi_by_chance(then.tolist(), now.tolist()) or 0)
    assert beyond <= 20, "ten times as many as 0.1 %"


def column(con: duckdb.DuckDBPyConnection, then: list[object], now: list[object], kind: str) -> str:
    con.execute(f"CREATE OR REPLACE TABLE t (value {kind}, fresh BOOLEAN)")
    con.executemany("INSERT INTO t VALUES (?, ?)", [*((v, False) for v in then), *((v, True) for v in now)])
    return "FROM t"


def test_bins_of_quantities(con: duckdb.DuckDBPyConnection) -> None:
    found = quantity(con, column(con, list(range(100)), [None, -5, 0, 99, 100, 250], "INTEGER"))
    assert found.rows_then == 100 and found.rows_now == 6 and (found.missing_then, found.missing_now) == (0, 1)
    assert found.then[:2] == (0, 0) and found.now[:2] == (1, 1), "missing values, and those below all of then"
    assert found.then[-1] == 0 and found.now[-1] == 2, "values above all of then"
    assert sum(found.then[2:-1]) == 100 and len(found.then) == 14
    constant = quantity(con, column(con, [5] * 40, [5] * 4 + [3] * 2 + [7], "INTEGER"))
    assert (constant.then, constant.now) == ((0, 40, 0), (2, 4, 1))
    flag = quantity(con, column(con, [0] + [1] * 40, [0] * 7 + [1] * 3, "INTEGER"))
    assert (flag.then, flag.now) == ((1, 40), (7, 3))
    empty = quantity(con, column(con, [None] * 3, [1.5], "DOUBLE"))
    assert (empty.then, empty.now, empty.missing_then) == ((3, 0), (0, 1), 3)
    odd = quantity(con, column(con, [0.0, float("nan"), float("inf"), 1e300], [float("nan"), -1e300], "DOUBLE"))
    assert odd.rows_then == 4 and odd.rows_now == 2


def test_bins_of_categories(con: duckdb.DuckDBPyConnection) -> None:
    then: list[object] = ["a"] * 6 + ["b"] * 3 + ["once", None]
    rows = column(con, then, ["a", "new", "new", "other", None, None], "VARCHAR")
    found = categories(con, rows, known=["a"])
    assert found.unseen == 3 and found.unseen_values == ("new", "other") and found.single == 1
    assert (found.missing_then, found.missing_now) == (1, 2)
    assert sorted(zip(found.then, found.now, strict=True)) == [(0, 3), (1, 2), (4, 0), (6, 1)]
    assert len(categories(con, rows).then) == 5
