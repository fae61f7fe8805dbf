"""Tests of models in a file of their own: sources are attached, read through views, and never written."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli as main
from relsql.database.connections import foreign_database, open_database
from relsql.database.sources import extensions
from relsql.database.sources.allowed_sources import allow, is_allowed, list_path
from relsql.database.sources.attach_sources import Source
from relsql.errors import DatabaseError, TaskError
from relsql.schema.reading import read_schema
from relsql.schema.sources.attached_tables import add_source, parse_source
from tests.shop import QUICK, TASK, create_shop


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's allowed servers, and no extensions."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(extensions, "wheel_binary", lambda name, version: None)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A shop without anything of relsql's, and the path of a file for models."""
    create_shop(tmp_path / "made.duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"ATTACH '{tmp_path / 'made.duckdb'}' AS made (READ_ONLY)")
        for table in ("shops", "customers", "orders"):
            [(sql,)] = con.execute(
                "SELECT sql FROM duckdb_tables() WHERE database_name = 'made' AND table_name = ?", [table]
            ).fetchall()
            con.execute(sql)
            con.execute(f"INSERT INTO {table} FROM made.{table}")
    return tmp_path / "shop.duckdb", tmp_path / "models.duckdb"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_from_a_file_that_is_not_ours_to_scores(files: tuple[Path, Path], tmp_path: Path) -> None:
    shop, models = files
    shop.chmod(0o444)
    before = hashlib.sha256(shop.read_bytes()).hexdigest()
    printed = run("init", str(models), "--attach", str(shop), "--time-column", "orders(ordered_at)", "--yes")
    assert "customers is the table of that name in shop" in printed
    with relsql.connect(models) as con:
        schema = read_schema(con)
        assert set(schema.tables) == {"shops", "customers", "orders"} and len(schema.links) == 2
        assert schema.table("orders").is_view and schema.table("orders").primary_key == ("order_id",)
        relsql.train(con, TASK, name="churn", options=QUICK)
        relsql.attach(con)
        found = con.execute("SELECT predict_churn_full(3)").fetchall()[0][0]
        assert found["score"] is not None and found["status"] == "ok"
        early = con.execute("SELECT predict_churn_full(3, as_of := TIMESTAMP '1990-01-01')").fetchall()[0][0]
        assert early["status"] != "ok"
    assert "customers" in run("inspect", str(models))
    assert hashlib.sha256(shop.read_bytes()).hexdigest() == before
    # Both files move together.
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in files:
        path.rename(moved / path.name)
    with relsql.connect(moved / "models.duckdb") as con:
        assert con.execute("SELECT predict_churn_full(3)").fetchall()[0][0] == found


def test_schemas_of_a_source(files: tuple[Path, Path]) -> None:
    shop, models = files
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE SCHEMA crm; CREATE SCHEMA sales")
        con.execute("CREATE TABLE crm.customers AS FROM main.customers; CREATE TABLE sales.orders AS FROM main.orders")
        con.execute("DROP TABLE main.orders; DROP TABLE main.customers")
    link = "sales.orders(customer_id) -> crm.customers(customer_id)"
    run("init", str(models), "--attach", f"data={shop}", "--link", link, "--primary-key", "crm.customers(customer_id)")
    run("init", str(models), "--time-column", "sales.orders(ordered_at)", "--yes")
    sql = TASK.sql.replace("JOIN orders", "JOIN sales.orders")
    task = replace(TASK, entity_table="crm.customers", sql=sql)
    with open_database(models, external=False) as con:
        schema = read_schema(con)
        assert set(schema.tables) == {"shops", "crm.customers", "sales.orders"}
        assert {str(each) for each in schema.links} == {link, "crm.customers(shop_id) -> shops(shop_id)"}
        relsql.train(con, task, name="churn", options=QUICK)
    with relsql.connect(models) as con:
        [(found, count)] = con.execute(
            "SELECT predict_churn_full(3), (SELECT count(*) FROM predict_churn_batch()) FROM crm.customers LIMIT 1"
        ).fetchall()
        assert found["status"] == "ok" and found["evidence"] > 0 and count == 60
        with pytest.raises(TaskError, match="not a relation of the database"):
            relsql.train(con, replace(task, sql=sql.replace("sales.orders", "data.sales.orders")), name="x")


def test_a_second_attach_changes_nothing_and_new_tables_are_added(files: tuple[Path, Path]) -> None:
    shop, models = files
    run("init", str(models), "--attach", f"data={shop}")
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE SCHEMA raw; CREATE TABLE raw.visits (id INTEGER PRIMARY KEY, customer_id BIGINT)")
    printed = run("init", str(models), "--attach", f"data={shop}")
    assert "raw.visits is the table" in printed and "customers is the table" not in printed
    with open_database(models, read_only=True) as con:
        assert "raw.visits" in read_schema(con).tables


def test_a_source_that_is_gone_is_named(files: tuple[Path, Path]) -> None:
    shop, models = files
    run("init", str(models), "--attach", str(shop))
    shop.unlink()
    with pytest.raises(DatabaseError, match="is not a database on this machine") as caught:
        open_database(models)
    assert "--attach shop=LOCATION" in str(caught.value)
    with pytest.raises(DatabaseError, match="is not a database on this machine"), foreign_database(models):
        pass


def test_a_table_of_the_same_name_is_not_replaced(files: tuple[Path, Path]) -> None:
    shop, models = files
    with duckdb.connect(str(models)) as con:
        con.execute("CREATE TABLE Orders (mine INTEGER)")
    result = CliRunner().invoke(main, ["init", str(models), "--attach", str(shop)])
    assert result.exit_code != 0 and "exists, and a source has a table of that name" in result.output
    with duckdb.connect(str(models)) as con:
        assert con.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("Orders",)]


