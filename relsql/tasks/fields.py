"""The fields of a task: their types, and what messages show of a wrong value."""

from __future__ import annotations

import datetime
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.visibility import VISIBILITY_RULES, VisibilityRule
from relsql.tasks.kinds.asked import KINDS, REQUIRED, Kind
from relsql.tasks.predict.syntax import MAX_STEPS
from relsql.tasks.target import METRIC_TARGETS, TARGETS, read_target

MAX_EVAL_TIMESTAMPS = 1_000_000
MAX_K = 1_000
_TIMES = ("val_timestamp", "test_timestamp")
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(REQUIRED["forecast"], (str, "text; put it in quotes if YAML reads it as another type")),
    "num_eval_timestamps": (
        Annotated[int, msgspec.Meta(ge=1, le=MAX_EVAL_TIMESTAMPS)],
        f">= 1 and <= {MAX_EVAL_TIMESTAMPS:,}, a whole number",
    ),
    "remove_columns": (tuple[tuple[str, str], ...], "a list of [table, column] pairs, both of them text"),
    "description": (str | None, "text"),
    "visible": (VisibilityRule, " or ".join(VISIBILITY_RULES)),
    "target": (str | None, TARGETS),
    "predict": (str | None, "text: PREDICT ... FOR EACH ..."),
    "positive": (str | None, "one of the two labels: text, an integer, true or false"),
    "kind": (Kind, " or ".join(KINDS)),
    "item_table": (str | None, "text"),
    "split": (str | None, "random(N) with a whole number N, or a column of entity_table"),
    "steps": (Annotated[int, msgspec.Meta(ge=2, le=MAX_STEPS)] | None, f">= 2 and <= {MAX_STEPS}, a whole number"),
    "k": (Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] | None, f">= 1 and <= {MAX_K:,}, a whole number"),
}
"""Type of each field except the times, and its description for messages."""


def checked(task_name: object, field_name: str, value: object) -> object:
    """The value of a field in the type that `Task` declares; a list of lists becomes a tuple of tuples.

    Raises:
        TaskError: it is of another type, or text that a database cannot store.
    """
    if field_name in _TIMES:
        return None if value is None else as_timestamp(value, short(task_name), field_name)
    type_, expected = _TYPES[field_name]
    try:
        converted = msgspec.convert(value, type_)
    # msgspec raises UnicodeEncodeError for lone surrogates where it expects another type.
    except (msgspec.ValidationError, UnicodeEncodeError):
        problem = f"task '{short(task_name)}' has {field_name} {shown(value)}"
        raise TaskError(problem, expected=expected, fix=correct(field_name)) from None
    for text in _texts(converted):
        if "\0" in text or not _is_unicode(text):
            raise TaskError(
                f"task '{short(task_name)}' has {field_name} {shown(text)}",
                expected="text without NUL and without lone surrogates",
                fix=correct(field_name),
            )
    return converted


def checked_target(task_name: str, text: str) -> str:
    """The target of a regression in its canonical spelling.

    Raises:
        TaskError: the text names no target.
    """
    found = read_target(text)
    if found is None:
        raise TaskError(
            f"task '{short(task_name)}' has target '{short(text)}'",
            expected=TARGETS,
            fix=correct("target"),
        )
    return found


def target_of_metric(raw: Mapping[str, Any]) -> str | None:
    """The target that is best by the metric that a regression's manifest names; None if it names none."""
    metric = raw.get("metric")
    if metric is None or raw.get("task_type") != "regression":
        return None
    found = METRIC_TARGETS.get(metric.lower()) if isinstance(metric, str) else None
    if found is None:
        raise TaskError(
            f"task '{short(raw.get('name') or 'unnamed')}' has metric {shown(metric)}",
            expected=f"one of {', '.join(METRIC_TARGETS)}; or target: {TARGETS}",
            fix=in_manifest("correct metric", "target"),
        )
    return found


def _texts(value: object) -> list[str]:
    if isinstance(value, tuple):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def short(value: object) -> str:
    """A value for a message, cut if it is long."""
    return value if isinstance(value, str) and len(value) <= 100 else shown(value)


def shown(value: object) -> str:
    """A value as Python writes it, cut after a few parts and characters."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python refuses to write integers of thousands of digits.
        return f"a huge {type(value).__name__}"


def as_timestamp(value: object, task_name: str, field_name: str) -> datetime.datetime:
    """Read a date, datetime or ISO text as a zone-less timestamp.

    Raises:
        TaskError: it is not one of these, or is before the year 1 or after 9999 in UTC.
    """
    try:
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            return value.astimezone(datetime.UTC).replace(tzinfo=None) if value.tzinfo else value
        if isinstance(value, datetime.date):
            return datetime.datetime(value.year, value.month, value.day)
    except (ValueError, OverflowError):
        pass
    raise TaskError(
        f"task '{task_name}': {field_name} '{short(value)}' is not a timestamp",
        expected="a date such as 2010-01-01",
        fix=correct(field_name) if field_name in _TIMES else f"correct {field_name}",
    )
