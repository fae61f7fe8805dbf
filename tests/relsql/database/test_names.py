"""Names have the same meaning as in DuckDB, in any case and quotes, and no object of the user is replaced."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import relsql
from relsql.database.connections import transaction
from relsql.database.names import (
    ObjectName,
    current_catalog,
    find_relation,
    fold,
    join_name,
    resolve,
    split_name,
    stored_name,
)
from relsql.database.relsql_tables import ensure_table
from relsql.demo.league import create_league
from relsql.errors import DatabaseError, ModelError, RelsqlError, SchemaError, TaskError
from relsql.publishing.publish import copy_database
from relsql.registry.models import check_drift, find_model, read_card
from relsql.registry.publications import comment_start, remove_publication
from relsql.registry.score_jobs import read_job
from relsql.registry.versions import model_name, require_new_name
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.declare import declare_table
from relsql.schema.declared.text import parse_columns, parse_link
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.scoring.score_output import output_table, score_to
from relsql.scoring.score_table import open_job, run_job
from relsql.sql import ident, qualified
from relsql.tasks.task import Task, read_task, save_task
from relsql.training.plan import make_plan
from tests.shop import CUSTOMERS, TASK, rewrite_card, train_quickly

LETTERS = "aAkKiI\u212aéÉİıßẞöÖ"
names = st.text(LETTERS + " .\"'-_1", min_size=1, max_size=6).filter(lambda name: name.strip() == name)
relaxed = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def spelled(draw: st.DrawFn, *parts: str) -> str:
    """A qualified name as a user may write it: any case of ASCII letters, each part quoted or not."""
    written = []
    for part in parts:
        cased = "".join(c.swapcase() if c.isascii() and draw(st.booleans()) else c for c in part)
        plain = not set(part) & set('."')
        written.append(cased if plain and draw(st.booleans()) else ident(cased))
    return ".".join(written)


def anyhow(*parts: str) -> st.SearchStrategy[str]:
    """Ways to write a name of schema main, or one of another schema, with and without schema and database."""
    if len(parts) == 1:
        return st.one_of(
            spelled(*parts), spelled("main", *parts), spelled("shop", *parts), spelled("shop", "main", *parts)
        )
    return st.one_of(spelled(*parts), spelled("shop", *parts))


# What a name refers to


@relaxed
@given(names, names)
@example("Orders", "oRDERS")
@example("é", "É")
@example("K", "\u212a")
@example("İ", "i")
@example("ß", "ẞ")
def test_duckdb_takes_the_same_names_for_one(first: str, second: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE {ident(first)} (i INTEGER)")
        try:
            con.execute(f"CREATE TABLE {ident(second)} (i INTEGER)")
            same = False
        except duckdb.CatalogException:
            same = True
        assert (fold(first) == fold(second)) == same
        found = find_relation(con, ObjectName("memory", "main", second))
        assert found is not None and found.name.name == (first if same else second)


@relaxed
@given(st.lists(names, min_size=1, max_size=3))
def test_names_are_split_as_they_are_joined(parts: list[str]) -> None:
    assert split_name(join_name(*parts)) == split_name(qualified(*parts)) == tuple(parts)


@pytest.mark.parametrize("text", ["", " ", ".", "a.", ".a", "a..b", '"a', '"a"b', 'a"b"', '""', '"a".'])
def test_texts_that_are_not_names_are_refused(text: str) -> None:
    with pytest.raises(DatabaseError, match="is not a name"):
        split_name(text)


def test_a_name_is_looked_up_as_duckdb_does() -> None:
    with duckdb.connect() as con:
        con.execute("""CREATE TABLE Risk (i INT); CREATE SCHEMA Staging; CREATE TABLE staging."a.b" (i INT);
                       CREATE VIEW seen AS SELECT 1; CREATE TEMP TABLE hidden (i INT)""")
        for text, key in (("RISK", "Risk"), ('MEMORY."risk"', "Risk"), ('staging."A.B"', 'Staging."a.b"'),
                          ("memory.STAGING.new", "Staging.new"), ("my table", "my table")):  # fmt: skip
            assert resolve(con, text).key == key
        for name, kind in (("SEEN", "view 'seen'"), ("hidden", "temporary table 'hidden'"), ("risk", "table 'Risk'")):
            assert str(find_relation(con, ObjectName("memory", "main", name))) == kind
        assert find_relation(con, ObjectName("memory", "Staging", "risk")) is None
        con.execute("ATTACH ':memory:' AS Staging")
        with pytest.raises(DatabaseError, match="both a schema and a database"):
            resolve(con, "staging.x")
        for text in ("nowhere.x", "nowhere.main.x", "a.b.c.d"):
            with pytest.raises(DatabaseError):
                resolve(con, text)


def test_a_name_that_differs_in_case_from_two_others_is_ambiguous() -> None:
    assert stored_name("Churn", ["churn", "Churn"]) == "Churn"
    assert stored_name("CHURN", ["churn", "Churn"]) is None
    assert stored_name("CHURN", ["churn", "dnf"]) == "churn"


# No object of the user is replaced

OBJECTS = [("orders",), ("customers",), ("seen",), ("passing",), ("staging", "my.table"), ("staging", "É"),
           ("relsql", "models"), ("relsql", "artifacts"), ("relsql", "new"), ("main", "shops")]  # fmt: skip


@pytest.fixture(scope="module")
def owned(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A shop with user objects of every kind."""
    path = Path(shutil.copy(shop_with_model, tmp_path_factory.mktemp("owned") / "shop.duckdb"))
    with duckdb.connect(str(path)) as con:
        con.execute("""CREATE VIEW seen AS FROM orders; CREATE TEMP TABLE passing AS SELECT 1 AS i;
                       CREATE SCHEMA staging; CREATE TABLE staging."my.table" AS SELECT 42 AS answer;
                       CREATE TABLE staging."É" AS SELECT 1 AS i; CREATE TABLE staging."é" AS SELECT 2 AS i""")
        yield con


