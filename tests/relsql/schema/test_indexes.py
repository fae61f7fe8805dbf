"""Calls find the rows of an entity by an index if a large table has one, with the same scores as without it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.schema import indexes
from relsql.schema.indexes import indexed_columns
from relsql.schema.reading import read_schema

ODD = 'a ""b, c]'
CALLS = "SELECT customer_id, predict_churn_full(customer_id) FROM customers ORDER BY ALL"


def index_scans(con: duckdb.DuckDBPyConnection) -> int:
    """Number of index scans in a call."""
    [(_, plan)] = con.execute("EXPLAIN ANALYZE SELECT predict_churn(7)").fetchall()
    return int(plan.count("Index Scan"))


def changing_scores(con: duckdb.DuckDBPyConnection) -> list[object]:
    """Results of a call before, during and after a transaction that inserts, updates and deletes linked rows."""
    changes = [
        "INSERT INTO orders VALUES (9_000_000, 7, 5.0, 'gift', TIMESTAMP '2022-12-19')",
        "UPDATE orders SET amount = amount + 100 WHERE order_id = 9_000_000",
        "DELETE FROM orders WHERE customer_id = 7 AND ordered_at < TIMESTAMP '2022-10-01'",
        "DELETE FROM orders WHERE customer_id = 7",
    ]
    calls = "SELECT predict_churn_full(7), predict_churn_full(7, as_of := TIMESTAMP '2022-12-18')"
    found: list[object] = con.execute(calls).fetchall()
    con.execute("BEGIN")
    for change in changes:
        con.execute(change)
        found += con.execute(calls).fetchall()
    con.execute("ROLLBACK")
    return found + con.execute(calls).fetchall()


def test_columns_with_an_index_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "SCANNED_ROWS", 0)
    with duckdb.connect() as con:
        con.execute(f"""
            CREATE SCHEMA "od d";
            CREATE TABLE parents (id INTEGER PRIMARY KEY);
            CREATE TABLE "od d"."t, x" (
                id INTEGER, "{ODD}" INTEGER, "UP" INTEGER UNIQUE, k INTEGER, v VARCHAR, free INTEGER, UNIQUE (id, k));
            CREATE TABLE children (parent INTEGER REFERENCES parents (id), other INTEGER);
            INSERT INTO parents VALUES (1), (2);
            INSERT INTO children VALUES (1, 1), (2, 2);
            INSERT INTO "od d"."t, x" VALUES (1, 1, 1, 1, 'x', 1), (2, 2, 2, 2, 'y', 2);
            CREATE INDEX i1 ON "od d"."t, x" ("{ODD}");
            CREATE INDEX i2 ON "od d"."t, x" (k, v);
            CREATE INDEX i3 ON "od d"."t, x" (lower(v));
            CREATE INDEX i4 ON "od d"."t, x" (k);
        """)
        found = indexed_columns(con, "memory", read_schema(con, "memory"))
    odd = "od d.t, x"
    assert found == {
        ("parents", "id"), ("children", "parent"), (odd, ODD.replace('""', '"')), (odd, "UP"), (odd, "k"),
    }  # fmt: skip


def test_small_tables_are_scanned() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t FROM range(122_880)")
        assert indexed_columns(con, "memory", read_schema(con, "memory")) == frozenset()
        con.execute("INSERT INTO t FROM range(122_880, 122_882)")
        assert indexed_columns(con, "memory", read_schema(con, "memory")) == {("t", "id")}


def test_calls_read_by_index_and_score_the_same(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with relsql.connect(shop) as con:
        expected, changing, scans = con.execute(CALLS).fetchall(), changing_scores(con), index_scans(con)
        assert len({str(results) for results in changing}) == 5
        monkeypatch.setattr(indexes, "SCANNED_ROWS", 0)
        relsql.attach(con)
        assert index_scans(con) > scans
        assert con.execute(CALLS).fetchall() == expected
        assert changing_scores(con) == changing
