"""Batch jobs: after any interruption the same call continues, with the same result as an uninterrupted run."""

from __future__ import annotations

import contextlib
import datetime
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import DatabaseError
from relsql.registry.score_jobs import read_job
from relsql.scoring.score_table import open_job, run_job
from relsql.sql_text import literal
from tests.relsql.scoring.jobs import AS_OF, LEDGER, close, publish, rows, stopped
from tests.shop import CUSTOMERS


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
