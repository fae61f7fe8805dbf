"""Digests of rows and of embeddings: one changed number, a swap or another owner is always noticed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relsql.database.digests import embedding_digests, row_digest, sum_digests


def sample(rows: int = 5, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 2**63, rows).astype(np.uint64), random.normal(size=(rows, width)).astype(np.float32)


@given(row=st.integers(0, 4), column=st.integers(0, 6), bit=st.integers(0, 31))
def test_one_changed_bit_is_noticed_in_its_row_alone(row: int, column: int, bit: int) -> None:
    keys, embeddings = sample()
    before = embedding_digests("abc", keys, embeddings)
    embeddings.view(np.uint32)[row, column] ^= np.uint32(1 << bit)
    changed = np.flatnonzero(embedding_digests("abc", keys, embeddings) != before)
    assert changed.tolist() == [row]


@given(row=st.integers(0, 4), bit=st.integers(0, 63))
def test_another_text_is_noticed(row: int, bit: int) -> None:
    keys, embeddings = sample()
    before = embedding_digests("abc", keys, embeddings)
    keys[row] ^= np.uint64(1 << bit)
    assert np.flatnonzero(embedding_digests("abc", keys, embeddings) != before).tolist() == [row]


def test_numbers_in_other_places_are_noticed() -> None:
    keys, embeddings = sample()
    before = embedding_digests("abc", keys, embeddings)
    assert (embedding_digests("abc", keys, embeddings[::-1]) != before).sum() == 4
    assert (embedding_digests("abc", keys, np.ascontiguousarray(embeddings[:, ::-1])) != before).all()


def test_embeddings_of_another_model_are_noticed() -> None:
    keys, embeddings = sample()
    assert (embedding_digests("abc", keys, embeddings) != embedding_digests("abd", keys, embeddings)).all()


def test_digests_stay_what_they_are_between_releases() -> None:
    keys, embeddings = np.array([7], dtype=np.uint64), np.array([[1.5, -2.0]], dtype=np.float32)
    assert embedding_digests("abc", keys, embeddings).tolist() == [17141941276644641135]
    assert row_digest(["dnf", 1, None, "2026-01-01 00:00:00"]) == (
        "64caba34cab05e179b40e4e423a371c3a861bed940c82a409d9e4defa6a2ad6e"
    )


def test_sums_of_parts_add_up() -> None:
    keys, embeddings = sample()
    digests = embedding_digests("abc", keys, embeddings)
    parts = sum_digests(digests[:2]) + sum_digests(digests[2:])
    assert parts % 2**64 == sum_digests(digests) == sum_digests(digests[::-1])


@given(values=st.lists(st.none() | st.text() | st.integers(), min_size=1), position=st.integers(0, 20))
def test_a_row_with_another_value_has_another_digest(values: list[object], position: int) -> None:
    position %= len(values)
    changed = [*values[:position], "something else", *values[position + 1 :]]
    assert (row_digest(values) == row_digest(changed)) == (values == changed)


@given(one=st.integers(0, 4), other=st.integers(0, 4))
def test_two_texts_that_are_swapped_change_the_sum(one: int, other: int) -> None:
    keys, embeddings = sample()
    before = sum_digests(embedding_digests("abc", keys, embeddings))
    keys[[one, other]] = keys[[other, one]]
    assert (sum_digests(embedding_digests("abc", keys, embeddings)) == before) == (one == other)


def test_null_is_not_a_text() -> None:
    assert row_digest([None]) != row_digest(["None"]) != row_digest(["null"])
