"""When two requests for a model are the same, and that the same model is not trained twice."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.database.names import current_catalog
from relsql.errors import DatabaseError
from relsql.registry.models import find_model, read_models
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.tasks.task import Task
from relsql.training import fingerprint
from relsql.training.fingerprint import label_text, training_fingerprint, training_sources
from relsql.training.options import TrainOptions
from relsql.training.pretraining.weights import write_weights
from relsql.training.train import train
from tests.odd_data import store_bare_weights
from tests.relsql.training.pretraining.sources import weights
from tests.shop import QUICK, SPEND_TASK, TASK, contents, create_shop, train_quickly

Connection = duckdb.DuckDBPyConnection
ROOT = Path(__file__).parents[3]

FIRST_ORDER = "(SELECT min(order_id) FROM orders WHERE note IS NOT NULL)"
CHANGES = {
    "one value": f"UPDATE orders SET amount = amount + 0.01 WHERE order_id = {FIRST_ORDER}",
    "a value that is gone": f"UPDATE orders SET note = NULL WHERE order_id = {FIRST_ORDER}",
    "one row more": "INSERT INTO shops VALUES (9, 'Oulu')",
    "one row less": f"DELETE FROM orders WHERE order_id = {FIRST_ORDER}",
    "values swapped": "UPDATE shops SET city = CASE shop_id WHEN 1 THEN 'Gent' ELSE 'Ulm' END WHERE shop_id < 3",
    "a column": "ALTER TABLE shops ADD COLUMN area DOUBLE",
    "a type": "ALTER TABLE orders ALTER amount TYPE FLOAT",
    "a table that is linked": "CREATE TABLE visits (id INTEGER, customer_id BIGINT REFERENCES customers (customer_id))",
}
NO_CHANGES = {
    "the order of rows": "CREATE OR REPLACE TABLE orders AS FROM orders ORDER BY hash(order_id)",
    "scores": "CREATE TABLE risk AS SELECT customer_id, 0.5 AS score FROM customers",
    "a view": "CREATE VIEW big AS FROM orders WHERE amount > 50",
    "an update to the same": "UPDATE orders SET amount = amount",
}


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        # Without constraints, a table can be written anew in another order.
        con.execute("CREATE OR REPLACE TABLE orders AS FROM orders")
        catalog = current_catalog(con)
        declare_table(con, catalog, "orders", primary_key=("order_id",), time_column="ordered_at")
        declare_link(con, catalog, parse_link("orders(customer_id) -> customers(customer_id)"))
    return path


@pytest.fixture
def con(untrained: Path, tmp_path: Path) -> Iterator[Connection]:
    with duckdb.connect(shutil.copy(untrained, tmp_path / "shop.duckdb")) as con:
        yield con


def sha256(con: Connection, task: Task = TASK, options: TrainOptions = QUICK) -> str:
    return training_fingerprint(con, current_catalog(con), task, options).sha256


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_a_request(con: Connection, change: str) -> None:
    before = sha256(con)
    con.execute(CHANGES[change])
    assert sha256(con) != before


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_leaves_a_request_alone(con: Connection, change: str) -> None:
    before = sha256(con)
    con.execute(NO_CHANGES[change])
    assert sha256(con) == before


def test_declarations_change_a_request(con: Connection) -> None:
    found = [sha256(con)]
    con.execute("CREATE TABLE visits (visit_id INTEGER, customer_id BIGINT, seen TIMESTAMP)")
    assert sha256(con) == found[0]
    catalog = current_catalog(con)
    for declare in (
        lambda: declare_link(con, catalog, parse_link("visits(customer_id) -> customers(customer_id)")),
        lambda: declare_table(con, catalog, "visits", primary_key=("visit_id",)),
        lambda: declare_table(con, catalog, "visits", time_column="seen"),
    ):
        declare()
        found.append(sha256(con))
    assert len(set(found)) == 4


def test_a_table_that_only_bounds_the_time_of_labels_counts(con: Connection) -> None:
    con.execute("CREATE TABLE log (seen TIMESTAMP)")
    declare_table(con, current_catalog(con), "log", time_column="seen")
    before = sha256(con)
    con.execute("INSERT INTO log VALUES ('2020-01-01')")
    assert sha256(con) != before


@pytest.mark.parametrize(
    "relation", ["holidays", '"Holi""days"', "staging.holidays", "through_view", "through_macro()", "THROUGH_BOTH"]
)
def test_what_the_label_query_reads_counts(con: Connection, relation: str) -> None:
    con.execute(
        """
        CREATE SCHEMA staging;
        CREATE TABLE holidays (day DATE);
        CREATE TABLE "Holi""days" (day DATE);
        CREATE TABLE staging.holidays (day DATE);
        CREATE VIEW through_view AS FROM holidays;
        CREATE MACRO through_macro() AS TABLE FROM holidays;
        CREATE VIEW through_both AS FROM through_macro();
        """
    )
    task = replace(TASK, sql=TASK.sql.replace("GROUP BY", f"WHERE (SELECT count(*) FROM {relation}) >= 0 GROUP BY"))
    before, unnamed = sha256(con, task), sha256(con)
    for table in ("holidays", '"Holi""days"', "staging.holidays"):
        con.execute(f"INSERT INTO {table} VALUES ('2022-01-01')")
    assert sha256(con, task) != before
    assert sha256(con) == unnamed


def test_the_definition_of_a_view_counts(con: Connection) -> None:
    con.execute("CREATE VIEW chosen AS FROM orders WHERE amount > 10")
    task = replace(TASK, sql=TASK.sql.replace("JOIN orders", "JOIN chosen"))
    before = sha256(con, task)
    con.execute("CREATE OR REPLACE VIEW chosen AS FROM orders WHERE amount > 20")
    assert sha256(con, task) != before
    assert "amount > 20" in label_text(con, current_catalog(con), task)


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(TrainOptions)])
def test_every_option_but_threads_counts(con: Connection, name: str, tmp_path: Path) -> None:
    value: Any = getattr(QUICK, name)
    if name == "pretrained":
        write_weights(tmp_path / "weightsx", weights({}, QUICK.channels))
        value = str(tmp_path / "weights")
    other: Any = f"{value}x" if isinstance(value, str) else 1 + (value or 0)
    valid = {"regime": "frozen", "learning_rate": QUICK.learning_rate / 2, "coverage": 0.8}
    other = valid.get(name, other)
    other = not value if isinstance(value, bool) else other
    assert (sha256(con, options=replace(QUICK, **{name: other})) == sha256(con)) == (name == "threads")


def test_the_task_counts_but_for_its_description(con: Connection) -> None:
    assert sha256(con, replace(TASK, description="who leaves")) == sha256(con)
    others = [{"sql": TASK.sql + " "}, {"timedelta": "31 days"}, {"num_eval_timestamps": 2}, {"val_timestamp": None}]
    found = {sha256(con, replace(TASK, **other)) for other in [{}, *others, {"remove_columns": (("orders", "note"),)}]}
    assert len(found) == 6
    targets = [replace(SPEND_TASK, target=target) for target in ("mean", "median", "quantile(0.9)")]
    assert len({sha256(con, task) for task in targets}) == 3 and sha256(con, targets[1]) == sha256(con, SPEND_TASK)


def test_the_files_of_a_pretrained_encoder_count(con: Connection, tmp_path: Path) -> None:
    folder = tmp_path / "bart"
    folder.mkdir()
    options = replace(QUICK, encoder=str(folder))
    found = {sha256(con, options=options)}
    for content in (b"weights", b"Weights"):
        (folder / "model").write_bytes(content)
        found.add(sha256(con, options=options))
    shutil.copytree(folder, tmp_path / "copy")
    (folder / "model").rename(folder / "other")
    found.add(sha256(con, options=options))
    assert len(found) == 4


def test_the_code_counts(con: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sha256(con)
    monkeypatch.setattr(fingerprint, "_code_digest", lambda: "another relsql")
    assert sha256(con) != before


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages."""
    folder = tmp_path_factory.mktemp("code")
    for package in ("relsql", "udfs", "exporters"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def code_digest(code: Path) -> str:
    command = "from relsql.training.fingerprint import _code_digest; print(_code_digest())"
    return subprocess.run([sys.executable, "-c", command], cwd=code, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("relsql/gather/sql/ranking.py", True),
        ("relsql/text/row_text.py", True),
        ("relsql/tasks/labels/label_table.py", True),
        ("relsql/nn/head.py", True),
        ("relsql/training/fitting/loop.py", True),
        ("exporters/onnx/export.py", True),
        ("relsql/evaluation/screening.py", True),
        ("relsql/database/queries/sealed.py", True),
        ("relsql/evaluation/leaks/leakcheck.py", False),
        ("relsql/integrations/server.py", False),
        ("relsql/shell/prompt.py", False),
        ("relsql/cli/output.py", False),
        ("relsql/schema/discovery/propose.py", False),
    ],
)
def test_an_edit_retrains_only_where_it_can_change_a_model(code: Path, file: str, counts: bool) -> None:
    before = code_digest(code)
    with (code / file).open("a", encoding="utf-8") as source:
        source.write("# an edit\n")
    assert (code_digest(code) != before) == counts


