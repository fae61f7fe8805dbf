"""Batch jobs: after any interruption the same call continues, with the same result as an uninterrupted run."""

from __future__ import annotations

import contextlib
import datetime
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.errors import DatabaseError
from relsql.registry.score_jobs import read_job
from relsql.scoring.score_table import open_job, run_job
from relsql.sql_text import literal
from tests.shop import CUSTOMERS, rewrite_card

AS_OF = datetime.datetime(2022, 12, 1)
LEDGER = "SELECT * EXCLUDE (scored_at) FROM relsql.predictions ORDER BY ALL"
Rows = list[tuple[Any, ...]]


def rows(con: duckdb.DuckDBPyConnection, table: str = "risk") -> Rows:
    return con.execute(f"FROM {table} ORDER BY 1").fetchall()


def close(found: Rows, expected: Rows) -> bool:
    """True for the same rows; scores may differ in their last bits, because the batch sizes differ."""
    same = [(row[0], *row[2:]) for row in found] == [(row[0], *row[2:]) for row in expected]
    return same and all(a[1] == pytest.approx(b[1], abs=1e-6) for a, b in zip(found, expected, strict=True))


def stop_after(chunks: int) -> Any:
    """A progress callback that stops the job like Ctrl-C after some chunks."""
    calls = []

    def progress(phase: str, fraction: float, metrics: dict[str, float]) -> None:
        calls.append(fraction)
        if len(calls) > chunks:
            raise KeyboardInterrupt

    return progress


def stopped(con: duckdb.DuckDBPyConnection, chunks: int, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        relsql.score_into(con, "churn", "risk", progress=stop_after(chunks), **options)


def publish(con: duckdb.DuckDBPyConnection, name: str, version: int) -> None:
    """Store the model once more, under another name or version, as if it had been trained again."""
    [(text,)] = con.execute("SELECT card FROM relsql.models WHERE name = 'churn' AND version = 1").fetchall()
    card = json.dumps(json.loads(text) | {"name": name, "version": version})
    con.execute("UPDATE relsql.models SET status = 'retired' WHERE name = ?", [name])
    for table, values in (("models", "? AS name, ? AS version, ? AS card, 'active' AS status"),
                          ("artifacts", "? AS model, ? AS version")):  # fmt: skip
        column = "name" if table == "models" else "model"
        query = f"SELECT * REPLACE ({values}) FROM relsql.{table} WHERE {column} = 'churn' AND version = 1"
        con.execute(f"INSERT INTO relsql.{table} {query}", [name, version, card][: values.count("?")])
    rewrite_card(con, card, f"name = '{name}' AND version = {version}")


def test_a_job_writes_what_the_batch_function_gives(shop: Path) -> None:
    with relsql.connect(shop) as con:
        fractions: list[float] = []
        job = relsql.score_into(
            con, "churn", "risk", chunk_rows=7, progress=lambda phase, fraction, metrics: fractions.append(fraction)
        )
        assert (job.chunks, job.entities, job.scored, job.finished) == (9, CUSTOMERS, CUSTOMERS, True)
        assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1) and len(fractions) == 10
        assert close(rows(con), con.execute("FROM predict_churn_batch() ORDER BY 1").fetchall())
        described = "SELECT column_name, column_type FROM (DESCRIBE {})"
        batch = con.execute(described.format("FROM predict_churn_batch()")).fetchall()
        assert con.execute(described.format("risk")).fetchall() == batch
        con.execute("CREATE SCHEMA staging")
        relsql.score_into(con, "churn", "staging.risk", as_of=AS_OF)
        assert {row[4] for row in rows(con, "staging.risk")} == {AS_OF}


KILLED = """
import os, signal, sys, threading
from relsql.registry.score_jobs import read_job
from relsql.scoring.score_table import open_job, run_job
from relsql.database.connections import open_database

path, statements, seconds, changed_only = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "True"

class Mortal:
    "A connection whose process is killed before a statement."
    def __init__(self, con):
        self.con, self.left = con, statements
    def execute(self, *args):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return self.con.execute(*args)
    def __getattr__(self, name):
        return getattr(self.con, name)

con = Mortal(open_database(path))
former = read_job(con, "shop", "risk")
if former and former.finished and not changed_only:
    sys.exit()  # Killed after the last commit.
job = open_job(con, "churn", "risk", chunk_rows=7, changed_only=changed_only, keep_history=True).job
if seconds:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
run_job(con, job)
con.close()
"""


