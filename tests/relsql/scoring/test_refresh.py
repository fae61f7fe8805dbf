"""Refreshing stored row embeddings: which texts are encoded, how often, and what an unfinished run leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import relsql
from relsql.cli import cli
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError, ModelError, SchemaDriftError
from relsql.gather.node_inputs import NodeInputs
from relsql.registry.models import active_card
from relsql.schema.tables import Column, Table
from relsql.scoring import refresh as refreshing
from relsql.typing import FloatArray
from tests.shop import age_cards, embeddings_table, seal_models, train_quickly
from udfs import attach
from udfs.encoder import RowTextEncoder

Connection = duckdb.DuckDBPyConnection

ALL = "SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY customer_id"
NEW_ORDERS = """
    INSERT INTO orders SELECT 100000 + i, i % 60, 50 + i, 'never seen ' || (i % 7), TIMESTAMP '2022-12-19'
    FROM range(70) t(i)"""


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that an encoder is given from here on."""
    given: list[str] = []
    encode = RowTextEncoder.encode

    def counted(self: RowTextEncoder, texts: Sequence[str]) -> FloatArray:
        given.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(RowTextEncoder, "encode", counted)
    return given


@pytest.fixture
def opened(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Connection]]:
    """Opens the shop as a new process would, with no embeddings in memory."""
    connections: list[Connection] = []

    def opened() -> Connection:
        while connections:
            connections.pop().close()
        monkeypatch.setattr(attach, "_SCORERS", {})
        connections.append(relsql.connect(shop))
        return connections[-1]

    yield opened
    while connections:
        connections.pop().close()


def texts_of(con: Connection, table: str | None = None) -> list[str]:
    """The stored texts, sorted."""
    rows = con.execute(f"SELECT text FROM {table or embeddings_table(con)}").fetchall()
    return sorted(text for (text,) in rows)


def row_texts(con: Connection) -> list[str]:
    """The distinct texts of all rows, sorted."""
    parts = [f"SELECT row_text_{table}(r) FROM {table} r" for table in ("customers", "orders", "shops")]
    return sorted(text for (text,) in con.execute(" UNION ".join(parts)).fetchall())


def scores(con: Connection) -> FloatArray:
    return np.array([row[1] for row in con.execute(ALL).fetchall()], dtype=np.float64)


def test_after_training_there_is_nothing_to_do(opened: Callable[[], Connection], encoded: list[str]) -> None:
    con = opened()
    stored = texts_of(con)
    done = relsql.refresh(con, "churn", prune=True)
    [(rows,)] = con.execute(
        "SELECT (SELECT count(*) FROM customers) + (SELECT count(*) FROM orders) + (SELECT count(*) FROM shops)"
    ).fetchall()
    assert (done.model, done.version, done.rows, done.texts) == ("churn", 1, rows, len(row_texts(con)))
    assert (done.new, done.pruned, encoded) == (0, 0, [])
    assert texts_of(con) == stored == row_texts(con)


def test_new_and_changed_rows_are_encoded_once_and_scores_stay(
    opened: Callable[[], Connection], encoded: list[str]
) -> None:
    con = opened()
    con.execute(NEW_ORDERS)
    con.execute("UPDATE customers SET name = 'renamed' WHERE customer_id IN (3, 4)")
    con.execute("UPDATE shops SET city = 'Oulu' WHERE shop_id = 3")
    new = sorted(set(row_texts(con)) - set(texts_of(con)))
    before = scores(con)
    # Texts are encoded on the spot, and lost with the process.
    assert len(new) == 7 + 1 + 1 and sorted(encoded) == new
    encoded.clear()
    con = opened()
    assert relsql.refresh(con, "churn").new == 9 and sorted(encoded) == new
    assert set(row_texts(con)) < set(texts_of(con)) and len(texts_of(con)) == len(set(texts_of(con)))
    encoded.clear()
    assert relsql.refresh(con, "churn").new == 0
    np.testing.assert_allclose(scores(opened()), before, atol=1e-6, rtol=0)
    assert encoded == []


