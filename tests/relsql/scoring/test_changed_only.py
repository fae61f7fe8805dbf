"""Jobs with `changed_only`: the entities whose rows changed are scored again, and the table is that of a full run."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import DatabaseError
from relsql.scoring.score_table import open_job, run_job
from tests.relsql.scoring.jobs import AS_OF, change_key, close, publish, rows, stopped
from tests.shop import CUSTOMERS


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
