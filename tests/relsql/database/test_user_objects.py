"""No object of the user is replaced: scores, functions and relsql's own tables go beside them."""

from __future__ import annotations

import shlex
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import relsql
from relsql.database.connections import transaction
from relsql.database.relsql_tables import ensure_table
from relsql.demo.league import create_league
from relsql.errors import DatabaseError, ModelError
from relsql.publishing.database_copy import copy_database
from relsql.registry.publications import comment_start, remove_publication
from relsql.registry.score_jobs import read_job
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.scoring.score_output import score_to
from relsql.scoring.score_table import open_job, run_job
from relsql.sql_text import qualified
from relsql.tasks.stored_tasks import save_task
from tests.relsql.database.spelling import anyhow, relaxed
from tests.relsql.database.user_objects import OBJECTS, state
from tests.shop import CUSTOMERS, TASK


@settings(relaxed, max_examples=60)
@given(st.sampled_from(OBJECTS).flatmap(lambda parts: anyhow(*parts)), st.booleans(), st.booleans())
@example("Orders", False, False)
@example("RELSQL.models", False, True)
@example("Relsql.zz", True, False)
def test_scores_replace_no_object_of_the_user(
    owned: duckdb.DuckDBPyConnection, output: str, into: bool, overwrite: bool
) -> None:
    before = state(owned)
    with pytest.raises(DatabaseError, match="exists|own schema"):
        if into:
            relsql.score_into(owned, "churn", output, overwrite=overwrite)
        else:
            score_to(owned, "churn", output, overwrite=overwrite)
    assert state(owned) == before


@pytest.mark.parametrize(
    "output", ["nowhere.risk", "temp.risk", "risk.", "a/b", "information_schema.x", "system.main.x"]
)
def test_scores_cannot_go_to_other_schemas_or_databases(owned: duckdb.DuckDBPyConnection, output: str) -> None:
    before = state(owned)
    for write in (score_to, relsql.score_into):
        with pytest.raises(DatabaseError):
            write(owned, "churn", output, overwrite=True)
    assert state(owned) == before


@pytest.mark.parametrize("output", ["RISK", 'Shop."Risk"'])
def test_scores_of_relsql_are_replaced_when_asked(shop: Path, output: str) -> None:
    with duckdb.connect(str(shop)) as con:
        assert score_to(con, "churn", "risk") == CUSTOMERS
        before = state(con)
        for overwrite in (False, True):
            if not overwrite:
                with pytest.raises(
                    DatabaseError, match=f"table 'risk' exists.*--output {shlex.quote(output)} --overwrite"
                ):
                    score_to(con, "Churn", output)
                assert state(con) == before
        assert score_to(con, "CHURN", output, overwrite=True) == CUSTOMERS
        assert relsql.score_into(con, "Churn", output, overwrite=True).target == "risk"
        assert relsql.score_into(con, "churn", output, changed_only=True).finished
        assert score_to(con, "churn", output, overwrite=True) == CUSTOMERS
        assert read_job(con, "shop", "risk") is None
        assert {name for name in state(con) if "risk" in name.lower()} == {'"shop"."main"."risk"'}
        tables = ("orders", "customers", "shops")
        assert all(before[qualified("shop", "main", t)] == state(con)[qualified("shop", "main", t)] for t in tables)


@pytest.mark.parametrize(
    "statements",
    [
        "CREATE OR REPLACE TABLE risk AS FROM risk",
        "DROP TABLE risk; CREATE VIEW Risk AS SELECT 1 AS one",
        "ALTER TABLE risk RENAME TO former; CREATE TABLE RISK AS FROM former",
        "DROP TABLE risk; CREATE TEMP TABLE risk AS SELECT 1 AS one",
        "COMMENT ON TABLE risk IS 'mine now'",
    ],
)
def test_a_table_that_the_user_created_is_not_replaced(shop: Path, statements: str) -> None:
    with duckdb.connect(str(shop)) as con:
        job = open_job(con, "churn", "risk", chunk_rows=20).job
        con.execute(statements)
        before = state(con)
        for write in (score_to, relsql.score_into):
            with pytest.raises(DatabaseError, match="exists and was not written by relsql score"):
                write(con, "churn", "risk", overwrite=True)
        with pytest.raises(DatabaseError, match="no longer the one that its job writes to"):
            run_job(con, job)
        assert state(con) == before


