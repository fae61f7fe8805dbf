"""A key that is named like a column of the results: all that joins results finds the right column."""

from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.evaluation.explanations.explain import explain_query
from relsql.evaluation.explanations.importance import importance
from relsql.registry.models import active_card
from relsql.registry.predictions import scores_sql
from tests.shop import CUSTOMERS, rewrite_card

EARLY = datetime.datetime(2022, 9, 1)


def rename_key(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Give the key of the customers another name, without a constraint, also on the model's card."""
    for table in ("customers", "orders"):
        con.execute(f"CREATE TABLE new_{table} AS FROM {table}")
        con.execute(f"ALTER TABLE new_{table} RENAME customer_id TO {name}")
    con.execute("DROP TABLE orders; DROP TABLE customers")
    con.execute("ALTER TABLE new_orders RENAME TO orders; ALTER TABLE new_customers RENAME TO customers")
    [(text,)] = con.execute("SELECT card FROM relsql.models").fetchall()
    rewrite_card(con, text.replace("customer_id", name))


@pytest.mark.parametrize("name", ["as_of", "score", "rank"])
def test_all_that_reads_results_finds_the_key(shop: Path, name: str) -> None:
    with duckdb.connect(str(shop)) as con:
        rename_key(con, name)
    key = name if name == "rank" else f"customers_{name}"
    with relsql.connect(shop) as con:
        columns = con.sql("FROM predict_churn_batch()").columns
        assert columns == [key, "score", "status", "evidence", "as_of", "version"]
        for again in range(2):
            done = relsql.score_into(con, "churn", "risk", as_of=EARLY, changed_only=True, keep_history=True)
            assert done.scored == (0 if again else CUSTOMERS)
        card = active_card(con, "shop", "churn")
        both = f"risk JOIN ({scores_sql(con, 'shop', card)}) kept ON kept.entity = risk.{key}"
        same = f"SELECT count(*) FROM {both} WHERE kept.score = risk.score AND kept.as_of = TIMESTAMP '{EARLY}'"
        assert con.execute(same).fetchall() == [(CUSTOMERS,)]
        explained = con.sql(explain_query(con, "churn", ()))
        assert explained.columns[:2] == [f"customers_{name}", "rank"]
        scores = "SELECT count(*) FROM predict_churn_batch() b JOIN explained e"
        joined = f"{scores} ON e.customers_{name} = b.{key} WHERE e.rank = 1 AND abs(e.score - b.score) < 1e-6"
        assert con.execute(joined).fetchall() == [(CUSTOMERS,)]


def test_what_tables_bring_is_measured_on_all_labels(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        rename_key(con, "as_of")
    with relsql.connect(shop) as con:
        assert {each.labels for each in importance(con, "churn")} == {CUSTOMERS}
