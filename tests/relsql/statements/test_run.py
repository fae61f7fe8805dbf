"""What the statements about models do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import relsql
from relsql.errors import DatabaseError, ModelError, TaskError, TrainingError
from relsql.statements.sql import sql
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from tests.shop import QUICK, create_shop

LINE = "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id"
OPTIONS = "WITH (encoder_steps = 2, fanout = 4, channels = 16, epochs = 1, threads = 1, trees = FALSE)"


class Trainer:
    """Trains small models, and counts them."""

    def __init__(self) -> None:
        self.trained: list[tuple[str, TrainOptions]] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, task: Task, name: str, options: TrainOptions) -> object:
        self.trained.append((name, options))
        return relsql.train(con, task, name=name, options=QUICK)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop in which CREATE MODEL has trained `churn`."""
    path = tmp_path_factory.mktemp("statements") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        created = rows(con, f"CREATE MODEL churn AS {LINE} {OPTIONS}")
        assert [row[:4] for row in created] == [("churn", 1, "active", "predict_churn")]
        assert con.sql("SELECT count(predict_churn(customer_id)) FROM customers").fetchall() == [(60,)]
    return path


@pytest.fixture
def con(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(file)) as con:
        yield con


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


def rows(con: duckdb.DuckDBPyConnection, text: str, trainer: Trainer | None = None) -> list[tuple[object, ...]]:
    found = sql(con, text, trainer=trainer)
    assert found is not None
    return found.fetchall()


def test_models_are_shown_and_described(con: duckdb.DuckDBPyConnection) -> None:
    [shown] = rows(con, "SHOW MODELS")
    assert shown[:7] == ("churn", 1, "active", "predict_churn", "churn", "probability", "val_roc_auc")
    described = dict(rows(con, "DESCRIBE MODEL churn@1"))
    assert described["question"] == LINE and described["entity"] == "customers(customer_id)"
    with pytest.raises(ModelError, match="model 'churm' does not exist.*churn"):
        rows(con, "DESCRIBE MODEL churm")


def test_a_question_is_answered_by_the_model_that_there_is(con: duckdb.DuckDBPyConnection, trainer: Trainer) -> None:
    spelled = "predict count( orders.* ,0,30, DAYS ) = 0\n for each customers.customer_id -- again\n;"
    scores = rows(con, spelled, trainer)
    assert len(scores) == 60 and trainer.trained == []
    assert scores == con.sql("FROM predict_churn_batch()").fetchall()


def test_a_model_is_not_replaced_unawares(con: duckdb.DuckDBPyConnection, trainer: Trainer) -> None:
    with pytest.raises(ModelError, match="'churn' exists already.*Fix: CREATE OR REPLACE MODEL churn"):
        rows(con, f"CREATE MODEL Churn AS {LINE}", trainer)
    [kept] = rows(con, f"CREATE MODEL IF NOT EXISTS churn AS {LINE} WITH (seed = 5)", trainer)
    assert kept[:2] == ("churn", 1) and trainer.trained == []


def test_a_new_question_is_trained_once_and_a_model_is_dropped(file: Path, tmp_path: Path, trainer: Trainer) -> None:
    path = tmp_path / "copy.duckdb"
    path.write_bytes(file.read_bytes())
    question = "PREDICT SUM(orders.amount, 0, 30, days) FOR EACH customers.customer_id WITH (seed = 3, target = 'mean')"
    with duckdb.connect(str(path)) as con:
        first, second = rows(con, question, trainer), rows(con, question, trainer)
        assert first == second and len(first) == 60
        [(name, options)] = trainer.trained
        assert options.seed == 3 and name.startswith("question_")
        assert dict(rows(con, f"DESCRIBE MODEL {name}"))["predicts"] == "mean"
        assert rows(con, f"DROP MODEL {name}; SHOW MODELS")[0][:2] == ("churn", 1)
        assert rows(con, "DROP MODEL IF EXISTS nothing") == []
        with pytest.raises(ModelError, match="'nothing' does not exist"):
            rows(con, "DROP MODEL nothing")
        [replaced] = rows(con, f"CREATE OR REPLACE MODEL churn AS {LINE} WITH (seed = 4)", trainer)
        assert replaced[:3] == ("churn", 2, "active")


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ("epoch = 1", TaskError, "option 'epoch', which does not exist.*did you mean 'epochs'"),
        ("epochs = 0", TrainingError, "the training option epochs is 0. Expected: int >= 1"),
        ("epochs = 'many'", TrainingError, "the training option epochs is 'many'. Expected: int"),
        ("regime = 'live'", TaskError, "there is no regime 'live'"),
        ("test_timestamp = 'soon'", TaskError, "test_timestamp 'soon' is not a timestamp"),
        ("visible = 1", TaskError, "has visible 1"),
    ],
)
def test_options_are_checked_before_anything_is_trained(
    con: duckdb.DuckDBPyConnection, trainer: Trainer, said: str, error: type[Exception], message: str
) -> None:
    for statement in (f"CREATE MODEL other AS {LINE}", LINE):
        with pytest.raises(error, match=message):
            rows(con, f"{statement} WITH ({said})", trainer)
    assert trainer.trained == []


def test_a_file_that_is_read_only_answers_what_it_knows(file: Path) -> None:
    with duckdb.connect(str(file), read_only=True) as con:
        assert len(rows(con, LINE)) == 60 and len(rows(con, "SHOW MODELS")) == 1
        for statement in (f"CREATE OR REPLACE MODEL churn AS {LINE}", "DROP MODEL churn"):
            with pytest.raises(DatabaseError, match="read-only"):
                rows(con, statement)


def test_statements_of_both_kinds_run_in_order(con: duckdb.DuckDBPyConnection) -> None:
    text = "CREATE TEMP TABLE t AS SELECT ';' AS s; SHOW MODELS; SELECT s FROM t -- the last one; has no end"
    assert rows(con, text) == [(";",)]
    assert sql(con, "-- nothing") is None


def test_models_are_not_created_or_dropped_within_a_transaction(
    con: duckdb.DuckDBPyConnection, trainer: Trainer
) -> None:
    con.execute("BEGIN")
    for statement in (f"CREATE OR REPLACE MODEL churn AS {LINE}", "DROP MODEL churn", f"{LINE} WITH (seed = 9)"):
        with pytest.raises(DatabaseError, match="a transaction is open, and .* would not be a part of it"):
            rows(con, statement, trainer)
    assert trainer.trained == [] and len(rows(con, "SHOW MODELS")) == 1
    con.execute("ROLLBACK")


def test_a_missing_version_is_dropped_if_it_exists(con: duckdb.DuckDBPyConnection) -> None:
    assert rows(con, "DROP MODEL IF EXISTS churn@7") == []


def test_a_model_with_other_options_does_not_answer_a_plain_line(file: Path, tmp_path: Path, trainer: Trainer) -> None:
    path = tmp_path / "copy.duckdb"
    path.write_bytes(file.read_bytes())
    line = "PREDICT SUM(orders.amount, 0, 30, days) FOR EACH customers.customer_id"
    with duckdb.connect(str(path)) as con:
        rows(con, f"CREATE MODEL most AS {line} WITH (target = 'quantile(0.9)')", trainer)
        rows(con, line, trainer)
    assert [name.partition("_")[0] for name, _ in trainer.trained] == ["most", "question"]