def test_names_with_dots_and_quotes(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE SCHEMA my; CREATE TABLE my.risk AS SELECT 1 AS one")
        assert relsql.score_into(con, "churn", '"my.risk"').target == '"my.risk"'
        with pytest.raises(DatabaseError, match="its job is finished"):
            relsql.score_into(con, "churn", '"My.Risk"')
        with pytest.raises(DatabaseError, match="was not written by relsql score --into my.risk"):
            relsql.score_into(con, "churn", "my.risk", overwrite=True)
        assert score_to(con, "churn", '"risk.csv"') == CUSTOMERS
        assert con.execute('SELECT (SELECT count(*) FROM "risk.csv"), (FROM my.risk)').fetchall() == [(CUSTOMERS, 1)]


def test_temporary_tables_of_the_user_stay(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute(
            "CREATE TEMP TABLE relsql_chunk AS SELECT 1 AS one; CREATE TEMP TABLE relsql_labels AS SELECT 2 AS two"
        )
        relsql.score_into(con, "churn", "risk", changed_only=True)
        relsql.evaluate(con, "CHURN")
        assert con.execute("FROM relsql_chunk, relsql_labels").fetchall() == [(1, 2)]


# Files


@pytest.mark.parametrize("name", ["risk.parquet", "RISK.PARQUET", "Risk.Csv"])
def test_the_database_itself_cannot_be_the_output(shop: Path, name: str) -> None:
    output = shop.with_name(name)
    with duckdb.connect(str(shop)) as con:
        con.execute("INSERT INTO shops VALUES (4, 'Oslo')")
        for target in (shop, shop.with_name("shop.duckdb.wal")):
            output.symlink_to(target)
            with pytest.raises(DatabaseError, match="exists"):
                score_to(con, "churn", str(output))
            with pytest.raises(DatabaseError, match="holds the open database"):
                score_to(con, "churn", str(output), overwrite=True)
            output.unlink()
    shop = shop.rename(output)
    with duckdb.connect(str(output)) as con, pytest.raises(DatabaseError, match="holds the open database"):
        score_to(con, "churn", str(output), overwrite=True)


def test_a_log_without_its_database_is_kept(shop: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.duckdb"
    for log in (new.with_name("new.duckdb.wal"), new.with_name("new.truth.duckdb.wal")):
        log.write_bytes(b"changes")
        with pytest.raises(DatabaseError, match="holds changes to a database"):
            create_league(new, seasons=4, overwrite=True)
        if "truth" not in log.name:
            with pytest.raises(DatabaseError, match="holds changes to a database"):
                copy_database(shop, new)
        assert log.read_bytes() == b"changes" and not new.exists()
        log.unlink()


# Macros

MACROS = [
    "CREATE MACRO predict_churn(id) AS 'mine'",
    "CREATE MACRO Predict_Churn_Full(id) AS 'mine'",
    "CREATE MACRO PREDICT_CHURN_BATCH() AS TABLE SELECT 'mine'",
    "CREATE MACRO row_text_orders(r) AS 'mine'",
    "CREATE MACRO relsql_encode_churn(r) AS 'mine'",
]


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("statement", MACROS)
def test_a_macro_of_the_user_is_neither_replaced_nor_hidden(shop: Path, statement: str, temporary: bool) -> None:
    query = (
        "SELECT function_name, comment, macro_definition FROM duckdb_functions() WHERE macro_definition LIKE '%mine%'"
    )
    with duckdb.connect(str(shop)) as con:
        con.execute(statement.replace("CREATE", "CREATE TEMP") if temporary else statement)
        before = con.execute(query).fetchall()
        with pytest.raises(ModelError, match="that is not relsql's"):
            relsql.attach(con)
        assert con.execute(query).fetchall() == before and len(before) == 1


def test_a_published_macro_is_relsqls_without_its_comment_too(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("""CREATE TABLE relsql.weights_0123456789ab AS SELECT 0.5 AS score;
                       CREATE MACRO predict_churn(id) AS (SELECT score FROM "relsql"."weights_0123456789ab")""")
        relsql.attach(con)
        assert con.execute("SELECT predict_churn(1) <> 0.5").fetchall() == [(True,)]


def test_detaching_drops_the_macros_of_relsql_alone(shop: Path) -> None:
    with relsql.connect(shop) as con:
        con.execute("CREATE TEMP MACRO mine(x) AS 'relsql_' || x")
        relsql.attach(con)
        relsql.detach(con)
        query = (
            "SELECT function_name FROM duckdb_functions() WHERE database_name = 'temp' AND function_type LIKE '%macro'"
        )
        assert con.execute(query).fetchall() == [("mine",)]


def test_unpublishing_drops_nothing_that_only_has_such_a_comment(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        for what, statement in (("TABLE", "TABLE mine AS SELECT 1"), ("MACRO", "MACRO mine(x) AS x")):
            con.execute(f"CREATE {statement}; COMMENT ON {what} mine IS '{comment_start('churn')}: what I think of it'")
        with transaction(con):
            remove_publication(con, "shop", "churn")
        assert con.execute("SELECT mine(1) FROM mine").fetchall() == [(1,)]


USER_SCHEMAS = {
    "a name of relsql's": "CREATE TABLE relsql.Models AS SELECT 42 AS answer",
    "columns that relsql has too": "CREATE TABLE relsql.tasks (name VARCHAR); INSERT INTO relsql.tasks VALUES ('x')",
    "columns of another type": "CREATE TABLE relsql.tasks (name VARCHAR, task_type VARCHAR, entity_table INTEGER)",
    "another name": "CREATE TABLE relsql.customers AS SELECT 1 AS id",
    "a view": "CREATE VIEW relsql.customers AS SELECT 1 AS id",
}


@pytest.mark.parametrize("made", USER_SCHEMAS.values(), ids=USER_SCHEMAS)
def test_a_schema_relsql_of_the_user_is_neither_read_nor_changed(tmp_path: Path, made: str) -> None:
    path = tmp_path / "own.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(f"CREATE SCHEMA Relsql; {made}")
        con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE)")
        before = state(con)
        for reach in (
            lambda: read_schema(con),
            lambda: ensure_table(con, "own", "schema_tables"),
            lambda: declare_table(con, "own", "t", time_column="day"),
            lambda: save_task(con, "own", TASK),
            lambda: relsql.train(con, TASK, name="m"),
        ):
            with pytest.raises(
                DatabaseError, match=r"'relsql\.\w+' of database 'own' was not made by relsql.*--schema NAME"
            ):
                reach()
        assert state(con) == before


def test_tables_of_the_user_beside_those_of_relsql_stay(owned: duckdb.DuckDBPyConnection) -> None:
    owned.execute("CREATE TABLE relsql.notes AS SELECT 1 AS line")
    assert read_schema(owned).find("customers") is not None
    assert ensure_table(owned, "shop", "tasks") == '"shop"."relsql"."tasks"'
