"""Tests of `relsql init --schema`: relsql's tables in another schema, beside a schema `relsql` of the user."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import relsql
from relsql.cli import cli
from relsql.database import relsql_schema as schema_module
from relsql.database.names import fold
from relsql.database.relsql_schema import MARK, relsql_schema, schema_known
from relsql.database.relsql_tables import TABLES, ensure_table, has_relsql_table, users_objects_sql
from relsql.database.schema_choice import choose_schema
from relsql.errors import DatabaseError, SchemaError
from relsql.integrations.import_source import import_source
from relsql.publishing.publish import publication_sql, publish_into
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.shell.completion import read_names
from relsql.sql_text import ident
from relsql.tasks.stored_tasks import save_task
from tests.shop import QUICK, TASK, create_shop

ROOT = Path(__file__).parents[3]
HOSTILE = """my "schema".select 'é' {x}; --"""
SHOP_TABLES = ("shops", "customers", "orders")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The shop without anything of relsql's, and with a schema `relsql` of the user's, whose table `models` is data."""
    create_shop(tmp_path / "made.duckdb")
    with duckdb.connect(str(tmp_path / "own.duckdb")) as con:
        con.execute(f"ATTACH '{tmp_path / 'made.duckdb'}' AS made (READ_ONLY)")
        for table in SHOP_TABLES:
            query = "SELECT sql FROM duckdb_tables() WHERE database_name = 'made' AND table_name = ?"
            con.execute(con.execute(query, [table]).fetchall()[0][0])
            con.execute(f"INSERT INTO {table} FROM made.{table}")
        con.execute(
            """CREATE SCHEMA relsql;
               CREATE TABLE relsql.models (model_id BIGINT PRIMARY KEY, customer_id BIGINT, built TIMESTAMP);
               INSERT INTO relsql.models SELECT i, i % 60, TIMESTAMP '2021-01-01' + to_days(i::INTEGER)
               FROM range(300) t(i);
               CREATE VIEW relsql.latest AS SELECT max(built) AS built FROM relsql.models"""
        )
    return tmp_path / "own.duckdb"