def run_mortal(path: Path, statements: int, seconds: float, changed_only: bool) -> bool:
    """Run the job in a separate process; True if it was killed."""
    command = [sys.executable, "-c", KILLED, str(path), str(statements), str(seconds), str(changed_only)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.slow
@pytest.mark.parametrize(("by", "changed_only"), [("statement", True), ("time", False)])
def test_a_job_that_is_killed_repeatedly_ends_like_an_undisturbed_one(shop: Path, by: str, changed_only: bool) -> None:
    whole = shop.with_name("whole.duckdb")
    shutil.copy(shop, whole)
    for path in (shop, whole) if changed_only else ():
        with relsql.connect(path) as con:
            relsql.score_into(con, "churn", "risk", chunk_rows=7, changed_only=True)
            con.execute("UPDATE orders SET amount = amount + 1 WHERE customer_id % 2 = 0")
            con.execute("DELETE FROM orders WHERE customer_id IN (3, 50); DELETE FROM customers WHERE customer_id = 50")
    with relsql.connect(whole) as con:
        relsql.score_into(con, "churn", "risk", chunk_rows=7, changed_only=changed_only, keep_history=True)
        expected, ledger = rows(con), con.execute(LEDGER).fetchall()
    chance = random.Random(f"{by} {changed_only}")
    kills = 0
    # About 20 statements run before open_job writes anything; a chunk takes 4 or 10.
    budget = {"statement": lambda: (chance.randint(15, 50), 0.0), "time": lambda: (-1, chance.uniform(0.005, 0.05))}
    while run_mortal(shop, *(budget[by]() if kills < 8 else (-1, 0.0)), changed_only):
        kills += 1
        assert kills < 9
        with duckdb.connect(str(shop)) as con:
            job = read_job(con, "shop", "risk")
            if job is not None and not changed_only:
                kept = con.execute(LEDGER).fetchall() if job.chunks_done else []
                assert len(kept) == len(rows(con)) == job.entities == min(7 * job.chunks_done, CUSTOMERS)
                assert set(rows(con)) <= set(expected)
    assert kills > 1
    with duckdb.connect(str(shop)) as con:
        assert rows(con) == expected
        assert con.execute(LEDGER).fetchall() == ledger and ledger
        assert con.execute("SELECT count(*) FROM relsql.score_jobs").fetchall() == [(1,)]


def test_a_job_continues_with_its_as_of_while_rows_change(shop: Path) -> None:
    with relsql.connect(shop) as con:
        stopped(con, 3, chunk_rows=7)
        [(as_of,)] = con.execute("SELECT max(ordered_at) FROM orders").fetchall()
        assert len(rows(con)) == 21
        con.execute("INSERT INTO customers VALUES (-5, 'early', NULL, 1), (500, 'late', NULL, 1)")
        con.execute("INSERT INTO orders VALUES (99999, 40, 3, NULL, TIMESTAMP '2023-05-01')")
        con.execute(
            "DELETE FROM orders WHERE customer_id IN (1, 41); DELETE FROM customers WHERE customer_id IN (1, 41)"
        )
        job = relsql.score_into(con, "churn", "risk")
        assert job.chunk_rows == 7 and job.entities == CUSTOMERS
        keys = {row[0] for row in rows(con)}
        assert 500 in keys and 41 not in keys, "ranges that were not done"
        assert -5 not in keys and 1 in keys, "ranges that were done"
        assert {row[4] for row in rows(con)} == {as_of}
        assert relsql.score_into(con, "churn", "risk", as_of=as_of, changed_only=True).entities == CUSTOMERS
        [(total, early)] = con.execute("SELECT count(*), count(*) FILTER (WHERE customer_id = -5) FROM risk").fetchall()
        assert (total, early) == (CUSTOMERS, 1)


def test_an_unfinished_job_is_not_mixed_with_another(shop: Path) -> None:
    with relsql.connect(shop) as con:
        stopped(con, 2, chunk_rows=7)
        before = rows(con)
        for options, words in (
            ({"as_of": AS_OF}, "instead of 2022-12-01 00:00:00"),
            ({"chunk_rows": 8}, "its number of entities in a chunk is 7 instead of 8"),
            ({"changed_only": True}, "its scope is all entities instead of --changed-only"),
        ):
            with pytest.raises(DatabaseError, match=words) as caught:
                relsql.score_into(con, "churn", "risk", **options)  # type: ignore[arg-type]
            assert "2 of 9 chunks done" in str(caught.value) and "--overwrite" in str(caught.value.fix)
        assert rows(con) == before
        publish(con, "churn", 2)
        with pytest.raises(DatabaseError, match="churn version 1 instead of churn version 2"):
            relsql.score_into(con, "churn", "risk")
        assert relsql.score_into(con, "churn", "risk", as_of=AS_OF, overwrite=True).chunks == 1
        assert {row[4:] for row in rows(con)} == {(AS_OF, 2)} and len(rows(con)) == CUSTOMERS


def test_a_finished_table_is_only_replaced_when_asked(shop: Path) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk")
        before = rows(con)
        with pytest.raises(DatabaseError, match="table 'risk' exists"):
            relsql.score_into(con, "churn", "risk", as_of=AS_OF)
        assert rows(con) == before
        relsql.score_into(con, "churn", "risk", as_of=AS_OF, overwrite=True)
        assert {row[4] for row in rows(con)} == {AS_OF}


@pytest.mark.parametrize("overwrite", [False, True])
def test_tables_that_no_job_has_written_are_never_touched(shop: Path, overwrite: bool) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk")
        # A table of the user with the name of one that a job has written.
        con.execute("CREATE OR REPLACE TABLE risk AS FROM predict_churn_batch()")
        for table in ("risk", "customers", "Customers"):
            with pytest.raises((DatabaseError, duckdb.CatalogException), match="exists"):
                relsql.score_into(con, "churn", table, overwrite=overwrite)
        for table, words in (("relsql.models", "own schema"), ("risk.parquet", "is not a table")):
            with pytest.raises(DatabaseError, match=words):
                relsql.score_into(con, "churn", table, overwrite=overwrite)
        assert len(rows(con, "customers")) == CUSTOMERS == len(rows(con))
        con.execute("DROP TABLE risk")
        assert relsql.score_into(con, "churn", "risk").scored == CUSTOMERS


def test_a_table_with_other_columns_is_refused(shop: Path) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk")
        con.execute("ALTER TABLE risk ADD COLUMN mine INTEGER")
        with pytest.raises(DatabaseError, match="has other columns than the scores of model 'churn'"):
            relsql.score_into(con, "churn", "risk", changed_only=True)
        assert len(rows(con)) == CUSTOMERS


# Changed entities only


def changed(con: duckdb.DuckDBPyConnection, as_of: datetime.datetime = AS_OF) -> int:
    """Bring the table up to date, check that it equals a full run's, and return how many entities were scored."""
    job = relsql.score_into(con, "churn", "risk", as_of=as_of, chunk_rows=13, changed_only=True)
    relsql.score_into(con, "churn", "whole", as_of=as_of, overwrite=True)
    assert close(rows(con), rows(con, "whole"))
    assert job.entities == len(rows(con))
    fingerprints = "SELECT count(*), count(DISTINCT entity) FROM relsql.score_fingerprints WHERE target = 'risk'"
    assert con.execute(fingerprints).fetchall() == [(job.entities, job.entities)]
    return job.scored


def test_only_what_changed_is_scored(shop: Path) -> None:
    with relsql.connect(shop) as con:
        assert changed(con) == CUSTOMERS
        assert changed(con) == 0
        con.execute("UPDATE customers SET name = 'someone else' WHERE customer_id = 3")
        assert changed(con) == 1
        con.execute("UPDATE orders SET note = 'unheard of' WHERE order_id = (SELECT max(order_id) FROM orders "
                    "WHERE customer_id = 7 AND ordered_at <= TIMESTAMP '2022-12-01')")  # fmt: skip
        assert changed(con) == 1
        con.execute("INSERT INTO orders VALUES (99998, 8, 1, NULL, TIMESTAMP '2022-12-24')")
        assert changed(con) == 0, "a row after as_of"
        con.execute("INSERT INTO orders VALUES (99999, 9, 1, NULL, TIMESTAMP '2020-01-01')")
        assert changed(con) == 1, "a row that is counted only"
        con.execute("UPDATE shops SET city = 'Oslo' WHERE shop_id = 2")
        [(customers,)] = con.execute("SELECT count(*) FROM customers WHERE shop_id = 2").fetchall()
        assert changed(con) == customers
        con.execute("INSERT INTO customers VALUES (-5, 'early', NULL, 1), (500, 'late', NULL, NULL)")
        assert changed(con) == 2
        con.execute("DELETE FROM orders WHERE customer_id IN (0, 59)")
        assert changed(con) == 2
        con.execute("DELETE FROM customers WHERE customer_id IN (0, 59)")
        assert changed(con) == 0
        con.execute("DELETE FROM risk WHERE customer_id IN (-5, 20)")
        assert changed(con) == 2, "rows that somebody has removed"


@pytest.mark.parametrize("seed", range(4))
def test_random_changes(shop: Path, seed: int) -> None:
    chance = random.Random(seed)
    statements = (
        "UPDATE orders SET amount = amount * 2 WHERE order_id % 97 = {i}",
        "UPDATE orders SET ordered_at = ordered_at + INTERVAL 3 DAY WHERE customer_id = {i}",
        "UPDATE orders SET customer_id = {i} WHERE order_id % 150 = {i}",
        "DELETE FROM orders WHERE order_id % 60 = {i}",
        "INSERT INTO orders SELECT 10000 + max(order_id), {i}, 7.5, 'gift', TIMESTAMP '2022-11-30' FROM orders",
        "UPDATE customers SET born = born + 400 WHERE customer_id = {i}",
        "UPDATE customers SET shop_id = NULL WHERE customer_id > {i} + 50",
        "INSERT INTO customers SELECT 1000 + max(customer_id), 'new', DATE '1970-01-01', 2 FROM customers",
        "DELETE FROM customers WHERE customer_id > 900",
    )
    with relsql.connect(shop) as con:
        changed(con)
        for _ in range(5):
            for statement in chance.sample(statements, chance.randint(0, 3)):
                con.execute(statement.format(i=chance.randrange(CUSTOMERS)))
            con.execute(f"SET threads = {chance.choice((1, 2, 4))}")
            assert changed(con) < CUSTOMERS + 5


def test_everything_is_scored_if_fingerprints_are_not_valid(shop: Path) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk", as_of=AS_OF)
        opened = open_job(con, "churn", "risk", as_of=AS_OF, changed_only=True)
        assert "no fingerprints yet" in str(opened.all_because)
        assert run_job(con, opened.job).scored == CUSTOMERS
        later = datetime.datetime(2022, 12, 2)
        opened = open_job(con, "churn", "risk", as_of=later, changed_only=True)
        assert "as of 2022-12-01 00:00:00, this job as of 2022-12-02" in str(opened.all_because)
        assert run_job(con, opened.job).scored == CUSTOMERS
        assert changed(con, later) == 0
        publish(con, "churn", 2)
        opened = open_job(con, "churn", "risk", as_of=later, changed_only=True)
        assert "scores of version 1, but the model is now version 2" in str(opened.all_because)
        run_job(con, opened.job)
        assert {row[5] for row in rows(con)} == {2} and changed(con, later) == 0
        relsql.score_into(con, "churn", "risk", as_of=later, overwrite=True)
        assert con.execute("SELECT count(*) FROM relsql.score_fingerprints WHERE target = 'risk'").fetchall() == [(0,)]
        publish(con, "other", 1)
        with pytest.raises(DatabaseError, match="holds scores of model 'churn', not of 'other'"):
            relsql.score_into(con, "other", "risk", changed_only=True)
        assert {row[5] for row in rows(con)} == {2}


# Kinds of keys


def change_key(con: duckdb.DuckDBPyConnection, kind: str, expression: str) -> None:
    """Give the customers of the shop another key, without a constraint, also on the model's card."""
    for table in ("customers", "orders"):
        changed = f"CAST({expression.format(i='customer_id')} AS {kind}) AS customer_id"
        con.execute(f"CREATE TABLE new_{table} AS SELECT * REPLACE ({changed}) FROM {table}")
    con.execute("DROP TABLE orders; DROP TABLE customers")
    con.execute("ALTER TABLE new_orders RENAME TO orders; ALTER TABLE new_customers RENAME TO customers")
    [(text,)] = con.execute("SELECT card FROM relsql.models").fetchall()
    card = json.loads(text)
    for table in card["schema"]["tables"].values():
        for column in table["columns"]:
            column["type"] = kind if column["name"] == "customer_id" else column["type"]
    rewrite_card(con, json.dumps(card))


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("VARCHAR", "'it''s ' || chr(96 + ({i} * 7 % 60)::INTEGER) || ' ä'"),
        ("UUID", "md5({i}::VARCHAR)"),
        ("DATE", "DATE '1999-12-31' - {i}::INTEGER"),
        ("TIMESTAMP", "TIMESTAMP '1969-12-31 23:59:59.9' + to_microseconds({i}::BIGINT)"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2022-10-30 00:30:00+00' + to_minutes({i}::BIGINT)"),
        ("DOUBLE", "{i} / 7.0 - 3"),
        ("DECIMAL(9,3)", "{i} / 8 - 3"),
        ("HUGEINT", "{i}::HUGEINT * 170141183460469231731687303715 - 3"),
        ("BLOB", "unhex(md5({i}::VARCHAR))"),
        ("TINYINT", "100 - {i}"),
    ],
)
def test_keys_of_any_type(shop: Path, kind: str, expression: str) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("SET TimeZone = 'Europe/Berlin'")
        with relsql.connect(shop) as other:
            expected = dict(other.execute("SELECT customer_id, score FROM predict_churn_batch()").fetchall())
        key = f"CAST(CAST({expression.format(i='i')} AS {kind}) AS VARCHAR)"
        names = dict(con.execute(f"SELECT {key}, i FROM range({CUSTOMERS}) t(i)").fetchall())
        change_key(con, kind, expression)
        con.execute("INSERT INTO customers VALUES (NULL, 'no key', NULL, 1)")
        stopped(con, 3, chunk_rows=7, changed_only=True)
        assert relsql.score_into(con, "churn", "risk", changed_only=True).chunks == 9
        scores = con.execute("SELECT CAST(customer_id AS VARCHAR), score FROM risk").fetchall()
        assert {names[key]: score for key, score in scores} == pytest.approx(expected, abs=1e-6)
        assert len(scores) == CUSTOMERS
        assert relsql.score_into(con, "churn", "risk", changed_only=True).scored == 0