def state(con: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """All tables and views with a digest of their rows, relsql's own included."""
    query = """SELECT database_name, schema_name, table_name FROM duckdb_tables()
               UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal"""
    found = [qualified(*row) for row in con.execute(query).fetchall()]
    return {name: con.execute(f"SELECT count(*), sum(hash(t)) FROM {name} t").fetchall() for name in sorted(found)}


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


# Models and tasks


@relaxed
@given(spelled("churn").map(lambda text: text.strip('"')))
def test_models_and_tasks_are_found_in_any_case(owned: duckdb.DuckDBPyConnection, name: str) -> None:
    assert find_model(owned, "shop", name).name == find_model(owned, "shop", f"{name}@1").name == "churn"
    assert read_task(owned, "shop", f"customer-{name}").name == "customer-churn"
    for reach in (lambda: relsql.unpublish(owned, name), lambda: relsql.drop(owned, name)):
        with pytest.raises(ModelError, match="'churn' is a whole model|model 'churn'|not published"):
            reach()


def test_commands_take_models_in_any_case(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("USE SHOP")
        assert current_catalog(con) == "shop"
        functions = relsql.attach(con)
        assert "predict_churn" in functions == relsql.attach(con, models=["CHURN"], database="Shop")
        assert "predict_churn_v1" in relsql.attach(con, models=["Churn@1"])
        assert con.execute("SELECT predict_churn(1) = predict_churn_v1(1)").fetchall() == [(True,)]
        assert relsql.promote(con, "Churn", 1).name == relsql.refresh(con, "CHURN").model == "churn"
        with pytest.raises(DatabaseError, match="database 'elsewhere' is not attached"):
            relsql.attach(con, database="elsewhere")
        with pytest.raises(ModelError, match="is the only one"):
            relsql.drop(con, "CHURN@1")
        assert relsql.drop(con, "CHURN", all_versions=True) == (1,)


@pytest.mark.parametrize("name", ["churn_full", "churn_batch", "Churn_Full"])
def test_a_model_with_the_functions_of_another_is_refused(owned: duckdb.DuckDBPyConnection, name: str) -> None:
    before = state(owned)
    with pytest.raises(ModelError, match="belongs to model 'churn'"):
        train_quickly(owned, name)
    assert state(owned) == before
    require_new_name("churn_fuller", ["churn"])
    with pytest.raises(ModelError, match="belongs to model 'churn_full'"):
        require_new_name("churn", ["churn_full"])


@pytest.mark.parametrize("name", ["Churn", "CHURN"])
def test_names_that_differ_in_case_are_one_model(owned: duckdb.DuckDBPyConnection, name: str) -> None:
    before = state(owned)
    again = train_quickly(owned, name)
    assert (again.name, again.version, again.reused) == ("churn", 1, True)
    assert state(owned) == before
    assert model_name(name, ["churn", "dnf"]) == "churn"
    assert model_name("Dnf", ["churn"]) == "Dnf"
    with pytest.raises(ModelError, match="belongs to model"):
        model_name("CHURN", ["churn", "Churn"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("2fast", "'2fast' starts with a digit.*--name m_2fast"),
        ("no-show", "'no-show' cannot be part of a function name.*--name no_show"),
        ("é", "cannot be part of a function name.*--name NAME"),
        ("", "cannot be part of a function name.*--name NAME"),
        ("x" * 64, "at most 63"),
    ],
)
def test_a_name_that_no_function_can_have(name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        model_name(name, [])


def test_models_of_earlier_builds_that_share_functions_are_not_attached_together(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        for table, changed in (("models", "'Churn' AS name"), ("artifacts", "'Churn' AS model")):
            con.execute(f"INSERT INTO relsql.{table} SELECT * REPLACE ({changed}) FROM relsql.{table}")
        [(card,)] = con.execute("SELECT card FROM relsql.models WHERE name = 'churn'").fetchall()
        rewrite_card(con, card.replace('"name": "churn"', '"name": "Churn"'), "name = 'Churn'")
        with pytest.raises(ModelError, match="'Churn' and 'churn' both have a function predict_Churn"):
            relsql.attach(con)
        assert "predict_churn" in relsql.attach(con, models=["churn"])
        with pytest.raises(ModelError, match="did you mean"):
            relsql.attach(con, models=["CHURN"])


def test_a_task_does_not_take_the_place_of_one_in_other_case(owned: duckdb.DuckDBPyConnection) -> None:
    manifest = TASK.to_manifest()
    with pytest.raises(TaskError, match="differs from task 'customer-churn'"), transaction(owned):
        save_task(owned, "shop", Task.from_manifest(manifest | {"name": "Customer-Churn"}))


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


# Tables and columns


def test_a_foreign_key_counts_however_it_was_written() -> None:
    with duckdb.connect() as con:
        con.execute("""CREATE TABLE Shops (Shop_Id INTEGER, PRIMARY KEY (SHOP_ID));
                       CREATE TABLE visits (shop INTEGER, FOREIGN KEY (SHOP) REFERENCES SHOPS (shop_id))""")
        schema = read_schema(con)
        assert schema.table("shops").primary_key == ("Shop_Id",)
        assert list(map(str, schema.links)) == ["visits(shop) -> Shops(Shop_Id)"]


@settings(relaxed, max_examples=8)
@given(st.data())
def test_declarations_mean_the_same_in_any_case(data: st.DataObject) -> None:
    def told(schema: str | None, key: str, time: str, link: str) -> Schema:
        with duckdb.connect() as con:
            con.execute("""CREATE SCHEMA Staging; CREATE TABLE Users AS SELECT 1 AS Id;
                           CREATE TABLE staging."Or.ders" AS SELECT 1 AS User, NOW()::TIMESTAMP AS "At" """)
            told = Declarations.parse(primary_keys=[key], time_columns=[time], links=[link])
            told.store(con, "memory")
            return read_schema(con)

    def write(*parts: str) -> str:
        return data.draw(spelled(*parts))

    expected = told(None, "Users(Id)", 'Staging."Or.ders"(At)', 'Staging."Or.ders"(User) -> Users')
    orders = data.draw(st.sampled_from(["Staging.Or.ders", None])) or "Staging.Or.ders"
    assert orders in expected.tables
    key = f"{write('Users')}({write('Id')})"
    time = f"{write('Staging', 'Or.ders')}({write('At')})"
    link = f"{write('Staging', 'Or.ders')}({write('User')}) -> {write('Users')}"
    assert told(None, key, time, link) == expected
    assert len(expected.links) == 1 and expected.tables[orders].time_column == "At"


def test_names_of_missing_objects_are_refused(owned: duckdb.DuckDBPyConnection) -> None:
    schema = read_schema(owned)
    for text in ("nothing", "staging.orders", "a.b.orders", '"orders', "É"):
        with pytest.raises(SchemaError, match="does not exist"):
            schema.table(text)
    assert schema.table('Staging."MY.TABLE"').key == "staging.my.table"
    assert schema.table("Main.ORDERS").column("AMOUNT").name == "amount"
    with pytest.raises(RelsqlError):
        parse_columns("a.(b)")
    assert parse_link('S."T"(a) -> "u.v"(b)').child == "S.T"


@settings(relaxed, max_examples=10)
@given(spelled("orders"), spelled("note").map(lambda text: text.strip('"')), spelled("customers"))
def test_what_a_task_removes_is_removed_in_any_case(
    owned: duckdb.DuckDBPyConnection, table: str, column: str, entity: str
) -> None:
    manifest = TASK.to_manifest() | {"remove_columns": [[table, column]], "entity_table": entity}
    plan = make_plan(owned, "shop", Task.from_manifest(manifest))
    assert plan.task.entity_table == "customers" and plan.task.remove_columns == (("orders", "note"),)
    assert "note" not in plan.schema.table("orders").column_names


@pytest.mark.parametrize(
    "removed", [["orders", "notes"], ["order", "note"], ["staging.orders", "note"], ["orders", "nÖte"]]
)
def test_a_task_that_removes_nothing_is_refused(owned: duckdb.DuckDBPyConnection, removed: list[str]) -> None:
    task = Task.from_manifest(TASK.to_manifest() | {"remove_columns": [removed]})
    with pytest.raises(TaskError, match="which does not exist"):
        make_plan(owned, "shop", task)


def test_a_column_renamed_in_case_alone_is_no_drift(owned: duckdb.DuckDBPyConnection) -> None:
    card = read_card(owned, "shop", "churn", 1)
    schema = read_schema(owned)
    owned.execute("BEGIN")
    owned.execute("ALTER TABLE orders RENAME note TO Note_; ALTER TABLE orders RENAME Note_ TO NOTE")
    check_drift(card, read_schema(owned))
    owned.execute("ROLLBACK")
    assert read_schema(owned) == schema


def test_of_two_tables_with_one_key_the_missing_one_is_named() -> None:
    with duckdb.connect() as con:
        con.execute('CREATE SCHEMA a; CREATE TABLE a.b (i INT); CREATE TABLE "a.b" (i INT)')
        schema = read_schema(con)
        assert schema.table("a.b").schema_name == "a" and schema.table('"a.b"').schema_name == "a"
        found = [str(finding) for finding in check_schema(con, "memory", schema)]
        assert [each for each in found if "none has a time" not in each] == [
            'warning: "main"."a.b": is left out: links and tasks would call it by the same name as "a"."b"; '
            "rename one of them"
        ]


def test_output_tables_are_found_as_they_are_stored(owned: duckdb.DuckDBPyConnection) -> None:
    assert output_table(owned, 'STAGING."é"') == ObjectName("shop", "staging", "é")
    assert output_table(owned, "Orders").name == "orders"
