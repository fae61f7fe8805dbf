"""The splits of tasks whose seeds are rows with a time of their own: by that time, at the two split timestamps.

train: rows up to `val_timestamp`, inclusive. val: rows after it, up to `test_timestamp`. test: rows after that. With a
`timedelta`, a label is known only that much later, so it belongs to a split only if it is known when the split ends.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

from relsql.errors import TaskError
from relsql.hints import correct, in_manifest
from relsql.schema.visibility import since_sql, visible_time_sql
from relsql.sql_text import literal
from relsql.tasks.split_choice import GIVEN, SPLIT_FIELDS, SplitChoice
from relsql.tasks.splits import Split, step_sql
from relsql.tasks.task import Task

TEST_SHARE = 0.1
"""The minimum share of the labels in a chosen test split; validation gets the same share of the rest."""

Quantile = Callable[[float, datetime.datetime | None, datetime.datetime | None], datetime.datetime | None]
"""(share, after, up to) -> the time up to which that share of the labels in (after, up to] lie."""


@dataclass(frozen=True, slots=True)
class RowWindow:
    """The rows of a split: their times are in (begin, end], and their labels are known at `end`; None: no limit."""

    begin: datetime.datetime | None = None
    end: datetime.datetime | None = None

    def condition_sql(self, time: str, task: Task) -> str:
        """The condition on a row's time, an expression of type TIMESTAMP."""
        parts = [f"isfinite({time})"]
        parts += [since_sql(time, literal(self.begin))] if self.begin else []
        known = f"{time} + {step_sql(task)}" if task.timedelta else time
        parts += [visible_time_sql(known, literal(self.end))] if self.end else []
        return " AND ".join(parts)


def window_of(task: Task, split: Split) -> RowWindow:
    """The rows of a split of a task with both split timestamps."""
    val, test = task.val_timestamp, task.test_timestamp
    return {"train": RowWindow(None, val), "val": RowWindow(val, test), "test": RowWindow(test)}[split]


def choose_row_splits(task: Task, quantile: Quantile) -> SplitChoice:
    """Choose the split timestamps that a task lacks, by shares of the labels.

    Args:
        task: the task; timestamps that it has are kept.
        quantile: finds times of labels; the values of labels are not used.

    Raises:
        TaskError: the labels are at too few times.
    """
    reasons = dict.fromkeys(SPLIT_FIELDS, GIVEN)
    if task.test_timestamp is None:
        share = 1 - TEST_SHARE if task.val_timestamp is None else 0.5
        # Before the last time, so that some labels are left.
        test = quantile(share, task.val_timestamp, _before(quantile(1, None, None)))
        of = "all labels" if task.val_timestamp is None else "the labels after val_timestamp"
        reasons["test_timestamp"] = f"{share:.0%} of {of} are up to then"
        task = replace(task, test_timestamp=test)
    if task.val_timestamp is None and task.test_timestamp is not None:
        val = quantile(1 - TEST_SHARE, None, _before(quantile(1, None, task.test_timestamp)))
        reasons["val_timestamp"] = f"{1 - TEST_SHARE:.0%} of the labels before test_timestamp are up to then"
        task = replace(task, val_timestamp=val)
    if task.val_timestamp is None or task.test_timestamp is None:
        raise TaskError(
            f"task '{task.name}': its labels are at too few times to be split",
            expected="labels of rows at three times or more",
            fix=in_manifest("select rows of more times, or write the split timestamps", "val_timestamp"),
        )
    if task.val_timestamp >= task.test_timestamp:
        raise TaskError(
            f"task '{task.name}': val_timestamp {task.val_timestamp} is not before test_timestamp "
            f"{task.test_timestamp}",
            expected="an earlier val_timestamp",
            fix=correct("val_timestamp", "test_timestamp"),
        )
    return SplitChoice(task, reasons)


def _before(time: datetime.datetime | None) -> datetime.datetime | None:
    """The last moment before a time."""
    return None if time is None else time - datetime.timedelta(microseconds=1)
