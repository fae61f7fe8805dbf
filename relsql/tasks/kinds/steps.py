"""A forecast in steps: one number for each of several windows of equal length, of which each begins where one ends.

The horizon of the task, `timedelta`, is all windows together, so whatever leaves room for the horizon leaves room for
every window. A label is a list of numbers, in the order of the windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relsql.errors import TaskError
from relsql.hints import correct
from relsql.sql_text import literal

if TYPE_CHECKING:
    from relsql.tasks.task import Task


def check_steps(task: Task) -> None:
    """Check that a task with `steps` may have some.

    Raises:
        TaskError: it is no regression that forecasts.
    """
    if task.steps is not None and not (task.is_regression and task.kind == "forecast"):
        raise TaskError(
            f"task '{task.name}' is of type {task.task_type} and kind {task.kind} with steps: {task.steps}",
            expected="steps in regressions of kind forecast only",
            fix=correct("steps", "task_type", "kind"),
        )


def step_values(labels: pa.ChunkedArray) -> NDArray[np.float64]:
    """Labels as an array, float64 [labels, steps]."""
    values = np.asarray(pc.list_flatten(labels), dtype=np.float64)
    return values.reshape(len(labels), -1)


def windows_end_sql(timedelta: str, steps: int, step: str | int) -> str:
    """The time from as_of to the end of a window, an INTERVAL; `step` is its number from 1 on, 0 for as_of itself."""
    return f"{step} * CAST({literal(timedelta)} AS INTERVAL) / {steps}"


def is_whole_sql(timedelta: str, steps: int) -> str:
    """The condition that a horizon consists of so many windows of equal length, to the month, day and microsecond."""
    horizon = f"CAST({literal(timedelta)} AS INTERVAL)"

    def part(name: str) -> str:
        return f"date_part('{name}', {horizon})"

    months, days = f"12 * {part('year')} + {part('month')}", part("day")
    clock = f"(60 * {part('hour')} + {part('minute')}) * 60_000_000 + {part('microsecond')}"
    return " AND ".join(f"({each}) % {steps} = 0" for each in (months, days, clock))