def test_prune_removes_what_no_row_has(opened: Callable[[], Connection], encoded: list[str]) -> None:
    con = opened()
    con.execute("UPDATE customers SET name = 'renamed' WHERE customer_id = 3")
    gone = set(texts_of(con)) - set(row_texts(con))
    assert len(gone) == 1
    assert relsql.refresh(con, "churn").pruned == 0 and gone < set(texts_of(con))
    assert relsql.refresh(con, "churn", prune=True).pruned == 1
    assert texts_of(con) == row_texts(con)
    before = scores(con)
    np.testing.assert_allclose(scores(opened()), before, atol=1e-6, rtol=0)


def test_emptied_tables(opened: Callable[[], Connection]) -> None:
    con = opened()
    con.execute("DELETE FROM orders")
    done = relsql.refresh(con, "churn", prune=True)
    assert done.pruned == 3 and texts_of(con) == row_texts(con)
    con.execute("DELETE FROM customers")
    con.execute("DELETE FROM shops")
    done = relsql.refresh(con, "churn", prune=True)
    assert (done.rows, done.texts, done.new, texts_of(con)) == (0, 0, 0, [])


@pytest.mark.parametrize("name", ["nul\0inside", "Zoë 🚀 \U0010ffff", "", "<value>", 'it\'s "odd"', "\n\t", "e\u0301"])
def test_texts_of_any_characters(opened: Callable[[], Connection], encoded: list[str], name: str) -> None:
    con = opened()
    con.execute("UPDATE customers SET name = ? WHERE customer_id = 3", [name])
    assert relsql.refresh(con, "churn").new == 1 == len(encoded)
    assert set(row_texts(con)) < set(texts_of(con))
    encoded.clear()
    assert np.isfinite(scores(opened())).all() and encoded == []


def test_uncommitted_rows_do_not_count(opened: Callable[[], Connection], encoded: list[str]) -> None:
    con = opened()
    con.execute("BEGIN")
    con.execute(NEW_ORDERS)
    assert relsql.refresh(con, "churn").new == 0
    assert con.execute("SELECT count(*) FROM orders WHERE order_id >= 100000").fetchall() == [(70,)]
    con.execute("ROLLBACK")
    con.execute("BEGIN")
    con.execute(NEW_ORDERS)
    con.execute("COMMIT")
    assert relsql.refresh(con, "churn").new == 7 == len(encoded)


