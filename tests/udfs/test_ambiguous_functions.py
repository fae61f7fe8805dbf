"""Two attached databases with a model of the same name: neither is preferred without a word."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import ModelError

Connection = duckdb.DuckDBPyConnection

CALLS = (
    "SELECT predict_churn(7)",
    "SELECT predict_churn_full(7).score",
    "FROM predict_churn_batch()",
    "SELECT PREDICT_CHURN(customer_id) FROM north.customers",
    "SELECT relsql_encode_churn('a text')",
    "SELECT row_text_orders(o) FROM south.orders o",
)


@pytest.fixture
def two(shop: Path, tmp_path: Path) -> Iterator[Connection]:
    """A connection to two shops, `north` and `south`; in the south half of the orders are missing."""
    south = Path(shutil.copy(shop, tmp_path / "south.duckdb"))
    with duckdb.connect(str(south)) as con:
        con.execute("DELETE FROM orders WHERE order_id % 2 = 0")
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{shop}' AS north (READ_ONLY); ATTACH '{south}' AS south (READ_ONLY)")
        yield con


def score(con: Connection, call: str) -> float:
    """One score."""
    [(found,)] = con.execute(f"SELECT {call}").fetchall()
    assert isinstance(found, float)
    return found


def test_a_call_that_two_databases_could_mean_is_refused(two: Connection) -> None:
    relsql.attach(two, database="north")
    assert 0 < score(two, "predict_churn(7)") < 1
    for database in ("south", "NORTH", "south"):
        relsql.attach(two, database=database)
        for call in CALLS:
            with pytest.raises(
                duckdb.Error, match="is ambiguous: the databases 'north' and 'south' have it. Expected:"
            ):
                two.execute(call).fetchall()


def test_a_prefix_tells_them_apart(two: Connection) -> None:
    relsql.attach(two, database="north")
    north = score(two, "predict_churn(7)")
    created = relsql.attach(two, database="south", prefix="south")
    assert {"predict_south_churn", "predict_south_churn_full", "predict_south_churn_batch"} <= set(created)
    assert score(two, "predict_churn(7)") == pytest.approx(north, abs=1e-6)
    assert score(two, "predict_south_churn(7)") != pytest.approx(north, abs=1e-6)
    assert "predict_s_churn_v1" in relsql.attach(two, database="south", models=["churn@1"], prefix="s")
    assert score(two, "predict_s_churn_v1(7)") == pytest.approx(score(two, "predict_south_churn(7)"), abs=1e-6)
    with pytest.raises(ModelError, match="prefix '1st' cannot be part of a function name"):
        relsql.attach(two, database="south", prefix="1st")


def test_what_the_message_says_can_be_done(two: Connection) -> None:
    for database in ("north", "south"):
        relsql.attach(two, database=database)
    with pytest.raises(duckdb.Error) as error:
        two.execute("SELECT predict_churn(7)").fetchall()
    fix = str(error.value).partition("Fix: ")[2]
    call = fix.partition("relsql.attach(con, ")[2].partition(")")[0]
    assert call == "database='north', models=['churn'], prefix='north'" and "predict_north_churn" in fix
    relsql.attach(two, database="north", models=["churn"], prefix="north")
    assert 0 < score(two, "predict_north_churn(7)") < 1


def test_a_database_that_is_gone_is_no_rival(two: Connection) -> None:
    relsql.attach(two, database="north")
    relsql.attach(two, database="south")
    two.execute("DETACH north")
    relsql.attach(two, database="south")
    assert 0 < score(two, "predict_churn(7)") < 1


def test_detached_functions_are_not_ambiguous(two: Connection) -> None:
    relsql.attach(two, database="north")
    relsql.detach(two)
    relsql.attach(two, database="south")
    assert 0 < score(two, "predict_churn(7)") < 1


def test_shared_functions_are_refused_on_every_cursor(two: Connection) -> None:
    for database in ("north", "south"):
        relsql.attach(two, database=database, shared=True)
    with two.cursor() as cursor, pytest.raises(duckdb.Error, match="is ambiguous"):
        cursor.execute("SELECT predict_churn(7)").fetchall()


def test_a_published_model_is_not_hidden_by_that_of_another_database(shop: Path, tmp_path: Path) -> None:
    south = Path(shutil.copy(shop, tmp_path / "south.duckdb"))
    with duckdb.connect(str(shop)) as con:
        relsql.publish(con, "churn")
        con.execute(f"ATTACH '{south}' AS south (READ_ONLY)")
        relsql.attach(con, database="south")
        with pytest.raises(duckdb.Error, match="the databases 'shop' and 'south' have it"):
            con.execute("SELECT predict_churn(7)").fetchall()
        assert 0 < score(con, "shop.main.predict_churn(7)") < 1
