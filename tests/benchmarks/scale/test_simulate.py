"""What is expected to move agrees with draws, and the limit bounds what one key sends."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scale.simulate import COUNT_BYTES, ROW_BYTES, kept, moved, readable_bytes, sizes


@pytest.mark.parametrize("mean", [0.01, 0.5, 3.0, 16.0, 40.0])
def test_rows_that_a_task_keeps(mean: float) -> None:
    draws = np.minimum(np.random.default_rng(1).poisson(mean, 200_000), 16)
    assert kept(np.array([mean]), 16)[0] == pytest.approx(draws.mean(), abs=0.03)


def test_classes_of_keys_have_all_rows_and_all_keys() -> None:
    rows, number = sizes(1e6, 5e4, 0.6)
    assert (rows * number).sum() == pytest.approx(1e6)
    assert number.sum() == pytest.approx(5e4)
    assert (np.diff(rows) <= 0).all()


def test_a_key_sends_at_most_k_rows_from_each_task() -> None:
    without, limited = (moved(1e9, 1e6, 0.9, 500, k) for k in (None, 16))
    assert without.largest > 1e9 > limited.largest
    assert limited.largest <= 500 * (16 * ROW_BYTES + COUNT_BYTES) + 1


def test_units() -> None:
    assert [readable_bytes(x) for x in (12.0, 613e6, 9.98e12, 7e16)] == ["12 B", "613 MB", "9.98 TB", "7e+04 TB"]
