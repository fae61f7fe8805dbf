"""Tests of relsql.tasks.predict.compile and meaning: lines against a schema, hostile names, and lines as tasks."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from click.testing import CliRunner, Result

from relsql.cli import cli
from relsql.database.connections import transaction
from relsql.errors import RelsqlError, TaskError
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table, labels_at
from relsql.tasks.stored_tasks import read_task, save_task
from relsql.tasks.task import Task
from tests.shop import TASK, create_shop

CHURN = (
    "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id WHERE COUNT(orders.*, -INF, 0, days) > 0"
)
"""What `tests.shop.TASK` asks in SQL."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    create_shop(tmp_path / "shop.duckdb")
    return tmp_path / "shop.duckdb"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


SCHEMA = """
    CREATE TABLE customers (id INTEGER PRIMARY KEY, city VARCHAR, since TIMESTAMP, vip BOOLEAN);
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), amount DECIMAL(10, 2), kind VARCHAR,
        status ENUM('new', 'paid'), paid BOOLEAN, day TIMESTAMP, due DATE, place STRUCT(x INTEGER), gone TIMESTAMPTZ);
    CREATE TABLE pairs (a INTEGER, b INTEGER, day TIMESTAMP, PRIMARY KEY (a, b));
    CREATE TABLE notes (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), text VARCHAR);
    CREATE TABLE timestamps (id INTEGER PRIMARY KEY, day TIMESTAMP);
"""


def compiled(con: duckdb.DuckDBPyConnection, line: str) -> Task:
    con.execute(SCHEMA)
    for table in ("orders", "pairs", "timestamps"):
        declare_table(con, "memory", table, time_column="day")
    return Task.from_line(line, "line").resolved(read_schema(con))


BAD = {
    "COUNT(ordrs.*, 0, 9, days)": ("there is no table ordrs", "did you mean 'orders'?", "^ordrs"),
    "SUM(orders.amuont, 0, 9, days)": ("table orders has no column amuont", "did you mean 'amount'?"),
    "COUNT(orders.* WHERE orders.knd = 'a', 0, 9, days)": ("no column knd", "did you mean 'kind'?", "^orders.knd"),
    "COUNT(orders.* WHERE notes.text = 'a', 0, 9, days)": ("notes.text is not a column of a row", "orders, customers"),
    "COUNT(pairs.*, 0, 9, days)": ("no links lead from customers to pairs", "--link"),
    "COUNT(notes.*, 0, 9, days)": ("table notes has no time", "a table with a time: orders", "--time-column"),
    "COUNT(timestamps.*, 0, 9, days)": ("a table named timestamps",),
    "SUM(orders.*, 0, 9, days)": ("SUM of whole rows", "orders.amount"),
    "SUM(orders.kind, 0, 9, days)": ("SUM of orders.kind, which is a text",),
    "AVG(orders.paid, 0, 9, days)": ("AVG of orders.paid, which is true or false", "COUNT counts rows of a condition"),
    "LAST(orders.kind, 0, 9, days)": ("the answer is a text", "or CLASSIFY after it"),
    "MAX(orders.day, 0, 9, days) CLASSIFY": ("the answer is a time", "a text or a whole number"),
    "LIST_DISTINCT(orders.kind, 0, 9, days) RANK TOP 3": ("orders.kind names no items", "orders.customer"),
    "MAX(orders.day, 0, 9, days)": ("the answer is a time",),
    "COUNT(orders.* WHERE amount, 0, 9, days)": ("the condition is a number", "WHERE ^amount"),
    "COUNT(orders.* WHERE amount = 'a', 0, 9, days)": ("= of a number and a text", "amount ^= 'a'"),
    "COUNT(orders.* WHERE kind > 5, 0, 9, days)": ("> of a text and a number",),
    "COUNT(orders.* WHERE kind IN ('a', 5), 0, 9, days)": ("IN of a text and a number",),
    "COUNT(orders.* WHERE kind + 1 > 2, 0, 9, days)": ("+ of a text is not possible",),
    "COUNT(orders.* WHERE amount LIKE 'a', 0, 9, days)": ("LIKE of a number",),
    "COUNT(orders.* WHERE kind AND paid, 0, 9, days)": ("AND of a text",),
    "COUNT(orders.* WHERE place = 5, 0, 9, days)": ("= of a STRUCT(x INTEGER) and a number",),
    "COUNT(orders.* WHERE amount = NULL, 0, 9, days)": ("comparison with NULL", "IS NULL"),
    "COUNT(orders.* WHERE day > 'soon', 0, 9, days)": ("'soon' is not a valid TIMESTAMP", "^'soon'"),
    "COUNT(orders.* WHERE day > DATE '2020-02-30', 0, 9, days)": ("DATE '2020-02-30' does not exist",),
    "COUNT(orders.*, 0, 9, days) > 'a'": ("> of a number and a text",),
    "COUNT(orders.*, 0, 9, days) AND true": ("AND of a number",),
}


