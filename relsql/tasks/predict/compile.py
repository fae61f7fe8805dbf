"""From a line to the fields of a task: some are in the line itself, others need the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from relsql.database.names import join_name
from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.declared.text import join_columns
from relsql.schema.tables import Schema
from relsql.schema.visibility import VisibilityRule
from relsql.tasks.kinds.cells import cell_fields, cell_type
from relsql.tasks.predict.label_sql import label_columns, label_sql
from relsql.tasks.predict.meaning import bind, bind_cell
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.predict.syntax import Line, Name

LINE_FIELDS = ("task_type", "entity_table", "entity_col", "target_col", "time_col", "timedelta", "sql")
"""The fields of a task that its line says."""

_BEGINNING = re.compile(r"\s*predict\s+\S", re.IGNORECASE)


def is_line(text: str) -> bool:
    """True if a text begins like a line, and not like the name of a task."""
    return _BEGINNING.match(text) is not None


def with_line(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The fields of a manifest and those that its line says, if it has one; `sql` is empty until the line is compiled.

    Args:
        manifest: the fields.
        name: the task's name, for messages.

    Raises:
        TaskError: the line does not parse, or the manifest has fields that the line says.
    """
    text = manifest.get("predict")
    if text is None:
        return manifest
    both = [key for key in LINE_FIELDS if manifest.get(key) is not None]
    if both:
        raise TaskError(
            f"task '{name}' has predict and {', '.join(both)}",
            expected=f"predict alone, because the line says {both[0]}; or a query in sql",
            fix=in_manifest(f"remove {' and '.join(both)}, or predict,", "predict"),
        )
    if not isinstance(text, str):
        problem = f"task '{name}' has predict of type {type(text).__name__}"
        raise TaskError(problem, expected="text: PREDICT ... FOR EACH ...", fix=correct("predict"))
    fields = _own_fields(text)
    if manifest.get("kind", fields["kind"]) != fields["kind"]:
        raise TaskError(
            f"task '{name}' is of kind '{manifest['kind']}', but its line asks a question of kind '{fields['kind']}'",
            expected=f"kind: {fields['kind']}, or none, because the line says it",
            fix=in_manifest("remove kind", "predict"),
        )
    return {**manifest, **fields}


def _own_fields(text: str) -> dict[str, str]:
    line = parse_line(text)
    columns = join_columns([name.column for name in line.entity])
    time, label = ("", line.outcome.column) if isinstance(line.outcome, Name) else ("timestamp", "label")
    fields = _fields(line, join_name(*line.entity[0].parts), columns, time, label, "")
    return {**fields, "kind": "autocomplete" if line.asks_cell else "forecast"}


def compile_line(text: str, schema: Schema, visible: VisibilityRule, *, task: str) -> dict[str, str]:
    """The fields of a task that a line says, with names as the schema has them, and the label query.

    Args:
        text: the line.
        schema: the schema of the database.
        visible: whether rows at as_of itself count in the line's WHERE.
        task: the task's name, for messages.

    Raises:
        TaskError: the line does not parse, or does not fit the schema.
    """
    line = parse_line(text)
    if line.asks_cell:
        entity, column = bind_cell(line, schema)
        fields = cell_fields(task, entity.key, column.name, schema)
        return {**fields, "task_type": cell_type(column) or ""}
    bound = bind(line, schema)
    time, label = label_columns(bound.entity)
    key = bound.entity.primary_key
    columns = join_columns(key) if len(key) > 1 else key[0]
    return _fields(line, bound.entity.key, columns, time, label, label_sql(bound, schema, visible))


def _fields(line: Line, table: str, columns: str, time: str, label: str, sql: str) -> dict[str, str]:
    task_type = "binary_classification" if line.is_binary else "regression"
    return dict(zip(LINE_FIELDS, (task_type, table, columns, label, time, line.horizon, sql), strict=True))
