"""Which tasks the commands can answer that look at scores over time."""

from __future__ import annotations

from relsql.errors import TaskError
from relsql.tasks.task import Task


def require_forecast(task: Task, what: str) -> None:
    """Check that a task forecasts one number of an entity, as of moments that `what` can choose.

    Raises:
        TaskError: the task has several classes, or asks about rows as of their own time.
    """
    problem = "has several classes" if task.is_multiclass else None
    problem = "asks about rows as of their own time" if task.asked.own_time else problem
    if problem is not None:
        raise TaskError(
            f"task '{task.name}' {problem}, which {what} cannot do yet",
            expected="a binary classification or a regression of kind forecast",
            fix="relsql evaluate FILE MODEL compares the scores of any model with the labels of a split",
        )
