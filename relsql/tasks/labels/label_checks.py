"""Check what a label query returns."""

from __future__ import annotations

import duckdb

from relsql.database.cursors import one_row
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.tables import Table
from relsql.schema.types import is_class_type, is_number
from relsql.sql_text import ident, literal
from relsql.tasks.entity import entity_columns
from relsql.tasks.kinds.classes import class_sql
from relsql.tasks.splits import Split
from relsql.tasks.task import Task

LARGEST_LABEL = 1e26
"""Regression labels are between minus and plus this value, because scores are FLOATs, whose range is similar."""


def check_types(task: Task, time_type: str, label_type: str) -> None:
    """Check the types of the time and label columns of a label query.

    Raises:
        TaskError: they are not those of a timestamp and of a label.
    """
    if not time_type.startswith(("TIMESTAMP", "DATE")):
        raise TaskError(
            f"task '{task.name}': the label query returns '{task.time_col}' as {time_type}",
            expected="a timestamp out of timestamps(timestamp)",
            fix=correct("sql", "time_col"),
        )
    if task.is_recommendation:
        usable, expected = label_type.endswith("[]"), f"a list of keys of {task.item_table}: list(DISTINCT ...)"
    elif task.steps:
        usable = label_type.endswith("[]") and is_number(label_type.removesuffix("[]"))
        expected = f"a list of {task.steps} numbers, one for each window: list(value ORDER BY step ASC)"
    elif task.is_multilabel:
        usable = label_type.endswith("[]") and is_class_type(label_type.removesuffix("[]"))
        expected = "a list of texts, integers, BOOLEAN or ENUM: list(DISTINCT ...)"
    elif task.is_multiclass:
        usable, expected = is_class_type(label_type), "text, an integer, BOOLEAN or ENUM"
    elif task.is_binary:
        usable = is_number(label_type) or is_class_type(label_type)
        expected = "0 and 1, BOOLEAN, or two values, one of them named by positive"
    else:
        usable, expected = is_number(label_type), "a number"
    if not usable:
        raise TaskError(
            f"task '{task.name}': the label query returns '{task.target_col}' as {label_type}",
            expected=expected,
            fix=correct("sql", "task_type"),
        )


def label_value_sql(cursor: duckdb.DuckDBPyConnection, task: Task, relation: str, column: str, label_type: str) -> str:
    """The label of a row `r` of `relation`: a class, a number, or for two named values 1 for the positive one, else 0.

    Raises:
        TaskError: the labels of a binary classification are not two values of which one is known to be the positive.
    """
    label = f"r.{ident(column)}"
    if task.is_multiclass:
        return class_sql(label, label_type)
    if task.is_multilabel:
        of_class = class_sql("c", label_type.removesuffix("[]"))
        return f"list_sort(list_distinct(list_transform({label}, lambda c: {of_class})), 'ASC', 'NULLS LAST')"
    if task.steps:
        return _steps_sql(cursor, task, relation, label)
    named = label_type == "VARCHAR" or label_type.startswith("ENUM")
    if not task.is_binary or not (named or task.positive is not None):
        return label
    text = f"CAST({label} AS VARCHAR)"
    query = f"SELECT DISTINCT {text}, TRY_CAST({text} AS BOOLEAN) FROM {relation} AS r WHERE {label} IS NOT NULL"
    found = dict(cursor.execute(sealed(f"{query} ORDER BY ALL ASC LIMIT 3")).fetchall())
    if len(found) > 2 or (len(found) == 2 and task.positive is not None and task.positive not in found):
        positive = "" if task.positive is None else f", and positive is {task.positive!r}"
        raise TaskError(
            f"task '{task.name}': '{task.target_col}' holds {', '.join(map(repr, found))}{positive}",
            expected="two values, one of them named by positive; more are task_type: multiclass_classification",
            fix=correct("positive", "task_type", "sql"),
        )
    if task.positive is not None:
        return f"CAST({text} = {literal(task.positive)} AS BIGINT)"
    if any(word is None for word in found.values()):
        raise TaskError(
            f"task '{task.name}': '{task.target_col}' holds {', '.join(map(repr, found))}",
            expected="0 and 1, BOOLEAN, words such as yes and no, or the one whose probability is the score",
            fix=in_manifest(f"write positive: {next(iter(found))}", "positive"),
        )
    return f"CAST(CAST({text} AS BOOLEAN) AS BIGINT)"


