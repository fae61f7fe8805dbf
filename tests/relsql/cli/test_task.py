"""`relsql task` (relsql.cli.commands.task)."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
import yaml
from click.testing import CliRunner, Result

from relsql.cli import cli
from relsql.schema.declared.declare import declare_table
from tests.shop import TASK, create_shop


@pytest.fixture
def file(tmp_path: Path) -> Path:
    create_shop(tmp_path / "shop.duckdb")
    return tmp_path / "shop.duckdb"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["task", *map(str, arguments)])


def test_labels_timestamps_examples_and_sql_are_shown(file: Path) -> None:
    result = run(file, "customer-churn")
    assert result.exit_code == 0
    assert (
        "train  1,130 labels, 36.9% positive, at 20 times, 2021-01-09 00:00:00 to 2022-08-02 00:00:00" in result.stdout
    )
    assert "test   60 labels, 41.7% positive, at 2022-11-01 00:00:00" in result.stdout
    assert "val_timestamp  2022-09-01 00:00:00: given by the task" in result.stdout
    examples = [line for line in result.stdout.splitlines() if line.endswith(("2022-08-02 00:00:00        1", " 0"))]
    assert len(examples) == 5
    assert "SELECT t.timestamp, a.customer_id" in result.stdout
    assert "60 val labels, 24 of the rarer class, are few" in result.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sql": "lots"}, "the label query fails: Parser Error"),
        ({"sql": "SELECT 1; SELECT 2"}, "it has 2 statements"),
        ({"timedelta": "-5 days"}, "timedelta '-5 days' is not a length of time"),
        ({"timedelta": "30"}, "timedelta '30' is not a length of time"),
        ({"num_eval_timestamps": "lots"}, "num_eval_timestamps 'lots'"),
    ],
)
def test_init_refuses_what_task_would_refuse_before_it_writes(
    file: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    manifest = tmp_path / "other.yaml"
    manifest.write_text(yaml.safe_dump(TASK.to_manifest() | {"name": "other"} | changes), encoding="utf-8")
    before = file.read_bytes()
    shown = run(file, manifest)
    stored = CliRunner().invoke(cli, ["init", str(file), "--schema", "own", "--yes", "--task", str(manifest)])
    for refused in (shown, stored):
        assert refused.exit_code == 1
        assert message in refused.stderr
        assert "Expected: " in refused.stderr and "Fix: " in refused.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("orders", "Ordered_At", "removes the column 'ordered_at' of table 'orders', its time"),
        ("orders", "sent", "remove_columns names the column 'sent' of table 'orders', which does not exist"),
        ("visits", "row_time", "remove_columns names the column 'row_time' of table 'visits', which does not exist"),
    ],
)
def test_columns_that_a_task_cannot_remove_are_refused(
    file: Path, tmp_path: Path, table: str, column: str, message: str
) -> None:
    with duckdb.connect(str(file)) as con:
        con.execute("CREATE TABLE visits AS SELECT 1 AS customer_id, 1640995200 AS day")
        declare_table(con, "shop", "visits", time_column="to_timestamp(day)")
    manifest = tmp_path / "other.yaml"
    changes = {"name": "other", "remove_columns": [[table, column]]}
    manifest.write_text(yaml.safe_dump(TASK.to_manifest() | changes), encoding="utf-8")
    shown = run(file, manifest)
    stored = CliRunner().invoke(cli, ["init", str(file), "--task", str(manifest)])
    for refused in (shown, stored):
        assert refused.exit_code == 1 and message in refused.stderr
        assert "correct remove_columns in the task manifest" in refused.stderr
    assert run(file, "other").exit_code == 1


def test_a_manifest_is_shown_without_being_stored(file: Path, tmp_path: Path) -> None:
    manifest = TASK.to_manifest() | {"name": "another"}
    del manifest["val_timestamp"], manifest["test_timestamp"]
    path = tmp_path / "another.yaml"
    path.write_text(yaml.safe_dump(manifest))
    before = file.read_bytes()
    result = run(file, path)
    assert result.exit_code == 0
    assert "2 horizons before the last event (2022-12-16" in result.stdout
    assert "num_eval_timestamps  2: one gives 60% of the labels that are enough" in result.stdout
    assert file.read_bytes() == before


def test_json_has_the_same(file: Path) -> None:
    found = json.loads(run(file, "customer-spend", "--json").stdout)
    assert [split["labels"] for split in found["splits"]] == [1130, 60, 60]
    assert found["task"]["val_timestamp"] == "2022-09-01 00:00:00"
    assert len(found["examples"]) == 5
    assert found["findings"][0]["object"] == "task customer-spend"


def test_a_horizon_that_is_too_long_is_one_line(file: Path, tmp_path: Path) -> None:
    manifest = TASK.to_manifest() | {"timedelta": "3 years"}
    del manifest["val_timestamp"], manifest["test_timestamp"]
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(manifest))
    result = run(file, path)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert "timedelta '3 years', is too long for the data: the events are from 2021-01-01" in line