# What goes wrong


def test_an_interrupted_query_loses_one_chunk(shop: Path) -> None:
    with relsql.connect(shop) as con:
        job = open_job(con, "churn", "risk", chunk_rows=1).job
        timer = threading.Timer(0.3, con.interrupt)
        timer.start()
        with contextlib.suppress(duckdb.InterruptException, duckdb.InvalidInputException):
            run_job(con, job)
        timer.join()
        left = read_job(con, "shop", "risk")
        assert left is not None and len(rows(con)) == left.entities == left.chunks_done
        if not left.finished:
            assert relsql.score_into(con, "churn", "risk").finished
        assert len(rows(con)) == CUSTOMERS


def test_too_little_memory_names_the_setting_and_loses_nothing(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("INSERT INTO customers SELECT 1000 + i, 'x', NULL, 1 FROM range(20000) t(i)")
        con.execute("INSERT INTO orders SELECT 90000 + i, 1000 + i % 20000, i % 90, 'gift', TIMESTAMP '2022-01-01' "
                    "FROM range(200000) t(i)")  # fmt: skip
        con.execute("CHECKPOINT; SET threads = 1; SET temp_directory = ''; SET memory_limit = '16MB'")
        with pytest.raises(DatabaseError, match="memory_limit 15.2 MiB is too small .* 50,000 entities") as caught:
            relsql.score_into(con, "churn", "risk", chunk_rows=50_000)
        assert "--memory-limit" in str(caught.value) and "--chunk-rows" in str(caught.value)
        job = read_job(con, "shop", "risk")
        assert job is not None and job.chunks_done == 0 and rows(con) == []
        con.execute("SET memory_limit = '500MB'")
        assert relsql.score_into(con, "churn", "risk").scored == CUSTOMERS + 20_000 == len(rows(con))


def test_a_read_only_file_is_refused(shop: Path) -> None:
    with relsql.connect(shop, read_only=True) as con, pytest.raises(DatabaseError, match="read-only"):
        relsql.score_into(con, "churn", "risk")


def test_a_job_that_another_connection_continues_is_left_to_it(shop: Path) -> None:
    with relsql.connect(shop) as con, relsql.connect(shop) as other:
        job = open_job(con, "churn", "risk", chunk_rows=7).job
        run_job(other, job)
        with pytest.raises(DatabaseError, match="changed by another connection"):
            run_job(con, job)
        assert len(rows(con)) == CUSTOMERS


def test_a_database_without_entities(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("DELETE FROM orders; DELETE FROM customers")
        job = relsql.score_into(con, "churn", "risk", changed_only=True)
        assert (job.entities, job.chunks, rows(con)) == (0, 1, [])
        con.execute("INSERT INTO customers VALUES (5, 'first', NULL, 1)")
        assert relsql.score_into(con, "churn", "risk", changed_only=True).scored == 1


@pytest.mark.parametrize("as_of", [datetime.datetime.min, datetime.datetime.max, datetime.datetime(1700, 1, 1)])
def test_moments_far_away(shop: Path, as_of: datetime.datetime) -> None:
    with relsql.connect(shop) as con:
        stopped(con, 2, chunk_rows=20, as_of=as_of)
        relsql.score_into(con, "churn", "risk", as_of=as_of)
        query = f"FROM predict_churn_batch(as_of := {literal(as_of)}) ORDER BY 1"
        assert close(rows(con), con.execute(query).fetchall()) and len(rows(con)) == CUSTOMERS
