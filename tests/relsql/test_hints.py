"""Messages that name a field of a task link to its documentation (relsql.hints)."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from relsql.errors import TaskError
from relsql.hints import FIELDS_PAGE, correct, in_manifest
from relsql.tasks.task import Task
from tests.docs.test_pages import anchors

ROOT = Path(__file__).parents[2]
FIELDS = [field.name for field in fields(Task)]
BY_HAND = re.compile(r"""in the task manifest(?! \()""")


def test_every_field_is_documented_with_a_heading_of_its_name() -> None:
    found = anchors((ROOT / FIELDS_PAGE).read_text(encoding="utf-8"))
    assert set(FIELDS) <= found


def test_a_hint_links_to_the_field() -> None:
    assert correct("sql", "timedelta") == "correct sql or timedelta in the task manifest (docs/tasks.md#sql)"
    assert in_manifest("a shorter timedelta", "timedelta").endswith("(docs/tasks.md#timedelta)")


def test_no_message_sends_to_the_manifest_without_a_link() -> None:
    sources = [path for room in ("relsql", "udfs", "exporters") for path in (ROOT / room).rglob("*.py")]
    by_hand = [path.name for path in sources if BY_HAND.search(path.read_text(encoding="utf-8"))]
    assert by_hand == ["hints.py"] or by_hand == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task_type": "ranking"}, "task_type"),
        ({"num_eval_timestamps": 0}, "num_eval_timestamps"),
        ({"val_timestamp": "soon"}, "val_timestamp"),
        ({"remove_columns": "born"}, "remove_columns"),
        ({"timedelta": None}, "timedelta"),
        ({"sql": 5}, "sql"),
        ({"name": "a\0b"}, "name"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_place_in_the_page(changes: dict[str, object], field: str) -> None:
    manifest: dict[str, object] = {
        "name": "churn",
        "task_type": "regression",
        "entity_table": "customers",
        "entity_col": "id",
        "target_col": "spent",
        "time_col": "timestamp",
        "timedelta": "30 days",
        "sql": "SELECT 1",
    }
    with pytest.raises(TaskError, match=re.escape(f"({FIELDS_PAGE}#{field})")):
        Task.from_manifest(manifest | changes)
