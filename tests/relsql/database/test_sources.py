"""Tests of models in a file of their own: sources are attached, read through views, and never written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

import relsql
from relsql.cli import cli as main
from relsql.database.connections import foreign_database, open_database
from relsql.errors import DatabaseError
from relsql.schema.declared.attached_tables import parse_source
from relsql.schema.reading import read_schema
from tests.shop import QUICK, TASK, create_shop


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
    with pytest.raises(DatabaseError, match="is not a DuckDB file on this machine") as caught:
        open_database(models)
    assert "--attach shop=PATH" in str(caught.value)
    with pytest.raises(DatabaseError, match="is not a DuckDB file on this machine"), foreign_database(models):
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
