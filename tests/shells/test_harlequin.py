"""Harlequin with the models attached, without its screen. `make test-shells` runs this."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import duckdb
import pytest
from harlequin.exception import HarlequinConnectionError, HarlequinQueryError

from relsql.integrations.harlequin import RelsqlAdapter, RelsqlConnection

ROOT = Path(__file__).parents[2]


@pytest.fixture
def connection(shop: Path) -> Iterator[RelsqlConnection]:
    opened = RelsqlAdapter((str(shop),), no_init=True).connect()
    yield opened
    opened.conn.close()


def test_harlequin_finds_the_adapter() -> None:
    (entry,) = entry_points(group="harlequin.adapter", name="relsql")
    assert entry.load() is RelsqlAdapter


def test_models_are_attached_to_the_connection_that_runs_queries(connection: RelsqlConnection) -> None:
    cursor = connection.execute("SELECT customer_id, predict_churn(customer_id) AS risk FROM customers")
    assert cursor is not None
    assert cursor.columns() == [("customer_id", "##"), ("risk", "#.#")]
    rows = cursor.set_limit(5).fetchall()
    assert rows.num_rows == 5 and rows["risk"].null_count == 0
    assert connection.init_message.startswith("Attached predict_churn_full, predict_churn")


def test_scores_see_the_transaction(connection: RelsqlConnection) -> None:
    query = "SELECT predict_churn(1)"
    before = connection.execute(query).fetchone()
    connection.execute("BEGIN")
    connection.execute("INSERT INTO orders VALUES (999999, 1, 50, 'gift', TIMESTAMP '2022-12-20 12:00')")
    assert connection.execute(query).fetchone() != before
    connection.execute("ROLLBACK")
    assert connection.execute(query).fetchone() == before


def test_models_are_completed_beside_duckdbs_functions(connection: RelsqlConnection) -> None:
    labels = [completion.label for completion in connection.get_completions()]
    assert [labels.count(name) for name in ("predict_churn", "predict_churn_batch", "regr_slope")] == [1, 1, 1]


def test_harlequin_starts_although_a_model_cannot_be_used(shop: Path) -> None:
    with duckdb.connect(str(shop)) as con:
        con.execute("ALTER TABLE orders RENAME amount TO price")
    connection = RelsqlAdapter((str(shop),), no_init=True, read_only=True).connect()
    assert connection.init_message.startswith("Models are not attached: the tables changed since model 'churn'")
    assert connection.execute("SELECT 42").fetchone() == (42,)
    connection.conn.close()


def test_a_file_that_is_not_a_database_is_harlequins_error(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("no database" * 1000, encoding="utf-8")
    with pytest.raises(HarlequinConnectionError):
        RelsqlAdapter((str(tmp_path / "text.duckdb"),), no_init=True).connect()


def test_harlequins_command_line_scores(shop: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from harlequin.hsql import main; main()",
        "-a",
        "relsql",
        "--json",
        "-r",
        str(shop),
    ]
    query = "SELECT count(predict_churn(customer_id)) AS scored FROM customers"
    done = subprocess.run([*command, "-c", query], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"scored": 60}]


def test_statements_about_models_run_beside_those_of_duckdb(connection: RelsqlConnection) -> None:
    shown = connection.execute("SHOW MODELS")
    assert shown is not None and shown.fetchone()[:2] == ("churn", 1)
    with pytest.raises(HarlequinQueryError, match="'churm' does not exist"):
        connection.execute("DESCRIBE MODEL churm")