@pytest.mark.parametrize("outcome", BAD)
def test_what_does_not_fit_the_schema_is_one_clear_error(con: duckdb.DuckDBPyConnection, outcome: str) -> None:
    with pytest.raises(TaskError) as caught:
        compiled(con, f"PREDICT {outcome} FOR EACH customers.id")
    message = str(caught.value)
    assert all(part in message for part in BAD[outcome]), message
    assert "at character " in message and "\n" not in message and "Fix: " in message


@pytest.mark.parametrize(
    ("entity", "message"),
    [
        ("custmers.id", "did you mean 'customers'"),
        ("customers.idd", "did you mean 'id'"),
        ("customers.city", "customers.city is not the key of customers"),
        ("pairs.a", "pairs.a is not the key of pairs"),
        ("pairs.a, customers.id", "customers.id is of another table"),
    ],
)
def test_an_entity_is_named_by_its_key(con: duckdb.DuckDBPyConnection, entity: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        compiled(con, f"PREDICT COUNT(orders.*, 0, 9, days) FOR EACH {entity}")


@pytest.mark.parametrize(
    "condition",
    [
        "gone > '2020-01-05'",
        "due <= '2020-01-05' AND status = 'paid'",
        "place IS NOT NULL OR kind ILIKE '%{timedelta}%'",
        "customers.vip AND coalesce(orders.amount, 0) / customers.id > 1",
        "lower(kind) NOT IN ('a', 'b') AND NOT paid",
    ],
)
def test_conditions_of_every_type_run(con: duckdb.DuckDBPyConnection, condition: str) -> None:
    line = f"PREDICT COUNT(orders.* WHERE {condition}, 0, 9, days) FOR EACH customers.id"
    task = compiled(con, line)
    con.execute("INSERT INTO customers VALUES (0, 'Ulm', NULL, true), (1, NULL, NULL, NULL)")
    con.execute("INSERT INTO orders (id, customer, kind, day) VALUES (1, 1, '{timedelta}', '2020-01-02')")
    found = labels_at(
        con, "memory", read_schema(con), task, [datetime.datetime(2020, 1, 1)], end=None, entities_until=None
    )
    assert found["label"].to_pylist() == [0.0, float("ILIKE" in condition)]


HOSTILE = ['we"ird', "order", "a b", "Sel.ect", "value", "Timestamp", "label", "é-1", "{timedelta}", "e", "r"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_tables_and_columns(con: duckdb.DuckDBPyConnection, name: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    entity, child, seeds = quoted(f"{name} of"), quoted(name), quoted("seeds")
    con.execute(
        f"""CREATE TABLE {entity} ({child} INTEGER PRIMARY KEY, {seeds} INTEGER);
            CREATE TABLE {seeds} (id INTEGER PRIMARY KEY, {child} INTEGER REFERENCES {entity} ({child}),
                "when" TIMESTAMP, "group" INTEGER);
            INSERT INTO {entity} VALUES (1, 7), (2, 8);
            INSERT INTO {seeds} VALUES (1, 1, '2020-01-05', 4), (2, 1, '2020-01-09', 5), (3, 2, '2020-01-01', 6)"""
    )
    declare_table(con, "memory", "seeds", time_column="when")
    line = (
        f'PREDICT SUM(seeds."group" WHERE seeds.{child} > 0, 0, 9, days) FOR EACH {entity}.{child} '
        f'WHERE {entity}.{seeds} = 7 OR EXISTS(SEEDS."WHEN", -5, 0, days)'
    )
    schema = read_schema(con)
    task = Task.from_line(line, name).resolved(schema)
    at = [datetime.datetime(2020, 1, 1)]
    found = labels_at(con, "memory", schema, task, at, end=None, entities_until=None).to_pylist()
    assert [(row["entity"], row["label"]) for row in found] == [(1, 9.0), (2, 0.0)]


def test_a_key_of_several_columns_and_a_table_of_another_schema(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE SCHEMA "st.ore";
           CREATE TABLE "st.ore".teams (name VARCHAR, season INTEGER, PRIMARY KEY (name, season));
           CREATE TABLE "st.ore".games (name VARCHAR, season INTEGER, day DATE,
               FOREIGN KEY (name, season) REFERENCES "st.ore".teams (name, season));
           INSERT INTO "st.ore".teams VALUES ('Ajax', 1), ('Ajax', 2);
           INSERT INTO "st.ore".games VALUES ('Ajax', 2, '2020-01-03'), ('Ajax', 2, '2020-01-11'), ('Ajax', 1, NULL)"""
    )
    declare_table(con, "memory", '"st.ore".games', time_column="day")
    schema = read_schema(con)
    teams = '"st.ore".teams'
    line = f'PREDICT COUNT("st.ore".games.*, 0, 9, days) FOR EACH {teams}.season, {teams}.name'
    task = Task.from_line(line, "games").resolved(schema)
    assert task.entity_col == "name, season"
    at = datetime.datetime(2020, 1, 1)
    end = datetime.datetime(2020, 1, 20)
    found = labels_at(con, "memory", schema, task, [at], end=end, entities_until=end).to_pylist()
    assert [row["label"] for row in found] == [0.0, 1.0]


def test_windows_count_what_happened_and_cohorts_what_was_known(con: duckdb.DuckDBPyConnection) -> None:
    """An order of the 3rd that is known from the 8th on is in a label's window, and no past before the 8th."""
    con.execute(SCHEMA)
    con.execute("ALTER TABLE orders ADD COLUMN known TIMESTAMP")
    con.execute("INSERT INTO customers (id) VALUES (1)")
    con.execute("INSERT INTO orders (id, customer, day, known) VALUES (1, 1, '2020-01-03', '2020-01-08')")
    declare_table(con, "memory", "orders", time_column="day", known_column="known")
    schema = read_schema(con)

    def labels(line: str, day: int) -> list[Any]:
        task = Task.from_line(f"PREDICT {line}", "line").resolved(schema)
        at = [datetime.datetime(2020, 1, day)]
        return list(labels_at(con, "memory", schema, task, at, end=None, entities_until=None)["label"].to_pylist())

    count = "COUNT(orders.*, 0, 3, days) FOR EACH customers.id"
    assert labels(count, 1) == [1.0]
    assert labels(count, 6) == [0.0]
    assert labels(f"{count} WHERE EXISTS(orders.*, -9, 0, days)", 7) == []
    assert labels(f"{count} WHERE EXISTS(orders.*, -9, 0, days)", 8) == [0.0]


def test_a_line_is_the_task_that_it_says(file: Path) -> None:
    with duckdb.connect(str(file)) as con:
        schema = read_schema(con)
        splits = {"val_timestamp": TASK.val_timestamp, "test_timestamp": TASK.test_timestamp}
        line = Task.from_line(CHURN, "churn", **splits)
        assert (line.task_type, line.timedelta, line.sql) == ("binary_classification", "30 days", "")
        assert Task.from_manifest(line.to_manifest()) == line
        task = line.resolved(schema)
        for split in ("train", "val", "test"):
            found, wanted = (label_table(con, "shop", schema, each, split).table for each in (task, TASK))
            assert found.equals(wanted)
        with transaction(con):
            save_task(con, "shop", task)
        assert read_task(con, "shop", "churn") == task
        assert read_task(con, "shop", "churn").resolved(schema) == task


def test_a_manifest_has_a_line_or_a_query() -> None:
    manifest: dict[str, Any] = {"name": "churn", "predict": CHURN}
    with pytest.raises(TaskError, match="task 'churn' has predict and timedelta, sql. Expected: predict alone"):
        Task.from_manifest(manifest | {"sql": "SELECT 1", "timedelta": "3 days"})
    with pytest.raises(TaskError, match="predict of type list"):
        Task.from_manifest(manifest | {"predict": ["PREDICT"]})
    with pytest.raises(TaskError, match="target mean"):
        Task.from_manifest(manifest | {"target": "mean"})
    spent = "PREDICT SUM(orders.amount, 0, 30, days) FOR EACH customers.customer_id"
    assert Task.from_manifest({"name": "spent", "predict": spent, "metric": "rmse"}).target == "mean"


def test_an_empty_cohort_is_named(file: Path) -> None:
    with duckdb.connect(str(file)) as con, pytest.raises(TaskError) as caught:
        schema = read_schema(con)
        line = f"{CHURN} AND customers.name = 'nobody'"
        label_table(con, "shop", schema, Task.from_line(line, "none").resolved(schema), "train")
    assert "no row of customers is asked about at any of the train timestamps" in str(caught.value)


def test_task_shows_the_labels_and_the_query_of_a_line(file: Path) -> None:
    before = file.read_bytes()
    shown = run("task", file, CHURN, "--show-sql")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("WITH\n-- customers at each timestamp\nseeds AS (")
    assert "-- COUNT(orders.*, 0, 30, days)\nnext_1 AS (" in shown.stdout
    labels = run("task", file, CHURN)
    assert labels.exit_code == 0
    assert "task line: binary_classification of customers(customer_id), 30 days ahead" in labels.stdout
    assert shown.stdout.strip() in labels.stdout
    refused = run("task", file, CHURN.replace("days", "dayz"))
    assert refused.exit_code == 1 and len(refused.stderr.splitlines()) == 1
    assert file.read_bytes() == before


def test_init_stores_a_manifest_with_a_line_and_train_takes_it(file: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "churn.yaml"
    manifest.write_text(yaml.safe_dump({"name": "churn", "predict": CHURN, "description": "Gone?"}), encoding="utf-8")
    stored = run("init", file, "--task", manifest)
    assert stored.exit_code == 0, stored.output
    with duckdb.connect(str(file)) as con:
        task = read_task(con, "shop", "churn")
        assert task.predict == CHURN and "next_1" in task.sql and task.description == "Gone?"
    manifest.write_text(yaml.safe_dump({"name": "other", "predict": CHURN.replace("orders.", "odrers.")}))
    refused = run("init", file, "--task", manifest)
    assert refused.exit_code == 1 and "did you mean 'orders'?" in refused.stderr


def test_a_line_is_trained_and_scored(file: Path) -> None:
    import relsql
    from tests.shop import QUICK

    with duckdb.connect(str(file)) as con:
        model = relsql.train(con, CHURN, name="gone", options=QUICK)
        assert model.task == "gone"
        relsql.attach(con)
        scores = con.execute("SELECT predict_gone(customer_id) FROM customers").fetchall()
        assert len(scores) == 60 and all(0 <= score <= 1 for (score,) in scores)
        assert relsql.train(con, CHURN, name="gone", options=QUICK).reused
        with pytest.raises(RelsqlError, match="no unit 'dys'"):
            relsql.train(con, CHURN.replace("days", "dys"), name="gone")
