"""A real dbt project, run by dbt: sources, staging models, a Python model that trains, scores, and dbt tests."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.errors import MissingExtraError
from relsql.registry.models import read_models
from tests.shop import CUSTOMERS, create_shop

ROOT = Path(__file__).parents[3]
PROJECT = ROOT / "tests" / "dbt_project"
BIN = ROOT / ".venv-dbt" / "bin"
SCORES = "SELECT customer_id, risk FROM risk ORDER BY customer_id"


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of dbt's environment in a folder."""
    if not (BIN / program).exists():
        pytest.fail(f"{BIN / program} does not exist: make setup")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    command = [str(BIN / program), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def dbt(folder: Path, *arguments: str, fails: bool = False) -> str:
    """Run dbt; returns what it prints."""
    result = run(folder, "dbt", "--no-use-colors", *arguments, "--profiles-dir", ".")
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result.stdout


def build(folder: Path, *arguments: str) -> dict[str, str]:
    """Run `dbt build`; returns the status of each node."""
    dbt(folder, "build", *arguments)
    results = json.loads((folder / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    return {result["unique_id"].split(".")[2]: result["status"] for result in results}


def show(folder: Path, query: str, *arguments: str) -> list[dict[str, Any]]:
    """The rows of a query that dbt runs."""
    printed = dbt(folder, "--quiet", "show", "--output", "json", "--limit", "-1", "--inline", query, *arguments)
    rows: list[dict[str, Any]] = json.loads(printed[printed.index("{") :])["show"]
    return rows


def fetch(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the file that dbt has built, without relsql."""
    with duckdb.connect(str(folder / "shop.duckdb"), read_only=True) as con:
        rows: list[tuple[Any, ...]] = con.execute(query).fetchall()
    return rows


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its source data; it has not run yet."""
    folder = tmp_path_factory.mktemp("dbt") / "project"
    shutil.copytree(PROJECT, folder)
    create_shop(folder / "raw.duckdb")
    return folder


@pytest.fixture(scope="module")
def built(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after its first build."""
    folder = tmp_path_factory.mktemp("dbt") / "built"
    shutil.copytree(untrained, folder)
    build(folder)
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """A copy of the project after its first build, for a single test."""
    return Path(shutil.copytree(built, tmp_path / "project"))


@pytest.mark.slow
def test_first_build_trains_and_scores(built: Path) -> None:
    results = json.loads((built / "target" / "run_results.json").read_text(encoding="utf-8"))["results"]
    assert {result["status"] for result in results} == {"success", "pass"}
    scores = fetch(built, SCORES)
    assert [customer for customer, _ in scores] == list(range(CUSTOMERS))
    assert len({risk for _, risk in scores}) > CUSTOMERS / 2
    assert fetch(built, "SELECT DISTINCT version FROM risk") == [(1,)]
    [(name, task, metrics)] = fetch(built, "SELECT model, task, metrics FROM churn_model")
    assert (name, task) == ("churn", "churn")
    assert 0 < json.loads(metrics)["val_roc_auc"] <= 1
    with relsql.connect(built / "shop.duckdb", read_only=True) as con:
        assert (
            con.execute("SELECT customer_id, predict_churn(customer_id) FROM customers ORDER BY 1").fetchall() == scores
        )
        # Declared in the Python model: the staging tables have no constraint.
        assert con.execute("FROM relsql.schema_links SELECT count(*)").fetchall() == [(2,)]
        assert con.execute("SELECT customer_id, risk FROM risk_now ORDER BY customer_id").fetchall() == scores


@pytest.mark.slow
def test_second_build_trains_nothing(project: Path) -> None:
    # With a hook, dbt has a transaction open while the Python model runs.
    hook = "models: [{name: churn_model, config: {pre_hook: SELECT 1}}]"
    (project / "models" / "hook.yml").write_text(hook, encoding="utf-8")
    tables = ("risk", "risk_history", "churn_model")
    before = {table: fetch(project, f"FROM {table} ORDER BY ALL") for table in tables}
    assert set(build(project).values()) == {"success", "pass"}
    assert {table: fetch(project, f"FROM {table} ORDER BY ALL") for table in tables} == before
    with duckdb.connect(str(project / "shop.duckdb"), read_only=True) as con:
        assert [model.version for model in read_models(con, "shop")] == [1]
    assert fetch(project, "SELECT count(*) FROM relsql.runs WHERE phase = 'network'") == [(1,)]


@pytest.mark.slow
def test_new_rows_are_scored_without_training(project: Path) -> None:
    before = dict(fetch(project, SCORES))
    with duckdb.connect(str(project / "raw.duckdb")) as con:
        con.execute("INSERT INTO orders SELECT 100000 + i, 7, 20, 'gift', TIMESTAMP '2023-01-01' FROM range(5) t(i)")
    statuses = build(project, "--exclude", "churn_model")
    assert "churn_model" not in statuses
    assert dict(fetch(project, SCORES))[7] != before[7]
    history = fetch(project, "SELECT as_of::DATE::VARCHAR, count(*) FROM risk_history GROUP BY ALL ORDER BY ALL")
    assert [rows for _, rows in history] == [CUSTOMERS, CUSTOMERS]
    assert history[1][0] == "2023-01-01"
    [(newest,)] = fetch(project, "SELECT score FROM risk_history WHERE customer_id = 7 AND as_of >= DATE '2023-01-01'")
    assert newest == pytest.approx(dict(fetch(project, SCORES))[7], abs=1e-6)


@pytest.mark.slow
def test_altered_table_can_be_built_again(project: Path) -> None:
    """A model that cannot be used raises an error only when it is called, and blocks nothing else."""
    before = fetch(project, SCORES)
    with duckdb.connect(str(project / "shop.duckdb")) as con:
        con.execute("ALTER TABLE orders DROP COLUMN amount")
    assert "column orders.amount is missing" in dbt(project, "show", "--inline", "SELECT predict_churn(1)", fails=True)
    assert build(project, "--select", "orders", "risk")["risk"] == "success"
    assert fetch(project, SCORES) == before


@pytest.mark.slow
def test_call_before_training_names_what_is_missing(untrained: Path) -> None:
    printed = dbt(untrained, "run", "--select", "risk_history", fails=True)
    assert "model 'churn' does not exist in database 'shop'" in printed
    assert "ref() the dbt model that trains 'churn'" in printed


@pytest.mark.slow
def test_models_of_an_attached_read_only_file(built: Path) -> None:
    query = "SELECT customer_id, predict_churn(customer_id) AS risk FROM shop.main.customers ORDER BY 1"
    rows = show(built, query, "--target", "reader")
    assert [(row["customer_id"], row["risk"]) for row in rows] == fetch(built, SCORES)


CASES = """
import json, sys
from types import SimpleNamespace

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
import relsql.dbt
from relsql.dbt import Plugin

loaded = {"torch", "transformers", "pandas"} & set(sys.modules)
con = duckdb.connect()
this = SimpleNamespace(this=SimpleNamespace(database="memory"))
credentials = DuckDBCredentials(database="memory", schema="main", settings={"threads": 1})

def configured(**config):
    plugin = Plugin(name="dbt", plugin_config=config, credentials=credentials)
    plugin.configure_cursor(con)

def train(task, **options):
    relsql.dbt.train(this, con, task, name="churn", **options)

def called(query):
    configured(models=["churn", "churn@2"])
    con.execute(query)

def message(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps({
    "loaded": sorted(loaded),
    "settings": message(configured, threads=1),
    "option": message(configured, model=["churn"]),
    "form": message(configured, models="churn"),
    "database": message(configured, database="memroy"),
    "called": [
        message(called, query)
        for query in (
            "SELECT predict_churn(1)",
            "SELECT predict_churn(i, as_of := DATE '2020-01-01') FROM range(3) t(i)",
            "SELECT predict_churn_full(1).score",
            "SELECT predict_churn_v2(1)",
            "SELECT customer_id FROM predict_churn_batch()",
            "SELECT customer_id FROM predict_churn_batch(as_of := DATE '2020-01-01')",
            "SELECT predict_churn(1, 2, k := 3, exclude_seen := true)",
            "SELECT customer_id FROM predict_churn_batch(k := 3)",
            "SELECT class FROM predict_churn_classes()",
            "SELECT predict_churn_full(1).probabilities['a']",
            "SELECT embed_churn(1)[1]",
            "FROM explain_churn(1, top := 3)",
            "FROM explain_churn_v2_batch(as_of := DATE '2020-01-01')",
        )
    ],
    "task": message(train, "nothing"),
    "declaration": message(train, "nothing", time_columns=["orders"]),
    "table": message(train, "nothing", primary_keys=["orders(id)"]),
    "written": con.execute("SELECT count(*) FROM duckdb_tables()").fetchall()[0][0],
}))
"""


def test_mistakes_are_reported_on_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, "python", "-c", CASES)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    # The settings of the profile that dbt-duckdb adds are not options of the plugin.
    assert (found["loaded"], found["settings"], found["written"]) == ([], None, 0)
    assert "plugin relsql.dbt has no option 'model'. Expected: did you mean 'models'?" in found["option"]
    assert "Expected: a list of names: models: [churn]" in found["form"]
    assert (
        "database 'memroy' of plugin relsql.dbt is not attached. Expected: did you mean 'memory'?" in found["database"]
    )
    assert all("model 'churn' does not exist in database 'memory'" in error for error in found["called"])
    assert found["task"].startswith("TaskError: task 'nothing' does not exist in database 'memory'")
    assert found["declaration"].startswith("SchemaError: 'orders' names no time column")
    assert found["table"].startswith("SchemaError: table 'orders' does not exist")


def test_plugin_without_dbt_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dbt", None)
    monkeypatch.delitem(sys.modules, "relsql.dbt", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'relsql\[dbt\]'"):
        importlib.import_module("relsql.dbt")


def test_documented_files_are_those_of_the_project() -> None:
    text = (ROOT / "docs" / "dbt.md").read_text(encoding="utf-8")
    shown = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(shown) == 6
    for path, content in shown:
        assert content == (PROJECT / path).read_text(encoding="utf-8"), path
