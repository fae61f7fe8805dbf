"""The windows of `FORECAST n TIMEFRAMES`: the first one starts at as_of, and each begins where the one before ends."""

from __future__ import annotations

from relsql.tasks.predict.syntax import UNITS, Expression, aggregates
from relsql.tasks.predict.tokens import line_error

LONGEST = 100 * UNITS["year"]
"""The longest time that windows may look ahead or back, in seconds."""


def check_steps(line: str, steps: int, outcome: Expression, assuming: Expression | None) -> None:
    """Check that the windows of a line can follow one another, and that none of ASSUMING ends after the last of them.

    Raises:
        TaskError: they do not start at 0, differ, or look too far ahead.
    """
    first, *others = (found.window for found in aggregates(outcome))
    if first.start != 0:
        problem = f"the first window starts at {first.start}, so the windows of FORECAST would leave gaps"
        raise line_error(line, first.at, problem, f"a start at 0: 0, {first.end}, {first.unit}s")
    for other in others:
        if (other.start, other.end, other.unit) != (0, first.end, first.unit):
            problem = "the windows of FORECAST differ from one another"
            raise line_error(line, other.at, problem, f"the same window everywhere: 0, {first.end}, {first.unit}s")
    last = steps * first.seconds
    if last > LONGEST:
        raise line_error(line, first.at, f"{steps} windows end after 100 years", "at most 100 years together")
    for other in (found.window for found in aggregates(assuming)):
        if other.seconds > last:
            problem = f"the window of ASSUMING ends after the {steps} windows of FORECAST"
            raise line_error(line, other.at, problem, f"an end at or before {steps * first.end}, {first.unit}s")
