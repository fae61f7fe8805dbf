"""Backtests: what is trained on, what is stored, what a stop leaves, and what is said about labels that were seen."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from relsql.backtests import backtest as module
from relsql.backtests.ahead import ahead_of_baselines
from relsql.backtests.backtest import DEFAULT_CUTOFFS, Backtest, backtest
from relsql.backtests.cutoffs import WINDOWS, Window, find_cutoffs
from relsql.backtests.store import BacktestRow, store_cutoff
from relsql.cli import cli
from relsql.cli.commands.trust import backtest as command_module
from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import Split
from relsql.tasks.task import Task
from tests.shop import QUICK, TASK, contents, create_shop

HORIZON = datetime.timedelta(days=30)
SCORES = "relsql.backtest_scores"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Backtest]:
    """A shop with a backtest that has trained at two cutoffs."""
    path = tmp_path_factory.mktemp("shop") / "shop.duckdb"
    create_shop(path)
    with duckdb.connect(str(path)) as con:
        before = contents(con)
        found = backtest(con, TASK, cutoffs=2, every="60 days", options=QUICK)
        after = contents(con)
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() == {"relsql.backtests", SCORES}
    return path, found


def test_each_cutoff_has_a_value_and_baselines_and_every_score_with_its_label(
    trained: tuple[Path, Backtest],
) -> None:
    path, found = trained
    assert len(found.rows) == 2 and not found.skipped and not found.seen
    with duckdb.connect(str(path)) as con:
        for row in found.rows:
            assert row.trained_until <= row.cutoff
            scored = con.execute(f"SELECT label, score FROM {SCORES} WHERE cutoff = ?", [row.cutoff]).fetchall()
            labels, scores = zip(*scored, strict=True)
            assert (row.labels, row.positives) == (len(labels), sum(labels))
            assert row.value == pytest.approx(roc_auc_score(labels, scores))
            assert row.low is not None and row.high is not None and row.value is not None
            assert row.low <= row.value <= row.high
            for value in (row.own_columns, row.single_column, row.entity_mean):
                assert value is not None and 0 <= value <= 1
    assert found.rows[1].cutoff - found.rows[0].cutoff == datetime.timedelta(days=60)
    assert str(found.ahead()).endswith("of 2 cutoffs")


def test_the_same_request_is_not_computed_again_and_a_change_of_the_data_is_noticed(
    trained: tuple[Path, Backtest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found = trained
    monkeypatch.setattr(module, "train", None)
    with duckdb.connect(str(shutil.copy(path, tmp_path / "shop.duckdb"))) as con:
        again = backtest(con, TASK, cutoffs=2, every="60 days", options=QUICK)
        assert again.reused == 2 and again.rows == found.rows
        con.execute("UPDATE orders SET amount = amount + 1 WHERE order_id = 5")
        with pytest.raises(TypeError, match="NoneType"):
            backtest(con, TASK, cutoffs=2, every="60 days", options=QUICK)


LINE = "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id"


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("asked", [TASK, Task.from_line(LINE, "line")], ids=["sql", "line"])
def test_no_window_of_a_known_label_reaches_past_the_cutoff(tmp_path: Path, window: Window, asked: Task) -> None:
    create_shop(tmp_path / "shop.duckdb")
    splits: tuple[Split, ...] = ("train", "val")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        schema = read_schema(con)
        asked = asked.resolved(schema)
        cutoffs = find_cutoffs(con, "shop", schema, asked, 5, "45 days")
        starts = []
        for cutoff in cutoffs.times:
            task = cutoffs.task_at(asked, cutoff, window)
            known = [
                t for split in splits for t in label_table(con, "shop", schema, task, split).table["as_of"].to_pylist()
            ]
            assert max(known) + HORIZON <= cutoff
            starts.append(min(known))
        assert (max(starts) - min(starts) > 2 * HORIZON) == (window == "sliding")


def test_labels_that_a_model_has_seen_are_marked_loudly(shop: Path) -> None:
    result = CliRunner().invoke(
        cli, ["backtest", str(shop), TASK.name, "--model", "churn", "--cutoffs", "6", "--no-baselines"]
    )
    assert result.exit_code == 0, result.stderr
    assert "seen" in result.stdout and "warning: " in result.stderr and "trained_until" in result.stderr
    with duckdb.connect(str(shop)) as con:
        rows = con.execute("SELECT cutoff < trained_until, seen, model FROM relsql.backtests").fetchall()
    assert {(True, True, "churn@1"), (False, False, "churn@1")} == set(rows)


def test_an_interruption_loses_one_cutoff_at_most(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[object]()

    def interrupted(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        store_cutoff(*arguments)  # type: ignore[arg-type]

    with duckdb.connect(str(shop)) as con:
        monkeypatch.setattr(module, "store_cutoff", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backtest(con, TASK, cutoffs=3, model="churn", baselines=False)
        assert con.execute("SELECT count(*) FROM relsql.backtests").fetchall() == [(1,)]
        monkeypatch.setattr(module, "store_cutoff", store_cutoff)
        again = backtest(con, TASK, cutoffs=3, model="churn", baselines=False)
        assert (len(again.rows), again.reused) == (3, 1)
        query = f"SELECT count(*), count(DISTINCT (cutoff, entity)) FROM {SCORES}"
        [(scores, distinct)] = con.execute(query).fetchall()
        assert scores == distinct == sum(row.labels for row in again.rows)


def test_the_command_has_the_defaults_of_the_function() -> None:
    assert command_module._DEFAULT_CUTOFFS == DEFAULT_CUTOFFS


@pytest.mark.parametrize("every", ["-5 days", "soon"])
def test_a_distance_that_is_none_is_refused(shop: Path, every: str) -> None:
    with duckdb.connect(str(shop)) as con, pytest.raises(TaskError, match="is not a length of time"):
        backtest(con, TASK, every=every, model="churn")


def test_the_advantage_is_over_the_baseline_that_is_best_on_average() -> None:
    moment = datetime.datetime(2022, 1, 1)

    def row(value: float, own: float, mean: float) -> BacktestRow:
        ends = ("t", None, moment, False, None, 1.0, moment)
        return BacktestRow("b", moment, "mae", value, None, None, 9, 9, own, None, mean, *ends)

    found = ahead_of_baselines([row(1.0, 2.0, 9.0), row(2.0, 2.5, 2.0), row(3.0, 3.0, 9.0)])
    assert found is not None and (found.baseline, found.better, found.cutoffs) == ("own columns", 2, 3)
    assert found.mean == pytest.approx(0.5)
    assert found.low is not None and found.high is not None and 0 <= found.low < 0.5 < found.high <= 1


def test_a_backtest_without_any_result_is_an_error(tmp_path: Path) -> None:
    create_shop(tmp_path / "shop.duckdb")
    unknown = replace(TASK, sql=TASK.sql.replace("LEFT JOIN orders", "LEFT JOIN nowhere"))
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        before = contents(con)
        with pytest.raises(TaskError, match=r"reads 'nowhere', which is not a relation of the database\. Expected: "):
            backtest(con, unknown, cutoffs=2, options=QUICK)
        assert contents(con) == before
