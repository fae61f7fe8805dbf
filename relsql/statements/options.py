"""The options of WITH: those of training, and the fields of a task that a line has no words for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from relsql.errors import TaskError, nearest
from relsql.statements.syntax import Value
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions

TASK_OPTIONS = (
    "val_timestamp",
    "test_timestamp",
    "num_eval_timestamps",
    "visible",
    "target",
    "kind",
    "split",
    "description",
)
"""The fields of a task that WITH can set."""

TRAIN_OPTIONS = tuple(field.name for field in fields(TrainOptions))


def task_and_options(name: str, line: str, options: Mapping[str, Value]) -> tuple[Task, TrainOptions]:
    """The task of a line and the options to train with.

    Args:
        name: the task's name.
        line: the question.
        options: the options of WITH; NULL is the default.

    Raises:
        TaskError: there is no such option. TaskError, TrainingError: it has another type or is out of range.
    """
    unknown = set(options) - {*TASK_OPTIONS, *TRAIN_OPTIONS}
    if unknown:
        option = min(unknown)
        raise TaskError(
            f"WITH has the option '{option}', which does not exist",
            expected=nearest(option, [*TASK_OPTIONS, *TRAIN_OPTIONS]),
            fix="correct the option, or leave it out for its default",
        )
    given: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    task = Task.from_line(line, name, **{option: given[option] for option in given if option in TASK_OPTIONS})
    return task, TrainOptions(**{option: given[option] for option in given if option in TRAIN_OPTIONS})
