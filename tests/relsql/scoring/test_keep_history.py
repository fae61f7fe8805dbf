"""The ledger: each score that a job has written exactly once, whatever happens to the job and to its table."""

from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import pytest

import relsql
import relsql.registry.models
from relsql.errors import DatabaseError
from relsql.registry.predictions import ledger_moments, ledger_versions, scores_sql
from tests.relsql.scoring.jobs import AS_OF, LEDGER, Rows, change_key, publish, rows, stopped
from tests.shop import CUSTOMERS

KEPT = """SELECT model, version, entity::BIGINT, as_of, score, status, target
          FROM relsql.predictions ORDER BY entity::BIGINT"""


def as_kept(scores: Rows) -> Rows:
    """Rows of a score table as the ledger has them."""
    return [("churn", version, key, as_of, score, status, "risk") for key, score, status, _, as_of, version in scores]


def test_a_job_that_was_stopped_and_continued_has_each_score_once(shop: Path) -> None:
    with relsql.connect(shop) as con:
        stopped(con, 3, chunk_rows=7, keep_history=True)
        assert con.execute(KEPT).fetchall() == as_kept(rows(con)) and len(rows(con)) == 21
        with pytest.raises(DatabaseError, match="its history is --keep-history instead of not kept"):
            relsql.score_into(con, "churn", "risk")
        relsql.score_into(con, "churn", "risk", keep_history=True)
        assert con.execute(KEPT).fetchall() == as_kept(rows(con)) and len(rows(con)) == CUSTOMERS


def test_a_later_job_adds_and_changes_nothing_that_was_kept(shop: Path) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk", as_of=AS_OF, keep_history=True, changed_only=True)
        first = con.execute(LEDGER).fetchall()
        con.execute("UPDATE customers SET name = 'someone else' WHERE customer_id IN (3, 50)")
        con.execute("DELETE FROM orders WHERE customer_id = 59; DELETE FROM customers WHERE customer_id = 59")
        relsql.score_into(con, "churn", "risk", as_of=AS_OF, keep_history=True, changed_only=True, chunk_rows=7)
        again = con.execute(LEDGER).fetchall()
        assert set(first) < set(again) and len(again) == CUSTOMERS + 2
        relsql.score_into(con, "churn", "risk", as_of=datetime.datetime(2022, 12, 5), overwrite=True)
        assert con.execute(LEDGER).fetchall() == again, "a job that keeps no history"
        con.execute("DROP TABLE risk")
        publish(con, "churn", 2)
        relsql.score_into(con, "churn", "risk", keep_history=True)
        assert len(con.execute(LEDGER).fetchall()) == len(again) + CUSTOMERS - 1
        assert ledger_versions(con, "shop", "churn") == (1, 2)


def test_the_score_of_a_moment_is_the_one_that_was_written_last(shop: Path) -> None:
    with relsql.connect(shop) as con:
        relsql.score_into(con, "churn", "risk", as_of=AS_OF, keep_history=True)
        card = relsql.registry.models.active_card(con, "shop", "churn")
        con.execute("UPDATE relsql.predictions SET scored_at = scored_at - INTERVAL 1 DAY, score = 7")
        con.execute("INSERT INTO relsql.predictions SELECT * REPLACE (NULL AS score) FROM relsql.predictions LIMIT 1")
        assert set(con.execute(f"SELECT score FROM ({scores_sql(con, 'shop', card)})").fetchall()) == {(7.0,)}
        relsql.score_into(con, "churn", "risk", as_of=AS_OF, keep_history=True, overwrite=True)
        found = con.execute(
            f"SELECT entity, score FROM ({scores_sql(con, 'shop', card)}) ORDER BY entity ASC"
        ).fetchall()
        assert found == [(key, score) for key, score, *_ in rows(con)]
        assert ledger_moments(con, "shop", card) == [AS_OF]


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("VARCHAR", "'it''s ' || {i} || ' ä, {{x: 1}}'"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2022-10-30 00:30:00+00' + to_minutes({i}::BIGINT)"),
        ("DOUBLE", "{i} / 7.0 - 3"),
        ("BLOB", "unhex(md5({i}::VARCHAR))"),
    ],
)
def test_keys_of_any_type_are_read_back(shop: Path, kind: str, expression: str) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("SET TimeZone = 'Europe/Berlin'")
        change_key(con, kind, expression)
        relsql.score_into(con, "churn", "risk", keep_history=True)
        card = relsql.registry.models.active_card(con, "shop", "churn")
        con.execute("SET TimeZone = 'UTC'")
        both = f"risk JOIN ({scores_sql(con, 'shop', card)}) kept ON kept.entity = customer_id"
        same = con.execute(f"SELECT count(*) FROM {both} WHERE kept.score = risk.score").fetchall()
        assert same == [(CUSTOMERS,)]


def test_a_job_of_an_earlier_build_keeps_no_history(shop: Path) -> None:
    with relsql.connect(shop) as con:
        stopped(con, 3, chunk_rows=7)
        con.execute("ALTER TABLE relsql.score_jobs DROP COLUMN keep_history")
        assert relsql.score_into(con, "churn", "risk").finished
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'predictions'").fetchall() == [(0,)]
