"""Names have the same meaning as in DuckDB, in any case and quotes."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, settings
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
from relsql.errors import DatabaseError, ModelError, RelsqlError, SchemaError, TaskError
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import find_model, read_card
from relsql.registry.versions import model_name, require_new_name
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.text import parse_columns, parse_link
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.scoring.score_output import output_table
from relsql.sql_text import ident, qualified
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task
from relsql.training.plan import make_plan
from tests.relsql.database.spelling import names, relaxed, spelled
from tests.relsql.database.user_objects import state
from tests.shop import TASK, rewrite_card, train_quickly

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
