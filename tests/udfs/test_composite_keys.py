"""An entity whose key has two columns scores like the same entity with a key of one, on every way to a score."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from relsql.backtests.backtest import backtest
from relsql.database.connections import transaction
from relsql.errors import TaskError
from relsql.evaluation.baseline import entity_columns_auc
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.leaks.leakcheck import leakcheck
from relsql.monitoring.outcomes import outcomes
from relsql.publishing.publish import publish
from relsql.schema.declared.declare import declare_table
from relsql.schema.reading import read_schema
from relsql.scoring.score_output import score_to
from relsql.scoring.score_table import score_into
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task
from tests.shop import TASK, train_quickly
from udfs.attach import attach, detach

BRANCH, NUMBER = "['a', 'it''s', 'ß'][1 + customer_id // 25]", "(customer_id % 25)::SMALLINT"
"""The two columns that replace a customer's id, in the same order."""

QUERY = """
    SELECT t.timestamp, a.branch, a."The number", (count(o.order_id) = 0)::BIGINT AS churned
    FROM timestamps t
    JOIN (SELECT DISTINCT timestamp, branch, "The number" FROM timestamps JOIN orders ON ordered_at <= timestamp) a
      ON a.timestamp = t.timestamp
    LEFT JOIN orders o ON o.branch = a.branch AND o."The number" = a."The number"
      AND o.ordered_at > t.timestamp AND o.ordered_at <= t.timestamp + INTERVAL '{timedelta}'
    GROUP BY ALL"""
SPLIT_TASK = replace(TASK, entity_col="branch, The number", sql=QUERY)


def create_split_shop(path: Path, single: Path) -> None:
    """Write a copy of the shop in which a customer has the key (branch, "The number")."""
    with duckdb.connect(str(path)) as con:
        con.execute(
            f"""
            ATTACH '{single}' AS single (READ_ONLY);
            CREATE TABLE shops (shop_id INTEGER PRIMARY KEY, city VARCHAR);
            INSERT INTO shops FROM single.shops;
            CREATE TABLE customers (
                branch VARCHAR, "The number" SMALLINT, name VARCHAR, born DATE,
                shop_id INTEGER REFERENCES shops (shop_id), PRIMARY KEY (branch, "The number"));
            INSERT INTO customers SELECT {BRANCH}, {NUMBER}, name, born, shop_id FROM single.customers;
            CREATE TABLE orders (
                order_id BIGINT PRIMARY KEY, branch VARCHAR, "The number" SMALLINT, amount DOUBLE, note VARCHAR,
                ordered_at TIMESTAMP, FOREIGN KEY (branch, "The number") REFERENCES customers (branch, "The number"));
            INSERT INTO orders SELECT order_id, {BRANCH}, {NUMBER}, amount, note, ordered_at FROM single.orders;
            DETACH single"""
        )
        with transaction(con):
            declare_table(con, path.stem, "orders", time_column="ordered_at")
            save_task(con, path.stem, SPLIT_TASK)


@pytest.fixture(scope="module")
def files(shop_with_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shop with keys of one and of two columns, each with a trained model `churn`."""
    folder = tmp_path_factory.mktemp("composite")
    single, split = folder / "single.duckdb", folder / "split.duckdb"
    shutil.copy(shop_with_model, single)
    create_split_shop(split, single)
    with duckdb.connect(str(split)) as con:
        train_quickly(con, "churn")
    return single, split


@pytest.fixture
def con(files: tuple[Path, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the file with two columns, and the other one as `single`."""
    single, split = files
    with duckdb.connect(str(split)) as connection:
        connection.execute(f"ATTACH '{single}' AS single (READ_ONLY)")
        yield connection
        connection.execute("DROP TABLE IF EXISTS risk")


def single_scores(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], float]:
    """What the model with a key of one column says, by the key of two."""
    con.execute("USE single")
    attach(con)
    rows = con.execute(f"SELECT {BRANCH}, {NUMBER}, score FROM predict_churn_batch()").fetchall()
    detach(con)
    con.execute("USE split")
    return {(branch, number): score for branch, number, score in rows}


def read(con: duckdb.DuckDBPyConnection, query: str) -> dict[tuple[str, int], float]:
    return {(branch, number): score for branch, number, score in con.execute(query).fetchall()}


def test_labels_and_baselines_are_those_of_the_single_key(files: tuple[Path, Path]) -> None:
    found = []
    for path, task in zip(files, (TASK, SPLIT_TASK), strict=True):
        with duckdb.connect(str(path)) as con:
            schema = read_schema(con, path.stem)
            labels = label_table(con, path.stem, schema, task, "train").table
            auc = entity_columns_auc(con, path.stem, schema, task, ("test",))["test"]
            found.append((labels.column("label").to_pylist(), labels.column("as_of").to_pylist(), auc))
    assert found[0] == found[1]
    assert len(found[0][0]) > 100


def test_every_way_to_a_score_gives_that_of_the_single_key(con: duckdb.DuckDBPyConnection) -> None:
    expected = single_scores(con)
    assert len(set(expected.values())) > 20
    calls = 'SELECT branch, "The number", {}(branch, "The number") FROM customers'
    attach(con)
    assert read(con, calls.format("predict_churn")) == pytest.approx(expected, abs=1e-6)
    assert read(con, 'SELECT branch, "The number", score FROM predict_churn_batch()') == pytest.approx(
        expected, abs=1e-6
    )
    score_into(con, "churn", "risk", chunk_rows=7, changed_only=True)
    assert read(con, 'SELECT branch, "The number", score FROM risk') == pytest.approx(expected, abs=1e-6)
    detach(con)
    publish(con, "churn")
    assert read(con, calls.format("predict_churn")) == pytest.approx(expected, abs=1e-5)
    batch = read(con, 'SELECT branch, "The number", score FROM predict_churn_batch()')
    assert batch == pytest.approx(expected, abs=1e-5)


