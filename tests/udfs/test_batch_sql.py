"""The batch function as a query: part of the entities, fingerprints, INSERT, and other connections that write."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pytest

import relsql
from relsql.registry.models import active_card
from relsql.schema.tables import Schema
from tests.shop import CUSTOMERS, require_latest_by_default
from udfs.macros import batch_sql, fingerprint_sql

NOW = "TIMESTAMP '2022-12-01'"
BATCH = f"FROM predict_churn_batch(as_of := {NOW})"


def scores(con: duckdb.DuckDBPyConnection, query: str = f"SELECT score {BATCH} ORDER BY customer_id") -> np.ndarray:
    return np.array([row[0] for row in con.execute(query).fetchall()], dtype=float)


def test_the_default_moment_is_that_of_the_latest_event(shop: Path) -> None:
    with relsql.connect(shop) as con:
        require_latest_by_default(con)


def test_a_condition_leaves_out_entities_and_changes_no_other(shop: Path) -> None:
    with relsql.connect(shop) as con:
        card = active_card(con, "shop", "churn")
        whole = {row[0]: row for row in con.execute(BATCH).fetchall()}
        for where in ("relsql_entity.customer_id >= 20 AND relsql_entity.customer_id < 33", "false", "shop_id = 2"):
            found = con.execute(batch_sql(card, "shop", moment=NOW, where=where)).fetchall()
            chosen = con.execute(f"SELECT customer_id FROM customers relsql_entity WHERE {where}").fetchall()
            assert sorted(row[0] for row in found) == sorted(key for (key,) in chosen)
            for row in found:
                assert row[2:] == whole[row[0]][2:] and row[1] == pytest.approx(whole[row[0]][1], abs=1e-6)


def test_entities_that_are_not_visible_yet_have_no_row(shop: Path) -> None:
    with relsql.connect(shop) as con:
        card = active_card(con, "shop", "churn")
        timed = replace(card.entity, time_column="born")
        changed = msgspec.structs.replace(
            card, schema=Schema(card.schema.tables | {"customers": timed}, card.schema.links)
        )
        query = batch_sql(changed, "shop", moment="TIMESTAMP '1970-01-01'")
        # The functions of another card have other names; those that are registered do.
        query = query.replace(changed.text_function, card.text_function)
        found = con.execute(query.replace(changed.score_function, card.score_function)).fetchall()
        born = con.execute("SELECT customer_id FROM customers WHERE born <= DATE '1970-01-01'").fetchall()
        assert sorted(row[0] for row in found) == sorted(key for (key,) in born) and 0 < len(born) < CUSTOMERS
        assert all(row[2] != "unknown_entity" for row in found)


def test_fingerprints_depend_on_what_is_read_only(shop: Path) -> None:
    with relsql.connect(shop) as con:
        query = fingerprint_sql(active_card(con, "shop", "churn"), "shop", moment=NOW, where="true")
        before = dict(con.execute(query).fetchall())
        assert len(before) == CUSTOMERS == len(set(before.values()))
        con.execute("CREATE TABLE shuffled AS FROM orders ORDER BY hash(order_id)")
        con.execute("DELETE FROM orders; INSERT INTO orders FROM shuffled")
        for threads in (1, 4):
            con.execute(f"SET threads = {threads}")
            assert dict(con.execute(query).fetchall()) == before
        for statement, whose in (
            ("UPDATE orders SET note = 'other' WHERE customer_id = 7", {7}),
            ("INSERT INTO orders VALUES (99999, 8, 1, NULL, TIMESTAMP '2022-12-02')", set()),
            ("UPDATE customers SET born = NULL WHERE customer_id = 21", {21}),
        ):
            con.execute(statement)
            after = dict(con.execute(query).fetchall())
            assert {key for key in after if after[key] != before[key]} == whose
            before = after


def test_insert_in_a_transaction_and_back(shop: Path) -> None:
    with relsql.connect(shop) as con, relsql.connect(shop) as other:
        con.execute(f"CREATE TABLE scores AS {BATCH} LIMIT 0")
        before = scores(con)
        con.execute("BEGIN")
        con.execute(f"INSERT INTO scores {BATCH}")
        np.testing.assert_allclose(scores(con, "SELECT score FROM scores ORDER BY customer_id"), before, atol=1e-6)
        assert scores(other, "SELECT score FROM scores").tolist() == []
        # What another connection commits meanwhile is not in this transaction's snapshot.
        other.execute("INSERT INTO orders SELECT 90000 + i, i, 5, 'gift', TIMESTAMP '2022-11-30' FROM range(60) t(i)")
        con.execute(f"INSERT INTO scores {BATCH}")
        pairs = "SELECT max(score) - min(score) FROM scores GROUP BY customer_id HAVING count(*) = 2"
        assert scores(con, pairs).tolist() == pytest.approx([0] * CUSTOMERS, abs=1e-6)
        con.execute("ROLLBACK")
        assert scores(con, "SELECT score FROM scores").tolist() == []
        con.execute(f"INSERT INTO scores {BATCH}")
        after = scores(con, "SELECT score FROM scores ORDER BY customer_id")
        assert len(after) == CUSTOMERS and np.abs(after - before).max() > 1e-5


def test_two_connections_score_committed_states_while_a_third_writes(shop: Path) -> None:
    orders = "INSERT INTO orders SELECT {id} + i, i, {amount}, 'gift', TIMESTAMP '2022-11-2{n}' FROM range(60) t(i)"
    commits = [orders.format(id=90_000 + 100 * n, amount=10 * n, n=n) for n in range(5)]
    with relsql.connect(shutil.copy(shop, shop.with_name("twin.duckdb"))) as con:
        states = [scores(con)]
        for commit in commits:
            con.execute(commit)
            states.append(scores(con))
    assert min(np.abs(a - b).max() for a, b in itertools.pairwise(states)) > 1e-5
    with relsql.connect(shop) as con:
        found: list[list[int]] = [[], []]
        problems: list[BaseException] = []
        finished = threading.Event()

        def read(seen: list[int]) -> None:
            try:
                with con.cursor() as cursor:
                    relsql.attach(cursor)
                    while not (finished.is_set() and seen and seen[-1] == len(commits)):
                        result = scores(cursor)
                        distances = [float(np.abs(result - state).max()) for state in states]
                        assert min(distances) < 1e-6, distances
                        seen.append(int(np.argmin(distances)))
            except BaseException as error:
                problems.append(error)

        readers = [threading.Thread(target=read, args=(seen,)) for seen in found]
        for reader in readers:
            reader.start()
        with con.cursor() as writer:
            for commit in commits:
                time.sleep(0.05)
                writer.execute(commit)
        finished.set()
        for reader in readers:
            reader.join(60)
        assert problems == []
        assert all(seen == sorted(seen) and seen[-1] == len(commits) for seen in found)


def test_a_million_unknown_ids_give_null_quickly(shop: Path) -> None:
    with relsql.connect(shop) as con:
        start = time.perf_counter()
        counts = con.execute("SELECT count(*), count(predict_churn(i)) FROM range(1_000_000) t(i)").fetchall()
        assert counts == [(1_000_000, CUSTOMERS)]
        # About a second on an idle machine.
        assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    "as_of", ["'infinity'::TIMESTAMP", "'-infinity'::TIMESTAMP", "'290000-01-01'::TIMESTAMP", "'4000-01-01 (BC)'"]
)
def test_moments_far_away_give_finite_scores(shop: Path, as_of: str) -> None:
    with relsql.connect(shop) as con:
        found = scores(con, f"SELECT score FROM predict_churn_batch(as_of := {as_of}) ORDER BY customer_id")
        assert len(found) == CUSTOMERS and np.isfinite(found).all()
        single = scores(con, f"SELECT predict_churn(customer_id, as_of := {as_of}) FROM customers ORDER BY customer_id")
        np.testing.assert_allclose(found, single, atol=1e-6)


def test_no_entities_no_rows(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("DELETE FROM orders; DELETE FROM customers")
        assert con.execute("FROM predict_churn_batch()").fetchall() == []
        assert con.execute("SELECT predict_churn(1)").fetchall() == [(None,)]
