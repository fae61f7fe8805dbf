"""Embedding row texts on onnxruntime: batches, and what they change."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relsql.database.names import current_catalog
from relsql.errors import ArtifactError
from relsql.registry.models import active_card, read_artifacts
from tests.shop import embeddings_table
from udfs import encoder
from udfs.encoder import RowTextEncoder, length_buckets


@given(lengths=st.lists(st.integers(0, 70)), budget=st.integers(1, 300))
def test_buckets_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = list(length_buckets(lengths, budget))
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    ordered = [lengths[i] for group in groups for i in group]
    assert ordered == sorted(lengths)
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget
    for group, following in pairwise(groups):
        # The next row would not have fitted.
        assert (len(group) + 1) * lengths[following[0]] > budget


@pytest.fixture(scope="module")
def trained(shop_with_model: Path) -> tuple[RowTextEncoder, dict[str, list[float]]]:
    """The encoder of `churn`, and its stored embeddings by text."""
    with duckdb.connect(str(shop_with_model), read_only=True) as con:
        catalog = current_catalog(con)
        card = active_card(con, catalog, "churn")
        stored = con.execute(f"SELECT text, embedding FROM {embeddings_table(con)}").fetchall()
        return RowTextEncoder.load(card, read_artifacts(con, catalog, card)), dict(stored)


def test_embeddings_are_those_of_training_in_any_batch(
    trained: tuple[RowTextEncoder, dict[str, list[float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, stored = trained
    texts = list(stored)
    expected = np.array(list(stored.values()), dtype=np.float32)
    for budget in (1, 100, 2048, 10**6):
        monkeypatch.setattr(encoder, "BATCH_TOKENS", budget)
        np.testing.assert_allclose(found.encode(texts), expected, atol=5e-6, rtol=0)
    np.testing.assert_allclose(found.encode([*texts[::-1], texts[3]])[-2:], expected[[0, 3]], atol=5e-6, rtol=0)


def test_no_texts_and_long_texts(trained: tuple[RowTextEncoder, dict[str, list[float]]]) -> None:
    found, stored = trained
    width = len(next(iter(stored.values())))
    assert found.encode([]).shape == (0, width) and found.encode([]).dtype == np.float32
    embeddings = found.encode(["", "word " * 1000, "\0"])
    assert embeddings.shape == (3, width) and np.isfinite(embeddings).all()


def test_a_broken_component_is_named(shop_with_model: Path) -> None:
    with duckdb.connect(str(shop_with_model), read_only=True) as con:
        card = active_card(con, current_catalog(con), "churn")
    with pytest.raises(ArtifactError, match=r"model 'churn': component encoder\.onnx is not an ONNX model"):
        RowTextEncoder.load(card, {"encoder.onnx": b"not onnx", "tokenizer.json": b"{}"})
