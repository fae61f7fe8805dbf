"""Labels that are drawn from many (`drawn_labels_sql`)."""

from __future__ import annotations

from collections import Counter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.database.queries.sealed import sealed
from relsql.tasks.labels.label_cut import FEWEST_TIMESTAMPS, drawn_labels_sql

Label = tuple[int, int]
"""An entity and the number of days of its timestamp."""


def drawn(counts: list[int], at_most: int, threads: int = 2) -> set[Label]:
    """The labels drawn from `counts[i]` labels on day i."""
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute("CREATE TABLE labels (entity BIGINT, as_of TIMESTAMP, label BIGINT)")
        for day, count in enumerate(counts):
            con.execute(
                "INSERT INTO labels SELECT i, TIMESTAMP '2020-01-01' + to_days(?), i % 2 FROM range(?) t(i)",
                [day, count],
            )
        con.execute("INSERT INTO labels SELECT -1, TIMESTAMP '2020-01-01', NULL")
        day = "date_diff('day', TIMESTAMP '2020-01-01', as_of)"
        query = f"SELECT entity, {day} FROM ({drawn_labels_sql(con, 'labels', at_most)})"
        return set(con.execute(sealed(query)).fetchall())


@settings(max_examples=25)
@given(st.lists(st.integers(0, 40), max_size=6))
def test_all_labels_are_drawn_if_there_are_few(counts: list[int]) -> None:
    assert drawn(counts, at_most=300) == {(i, day) for day, count in enumerate(counts) for i in range(count)}


def test_the_latest_timestamps_have_equal_parts() -> None:
    found = Counter(day for _, day in drawn([20_000] * 12, at_most=8_000))
    assert set(found) == set(range(12 - FEWEST_TIMESTAMPS, 12))
    assert all(800 < count < 1_200 for count in found.values())


def test_small_timestamps_are_drawn_whole_and_large_ones_take_what_is_left() -> None:
    found = Counter(day for _, day in drawn([50_000, 10, 10, 20_000], at_most=8_000))
    assert found[1] == found[2] == 10
    assert sum(found.values()) == pytest.approx(8_000, rel=0.1)
    assert found[0] == pytest.approx(found[3], rel=0.2)


def test_one_timestamp_is_drawn_without_regard_to_the_order_of_keys() -> None:
    found = sorted(entity for entity, _ in drawn([100_000], at_most=5_000))
    assert len(found) == pytest.approx(5_000, rel=0.1)
    assert sum(found) / len(found) == pytest.approx(50_000, rel=0.05)


def test_the_same_labels_are_drawn_with_any_number_of_threads() -> None:
    assert drawn([30_000] * 3, 4_000, threads=1) == drawn([30_000] * 3, 4_000, threads=4)
