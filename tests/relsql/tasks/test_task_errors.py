"""Every error about a task says what is expected and what to do (relsql.tasks)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from relsql.errors import TaskError
from relsql.tasks.labels.label_sandbox import check_definition
from relsql.tasks.task import Task

ROOT = Path(__file__).parents[3]


def test_every_error_about_a_task_says_what_is_expected_and_what_to_do() -> None:
    """In the source, because many of them need data of their own; those of files are raised in `test_manifest`."""
    lacking, calls = [], 0
    for path in sorted((ROOT / "relsql" / "tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if name in ("TaskError", "task_errors"):
                calls += 1
                given = {keyword.arg for keyword in node.keywords if ast.unparse(keyword.value) != "None"}
                lacking += [] if {"expected", "fix"} <= given else [f"{path.name}:{node.lineno}"]
    assert calls > 40
    assert not lacking


MANIFEST: dict[str, object] = {
    "name": "churn",
    "task_type": "regression",
    "entity_table": "customers",
    "entity_col": "id",
    "target_col": "spent",
    "time_col": "timestamp",
    "timedelta": "30 days",
    "sql": "SELECT 1",
}

BAD_FILES: dict[str, str] = {
    "empty": "",
    "a list": "- a",
    "text": "hello",
    "not YAML": "a: [",
    "no such date": "a: 2010-13-45",
    "key of a number": "1: a",
    "key twice": "a: b\na: c",
    "tag": "a: !!int lots",
    "nested": "[" * 100,
    "NUL": "a: \0",
    **{
        what: yaml.safe_dump(MANIFEST | changes, allow_unicode=True)
        for what, changes in {
            "kind": {"kind": "external"},
            "kind of a number": {"kind": 5},
            "type of the task": {"task_type": "ranking"},
            "type of the task is a list": {"task_type": ["regression"]},
            "no fields": dict.fromkeys(MANIFEST),
            "number for text": {"sql": 5},
            "text for a number": {"num_eval_timestamps": "lots"},
            "too few": {"num_eval_timestamps": 0},
            "too many": {"num_eval_timestamps": 10**9},
            "no time": {"val_timestamp": "soon"},
            "no time at all": {"test_timestamp": [1]},
            "removed text": {"remove_columns": "born"},
            "removed number": {"remove_columns": [["customers", 1]]},
            "visible": {"visible": "never"},
            "description": {"description": 5},
            "target": {"target": "average"},
            "target of a number": {"target": 0.5},
            "target of a classification": {"task_type": "binary_classification", "target": "mean"},
            "metric": {"metric": "auc"},
            "horizon": {"timedelta": "-5 days"},
            "horizon of text": {"timedelta": "lots"},
            "query": {"sql": "lots"},
            "two queries": {"sql": "SELECT 1; SELECT 2"},
            "query that writes": {"sql": "DELETE FROM customers"},
            "deep query": {"sql": f"SELECT {'(' * 3000}1{')' * 3000}"},
        }.items()
    },
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_refused_with_what_is_expected_and_what_to_do(what: str, tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(BAD_FILES[what], encoding="utf-8")
    with pytest.raises(TaskError) as refused:
        check_definition(Task.from_manifest(path))
    assert refused.value.expected and refused.value.fix
    assert "\n" not in str(refused.value)
