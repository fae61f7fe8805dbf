"""Which kinds of tasks a feature supports; all others are refused rather than answered in part."""

from __future__ import annotations

from relsql.errors import TaskError
from relsql.hints import command
from relsql.tasks.task import Task


def require_forecast(task: Task, what: str) -> None:
    """Check that a task forecasts one number or class of an entity at any moment.

    Raises:
        TaskError: it has lists of classes or items, or is about rows as of their own time.
    """
    require_one_answer(task, what)
    require_any_moment(task, what)


def require_one_answer(task: Task, what: str) -> None:
    """Check that a task has one answer: a probability, a value, or one of several classes.

    Raises:
        TaskError: it is a list of classes or items, or a value for each of several windows.
    """
    require_no_lists(task, what)
    require_no_items(task, what)


def require_no_lists(task: Task, what: str) -> None:
    """Check that a score of a task is neither a list of classes nor a value for each of several windows.

    Raises:
        TaskError: it is.
    """
    require_one_window(task, what)
    if task.is_multilabel:
        raise _unsupported(task, "has lists of classes", what, "a classification of one class, or a regression")


def require_one_window(task: Task, what: str) -> None:
    """Check that a task does not forecast in steps.

    Raises:
        TaskError: it does.
    """
    if task.steps:
        raise _unsupported(task, f"forecasts {task.steps} windows", what, "a forecast of one window, without steps")


def require_no_items(task: Task, what: str) -> None:
    """Check that a task is not a recommendation.

    Raises:
        TaskError: it is.
    """
    if task.is_recommendation:
        raise _unsupported(task, "recommends items", what, "a classification or a regression")


def require_any_moment(task: Task, what: str) -> None:
    """Check that a task can be asked at any moment.

    Raises:
        TaskError: it is about rows as of their own time, or static.
    """
    if task.is_static:
        raise _unsupported(task, "is static", what, "a task of kind forecast")
    if task.asked.own_time:
        raise _unsupported(task, "is about rows as of their own time", what, "a task of kind forecast")


def _unsupported(task: Task, kind: str, what: str, expected: str) -> TaskError:
    return TaskError(
        f"task '{task.name}' {kind}; {what} does not support that",
        expected=expected,
        fix=f"{command('evaluate', 'FILE', 'MODEL')} compares the scores of any model with labels",
    )