def test_names_of_sources() -> None:
    assert parse_source("data=/x/shop.duckdb").name == "data"
    assert parse_source("/x/a=b/shop.duckdb").name == "shop"
    assert parse_source("postgres://host/db?x=1").location == "postgres://host/db?x=1"
    with pytest.raises(DatabaseError, match="names no database"):
        parse_source("=x")


def fails(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    return result.output


def test_a_source_that_moved_alone_is_attached_anew(files: tuple[Path, Path], tmp_path: Path) -> None:
    shop, models = files
    run("init", str(models), "--attach", str(shop))
    (tmp_path / "elsewhere").mkdir()
    moved = shop.rename(tmp_path / "elsewhere" / "moved.duckdb")
    run("init", str(models), "--attach", f"shop={moved}")
    with open_database(models, read_only=True) as con:
        assert con.execute("SELECT count(*) FROM customers").fetchall() == [(60,)]


def test_sqlite_without_the_extension_names_the_import(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "northwind.sqlite") as con:
        con.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    said = fails("init", str(tmp_path / "models.duckdb"), "--attach", str(tmp_path / "northwind.sqlite"))
    assert "is a SQLite file, which DuckDB reads by its extension sqlite_scanner: LOAD sqlite_scanner failed" in said
    assert f"relsql import {tmp_path / 'northwind.sqlite'} northwind.duckdb, which needs no extension" in said
    assert "INSTALL sqlite_scanner" in said
    with duckdb.connect(str(tmp_path / "models.duckdb")) as con:
        assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("location", "extension"),
    [
        ("lake=ducklake:meta.ducklake", "ducklake"),
        ("postgresql://ada:geheim@127.0.0.1:1/shop", "postgres_scanner"),
        ("shop=postgres:dbname=shop password=geheim", "postgres_scanner"),
    ],
)
def test_a_missing_extension_is_named_and_the_password_is_not(tmp_path: Path, location: str, extension: str) -> None:
    said = fails("init", str(tmp_path / "models.duckdb"), "--attach", location)
    assert f"by its extension {extension}: LOAD {extension} failed" in said and "relsql import FOLDER" in said
    assert "geheim" not in said and not list_path().exists()


@pytest.fixture
def served(files: tuple[Path, Path]) -> Path:
    """A file for models whose source is a Postgres database; a DuckDB file, attached before, stands for it."""
    shop, models = files
    with duckdb.connect(str(shop)) as con:
        con.execute("CREATE SCHEMA public; CREATE TABLE public.staff (staff_id INTEGER PRIMARY KEY)")
    with open_database(models, must_exist=False) as con:
        con.execute(f"ATTACH '{shop}' AS shop (READ_ONLY)")
        lines = add_source(con, "models", Source("shop", "postgresql://ada:geheim@db.example/shop"))
        assert "stored: staff is the table of that name in shop" in lines
        assert read_schema(con).table("staff").primary_key == ("staff_id",)
        assert con.execute("FROM relsql.sources").fetchall() == [("shop", "postgresql://ada@db.example/shop")]
    return models


