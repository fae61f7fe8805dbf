"""Forecasts in steps from a line to plain SQL: one model for all windows, the same values wherever it is called."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from relsql.backtests.backtest import backtest
from relsql.bundles.export_model import export_model
from relsql.bundles.import_model import import_model
from relsql.cli import cli
from relsql.database.connections import open_database
from relsql.errors import RelsqlError, TaskError
from relsql.evaluation.evaluate import evaluate
from relsql.evaluation.explanations.importance import importance
from relsql.evaluation.leaks.leakcheck import leakcheck
from relsql.evaluation.predictions import predict_split
from relsql.evaluation.step_forecasts import step_metrics
from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.reading import read_schema
from relsql.scoring.score_table import score_into
from relsql.tasks.kinds.steps import step_values
from relsql.tasks.labels.label_table import label_table, labels_at
from relsql.tasks.task import Task
from relsql.training.train import train
from tests.shop import CUSTOMERS, QUICK, SPEND_TASK, create_shop
from udfs.attach import attach

Connection = duckdb.DuckDBPyConnection
STEPS = 3
LINE = f"PREDICT SUM(orders.amount, 0, 1, month) FORECAST {STEPS} TIMEFRAMES FOR EACH customers.customer_id"
SCORES = "SELECT customer_id, step, window_start, window_end, score, status FROM {} ORDER BY customer_id, step"


def create(path: Path) -> None:
    """A shop whose orders have a column with the name of the argument for a window."""
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        con.execute("ALTER TABLE orders ADD COLUMN step DOUBLE DEFAULT 2")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps") / "shop.duckdb"
    create(path)
    with duckdb.connect(str(path)) as con:
        train(con, LINE, name="spend", options=QUICK)
    return path


@pytest.fixture
def con(path: Path) -> Iterator[Connection]:
    with duckdb.connect(str(path)) as con:
        attach(con)
        yield con


def test_a_call_chooses_a_window_and_the_batch_has_a_row_for_each(con: Connection) -> None:
    full, first, third, none = con.execute(
        """SELECT predict_spend_full(3).score, predict_spend(3), predict_spend(3, step := 3),
               predict_spend(3, step := NULL)"""
    ).fetchall()[0]
    assert len(full) == STEPS and first == pytest.approx(full[0]) and third == pytest.approx(full[2]) and none is None
    as_of = datetime.datetime(2022, 10, 31)
    rows = con.execute(SCORES.format(f"predict_spend_batch(as_of := TIMESTAMP '{as_of}')")).fetchall()
    assert len(rows) == CUSTOMERS * STEPS
    windows = [(row[1], row[2], row[3]) for row in rows[:STEPS]]
    ends = [as_of, datetime.datetime(2022, 11, 30), datetime.datetime(2022, 12, 31), datetime.datetime(2023, 1, 31)]
    assert windows == [(step, ends[step - 1], ends[step]) for step in (1, 2, 3)]
    called = "SELECT predict_spend(?, as_of := ?, step := step) FROM range(1, 4) s(step) ORDER BY step"
    assert [value for (value,) in con.execute(called, [7, as_of]).fetchall()] == pytest.approx(
        [row[4] for row in rows if row[0] == 7], rel=1e-5
    )
    unknown = con.execute("SELECT predict_spend(-1), predict_spend_full(-1)").fetchall()[0]
    assert unknown[0] is None and unknown[1]["score"] is None and unknown[1]["status"] == "unknown_entity"


@pytest.mark.parametrize("step", ["0", "4", "-1", "1.5"])
def test_a_window_that_is_not_there_is_an_error(con: Connection, step: str) -> None:
    with pytest.raises(
        duckdb.Error, match=f"{step} is not a step of this forecast. Expected: a whole number from 1 to 3"
    ):
        con.execute(f"SELECT predict_spend(3, step := {step})")


def test_plain_sql_a_batch_job_and_another_file_give_the_same(path: Path, con: Connection, tmp_path: Path) -> None:
    expected = con.execute(SCORES.format("predict_spend_batch()")).fetchall()
    job = score_into(con, "spend", "monthly", chunk_rows=25, changed_only=True)
    tables = [con.execute(SCORES.format("monthly")).fetchall()]
    assert job.finished and score_into(con, "spend", "monthly", chunk_rows=25, changed_only=True).scored == 0
    export_model(con, "spend", tmp_path / "bundle")
    create(tmp_path / "other.duckdb")
    with open_database(tmp_path / "other.duckdb") as other:
        import_model(other, tmp_path / "bundle")
        attach(other)
        tables.append(other.execute(SCORES.format("predict_spend_batch()")).fetchall())
    con.close()
    with duckdb.connect(str(path)) as plain:
        published = publish(plain, "spend")
        assert published.parity is not None and published.parity.largest <= 1e-5
    with duckdb.connect(str(path), config={"threads": 2}) as plain:
        tables.append(plain.execute(SCORES.format("predict_spend_batch()")).fetchall())
        [[full, second]] = plain.execute("SELECT predict_spend_full(3).score, predict_spend(3, step := 2)").fetchall()
        assert second == pytest.approx(full[1])
        with pytest.raises(duckdb.Error, match="4 is not a step of this forecast"):
            plain.execute("SELECT predict_spend(3, step := 4)")
    for found in tables:
        assert [(*row[:4], row[5]) for row in found] == [(*row[:4], row[5]) for row in expected]
        np.testing.assert_allclose([row[4] for row in found], [row[4] for row in expected], rtol=1e-5, atol=1e-4)


def test_rows_after_as_of_change_no_window(con: Connection) -> None:
    moment = datetime.datetime(2022, 6, 1)
    query = SCORES.format(f"predict_spend_batch(as_of := TIMESTAMP '{moment}')")
    con.execute("BEGIN")
    before = con.execute(query).fetchall()
    con.execute(f"DELETE FROM orders WHERE ordered_at > TIMESTAMP '{moment}'")
    assert con.execute(query).fetchall() == before
    con.execute("ROLLBACK")


def test_evaluation_is_by_step_beside_baselines(con: Connection) -> None:
    found = evaluate(con, "spend", "test")
    names = ["mae", "rmse", "mase", "mean_label", "mean_score"]
    assert list(found.metrics) == [*names, "mae_1", "mae_2", "mae_3", "mase_1", "mase_2", "mase_3"]
    assert found.baselines.keys() == {"last value", "last horizon", "training labels"}
    assert found.intervals["mae_2"][0] < found.metrics["mae_2"] < found.intervals["mae_2"][1]
    predictions = predict_split(con, "spend", "test")
    error = np.abs(predictions.scores - predictions.labels)
    assert found.metrics["mae_3"] == pytest.approx(error[:, 2].mean())
    # The window before as_of, by the labels of one horizon earlier, and by a query of its own.
    own = """SELECT avg(abs(b - coalesce((SELECT sum(amount) FROM orders o WHERE o.customer_id = l.entity
                 AND o.ordered_at > l.as_of - INTERVAL '1 month' AND o.ordered_at <= l.as_of), 0)))
             FROM (SELECT entity, as_of, unnest(label) AS b FROM labels) l"""
    con.register("labels", predictions.seeds)
    assert found.baselines["last value"]["mae"] == pytest.approx(con.execute(own).fetchall()[0][0], rel=1e-9)


def test_mase_divides_by_the_change_from_window_to_window() -> None:
    labels, scores = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[2.0, 2.0], [2.0, 2.0]])
    task = dataclasses.replace(SPEND_TASK, steps=2)
    metrics = step_metrics(task, labels, scores, change=2.0)
    assert metrics["mae_1"] == 1.0 and metrics["mae_2"] == 1.5 and metrics["mae"] == 1.25
    assert metrics["mase_1"] == 0.5 and metrics["mase_2"] == 0.75 and metrics["mase"] == 0.625
    assert "mase" not in step_metrics(task, labels, scores, change=0.0)


def test_what_asks_for_one_number_is_refused(con: Connection) -> None:
    for query in ("FROM explain_spend(5)", "FROM explain_spend_batch(top := 3)"):
        with pytest.raises(duckdb.Error, match="predicts several windows, which are not explained"):
            con.execute(query)
    for refused in (
        lambda: importance(con, "spend"),
        lambda: leakcheck(con, "spend", quick=True),
        lambda: backtest(con, active_card(con, "shop", "spend").task),
        lambda: score_into(con, "spend", "history", keep_history=True),
    ):
        with pytest.raises(
            TaskError, match="forecasts 3 windows; .* does not support that. Expected: a forecast of one"
        ):
            refused()


def test_a_query_gives_the_labels_of_its_line(con: Connection) -> None:
    task, schema = active_card(con, "shop", "spend").task, read_schema(con, "shop")
    sql = """SELECT timestamp, customer_id, list(total ORDER BY step) AS spend FROM (
                 SELECT t.timestamp, c.customer_id, s.step, coalesce(sum(o.amount), 0) AS total
                 FROM timestamps t CROSS JOIN customers c CROSS JOIN range(1, 4) s(step)
                 LEFT JOIN orders o ON o.customer_id = c.customer_id
                     AND o.ordered_at > t.timestamp + (s.step - 1) * INTERVAL '1 month'
                     AND o.ordered_at <= t.timestamp + s.step * INTERVAL '1 month' GROUP BY ALL) GROUP BY ALL"""
    fields = {"steps": STEPS, "timedelta": "3 months", "sql": sql, "target_col": "spend"}
    times = {name: getattr(task, name) for name in ("val_timestamp", "test_timestamp")}
    query = Task.from_manifest(SPEND_TASK.to_manifest() | fields | times)
    for split in ("train", "val", "test"):
        mine, theirs = (label_table(con, "shop", schema, each, split).table for each in (task, query))  # type: ignore[arg-type]
        assert mine.num_rows and mine.drop("label").equals(theirs.drop("label"))
        # The order in which a sum adds is open.
        np.testing.assert_allclose(*(step_values(each.column("label")) for each in (mine, theirs)))
    last = label_table(con, "shop", schema, task, "train").table.column("as_of")[-1].as_py()
    assert task.val_timestamp is not None and last <= task.val_timestamp - datetime.timedelta(days=89)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("sum(o.amount)", "as DOUBLE. Expected: a list of 3 numbers"),
        ("[1, 2]", r"holds a list of 2 values. Expected: lists of 3 numbers"),
        ("['a', 'b', 'c']", "Expected: a list of 3 numbers"),
        ("[1, 2, 'nan'::DOUBLE]", "holds nan. Expected: finite numbers"),
        ("[1, 2, NULL]", "all train labels are NULL"),
    ],
)
def test_labels_that_are_no_windows_are_refused(con: Connection, label: str, message: str) -> None:
    sql = SPEND_TASK.sql.replace("coalesce(sum(o.amount), 0)", label)
    task = dataclasses.replace(SPEND_TASK, steps=STEPS, timedelta="90 days", sql=sql, val_timestamp=None)
    task = dataclasses.replace(task, test_timestamp=None)
    with pytest.raises(RelsqlError, match=message):
        train(con, task, name="other", options=QUICK)


def test_a_label_lacks_no_window(con: Connection) -> None:
    task = Task.from_line(LINE.replace("SUM", "AVG"), "mean").resolved(read_schema(con, "shop"))
    at = [datetime.datetime(2022, 3, 1)]
    found = labels_at(con, "shop", read_schema(con, "shop"), task, at, end=None, entities_until=None)
    count = """SELECT count(*) FROM (SELECT customer_id FROM orders WHERE ordered_at > TIMESTAMP '2022-03-01'
               AND ordered_at <= TIMESTAMP '2022-06-01' GROUP BY ALL HAVING count(DISTINCT month(ordered_at)) = 3)"""
    assert 0 < found.num_rows == con.execute(count).fetchall()[0][0]
    assert step_values(pa.chunked_array(found.column("label").chunks)).shape == (found.num_rows, STEPS)


def test_the_commands_show_steps(path: Path) -> None:
    def run(*arguments: str) -> str:
        found = CliRunner().invoke(cli, list(arguments))
        assert found.exit_code == 0, found.output
        return found.stdout

    shown = run("task", str(path), LINE)
    assert "in 3 steps" in shown and ", by step " in shown
    assert len(json.loads(run("task", str(path), LINE, "--json"))["splits"][0]["steps"]) == STEPS
    lines = run("score", str(path), "spend").splitlines()
    assert lines[0].startswith("customer_id,step,window_start,window_end,score") and len(lines) == 1 + STEPS * CUSTOMERS
    table = run("evaluate", str(path), "spend").splitlines()[0].split("  ")
    assert [name.strip() for name in table if name.strip()][-3:] == ["last value", "last horizon", "training labels"]
    assert "mae_3" in json.loads(run("evaluate", str(path), "spend", "--json"))["metrics"]