ONLY_REPORTED = {"copied_labels", "plain_baselines"}
"""Modules of evaluation whose results training prints and records, but does not use."""


def test_what_training_takes_from_evaluation_counts() -> None:
    covered = {name for _, name in training_sources()}
    used = {
        found.replace(".", "/")
        for path in (ROOT / "relsql/training").rglob("*.py")
        for found in re.findall(r"from relsql\.(evaluation[\w.]*) import", path.read_text(encoding="utf-8"))
    }
    assert used
    assert {f"relsql/{each}.py" for each in used if Path(each).name not in ONLY_REPORTED} <= covered


VALUES = st.one_of(st.none(), st.integers(-3, 3))
ROWS = st.lists(st.tuples(VALUES, st.one_of(st.none(), st.sampled_from(["", "a", "it's"]))), max_size=6)


@settings(max_examples=20, deadline=None)
@given(first=ROWS, second=ROWS, threads=st.sampled_from([1, 4]))
def test_requests_are_equal_where_rows_are(
    first: list[tuple[Any, Any]], second: list[tuple[Any, Any]], threads: int
) -> None:
    found = []
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute('CREATE TABLE "r" ("r" INTEGER, "h" VARCHAR)')
        for rows in (first, second, sorted(first, key=repr)):
            con.execute("DELETE FROM r")
            for row in rows:
                con.execute("INSERT INTO r VALUES (?, ?)", row)
            found.append(sha256(con, replace(TASK, entity_table="r", entity_col="r")))
    assert found[2] == found[0]
    assert (found[1] == found[0]) == (sorted(first, key=repr) == sorted(second, key=repr))