def test_scores_of_a_file_are_ordered_by_the_whole_key(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows = score_to(con, "churn", str(tmp_path / "risk.parquet"))
    query = f"SELECT branch, \"The number\" FROM '{tmp_path / 'risk.parquet'}'"
    keys = con.execute(query).fetchall()
    assert rows == len(keys) > 50
    assert keys == sorted(keys)


def test_only_changed_entities_are_scored_again(con: duckdb.DuckDBPyConnection) -> None:
    score_into(con, "churn", "risk", changed_only=True)
    before = read(con, 'SELECT branch, "The number", score FROM risk')
    moment = con.execute("SELECT max(as_of) FROM risk").fetchall()[0][0]
    con.execute("BEGIN")
    con.execute("UPDATE orders SET amount = amount * 9 WHERE branch = 'it''s' AND \"The number\" = 3")
    con.execute("COMMIT")
    again = score_into(con, "churn", "risk", as_of=moment, changed_only=True)
    after = read(con, 'SELECT branch, "The number", score FROM risk')
    assert (again.scored, again.entities) == (1, len(before))
    assert {key for key in before if before[key] != after[key]} == {("it's", 3)}
    con.execute("UPDATE orders SET amount = amount / 9 WHERE branch = 'it''s' AND \"The number\" = 3")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("'a', 1.5", None),
        ("NULL, 1", None),
        ("'a', NULL", None),
        ("'nobody', 1", None),
        ("'a', 99999999", None),
    ],
)
def test_a_key_that_no_entity_has_is_null(con: duckdb.DuckDBPyConnection, call: str, expected: object) -> None:
    attach(con)
    assert con.execute(f"SELECT predict_churn({call})").fetchall() == [(expected,)]
    detach(con)


def test_a_part_of_another_type_is_an_error_that_names_it(con: duckdb.DuckDBPyConnection) -> None:
    attach(con)
    with pytest.raises(duckdb.Error, match="a value of type VARCHAR is not an id of customers.*The number, SMALLINT"):
        con.execute("SELECT predict_churn('a', 'x')").fetchall()
    with pytest.raises(duckdb.BinderException, match="predict_churn"):
        con.execute("SELECT predict_churn('a')").fetchall()
    detach(con)


def test_columns_of_the_label_query_may_be_in_any_order_if_their_names_say_which_they_are(
    files: tuple[Path, Path],
) -> None:
    fields = {"name": "x", "task_type": TASK.task_type, "entity_table": "customers", "target_col": "churned"}
    fields |= {"time_col": "timestamp", "timedelta": "30 days", "sql": QUERY}
    with duckdb.connect(str(files[1]), read_only=True) as con:
        schema = read_schema(con, "split")
        tables = []
        for columns in (["The number", "branch"], "branch, The number", '"The number" , "branch"'):
            task = Task.from_manifest({**fields, "entity_col": columns})
            tables.append(label_table(con, "split", schema, task, "train").table)
        assert tables[0].equals(tables[1])
        assert tables[0].equals(tables[2])
        with pytest.raises(TaskError, match="entity_col is 'branch', but the key of 'customers' has the columns"):
            label_table(con, "split", schema, Task.from_manifest({**fields, "entity_col": "branch"}), "train")


def test_explanations_are_those_of_the_single_key(con: duckdb.DuckDBPyConnection) -> None:
    columns = "round(contribution, 5), table_name, CASE WHEN table_name <> 'customers' THEN row_key END"
    query = f"SELECT {columns} FROM explain_churn({{}}, top := NULL) ORDER BY ALL"
    attach(con)
    found = con.execute(query.format("'it''s', 3")).fetchall()
    keys = con.execute("SELECT DISTINCT branch, \"The number\" FROM explain_churn('it''s', 3)").fetchall()
    detach(con)
    con.execute("USE single")
    attach(con)
    expected = con.execute(query.format("28")).fetchall()
    detach(con)
    con.execute("USE split")
    assert keys == [("it's", 3)]
    assert [row[1:] for row in found] == [row[1:] for row in expected] and len(found) > 5


def test_outcomes_of_kept_scores_are_those_of_the_single_key(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = []
    for path in files:
        with duckdb.connect(str(shutil.copy(path, tmp_path / path.name))) as con:
            score_into(con, "churn", "risk", as_of=datetime.datetime(2022, 11, 5), keep_history=True, chunk_rows=7)
            whole = outcomes(con, "churn").outcomes[0]
            found.append((whole.labels, whole.mean_label, whole.unlabelled, whole.value))
    assert found[0] == pytest.approx(found[1], abs=1e-6) and found[0][0] == 60


def test_metrics_are_those_of_the_key_of_one_column(files: tuple[Path, Path]) -> None:
    found = []
    for path in files:
        with duckdb.connect(str(path)) as con:
            found.append(evaluate(con, "churn", "val").metrics)
            assert leakcheck(con, "churn", seeds=20).clean
    assert found[0].keys() == found[1].keys()
    assert all(found[1][name] == pytest.approx(value, abs=1e-5) for name, value in found[0].items())


def test_a_backtest_scores_keys_of_two_columns(files: tuple[Path, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copy(files[1], tmp_path / "split.duckdb"))
    with duckdb.connect(str(copy)) as con:
        [row] = backtest(con, "churn", cutoffs=1, model="churn", baselines=False).rows
        assert row.labels == 60
