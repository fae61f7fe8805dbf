"""The command line with models: train, evaluate, score, models, demo."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner, Result

from relsql.cli import cli
from relsql.cli.progress import PhaseProgress
from relsql.demo.league import create_league
from relsql.sql_text import literal
from relsql.tasks.stored_tasks import read_task
from relsql.tasks.task import Task

pytest.importorskip("torch")

Run = Callable[..., Result]


def invoke(*args: object) -> Result:
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="relsql")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def league(tmp_path: Path) -> Path:
    path = tmp_path / "league.duckdb"
    create_league(path, seasons=4)
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace training and attaching; the list receives the arguments of each training."""
    from relsql.nn.graph_network import GraphNetwork, NetworkConfig
    from relsql.nn.head import Head
    from relsql.training.train import TrainedModel
    from relsql.training.validation import Lead

    calls: list[dict[str, Any]] = []

    def train(
        con: object, task: Task, *, name: str, progress: Any, options: Any = None, force: bool = False, **limits: Any
    ) -> TrainedModel:
        assert limits == {"allow_external": False, "label_timeout_seconds": 3600}
        calls.append({"task": task, "name": name, "options": options, "force": force})
        progress("check", 0.0, {})
        progress("check", 1.0, {"tables": 7})
        progress("network", 0.0, {})
        progress("network", 0.5, {"loss": 0.51234})
        progress("network", 1.0, {"val_roc_auc": 0.71})
        scores = np.array([0.5], dtype=np.float32)
        metrics = {"val_roc_auc": 0.71239, "epochs": 2}
        network, head = GraphNetwork((), NetworkConfig()), Head(NetworkConfig(), classification=True)
        lead = Lead("entity's mean label", "roc_auc", 0.02, -0.01, 0.05, 566)
        return TrainedModel(name, 3, task.name, metrics, 12.3456, {"check": 0.1}, scores, network, head, lead=lead)

    def attach(con: object, *, database: str | None = None, models: Any = None) -> tuple[str, ...]:
        return tuple(f"predict_{name}" for name in models)

    monkeypatch.setattr("relsql.training.train.train", train)
    monkeypatch.setattr("relsql.cli.commands.training._check_quickly", lambda *_: None)
    monkeypatch.setattr("udfs.attach.attach", attach)
    return calls


def test_train_passes_only_the_options_given(league: Path, trained: list[dict[str, Any]]) -> None:
    from relsql.training.options import TrainOptions

    result = invoke(
        *("train", league, "driver-dnf", "--name", "dnf", "--seed", 4, "--encoder", "some/bart", "--epochs", 2),
        *("--fanout", 8, "--learning-rate", 0.01, "--encoder-steps", 0, "--coverage", 0.8),
    )
    assert result.exit_code == 0, result.stderr
    expected = TrainOptions(
        seed=4, encoder="some/bart", epochs=2, fanout=8, learning_rate=0.01, encoder_steps=0, coverage=0.8
    )
    assert (trained[0]["name"], trained[0]["task"].name, trained[0]["options"]) == ("dnf", "driver-dnf", expected)
    invoke("train", league, "driver-dnf", "--name", "dnf")
    assert trained[1]["options"] == TrainOptions()
    regime = ("--regime", "frozen", "--density", 2, "--no-refit", "--channels", 8, "--batch-size", 32, "--threads", 1)
    regime += ("--pretrained", "weights")
    assert invoke("train", league, "driver-dnf", "--name", "dnf", *regime).exit_code == 0
    expected = TrainOptions(
        pretrained="weights", regime="frozen", density=2, refit=False, channels=8, batch_size=32, threads=1
    )
    assert trained[2]["options"] == expected


@pytest.mark.parametrize("option", [("--regime", "frosen"), ("--density", 0), ("--epochs", 0)])
def test_wrong_options_stop_before_training(league: Path, trained: list[dict[str, Any]], option: tuple[object]) -> None:
    assert invoke("train", league, "driver-dnf", "--name", "dnf", *option).exit_code == 2 and trained == []


def test_train_prints_one_line_and_says_what_to_call(league: Path, trained: list[dict[str, Any]]) -> None:
    result = invoke("train", league, "driver-dnf", "--name", "dnf")
    assert result.stdout == "dnf\t3\tval_roc_auc=0.7124\tepochs=2\n"
    assert "functions: predict_dnf" in result.stderr and "version 3 on driver-dnf in 12 s" in result.stderr
    query = "SELECT driver_id, predict_dnf(driver_id) AS score FROM drivers ORDER BY score DESC LIMIT 10"
    assert f'try: relsql sql {league} "{query}"' in result.stderr
    lead = "ahead of the best baseline (entity's mean label) by 0.02 roc_auc on 566 validation labels"
    assert f"{lead}, 95% interval of the lead -0.01 .. 0.05: they do not show which of them is better" in result.stderr


