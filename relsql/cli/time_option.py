"""The moment of a score on the command line."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def as_of_option(command: _Command) -> _Command:
    """Add `--as-of`."""
    return time_option("--as-of", "Default: the latest event in FILE.")(command)


def time_option(name: str, text: str) -> Callable[[_Command], _Command]:
    """The decorator that adds an option for a moment; `text` is its help."""
    return click.option(name, callback=timestamp, metavar="TIME", help=text)


def timestamp(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime.datetime | None:
    """Parse an ISO date or time as a zone-less datetime; a time with a zone is converted to UTC."""
    if value is None:
        return None
    from relsql.errors import TaskError
    from relsql.tasks.fields import as_timestamp

    try:
        return as_timestamp(value, "score", "as_of")
    except TaskError:
        raise click.BadParameter(f"{value!r} is not a time such as 2009-06-01 or '2009-06-01 12:00'") from None
