"""Arguments of the functions of a model, by both routes: attached, on onnxruntime, and published, in plain SQL."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.cli.failures import duckdb_message
from tests.shop import CUSTOMERS

Connection = duckdb.DuckDBPyConnection

NULLS = ("NULL", "NULL::TIMESTAMP", "NULL::DATE", "NULL::TIMESTAMPTZ", "NULL::VARCHAR", "NULL::TIMESTAMP_NS")
EARLY = datetime.datetime(2022, 3, 1)


@pytest.fixture(params=["attached", "published"])
def route(request: pytest.FixtureRequest, published_shop: Path) -> Iterator[Connection]:
    """A connection on which the model's functions can be called."""
    with duckdb.connect(str(published_shop), read_only=True) as connection:
        if request.param == "attached":
            relsql.attach(connection)
        yield connection


def row(con: Connection, query: str, *parameters: object) -> tuple[Any, ...]:
    """The one row of a query."""
    [found] = con.execute(query, parameters).fetchall()
    return tuple(found)


def test_ids_are_keys_or_errors(route: Connection) -> None:
    found = row(route, "SELECT predict_churn(7), predict_churn(7.0), predict_churn(7::HUGEINT), predict_churn(1.6)")
    assert found[0] == pytest.approx(found[1], abs=1e-6) == pytest.approx(found[2], abs=1e-6)
    assert found[3] is None
    full = row(route, "SELECT predict_churn_full(1.6)")[0]
    assert (full["score"], full["status"]) == (None, "unknown_entity")
    assert row(route, "SELECT predict_churn(?), predict_churn(?)", None, 7)[0] is None
    for wrong in ("'7'", "c", "row(c.customer_id)", "DATE '2022-01-01'", "true"):
        with pytest.raises(duckdb.Error, match="is not an id of customers. Expected: a value of customer_id, BIGINT"):
            route.execute(f"SELECT predict_churn({wrong}) FROM customers c").fetchall()
    with pytest.raises(duckdb.Error, match="a value of type VARCHAR is not an id"):
        route.execute("SELECT predict_churn(?)", ["7"]).fetchall()


@pytest.mark.parametrize("null", NULLS)
def test_a_moment_that_is_null_has_no_score(route: Connection, null: str) -> None:
    calls = ", ".join(f"{call}(7, as_of := {null})" for call in ("predict_churn", "predict_churn_full"))
    assert row(route, f"SELECT {calls}") == (None, None)
    assert route.execute(f"FROM predict_churn_batch(as_of := {null})").fetchall() == []


def test_a_parameter_that_is_null_has_no_score(route: Connection) -> None:
    query = "SELECT predict_churn(7, as_of := $t), predict_churn_full(7, as_of := $t)"
    assert route.execute(query, {"t": None}).fetchall() == [(None, None)]
    [(score, full)] = route.execute(query, {"t": EARLY}).fetchall()
    assert score == pytest.approx(full["score"], abs=1e-6) and full["as_of"] == EARLY
    batch = "SELECT count(*), min(as_of), max(as_of) FROM predict_churn_batch(as_of := ?)"
    assert row(route, batch, None) == (0, None, None)
    assert row(route, batch, EARLY) == (CUSTOMERS, EARLY, EARLY)


@pytest.mark.parametrize("kind", ["TIMESTAMP", "DATE", "TIMESTAMPTZ", "VARCHAR", "TIMESTAMP_S"])
def test_moments_by_row(route: Connection, kind: str) -> None:
    route.execute("SET TimeZone = 'UTC'")
    moments = f"(SELECT unnest(['2022-03-01'::{kind}, NULL]) AS t)"
    query = f"SELECT t IS NULL, predict_churn_full(customer_id, as_of := t) FROM customers, {moments}"
    rows = route.execute(query).fetchall()
    assert len(rows) == 2 * CUSTOMERS
    for null, full in rows:
        assert full is None if null else (full["as_of"], full["status"]) == (EARLY, "ok")


def test_only_a_missing_moment_is_the_latest_event(route: Connection) -> None:
    [latest] = row(route, "SELECT max(ordered_at) FROM orders")
    named, missing = row(route, "SELECT predict_churn_full(7, as_of := 'latest event'), predict_churn_full(7)")
    assert missing["as_of"] == named["as_of"] == latest
    assert missing["score"] == pytest.approx(named["score"], abs=1e-6)
    assert row(route, "SELECT min(as_of), count(*) FROM predict_churn_batch()") == (latest, CUSTOMERS)
    by_row = "SELECT predict_churn_full(7, as_of := t) FROM (VALUES (1, 'latest event'), (2, '2022-03-01')) v(i, t)"
    assert [full["as_of"] for (full,) in route.execute(f"{by_row} ORDER BY i").fetchall()] == [latest, EARLY]
    # Every time that TIMESTAMP has is a moment, infinity among them.
    [always] = row(route, "SELECT CAST(predict_churn_full(7, as_of := 'infinity').as_of AS VARCHAR)")
    assert always == "infinity"


@pytest.mark.parametrize("moment", ["'yesterday'", "5"])
def test_an_as_of_that_is_no_time_is_told_what_is_one(route: Connection, moment: str) -> None:
    with pytest.raises(duckdb.Error) as error:
        route.execute(f"SELECT predict_churn(7, as_of := {moment})").fetchall()
    message = duckdb_message(error.value)
    assert "Expected: as_of as a TIMESTAMP, a DATE or a text" in message
    assert message.endswith("Fix: as_of := TIMESTAMP '2009-06-01'")


def test_a_struct_for_a_key_of_several_columns_is_told_how_to_call() -> None:
    wrong = "Macro predict_m() does not support the arguments.\nCandidate macros:\n\tpredict_m(id1, id2, as_of)"
    wanted = "as_of). Expected: the values of the key's columns one by one, predict_m(id1, id2), in the order"
    assert wanted in duckdb_message(duckdb.BinderException(wrong))
    assert "Expected" not in duckdb_message(duckdb.BinderException(wrong.replace("id1, id2", "id")))


def test_a_published_model_under_another_name_says_how_to_call_it(published_shop: Path) -> None:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{published_shop}' AS another (READ_ONLY); CREATE SCHEMA relsql")
        with pytest.raises(duckdb.CatalogException) as error:
            con.execute("SELECT another.main.predict_churn(7)").fetchall()
        assert duckdb_message(error.value).endswith("Fix: USE that database, then call it.")
        con.execute("USE another")
        assert 0 < row(con, "SELECT predict_churn(7)")[0] < 1
    assert duckdb_message(duckdb.CatalogException("Table with name orders does not exist!")).endswith("not exist!")
