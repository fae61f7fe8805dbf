"""Stored embeddings that are read when a query needs them, and what happens if they cannot be read."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pytest

import relsql
from relsql.typing import FloatArray
from tests.shop import embeddings_table
from udfs import attach, stored_embeddings
from udfs.encoder import RowTextEncoder
from udfs.scorer import Scorer

ALL = "SELECT predict_churn(customer_id) FROM customers ORDER BY customer_id"
PRELOADED = 5


def scores(con: duckdb.DuckDBPyConnection, query: str = ALL) -> FloatArray:
    return np.array(con.execute(query).fetchall(), dtype=np.float64)[:, 0]


def scorer() -> Scorer:
    """The only scorer of the process."""
    [found] = attach._SCORERS.values()
    return found


@pytest.fixture
def expected(shop: Path) -> FloatArray:
    """The scores of all customers, everything read at attach."""
    with relsql.connect(shop) as con:
        return scores(con)


@pytest.fixture
def encoded(expected: FloatArray, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A process in which hardly anything is read at attach; returns the texts that are encoded from here on."""
    given: list[str] = []
    encode = RowTextEncoder.encode

    def counted(self: RowTextEncoder, texts: Sequence[str]) -> FloatArray:
        given.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(RowTextEncoder, "encode", counted)
    monkeypatch.setattr(attach, "_SCORERS", {})
    monkeypatch.setattr(stored_embeddings, "PRELOADED", PRELOADED)
    monkeypatch.setattr(stored_embeddings, "READ_AHEAD", 0)
    return given


def test_queries_find_what_attach_did_not_read(shop: Path, expected: FloatArray, encoded: list[str]) -> None:
    with relsql.connect(shop) as con:
        assert len(scorer().texts) == PRELOADED
        np.testing.assert_allclose(scores(con), expected, atol=1e-6, rtol=0)
        assert encoded == [] and len(scorer().texts) > 60
        assert np.isfinite(scores(con, "SELECT relsql_encode_churn('not stored')[1]")).all()
        assert encoded == ["not stored"]


def test_more_is_read_ahead_until_everything_is_known(
    shop: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_embeddings, "READ_AHEAD", 4)
    with relsql.connect(shop) as con:
        rows = con.execute(f"SELECT text, embedding FROM {embeddings_table(con)} ORDER BY rowid").fetchall()
        for number, (text, embedding) in enumerate(rows, start=1):
            [(found,)] = con.execute("SELECT relsql_encode_churn(?)", [text]).fetchall()
            assert found == embedding
            assert len(scorer().texts) <= PRELOADED + 5 * number
        assert len(scorer().texts) == len(rows) and encoded == []
        # With everything known there is nothing to ask for.
        monkeypatch.setattr(stored_embeddings._Source, "lookup", None)
        con.execute("SELECT relsql_encode_churn('not stored')")
        assert encoded == ["not stored"]


@pytest.mark.parametrize(
    "query",
    [
        f"CREATE TABLE found AS {ALL}",
        "UPDATE orders SET amount = predict_churn(customer_id)",
        "EXPLAIN SELECT relsql_encode_churn('<table>shops<attribute>city<value>Ulm')",
        f"WITH a AS MATERIALIZED ({ALL}) SELECT count(*) FROM a",
    ],
    ids=["create", "update", "explain", "select"],
)
def test_within_any_statement_of_a_transaction(shop: Path, encoded: list[str], query: str) -> None:
    with relsql.connect(shop) as con:
        con.execute("BEGIN")
        con.execute("INSERT INTO shops VALUES (99, 'uncommitted')")
        con.execute(query).fetchall()
        con.execute("ROLLBACK")
        assert set(encoded) <= {"<table>shops<attribute>city<value>uncommitted"}


def test_a_closed_connection_does_not_affect_the_others(shop: Path, expected: FloatArray, encoded: list[str]) -> None:
    with relsql.connect(shop) as first:
        with relsql.connect(shop):
            pass
        np.testing.assert_allclose(scores(first), expected, atol=1e-6, rtol=0)
        assert encoded == []


def test_without_the_table_texts_are_encoded(shop: Path, expected: FloatArray, encoded: list[str]) -> None:
    with relsql.connect(shop) as con:
        con.execute(f"DROP TABLE {embeddings_table(con)}")
        np.testing.assert_allclose(scores(con), expected, atol=1e-5, rtol=0)
        assert len(encoded) == len(set(encoded)) > 60
    attach._SCORERS.clear()
    with relsql.connect(shop, read_only=True) as con:
        np.testing.assert_allclose(scores(con), expected, atol=1e-5, rtol=0)


def test_a_connection_is_not_kept_open(shop: Path, encoded: list[str]) -> None:
    con = relsql.connect(shop)
    gone = weakref.ref(con)
    scores(con)
    del con
    gc.collect()
    assert gone() is None
    # A database that were still open could not be opened in another mode.
    duckdb.connect(str(shop), read_only=True).close()


def test_cursors_and_threads(shop: Path, expected: FloatArray, encoded: list[str]) -> None:
    found: list[FloatArray] = []
    with relsql.connect(shop) as con:
        con.execute("SET threads = 4")

        def work() -> None:
            with con.cursor() as cursor:
                relsql.attach(cursor)
                found.append(scores(cursor))

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 6 and encoded == []
    for each in found:
        np.testing.assert_allclose(each, expected, atol=1e-6, rtol=0)


def test_attaching_again_reads_what_was_stored_since(shop: Path, encoded: list[str]) -> None:
    with relsql.connect(shop) as con:
        con.execute("UPDATE customers SET name = 'renamed' WHERE customer_id = 3")
        relsql.refresh(con, "churn")
        encoded.clear()
        relsql.attach(con)
        scores(con)
        assert encoded == []


def test_an_interrupted_look_up_does_not_count_as_failed(
    shop: Path, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(source: stored_embeddings._Source, texts: Sequence[str]) -> stored_embeddings.Found:
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    with relsql.connect(shop) as con:
        with monkeypatch.context() as patched, pytest.raises(duckdb.Error, match="INTERRUPT"):
            patched.setattr(stored_embeddings._Source, "lookup", interrupt)
            con.execute(ALL)
        scores(con)
        assert not encoded