def test_a_password_is_not_stored(served: Path) -> None:
    assert b"geheim" not in served.read_bytes()
    assert list_path().read_text() == "postgresql://ada@db.example/shop\n"


def test_only_the_user_lets_relsql_call_a_server(served: Path) -> None:
    # The user allowed it when the source was added; here the extension is missing.
    with pytest.raises(DatabaseError, match="LOAD postgres_scanner failed"):
        open_database(served)
    list_path().unlink()
    for opened in (open_database, relsql.connect):
        with pytest.raises(DatabaseError, match="was not attached by you on this machine") as caught:
            opened(served)
    assert "relsql init FILE --attach shop=postgresql://ada@db.example/shop" in str(caught.value)
    with pytest.raises(DatabaseError, match="was not attached by you"), foreign_database(served):
        pass


def test_a_database_that_is_attached_already_is_taken(served: Path) -> None:
    list_path().unlink()
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{served.parent / 'shop.duckdb'}' AS shop (READ_ONLY); ATTACH '{served}' AS models")
        con.execute("USE models")
        assert relsql.attach(con) == ()
        assert con.execute("SELECT count(*) FROM staff").fetchall() == [(0,)]


def test_a_lake_is_not_mistaken_for_a_file_beside_it(tmp_path: Path) -> None:
    models, lake = tmp_path / "models.duckdb", tmp_path / "meta.ducklake"
    duckdb.connect(str(lake)).close()
    with open_database(models, must_exist=False) as con:
        con.execute("CREATE SCHEMA relsql; CREATE TABLE relsql.sources (name VARCHAR, location VARCHAR)")
        con.execute("INSERT INTO relsql.sources VALUES ('meta', 'ducklake:/gone/meta.ducklake')")
    with pytest.raises(DatabaseError, match="is a DuckLake"):
        open_database(models)


def test_the_list_of_allowed_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert not is_allowed("postgresql://h/a")
    for location in ("postgresql://h/a", "ducklake:/b", "postgresql://h/a"):
        allow(location)
    assert list_path() == tmp_path / "config" / "relsql" / "sources"
    assert list_path().read_text().splitlines() == ["postgresql://h/a", "ducklake:/b"]
    assert is_allowed("ducklake:/b") and not is_allowed("postgresql://h/")
    list_path().write_bytes(b"\xff")
    with pytest.raises(DatabaseError, match="cannot be read"):
        is_allowed("ducklake:/b")


def test_a_plain_client_learns_how_to_attach_the_source_of_a_published_model(
    files: tuple[Path, Path],
) -> None:
    shop, models = files
    run("init", str(models), "--attach", str(shop), "--time-column", "orders(ordered_at)")
    with closing(open_database(models)) as con:
        relsql.train(con, TASK, name="churn", options=QUICK)
    shown = CliRunner().invoke(main, ["publish", str(models), "churn"])
    assert shown.exit_code == 0, shown.output
    statement = f"ATTACH '{shop}' AS \"shop\" (READ_ONLY);"
    assert f"a client without relsql first runs: {statement}" in shown.stderr
    with duckdb.connect(str(models), read_only=True) as client:
        with pytest.raises(duckdb.CatalogException, match=r"shop\.main"):
            client.execute("SELECT predict_churn(1)")
        query = "SELECT DISTINCT comment FROM duckdb_functions() WHERE function_name = 'predict_churn'"
        [(comment,)] = client.execute(query).fetchall()
        assert comment.splitlines()[-1] == statement
        client.execute(comment.splitlines()[-1])
        [(score,)] = client.execute("SELECT predict_churn(1)").fetchall()
        assert 0 < score < 1
    assert run("selftest", str(models), "churn")


@pytest.mark.parametrize("name", ["models", "MODELS", "temp", "System"])
def test_a_source_with_the_name_of_another_database_is_refused(files: tuple[Path, Path], name: str) -> None:
    models, shop = files
    refused = pytest.raises(DatabaseError, match=f"source '{name}' has the name of another database.*ANOTHER_NAME=")
    with open_database(models, must_exist=False) as con, refused:
        add_source(con, "models", Source(name, str(shop)))