def _steps_sql(cursor: duckdb.DuckDBPyConnection, task: Task, relation: str, label: str) -> str:
    """The numbers of all windows; NULL if one of them is missing.

    Raises:
        TaskError: a list has more or fewer numbers than the task has steps.
    """
    query = f"SELECT any_value(len({label})) FROM {relation} AS r WHERE len({label}) <> {task.steps}"
    [other] = one_row(cursor, sealed(query))
    if other is not None:
        raise TaskError(
            f"task '{task.name}': '{task.target_col}' holds a list of {other} values",
            expected=f"lists of {task.steps} numbers, one for each window",
            fix=correct("sql", "steps"),
        )
    return f"CASE WHEN list_aggregate({label}, 'count') = {task.steps} THEN CAST({label} AS DOUBLE[]) END"


def check_timestamps(cursor: duckdb.DuckDBPyConnection, task: Task, labels: str, seeds: str) -> int:
    """Check that the relation `labels` has no other timestamps than `seeds`, and return its number of rows.

    Raises:
        TaskError: there is another timestamp.
    """
    other = f'as_of IS NULL OR as_of NOT IN (SELECT "timestamp" FROM {seeds})'
    query = f"SELECT count(*), count(*) FILTER (WHERE {other}), any_value(as_of) FILTER (WHERE {other}) FROM {{}}"
    rows, others, example = one_row(cursor, query.format(labels))
    if others:
        raise TaskError(
            f"task '{task.name}': {others} of {rows} labels have a '{task.time_col}' not in timestamps ({example})",
            expected="the values of timestamps.timestamp, unchanged",
            fix=f"select timestamps.timestamp AS {ident(task.time_col)} in the label query",
        )
    return int(rows)


def check_labels(cursor: duckdb.DuckDBPyConnection, entity: Table, task: Task, split: Split, known: str) -> int:
    """Check that each (entity, as_of) has one label, that all labels are valid, and that they are not all equal.

    Returns:
        The number of NULL labels.

    Raises:
        TaskError: a label is invalid or repeated, or all labels are equal.
    """
    repeated = f"SELECT entity, as_of, count(*) FROM {known} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL ASC LIMIT 1"
    columns = ", ".join(ident(name) for name in (task.time_col, *entity_columns(entity, task)) if name)
    for key, as_of, count in cursor.execute(sealed(repeated)).fetchall():
        raise TaskError(
            f"task '{task.name}': the label query returns {count} rows for entity {key!r} at {as_of}",
            expected=f"one row per entity{'' if task.is_static else ' and timestamp'}",
            fix=f"GROUP BY {columns} in the label query",
        )
    value, wrong = "CAST(label AS DOUBLE)", f"NOT abs(CAST(label AS DOUBLE)) <= {literal(LARGEST_LABEL)}"
    if task.has_classes or task.is_recommendation:
        value, wrong = "CAST(label AS VARCHAR)", "false"
    elif task.steps:
        # The largest of a list, and NaN is larger than every number.
        value = "list_aggregate(list_transform(label, lambda v: abs(v)), 'max')"
        wrong = f"{value} > {literal(LARGEST_LABEL)}"
    elif task.is_binary:
        wrong = f"{value} NOT IN (0, 1)"
    nulls, distinct, only, example, first, last = one_row(
        cursor,
        f"SELECT count(*) - count(label), count(DISTINCT label), any_value({value}), "
        f"any_value({value}) FILTER (WHERE {wrong}), min(as_of), max(as_of) FROM {known}",
    )
    if example is not None:
        raise TaskError(
            f"task '{task.name}': '{task.target_col}' holds {example:g}",
            expected="0 and 1" if task.is_binary else f"finite numbers, at most {LARGEST_LABEL:g} in size",
            fix=correct("sql", "task_type"),
        )
    if not distinct:
        problem = f"task '{task.name}': all {split} labels are NULL"
        problem += f", or lists without any key of {task.item_table}" if task.is_recommendation else ""
        raise TaskError(problem, expected="at least one label", fix=correct("sql"))
    if distinct == 1 and (task.is_binary or split == "train") and not task.is_recommendation:
        only = repr(only) if task.has_classes else f"{only:g}"
        both = "of two classes or more" if task.has_classes else "of both classes"
        raise TaskError(
            f"task '{task.name}': all {split} labels are {only}",
            expected=f"labels {both if task.is_classification else 'that differ'}"
            + ("" if task.is_static else f" at {first} to {last}"),
            fix=correct("split", "sql")
            if task.is_static
            else correct("num_eval_timestamps", "val_timestamp", "test_timestamp", "sql"),
        )
    return int(nulls)