# Training


@pytest.fixture(scope="module")
def trained(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with a model that holds bare weights, which are enough to find it again."""
    path = Path(shutil.copy(untrained, tmp_path_factory.mktemp("trained") / "shop.duckdb"))
    with pytest.MonkeyPatch.context() as monkeypatch, duckdb.connect(str(path)) as con:
        store_bare_weights(monkeypatch)
        train_quickly(con, "churn")
    return path


@pytest.fixture
def bare(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A copy of the shop, in which training also stores bare weights."""
    store_bare_weights(monkeypatch)
    with duckdb.connect(shutil.copy(trained, tmp_path / "shop.duckdb")) as con:
        yield con


def versions(con: Connection) -> list[tuple[str, int, str]]:
    return [(model.name, model.version, model.status) for model in read_models(con, current_catalog(con))]


def test_training_the_same_again_writes_nothing_and_loads_no_torch(shop: Path) -> None:
    with duckdb.connect(str(shop), read_only=True) as con:
        before = contents(con)
    script = f"""
import sys, duckdb, relsql
from relsql.training.options import TrainOptions
con = duckdb.connect({str(shop)!r}, read_only=True)
model = relsql.train(con, "customer-churn", name="churn", options=TrainOptions(**{dataclasses.asdict(QUICK)!r}))
print(model.name, model.version, model.task, model.reused, *model.phases, model.network, "torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "churn 1 customer-churn True data None False\n"
    with duckdb.connect(str(shop), read_only=True) as con:
        assert contents(con) == before


def test_a_change_trains_and_its_undoing_brings_the_earlier_version_back(bare: Connection) -> None:
    first = find_model(bare, current_catalog(bare), "churn")
    bare.execute("UPDATE shops SET city = 'Oulu' WHERE shop_id = 3")
    second = train_quickly(bare, "churn")
    assert (second.version, second.reused) == (2, False) and second.network is not None
    assert versions(bare) == [("churn", 1, "retired"), ("churn", 2, "active")]
    bare.execute("UPDATE shops SET city = 'Turku' WHERE shop_id = 3")
    again = train_quickly(bare, "churn")
    assert (again.version, again.reused, again.metrics) == (1, True, first.metrics)
    assert versions(bare) == [("churn", 1, "active"), ("churn", 2, "retired")]
    activated = [model.activated for model in read_models(bare, current_catalog(bare))]
    assert activated[0] > activated[1] > first.activated


def test_another_name_is_another_model(bare: Connection) -> None:
    assert not train_quickly(bare, "other").reused
    assert versions(bare) == [("churn", 1, "active"), ("other", 1, "active")]


def test_force_trains_the_same_and_the_newest_is_found(bare: Connection) -> None:
    forced = train_quickly(bare, "churn", force=True)
    assert (forced.version, forced.reused) == (2, False)
    assert train_quickly(bare, "churn").version == 2


DAMAGES = ("DELETE FROM relsql.artifacts WHERE name = 'head.onnx'", "UPDATE relsql.models SET card = '{'")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_version_is_trained_again(bare: Connection, damage: str) -> None:
    bare.execute(damage)
    assert train_quickly(bare, "churn").version == 2


def test_a_model_of_an_earlier_build_is_trained_again(bare: Connection) -> None:
    for column in ("activated", "request"):
        bare.execute(f"ALTER TABLE relsql.models DROP COLUMN {column}")
    [old] = read_models(bare, current_catalog(bare))
    assert (old.activated, old.request, old.status) == (None, None, "active")
    assert train_quickly(bare, "churn").version == 2
    assert [model.request is None for model in read_models(bare, current_catalog(bare))] == [True, False]
    assert train_quickly(bare, "churn").reused


def test_a_model_whose_rows_changed_during_training_is_not_reused(
    con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_bare_weights(monkeypatch)

    def change(phase: str, fraction: float, metrics: dict[str, float]) -> None:
        if (phase, fraction) == ("labels", 1.0):
            con.execute("INSERT INTO shops VALUES (9, 'Oulu')")

    train(con, "customer-churn", name="churn", options=QUICK, progress=change)
    assert find_model(con, current_catalog(con), "churn").request is None
    assert not train_quickly(con, "churn").reused


def test_a_retired_version_cannot_be_brought_back_in_a_read_only_file(bare: Connection, tmp_path: Path) -> None:
    train_quickly(bare, "churn", force=True)
    bare.execute("UPDATE relsql.models SET request = 'another' WHERE version = 2")
    bare.close()
    with duckdb.connect(str(tmp_path / "shop.duckdb"), read_only=True) as con:
        with pytest.raises(DatabaseError, match="read-only"):
            train_quickly(con, "churn")
        assert versions(con) == [("churn", 1, "retired"), ("churn", 2, "active")]
