"""Doubts about the labels of a task: few of them, rare ones, gaps in time, and rows after their window."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa

from relsql.database.cursors import one_row, task_cursor
from relsql.database.queries.sealed import sealed
from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.finding import Finding
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema
from relsql.schema.times.events import event_times_sql
from relsql.schema.times.row_times import as_happened
from relsql.sql_text import literal
from relsql.tasks.kinds.classes import FEWEST_LABELS
from relsql.tasks.kinds.static_rows import AT_RANDOM, split_column, split_reason
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import label_entities, labels_at
from relsql.tasks.split_choice import ENOUGH_LABELS, ENOUGH_OF_A_KIND, WINDOWS_FIELD, most_windows, tables_read
from relsql.tasks.splits import event_span, step_sql, timestamps_of
from relsql.tasks.summary import SplitSummary
from relsql.tasks.task import Task

RARE_SHARE = 0.01
"""A smaller share of the rarer class is a heavy imbalance."""

MIN_SILENT = 3
"""At fewer timestamps, labels may be the same by chance."""

_CHECKED_TIMESTAMPS = 2
"""Latest training timestamps whose labels are computed again without the rows after their window."""


def label_findings(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    splits: Iterable[SplitSummary],
    *,
    limits: LabelLimits = DEFAULT_LIMITS,
) -> tuple[Finding, ...]:
    """Find what is doubtful about the labels of a task. Nothing is written.

    Args:
        con: the user's connection; it does not change.
        catalog: name of the attached database.
        schema: its schema.
        task: the task, with both split timestamps.
        splits: summaries of the splits that are judged.
        limits: what the label query may do, and for how long.

    Raises:
        TaskError: the label query cannot be used.
    """
    splits = tuple(splits)
    if task.kind != "forecast":
        # Nearly every label has a time of its own, or all have the same, which says nothing about gaps or windows.
        return (
            *_split_at_random(task),
            *(f for split in splits if split.split != "train" for f in _few_rows(task, split)),
            *(finding for split in splits if split.split == "train" for finding in _imbalance(task, split)),
            *_unseen_classes(task, splits),
        )
    return (
        *(f for split in splits if split.split != "train" for f in few_labels(con, catalog, schema, task, split)),
        *(finding for split in splits if split.split == "train" for finding in _imbalance(task, split)),
        *_unseen_classes(task, splits),
        *(finding for split in splits if split.split == "train" for finding in _silence(task, split)),
        *(
            finding
            for split in splits
            if split.split == "train"
            for finding in _gaps(con, catalog, schema, task, split)
        ),
        *_rows_after_the_window(con, catalog, schema, task, limits),
    )


def are_few(split: SplitSummary) -> bool:
    """True if a metric over these labels says little without an interval."""
    return split.labels < ENOUGH_LABELS or split.rarer < ENOUGH_OF_A_KIND


def few_labels(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: SplitSummary
) -> Iterator[Finding]:
    """The finding that an evaluation split has few labels, or few of a class."""
    if task.kind != "forecast":
        yield from _few_rows(task, split)
        return
    if not are_few(split):
        return
    of_a_kind = "of the rarer class" if task.is_binary else "that differ from the commonest one"
    of_a_kind = "with items" if task.is_recommendation else of_a_kind
    wanted = max(ENOUGH_LABELS / split.labels, ENOUGH_OF_A_KIND / max(1, split.rarer))
    windows = math.ceil(wanted * task.num_eval_timestamps)
    with task_cursor(con, catalog) as cursor:
        span = event_span(cursor, catalog, tables_read(cursor, schema, task), task)
        most = most_windows(cursor, task, *span)
    if windows <= most:
        answer = f"write num_eval_timestamps: {windows}, or an earlier {split.split}_timestamp,"
    else:
        answer = f"{windows} timestamps would give enough, but half of the data must remain for training, which leaves "
        answer += f"room for {most}: "
        answer += f"write num_eval_timestamps: {most}, or " if most > task.num_eval_timestamps else ""
        answer += "write a shorter timedelta"
    yield Finding(
        "warning",
        f"task {task.name}",
        f"{split.labels:,} {split.split} labels, {split.rarer:,} {of_a_kind}, are few (at least {ENOUGH_LABELS} and "
        f"{ENOUGH_OF_A_KIND} are enough): read metrics with their interval; "
        + in_manifest(answer, WINDOWS_FIELD if windows <= most else "timedelta"),
    )


def _few_rows(task: Task, split: SplitSummary) -> Iterator[Finding]:
    """`few_labels` for seeds that are rows, static or with a time of their own."""
    if are_few(split):
        of_a_kind = "of the rarer class" if task.is_classification else "that differ from the commonest one"
        yield Finding(
            "warning",
            f"task {task.name}",
            f"{split.labels:,} {split.split} labels, {split.rarer:,} {of_a_kind}, are few (at least {ENOUGH_LABELS} "
            f"and {ENOUGH_OF_A_KIND} are enough): read metrics with their interval; "
            + (
                in_manifest("let a column name the split", "split")
                if task.is_static
                else in_manifest(f"write an earlier {split.split}_timestamp", f"{split.split}_timestamp")
            ),
        )


def _split_at_random(task: Task) -> Iterator[Finding]:
    """The finding that metrics are about other rows of today, and not about later ones."""
    if task.is_static and not split_column(task.split):
        yield Finding(
            "warning",
            f"task {task.name}",
            f"{split_reason(task.entity_table, task.split or AT_RANDOM)}. Its metrics are about other rows of the same "
            "time; how well it judges rows that come later is not known. Where rows have a time, ask as of that time: "
            + in_manifest("write kind: event or kind: autocomplete", "kind"),
        )


def _imbalance(task: Task, split: SplitSummary) -> Iterator[Finding]:
    if task.is_binary and split.rarer < RARE_SHARE * split.labels:
        yield Finding(
            "warning",
            f"task {task.name}",
            f"{split.rarer:,} of {split.labels:,} training labels are of the rarer class: scores will be close to that "
            "rate, so only their ranking is informative; compare average_precision with positive_rate in "
            "relsql evaluate FILE MODEL, or " + in_manifest("write a longer timedelta", "timedelta"),
        )
    rare = [value for value, count in split.classes if count < FEWEST_LABELS]
    if rare:
        yield Finding(
            "warning",
            f"task {task.name}",
            f"{len(rare):,} of {len(split.classes):,} classes have fewer than {FEWEST_LABELS} training labels "
            f"({_listed(rare)}): a model cannot tell them apart, so each is predicted at its share of these labels; "
            + in_manifest("join them to one class in sql", "sql"),
        )


def _unseen_classes(task: Task, splits: Iterable[SplitSummary]) -> Iterator[Finding]:
    """Validation labels whose class has no training label; those of test are not looked at."""
    counts = {split.split: dict(split.classes) for split in splits}
    if "train" not in counts or "val" not in counts:
        return
    new = [value for value in counts["val"] if value not in counts["train"]]
    if new:
        labels = sum(counts["val"][value] for value in new)
        yield Finding(
            "warning",
            f"task {task.name}",
            f"{labels:,} val labels are of {len(new):,} classes that no training label has ({_listed(new)}): a model "
            "does not know them, and is not validated on these labels; "
            + (
                in_manifest("join such classes to one in sql", "sql")
                if task.is_static
                else in_manifest("write a later val_timestamp, or join such classes to one in sql", "val_timestamp")
            ),
        )


def _listed(values: list[str], most: int = 3) -> str:
    """The first few of some classes."""
    return ", ".join([*map(repr, values[:most]), *(["..."] if len(values) > most else [])])


def _silence(task: Task, split: SplitSummary) -> Iterator[Finding]:
    """Timestamps before the first label that differs: events are recorded from then on, and entities are older."""
    if MIN_SILENT <= split.silent < len(split.timestamps):
        yield Finding(
            "warning",
            f"task {task.name}",
            f"at the {split.silent:,} oldest of {len(split.timestamps):,} training timestamps all labels are the same; "
            f"the first others are those at {split.timestamps[split.silent]}: if nothing was recorded before, the "
            "model would learn that nothing happens; leave them out by "
            + in_manifest("a condition on timestamps.timestamp in sql", "sql"),
        )


def _gaps(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, split: SplitSummary
) -> Iterator[Finding]:
    """Timestamps with labels whose whole window lies in a time without any row that the label query could read."""
    with task_cursor(con, catalog) as cursor:
        read = tables_read(cursor, schema, task)
        timestamps = list(split.timestamps)
        events = event_times_sql(read.timed_tables, lambda table: relation_sql(table, catalog))
        pairs = f"SELECT t AS here, lead(t) OVER (ORDER BY t ASC) AS following FROM (SELECT DISTINCT t FROM ({events}))"
        gaps = f"SELECT here, following FROM ({pairs}) WHERE following > here + {step_sql(task)}"
        query = f"""SELECT count(DISTINCT s), count(DISTINCT here), arg_max(here, following - here),
                           arg_max(following, following - here)
                    FROM (SELECT unnest(?::TIMESTAMP[]) AS s) JOIN ({gaps})
                      ON s >= here AND s + {step_sql(task)} < following"""
        empty, count, start, stop = cursor.execute(sealed(query), [timestamps]).fetchall()[0]
    if not empty:
        return
    tables = ", ".join(table.key for table in read.timed_tables)
    longest = f"from {start} to {stop}" if count == 1 else f"in {count:,} gaps, the longest from {start} to {stop}"
    yield Finding(
        "warning",
        f"task {task.name}",
        f"{empty:,} of {len(timestamps):,} training timestamps have a label window without any rows in {tables}, "
        f"{longest}: the model would learn that nothing happens; leave them out by "
        + in_manifest("a condition on timestamps.timestamp in sql", "sql"),
    )


def _rows_after_the_window(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, limits: LabelLimits
) -> Iterator[Finding]:
    """Labels that change when the rows after their window are deleted.

    A row that happened within the window may become known later. It belongs to the label all the same.
    """
    schema = as_happened(schema)
    with task_cursor(con, catalog) as cursor:
        timestamps = timestamps_of(cursor, catalog, schema, task, "train")[-_CHECKED_TIMESTAMPS:]
        ends = [one_row(cursor, f"SELECT {literal(t)} + {step_sql(task)}")[0] for t in timestamps]
    labels, changes = 0, list[str]()
    for timestamp, end in zip(timestamps, ends, strict=True):
        complete = _labels(con, catalog, schema, task, timestamp, task.test_timestamp, end, limits)
        try:
            cut = _labels(con, catalog, schema, task, timestamp, end, end, limits)
        except TaskError as error:
            changes.append(f"at {timestamp} there are none: {error.problem}")
            continue
        labels += len(complete)
        for entity in {**complete, **cut}:
            if complete.get(entity) != cut.get(entity):
                values = f"{_shown(complete, entity)} with them, {_shown(cut, entity)} without"
                changes.append(f"that of {entity!r} at {timestamp} is {values}")
    if changes:
        yield Finding(
            "warning",
            f"task {task.name}",
            f"the label query reads rows after its window: {len(changes):,} of {labels:,} labels change when rows "
            f"later than timestamp + {task.timedelta} are deleted ({changes[0]}), so the labels ask about more time "
            "than timedelta says; " + correct("sql", "timedelta"),
        )


def _labels(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    schema: Schema,
    task: Task,
    timestamp: datetime.datetime,
    end: datetime.datetime | None,
    entities_until: datetime.datetime,
    limits: LabelLimits,
) -> dict[object, object]:
    """Labels at one timestamp by entity."""
    found: pa.Table = labels_at(
        con, catalog, schema, task, [timestamp], end=end, entities_until=entities_until, limits=limits
    )
    return dict(zip(label_entities(found), found["label"].to_pylist(), strict=True))


def _shown(labels: dict[object, object], entity: object) -> str:
    if entity not in labels:
        return "absent"
    label = labels[entity]
    return f"{label:g}" if isinstance(label, float) else repr(label)