def test_train_json(league: Path, trained: list[dict[str, Any]]) -> None:
    model = json.loads(invoke("train", league, "driver-dnf", "--name", "dnf", "--json").stdout)
    assert model["metrics"] == {"val_roc_auc": 0.71239, "epochs": 2}
    assert (model["name"], model["version"], model["functions"]) == ("dnf", 3, ["predict_dnf"])
    assert (model["lead"]["gain"], model["lead"]["low"]) == (0.02, -0.01)


def test_train_reports_each_phase_on_one_line_without_terminal(league: Path, trained: list[dict[str, Any]]) -> None:
    lines = invoke("train", league, "driver-dnf", "--name", "dnf").stderr.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["check", "network"]
    assert lines[0].endswith("tables 7") and lines[1].endswith("val_roc_auc 0.71")


def test_train_says_that_the_same_was_trained_already(
    league: Path, trained: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from relsql.training import train as training

    fresh = training.train
    monkeypatch.setattr(training, "train", lambda *args, **options: replace(fresh(*args, **options), reused=True))
    result = invoke("train", league, "driver-dnf", "--name", "dnf", "--force")
    assert result.stdout == "dnf\t3\tval_roc_auc=0.7124\tepochs=2\n"
    assert "already trained: model dnf version 3 on driver-dnf" in result.stderr
    assert json.loads(invoke("train", league, "driver-dnf", "--name", "dnf", "--json").stdout)["reused"]
    assert [call["force"] for call in trained] == [True, False]


def test_train_takes_a_manifest(league: Path, trained: list[dict[str, Any]], tmp_path: Path) -> None:
    with duckdb.connect(str(league), read_only=True) as con:
        manifest = read_task(con, "league", "driver-dnf").to_manifest() | {"name": "mine"}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(manifest))
    assert invoke("train", league, path, "--name", "m").exit_code == 0
    assert trained[0]["task"].name == "mine"


def test_train_names_the_tasks_that_exist(league: Path, trained: list[dict[str, Any]]) -> None:
    result = invoke("train", league, "driver-dfn", "--name", "m")
    assert result.exit_code == 1 and "did you mean 'driver-dnf'" in result.stderr and trained == []


def test_the_example_quotes_odd_names(tmp_path: Path, trained: list[dict[str, Any]]) -> None:
    path = tmp_path / "my shop.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute('CREATE SCHEMA "order"')
        con.execute('CREATE TABLE "order"."it\'s" ("Key Col" INTEGER PRIMARY KEY)')
    manifest = tmp_path / "t.yaml"
    fields = {"name": "t", "task_type": "regression", "entity_table": "order.it's", "entity_col": "Key Col"}
    fields |= {"target_col": "y", "time_col": "t", "timedelta": "1 day", "sql": "SELECT 1"}
    manifest.write_text(json.dumps(fields))
    result = invoke("train", path, manifest, "--name", "m")
    command = shlex.split(next(line for line in result.stderr.splitlines() if line.startswith("try: "))[5:])
    assert command[:3] == ["relsql", "sql", str(path)]
    source = '"order"."it\'s"'
    assert command[3] == (f'SELECT "Key Col", predict_m("Key Col") AS score FROM {source} ORDER BY score DESC LIMIT 10')


