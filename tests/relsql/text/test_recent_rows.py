from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.errors import DatabaseError
from relsql.text.recent_rows import RecentRows

WIDTH = 3


def rows_of(numbers: np.ndarray) -> np.ndarray:
    """The values of a row identify its number; row 0 is zeros."""
    rows: np.ndarray = np.multiply.outer(numbers, [1, 2, 3]).astype(np.float32)
    return rows


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 1500), st.floats(0, 1)), max_size=12),
    data=st.data(),
)
def test_rows_keep_their_numbers_in_memory_and_in_the_file(steps: list[tuple[int, float]], data: st.DataObject) -> None:
    rows = RecentRows(WIDTH)
    for count, share in steps:
        added = rows.append(rows_of(np.arange(rows.end, rows.end + count)))
        assert (added.start, added.stop) == (rows.end - count, rows.end)
        rows.spill(rows.oldest + int(share * (rows.end - rows.oldest)))
        chosen = data.draw(st.lists(st.integers(0, rows.end - 1), max_size=20))
        numbers = np.array(chosen, dtype=np.int64).reshape(-1, 1)
        np.testing.assert_array_equal(rows.read(numbers), rows_of(numbers))
    np.testing.assert_array_equal(rows.read(np.arange(rows.end)), rows_of(np.arange(rows.end)))


def test_memory_does_not_grow_with_rows_that_were_spilled() -> None:
    rows = RecentRows(WIDTH)
    for _ in range(50):
        rows.append(rows_of(np.arange(rows.end, rows.end + 1000)))
        rows.spill(rows.end)
    assert len(rows._places) <= 2048


def test_a_row_that_left_the_file_is_an_error_and_never_another_row() -> None:
    rows = RecentRows(WIDTH, spilled_rows=1000)
    for _ in range(4):
        rows.append(rows_of(np.arange(rows.end, rows.end + 700)))
        rows.spill(rows.end - 100)
    assert (rows.oldest, rows.end) == (2701, 2801)
    kept = np.arange(1701, 2801)
    np.testing.assert_array_equal(rows.read(kept), rows_of(kept))
    with pytest.raises(DatabaseError, match="more than 1,000 row texts"):
        rows.read(np.array([1700]))


def test_a_file_that_cannot_be_written_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = RecentRows(WIDTH)
    rows.append(rows_of(np.arange(1, 11)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DatabaseError, match=r"temporary file.*export TMPDIR"):
        rows.spill(5)
    np.testing.assert_array_equal(rows.read(np.arange(11)), rows_of(np.arange(11)))