def run(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert (result.exit_code != 0) == fails, result.output
    return result.output


def users_objects(path: Path) -> list[tuple[object, ...]]:
    """All that is in schemas `main` and `relsql`: definitions, and digests of rows; macros of relsql's are left out."""
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute(
            """SELECT schema_name, table_name, sql FROM duckdb_tables()
               WHERE schema_name IN ('main', 'relsql') ORDER BY ALL"""
        ).fetchall()
        views = con.execute(
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE schema_name = 'relsql' ORDER BY ALL"
        ).fetchall()
        rows = [con.execute(f"SELECT count(*), sum(hash(t)) FROM {t[0]}.{t[1]} t").fetchall() for t in tables]
    return [*tables, *views, *rows]


def _asked_in_a_call(*arguments: object) -> list[str]:
    raise AssertionError("a call looks for the schema of relsql's tables")


def test_a_known_schema_is_that_of_one_connection_and_one_block() -> None:
    with duckdb.connect() as con, duckdb.connect() as other:
        other.execute(f"CREATE SCHEMA mine; CREATE VIEW mine.{MARK} AS SELECT 1 AS i")
        with schema_known(con, "memory"):
            con.execute(f"CREATE SCHEMA ml; CREATE VIEW ml.{MARK} AS SELECT 1 AS i")
            assert relsql_schema(con, "memory") == "relsql"
            assert relsql_schema(other, "memory") == "mine"
            with con.cursor() as cursor:
                assert relsql_schema(cursor, "memory") == "ml"
        assert relsql_schema(con, "memory") == "ml"


def test_attaching_looks_for_the_schema_once(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def counted(con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
        looked.append(catalog)
        return []

    with duckdb.connect(str(shop)) as con:
        monkeypatch.setattr(schema_module, "_marked_schemas", counted)
        assert relsql.attach(con)
    assert looked == ["shop"]


def test_from_init_to_drop_beside_a_schema_relsql_of_the_user(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = users_objects(own)
    refused = run("init", own, "--time-column", "orders(ordered_at)", fails=True)
    assert f"relsql init {own} --schema NAME" in refused and "relsql.models" in refused
    run("init", own, "--schema", HOSTILE, "--time-column", "orders(ordered_at)")
    run("init", own, "--link", "relsql.models(customer_id) -> customers(customer_id)", "--no-time-column", "shops")
    with relsql.connect(own) as con:
        assert relsql.train(con, TASK, name="churn", options=QUICK).version == 1
        assert relsql.train(con, TASK, name="churn", options=QUICK).reused
    assert "relsql.models" in run("inspect", own)
    assert "churn" in run("models", own)
    scored = run("score", own, "churn")
    assert "60 rows written to relsql.risk" in run("score", own, "churn", "--into", "relsql.risk")
    run("publish", own, "churn")
    run("selftest", own, "churn")
    run("refresh", own, "churn", "--prune")
    # A plain client under another name of the file, and a copy.
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{own}' AS other (READ_ONLY); USE other")
        plain = con.execute("SELECT predict_churn(3)").fetchall()
        relsql.attach(con)
        with monkeypatch.context() as patched:
            patched.setattr("relsql.database.relsql_schema._marked_schemas", _asked_in_a_call)
            assert plain[0][0] == pytest.approx(con.execute("SELECT predict_churn(3)").fetchall()[0][0], abs=1e-5)
    import_source(str(own), tmp_path / "copy.duckdb")
    assert run("score", tmp_path / "copy.duckdb", "churn") == scored
    publish_into(own, tmp_path / "again.duckdb", "churn")
    run("selftest", tmp_path / "again.duckdb", "churn")
    run("unpublish", own, "churn")
    run("drop", own, "churn", "--all", "--yes")
    with duckdb.connect(str(own)) as con:
        con.execute("DROP TABLE relsql.risk")
        left = con.execute("SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE 'predict_%'").fetchall()
        assert left == [(0,)]
    assert users_objects(own) == before


def test_scores_do_not_depend_on_the_schema(own: Path, tmp_path: Path) -> None:
    scores = []
    for schema in (None, "ml"):
        path = tmp_path / f"shop-{schema}.duckdb"
        path.write_bytes(own.read_bytes())
        with duckdb.connect(str(path)) as con:
            con.execute("DROP SCHEMA relsql CASCADE")
            if schema:
                choose_schema(con, path.stem, schema)
            declare_table(con, path.stem, "orders", time_column="ordered_at")
            relsql.train(con, TASK, name="churn", options=QUICK)
            relsql.attach(con)
            assert has_relsql_table(con, path.stem, "models")
            sql = publication_sql(con, "churn")
            scores.append((con.execute("FROM predict_churn_batch() ORDER BY ALL").fetchall(), sql))
            assert '"relsql"."' not in sql.replace(f'"{schema or "relsql"}"."', "")
    (before, default), (after, chosen) = scores
    assert before == after and default.replace('"relsql".', '"ml".') == chosen


def test_a_source_may_have_a_schema_relsql_of_its_own(own: Path, tmp_path: Path) -> None:
    refused = run("init", tmp_path / "models.duckdb", "--attach", own, fails=True)
    assert "table 'relsql.models' of source 'own'" in refused and "--schema NAME" in refused
    models, before = tmp_path / "new.duckdb", users_objects(own)
    run("init", models, "--attach", own, "--schema", HOSTILE, "--time-column", "orders(ordered_at)")
    run("init", models, "--attach", own, "--schema", HOSTILE)
    with relsql.connect(models) as con:
        assert {"orders", "relsql.models"} <= set(read_schema(con).tables)
        relsql.train(con, TASK, name="churn", options=QUICK)
        relsql.attach(con)
        assert con.execute("SELECT predict_churn_full(3).status").fetchall() == [("ok",)]
    assert users_objects(own) == before


def test_tables_of_relsql_in_a_source_are_no_data(tmp_path: Path) -> None:
    source, models = tmp_path / "source.duckdb", tmp_path / "models.duckdb"
    with duckdb.connect(str(source)) as con:
        con.execute("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
        choose_schema(con, "source", "ml")
        save_task(con, "source", TASK)
    run("init", models, "--attach", source, "--schema", "other")
    with relsql.connect(models, read_only=True) as con:
        assert set(read_schema(con).tables) == {"t"}


SQL_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), min_size=1)


@settings(max_examples=12, deadline=None)
@given(SQL_NAMES.filter(lambda name: name.strip() and fold(name) not in {"main", "temp", "system", "memory", "relsql"}))
def test_any_name_is_kept_exactly(name: str) -> None:
    with duckdb.connect() as con:
        assert choose_schema(con, "memory", name) and not choose_schema(con, "memory", name)
        assert relsql_schema(con, "memory") == name
        table = ensure_table(con, "memory", "schema_tables")
        assert table == f'"memory".{ident(name)}."schema_tables"'
        con.execute("CREATE SCHEMA relsql; CREATE TABLE relsql.tasks (a INTEGER)")
        assert set(read_schema(con).tables) == {"relsql.tasks"}
        shown = con.execute(f"SELECT table_name FROM duckdb_tables() WHERE {users_objects_sql(con)}").fetchall()
        assert shown == [("tasks",)]


@pytest.mark.parametrize(
    "name", ["main", "MAIN", "information_schema", "pg_catalog", "", " ", "a\nb", "system", "memory"]
)
def test_names_that_are_no_new_schema_are_refused(con: duckdb.DuckDBPyConnection, name: str) -> None:
    with pytest.raises(DatabaseError, match=r"the name of a new schema.*Fix: relsql init FILE --schema ANOTHER"):
        choose_schema(con, "memory", name)
    assert relsql_schema(con, "memory") == "relsql"


def test_a_schema_of_the_user_is_refused_in_any_case(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE SCHEMA Mine")
    with pytest.raises(DatabaseError, match=r"schema 'mINE' exists"):
        choose_schema(con, "memory", "mINE")
    # Letters that DuckDB distinguishes make another name.
    con.execute('CREATE SCHEMA "é"')
    assert choose_schema(con, "memory", "É")
    con.execute('CREATE TABLE "é".models (a INTEGER)')
    assert set(read_schema(con).tables) == {"é.models"}


def test_a_choice_is_made_once(con: duckdb.DuckDBPyConnection) -> None:
    assert not choose_schema(con, "memory", "RELSQL"), "it is the schema without a choice"
    assert choose_schema(con, "memory", "ml") and not choose_schema(con, "memory", "ML")
    with pytest.raises(DatabaseError, match=r"relsql's tables are in schema 'ml' of database 'memory' already"):
        choose_schema(con, "memory", "other")
    con.execute("DROP SCHEMA ml CASCADE")
    assert relsql_schema(con, "memory") == "relsql"
    save_task(con, "memory", TASK)
    with pytest.raises(DatabaseError, match=r"relsql's tables are in schema 'relsql'"):
        choose_schema(con, "memory", "ml")


def test_two_marks_are_an_error_that_names_both(con: duckdb.DuckDBPyConnection) -> None:
    choose_schema(con, "memory", "ml")
    con.execute(f"CREATE VIEW main.{MARK} AS SELECT 1")
    assert relsql_schema(con, "memory") == "ml", "a mark in schema main does not count"
    con.execute(f'CREATE SCHEMA "a b"; CREATE VIEW "a b".{MARK} AS SELECT 1')
    with pytest.raises(
        DatabaseError, match=rf"'a b' and 'ml' of database 'memory'.*DROP VIEW \"a b\"\.\"{MARK}\" or DROP"
    ):
        read_schema(con)


def test_a_choice_that_is_rolled_back_is_none(con: duckdb.DuckDBPyConnection) -> None:
    choose_schema(con, "memory", "ml")
    con.execute("BEGIN; DROP SCHEMA ml CASCADE")
    assert relsql_schema(con, "memory") == "relsql"
    con.execute("ROLLBACK")
    assert relsql_schema(con, "memory") == "ml"


def test_messages_name_the_schema(con: duckdb.DuckDBPyConnection) -> None:
    choose_schema(con, "memory", "my schema")
    table = ensure_table(con, "memory", "schema_tables")
    con.execute(f"INSERT INTO {table} (table_name, primary_key) VALUES ('t', [NULL])")
    with pytest.raises(SchemaError) as error:
        read_schema(con)
    statement = re.search(r"Fix: (.*), then", str(error.value))
    assert statement and '"my schema".schema_tables' in statement[1]
    con.execute(statement[1])
    read_schema(con)
    con.execute('CREATE TABLE "my schema".runs (a INTEGER)')
    with pytest.raises(
        DatabaseError, match=r"'\"my schema\"\.runs' of database 'memory' was not made by relsql.*move it"
    ):
        read_schema(con)


def test_an_export_keeps_the_choice(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    choose_schema(con, "memory", "my schema")
    con.execute(f"EXPORT DATABASE '{tmp_path}'")
    with duckdb.connect() as other:
        other.execute(f"IMPORT DATABASE '{tmp_path}'")
        assert relsql_schema(other, "memory") == "my schema"


def test_completion_leaves_out_the_tables_of_relsql_alone(con: duckdb.DuckDBPyConnection) -> None:
    choose_schema(con, "memory", "ml")
    save_task(con, "memory", TASK)
    con.execute("CREATE SCHEMA relsql; CREATE TABLE relsql.mine (a INTEGER)")
    assert set(read_names(con).columns) == {"mine"}


def test_no_other_module_knows_the_name_of_the_schema() -> None:
    tables = "|".join([*TABLES, r"\{", "row_embeddings_", "weights_", "texts_", "new_texts_"])
    in_sql = re.compile(rf"""(?<![\w.`])"?relsql"?\."?(?:{tables})(?!\.)""")
    found = []
    for room in ("relsql", "udfs", "exporters"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for line, text in _strings(path.read_text(encoding="utf-8")):
                named = text in ("relsql", "RELSQL") and path.name not in _NOT_A_SCHEMA
                if (named or in_sql.search(text)) and path.name != "relsql_schema.py":
                    found.append(f"{path.relative_to(ROOT)}:{line}: {text[:60]}")
    assert not found


_NOT_A_SCHEMA = {
    "errors.py",
    "hints.py",
    "allowed_sources.py",
    "tokenizer.py",
    "__init__.py",
    "prompt.py",
    "server_process.py",
    "dbt.py",
    "reference.py",
    "model_card.py",
    "shard_score.py",
    "pytorch.py",
}
"""Modules with a string `relsql` that is the name of the package, the program, a folder or a token."""


def _strings(source: str) -> Iterator[tuple[int, str]]:
    """The text of all strings of a module except docstrings, with their lines; parts of f-strings are joined by `{`."""
    tree = ast.parse(source)
    documented = [
        node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    docs = {id(node.value) for node in documented}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (docs | inside):
            yield node.lineno, node.value