def test_an_interrupted_training_says_what_is_left(league: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relsql.training.train.train", interrupt)
    result = invoke("train", league, "driver-dnf", "--name", "dnf")
    assert result.exit_code == 130 and "no model was written" in result.stderr


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with PhaseProgress() as progress:
        progress("encoder", 0.0, {})
        progress("encoder", 0.5, {"loss": 2.5})
        progress("encoder", 1.0, {"loss": 2.0})
        progress("network", 0.0, {})
    shown = capsys.readouterr()
    assert shown.out == "" and "encoder" in shown.err and "|" in shown.err
    assert shown.err.count(" s  loss 2") == 1


# With a real model


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("demo") / "demo.duckdb"
    return path, invoke("demo", path, "--seasons", 4)


@pytest.mark.slow
def test_demo_prints_scores_and_accuracy(demo: tuple[Path, Result]) -> None:
    _, result = demo
    assert result.exit_code == 0, result.stderr
    scores, accuracy = result.stdout.split("\n\n")
    risks = [float(line.split()[1]) for line in scores.splitlines()[2:]]
    assert len(risks) == 10 and risks == sorted(risks, reverse=True) and 0 < risks[-1] <= risks[0] < 1
    own, model, best = (float(line.split()[-1]) for line in accuracy.splitlines()[2:])
    assert max(own, model) < best < 1


@pytest.mark.slow
def test_demo_run_again_uses_its_model(demo: tuple[Path, Result]) -> None:
    path, first = demo
    again = invoke("demo", path, "--seed", 3)
    assert again.exit_code == 0 and again.stdout == first.stdout
    assert "using model dnf version 1" in again.stderr and "--seed ignored" in again.stderr


@pytest.mark.slow
def test_models_lists_the_model(demo: tuple[Path, Result]) -> None:
    assert "dnf" in invoke("models", demo[0]).stdout
    (model,) = json.loads(invoke("models", demo[0], "--json").stdout)
    assert (model["name"], model["status"], model["task"]) == ("dnf", "active", "driver-dnf")
    assert datetime.datetime.fromisoformat(model["created"]).tzinfo is None


@pytest.mark.slow
def test_evaluate_shows_the_model_beside_the_baseline(demo: tuple[Path, Result]) -> None:
    result = invoke("evaluate", demo[0], "dnf")
    assert result.stdout.startswith("metric") and "roc_auc" in result.stdout and "labels" in result.stderr
    found = json.loads(invoke("evaluate", demo[0], "dnf", "--split", "val", "--json").stdout)
    assert found["split"] == "val" and 0 < found["baseline"]["roc_auc"] < 1 and 0 < found["metrics"]["roc_auc"] < 1
    assert "did you mean 'dnf'" in invoke("evaluate", demo[0], "dnff").stderr


@pytest.mark.slow
def test_evaluate_in_the_other_regime(demo: tuple[Path, Result]) -> None:
    own, frozen = (
        json.loads(invoke("evaluate", demo[0], "dnf", "--json", *option).stdout)
        for option in ((), ("--regime", "frozen"))
    )
    assert (own["regime"], frozen["regime"]) == ("seed-time", "frozen") and own["rows"] == frozen["rows"]
    assert own["metrics"]["roc_auc"] != frozen["metrics"]["roc_auc"]
    assert own["baseline"] == frozen["baseline"]
    assert ", test, frozen: " in invoke("evaluate", demo[0], "dnf", "--regime", "frozen").stderr
    assert invoke("evaluate", demo[0], "dnf", "--regime", "thawed").exit_code == 2


@pytest.mark.slow
def test_score_agrees_with_the_function(demo: tuple[Path, Result], tmp_path: Path) -> None:
    path = demo[0]
    query = "SELECT driver_id, predict_dnf(driver_id) FROM drivers ORDER BY 1"
    expected = [line.split(",") for line in invoke("sql", path, query, "--format", "csv").stdout.splitlines()[1:]]
    scored = [line.split(",") for line in invoke("score", path, "dnf").stdout.splitlines()[1:]]
    assert [row[0] for row in scored] == [row[0] for row in expected] and len(scored) > 20
    differences = [abs(float(a[1]) - float(b[1])) for a, b in zip(scored, expected, strict=True)]
    assert max(differences) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scores.parquet", "sc'ores.csv"])
def test_score_writes_files(demo: tuple[Path, Result], tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert invoke("score", demo[0], "dnf", "--output", output, "--as-of", "2014-06-01").stderr.endswith(f"{output}\n")
    with duckdb.connect() as con:
        query = f"SELECT count(*), count(score), max(as_of)::VARCHAR FROM {literal(str(output))}"
        total, scores, as_of = con.execute(query).fetchall()[0]
    assert total >= scores > 20 and as_of.startswith("2014-06-01")
    before = output.read_bytes()
    assert "exists" in invoke("score", demo[0], "dnf", "--output", output).stderr and output.read_bytes() == before
    assert invoke("score", demo[0], "dnf", "--output", output, "--overwrite").exit_code == 0
    assert output.read_bytes() != before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_score_writes_tables(demo: tuple[Path, Result]) -> None:
    path = demo[0]
    assert invoke("score", path, "dnf", "--output", "risk_scores").exit_code == 0
    assert invoke("score", path, "dnf", "--output", "drivers").exit_code == 1
    assert invoke("score", path, "dnf", "--output", "relsql.models", "--overwrite").exit_code == 1
    assert invoke("score", path, "dnf", "--output", "risk_scores", "--overwrite").exit_code == 0
    inserted = invoke("sql", path, "INSERT INTO risk_scores FROM predict_dnf_batch()")
    with duckdb.connect(str(path)) as con:
        counts = con.execute("SELECT count(*), 2 * (SELECT count(*) FROM drivers) FROM risk_scores").fetchall()[0]
        con.execute("DROP TABLE risk_scores")
    assert counts[0] == counts[1] and inserted.stderr == f"{counts[0] // 2} rows\n"


def test_demo_refuses_a_file_that_is_not_a_league(tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    duckdb.connect(str(path)).close()
    result = invoke("demo", path)
    assert result.exit_code == 1 and "not a demo league" in result.stderr


def test_demo_continues_with_a_league_without_a_model(
    league: Path, trained: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = SimpleNamespace(metrics={"roc_auc": 0.7})
    monkeypatch.setattr("relsql.evaluation.evaluate.evaluate", lambda *_: evaluation)
    monkeypatch.setattr("udfs.attach.attach", lambda con: con.execute("CREATE TEMP MACRO predict_dnf(i) AS 0.5"))
    result = invoke("demo", league)
    assert result.exit_code == 0, result.stderr
    assert [call["name"] for call in trained] == ["dnf"] and "using the league" in result.stderr
    assert "0.700" in result.stdout and "best attainable" in result.stdout
