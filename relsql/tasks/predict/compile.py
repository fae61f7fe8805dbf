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
from relsql.tasks.kinds.asked import Kind
from relsql.tasks.kinds.cells import cell_fields, cell_type
from relsql.tasks.kinds.static_rows import AT_RANDOM, static_fields
from relsql.tasks.predict.label_sql import label_columns, label_sql
from relsql.tasks.predict.meaning import bind, bind_cell, ranked_items
from relsql.tasks.predict.parse import parse_line
from relsql.tasks.predict.syntax import Line, Name

LINE_FIELDS = ("task_type", "entity_table", "entity_col", "target_col", "time_col", "timedelta", "sql")
"""The fields of a task that its line determines."""

FORM_FIELDS = ("item_table", "k", "steps")
"""Further ones that the line of a recommendation, or of a forecast in steps, determines."""

_BEGINNING = re.compile(r"\s*predict\s+\S", re.IGNORECASE)


def is_line(text: str) -> bool:
    """True if a text begins like a line, and not like the name of a task."""
    return _BEGINNING.match(text) is not None


def with_line(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The fields of a manifest and those from its line, if it has one; `sql` is empty until the line is compiled.

    Args:
        manifest: the fields.
        name: the task's name, for messages.

    Raises:
        TaskError: the line does not parse, or the manifest has fields that the line determines.
    """
    text = manifest.get("predict")
    if text is None:
        return manifest
    both = [key for key in (*LINE_FIELDS, *FORM_FIELDS) if manifest.get(key) is not None]
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
    if manifest.get("kind") == "static" and fields["kind"] == "autocomplete":
        fields["kind"] = "static"
    if manifest.get("kind", fields["kind"]) != fields["kind"]:
        raise TaskError(
            f"task '{name}' is of kind '{manifest['kind']}', but its line asks a question of kind '{fields['kind']}'",
            expected=f"kind: {fields['kind']}, or none, because the line says it",
            fix=in_manifest("remove kind", "predict"),
        )
    return {**manifest, **fields}


def _own_fields(text: str) -> dict[str, Any]:
    line = parse_line(text)
    columns = join_columns([name.column for name in line.entity])
    time, label = ("", line.outcome.column) if isinstance(line.outcome, Name) else ("timestamp", "label")
    fields = _fields(line, join_name(*line.entity[0].parts), columns, time, label, "")
    form = {name: value for name, value in (("k", line.top), ("steps", line.steps)) if value}
    return {**fields, "kind": "autocomplete" if line.asks_cell else "forecast", **form}


def compile_line(
    text: str, schema: Schema, visible: VisibilityRule, *, task: str, kind: Kind = "forecast", split: str | None = None
) -> dict[str, Any]:
    """The fields of a task that a line determines, with names as the schema has them, and the label query.

    Args:
        text: the line.
        schema: the schema of the database.
        visible: whether rows at as_of itself count in the line's WHERE.
        task: the task's name, for messages.
        kind: the task's kind; a column of a table without a time is static in any case.
        split: how the rows of a static task are split.

    Raises:
        TaskError: the line does not parse, or does not fit the schema.
    """
    line = parse_line(text)
    if line.asks_cell:
        entity, column = bind_cell(line, schema)
        if kind == "static" or entity.time_column is None:
            fields = static_fields(task, entity.key, column.name, "", split or AT_RANDOM, schema)
            seen: VisibilityRule = visible if kind == "static" else "at-or-before"
            fields |= {"kind": "static", "visible": seen}
        elif split is None:
            fields = cell_fields(task, entity.key, column.name, schema)
        else:
            raise TaskError(
                f"task '{task}' has split, but rows of '{entity.key}' have a time, as of which they are asked about",
                expected="val_timestamp and test_timestamp, or kind: static beside split",
                fix=correct("split", "kind"),
            )
        return {**fields, "task_type": line.task_type if line.classify else cell_type(column) or ""}
    bound = bind(line, schema)
    time, label = label_columns(bound.entity)
    key = bound.entity.primary_key
    columns = join_columns(key) if len(key) > 1 else key[0]
    form: dict[str, Any] = {"k": line.top, "item_table": ranked_items(bound, schema)} if line.top else {}
    form |= {"steps": line.steps} if line.steps else {}
    return {**_fields(line, bound.entity.key, columns, time, label, label_sql(bound, schema, visible)), **form}


def _fields(line: Line, table: str, columns: str, time: str, label: str, sql: str) -> dict[str, str]:
    return dict(zip(LINE_FIELDS, (line.task_type, table, columns, label, time, line.horizon, sql), strict=True))