def test_a_killed_run_loses_one_chunk(opened: Callable[[], Connection], shop: Path, encoded: list[str]) -> None:
    con = opened()
    con.execute("UPDATE customers SET name = 'new name ' || customer_id")
    stored = len(texts_of(con))
    con.close()
    script = f"""
import os, signal, relsql
from relsql.scoring import refresh as refreshing
from udfs.encoder import RowTextEncoder
refreshing.CHUNK_TEXTS = 16
encode, calls = RowTextEncoder.encode, []
def dying(self, texts):
    calls.append(texts)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, texts)
RowTextEncoder.encode = dying
relsql.refresh(relsql.connect({str(shop)!r}), "churn")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    con = opened()
    assert len(texts_of(con)) == stored + 32
    assert relsql.refresh(con, "churn").new == 60 - 32 == len(encoded)
    assert len(texts_of(con)) == len(set(texts_of(con))) == stored + 60


def test_an_interrupted_run_says_what_is_kept(
    shop: Path, opened: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    con = opened()
    con.execute("UPDATE customers SET name = 'new name ' || customer_id")
    stored = len(texts_of(con))
    con.close()
    calls: list[int] = []

    def interrupted(self: RowTextEncoder, texts: Sequence[str]) -> FloatArray:
        calls.append(len(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return np.zeros((len(texts), active_width), dtype=np.float32)

    with duckdb.connect(str(shop)) as raw:
        active_width = active_card(raw, current_catalog(raw), "churn").encoder.width
    monkeypatch.setattr(refreshing, "CHUNK_TEXTS", 16)
    monkeypatch.setattr(RowTextEncoder, "encode", interrupted)
    result = CliRunner().invoke(cli, ["refresh", str(shop), "churn"])
    assert result.exit_code == 130 and calls == [16, 16]
    assert "interrupted: what was embedded so far is kept; run the command again to continue" in result.stderr
    assert len(texts_of(opened())) == stored + 16


def test_read_only_databases_are_refused(shop: Path) -> None:
    with relsql.connect(shop, read_only=True) as con, pytest.raises(DatabaseError, match="read-only"):
        relsql.refresh(con, "churn")


def test_what_is_missing_is_named(shop: Path, tmp_path: Path) -> None:
    with relsql.connect(shop) as con:
        with pytest.raises(ModelError, match="did you mean 'churn'"):
            relsql.refresh(con, "chrun")
        con.execute("ALTER TABLE orders RENAME COLUMN note TO remark")
        with pytest.raises(SchemaDriftError, match=r"orders\.note is missing"):
            relsql.refresh(con, "churn")
    result = CliRunner().invoke(cli, ["refresh", str(tmp_path / "none.duckdb"), "churn"])
    assert result.exit_code == 1 and "does not exist" in result.stderr


def test_the_command_prints_one_line(shop: Path, opened: Callable[[], Connection]) -> None:
    con = opened()
    con.execute(NEW_ORDERS)
    con.close()
    [first, second, third] = (
        CliRunner().invoke(cli, ["refresh", str(shop), "churn", *options])
        for options in ([], ["--prune", "--threads", "1"], ["--json"])
    )
    name, version, rows, texts, new, seconds = first.stdout.rstrip("\n").split("\t")
    assert (name, version, new) == ("churn", "1", "new=7") and seconds.startswith("seconds=")
    assert int(rows.removeprefix("rows=")) > int(texts.removeprefix("texts="))
    assert [line.split()[0] for line in first.stderr.splitlines()] == ["read", "embed"]
    assert "\tnew=0\tpruned=0\t" in second.stdout
    assert msgspec.json.decode(third.stdout)["texts"] == int(texts.removeprefix("texts="))


def test_a_model_that_reads_no_text(
    shop: Path, opened: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    real = refreshing.active_card

    def textless(*arguments: Any) -> Any:
        card = real(*arguments)
        inputs = {key: replace(found, text_columns=()) for key, found in card.inputs.items()}
        return msgspec.structs.replace(card, inputs=inputs)

    monkeypatch.setattr(refreshing, "active_card", textless)
    result = CliRunner().invoke(cli, ["refresh", str(shop), "churn"])
    assert result.exit_code == 0 and "rows=0\ttexts=0\tnew=0" in result.stdout
    assert "model 'churn' reads no row with text" in result.stderr


def test_odd_identifiers(opened: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    con = opened()
    con.execute('CREATE SCHEMA "a ""b"; CREATE TABLE "a ""b"."select" ("from" VARCHAR, "it\'s" VARCHAR)')
    con.execute("""INSERT INTO "a ""b"."select" VALUES ('x', NULL), ('x', NULL), (NULL, 'y')""")
    odd = Table("select", (Column("from", "VARCHAR"), Column("it's", "VARCHAR")), schema_name='a "b')
    real = refreshing.active_card

    def with_odd_table(*arguments: Any) -> Any:
        card = real(*arguments)
        schema = replace(card.schema, tables={**card.schema.tables, odd.key: odd})
        inputs = {**card.inputs, odd.key: NodeInputs(odd.key, (), (), odd.column_names)}
        return msgspec.structs.replace(card, inputs=inputs, schema=schema)

    monkeypatch.setattr(refreshing, "active_card", with_odd_table)
    # The identity of a card depends on its artefacts, so the table still belongs to the model.
    assert relsql.refresh(con, "churn").new == 2
    assert "<table>select<attribute>from<value><attribute>it's<value>y" in texts_of(con)


def test_two_models_in_one_file(shop: Path, opened: Callable[[], Connection]) -> None:
    con = opened()
    train_quickly(con, "spend", "customer-spend")
    con.execute(NEW_ORDERS)
    before = texts_of(con, embeddings_table(con, "spend"))
    assert relsql.refresh(con, "churn").new == 7
    assert texts_of(con, embeddings_table(con, "spend")) == before
    assert relsql.refresh(con, "spend").new == 7
    assert texts_of(con) == texts_of(con, embeddings_table(con, "spend"))
    # A new version of a model takes over the embeddings of the earlier version.
    earlier = embeddings_table(con)
    train_quickly(con, "churn")
    tables = {f"relsql.{name}" for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert earlier not in tables and {embeddings_table(con), embeddings_table(con, "spend")} < tables


def as_earlier_builds_did(con: Connection) -> None:
    """Move the embeddings of `churn` to the table that all models shared."""
    own = embeddings_table(con)
    con.execute("CREATE TABLE relsql.row_embeddings (model VARCHAR, version INTEGER, text VARCHAR, embedding FLOAT[])")
    con.execute(f"INSERT INTO relsql.row_embeddings SELECT 'churn', 1, text, embedding FROM {own}")
    con.execute("INSERT INTO relsql.row_embeddings VALUES ('other', 1, 'x', [1, 2]), ('churn', 1, 'too short', [1])")
    con.execute(f"DROP TABLE {own}")
    age_cards(con)
    seal_models(con)


def test_files_of_earlier_builds(opened: Callable[[], Connection], encoded: list[str]) -> None:
    con = opened()
    before, stored = scores(con), texts_of(con)
    as_earlier_builds_did(con)
    con = opened()
    np.testing.assert_allclose(scores(con), before, atol=1e-6, rtol=0)
    assert encoded == []
    con.execute(NEW_ORDERS)
    assert relsql.refresh(con, "churn").new == 7 == len(encoded)
    assert len(texts_of(con)) == len(stored) + 7
    assert con.execute("SELECT model FROM relsql.row_embeddings").fetchall() == [("other",)]


EDITS = st.lists(
    st.tuples(st.sampled_from(["rename", "insert", "delete", "kill"]), st.integers(0, 8), st.text(max_size=3)),
    max_size=6,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(EDITS, min_size=1, max_size=3))
def test_stored_texts_are_those_of_the_rows(
    opened: Callable[[], Connection], rounds: list[list[tuple[str, int, str]]]
) -> None:
    con = opened()
    with pytest.MonkeyPatch.context() as patched:
        width = active_card(con, current_catalog(con), "churn").encoder.width
        given: list[str] = []

        def quick(self: RowTextEncoder, texts: Sequence[str]) -> FloatArray:
            given.extend(texts)
            return np.full((len(texts), width), len(texts), dtype=np.float32)

        patched.setattr(RowTextEncoder, "encode", quick)
        patched.setattr(refreshing, "CHUNK_TEXTS", 3)
        for edits in rounds:
            for kind, number, text in edits:
                if kind == "rename":
                    con.execute("UPDATE customers SET name = ? WHERE customer_id = ?", [text, number])
                elif kind == "insert":
                    con.execute("INSERT INTO shops SELECT max(shop_id) + 1, ? FROM shops", [text])
                elif kind == "delete":
                    con.execute("DELETE FROM orders WHERE note = 'gift' OR order_id = ?", [number])
                else:
                    con.execute(f"DELETE FROM {embeddings_table(con)} WHERE rowid % 9 = ?", [number])
            before = set(texts_of(con))
            given.clear()
            done = relsql.refresh(con, "churn", prune=True)
            wanted = row_texts(con)
            assert texts_of(con) == wanted and done.texts == len(wanted)
            assert sorted(given) == sorted(set(wanted) - before) and done.new == len(given)
            assert done.pruned == len(before - set(wanted))
