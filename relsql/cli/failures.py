"""Report failures as one line on stderr and an exit code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from relsql.cli.output import note
from relsql.database.interrupts import interrupted
from relsql.errors import RelsqlError
from relsql.printable import printable

FAILED = 1
INTERRUPTED = 130

_OF_A_PUBLISHED_MODEL = re.compile(r"Table with name \S+_[0-9a-f]{12}\W* does not exist")
"""DuckDB looks for the tables of a published model in the current database, not in the one that the model is in."""

_OF_A_KEY = re.compile(r"Macro (predict_\w+)\(\) does not support.*?Candidate macros: predict_\w+\((id1(?:, id\d)+),")
"""A call of a model whose key has several columns, with another number of arguments."""

_OF_A_MOMENT = re.compile(r"when casting from source column moment\W*$")
"""An as_of that cannot be read as a time: DuckDB names the column of a subquery that the argument becomes."""

_INTERRUPTED_KEY = "relsql.interrupted"


@contextmanager
def reported(ctx: click.Context) -> Iterator[None]:
    """Print what went wrong in the block as one line on stderr and exit.

    Errors of relsql, of DuckDB and of the operating system exit with 1, an interruption with 130. Any other exception
    is a bug, so its traceback is shown.
    """
    try:
        yield
    except RelsqlError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        _interrupted(ctx)
    except Exception as error:
        if interrupted(error):
            _interrupted(ctx)
        message = _outside_message(error)
        if message is None:
            raise
        _fail(message)


def _outside_message(error: Exception) -> str | None:
    """The message for an error from outside relsql; None for a bug, or if the reader of stdout has closed it."""
    if isinstance(error, BrokenPipeError):
        return None  # For example `| head` closes the pipe; click then exits without a message.
    if isinstance(error, UnicodeEncodeError):
        return f"an argument is not valid UTF-8: {error.object[max(0, error.start - 20) : error.end]!r}"
    if "duckdb" in sys.modules:
        from relsql.database.engine_errors import database_error

        problem = database_error(error)
        if problem:
            return str(problem)
        if isinstance(error, sys.modules["duckdb"].Error):
            return duckdb_message(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": '{error.filename}'" if error.filename else "")
    return None


def on_interrupt(message: str) -> None:
    """Set the message that Ctrl-C prints from now on. Until the first call, it says that nothing was changed."""
    click.get_current_context().find_root().meta[_INTERRUPTED_KEY] = message


def duckdb_message(error: Exception) -> str:
    """A DuckDB error on one line: its message and its suggestion, without the excerpt of the statement."""
    lines = []
    for line in str(error).splitlines():
        if line.startswith("LINE "):
            break
        lines.append(line.strip())
    text = " ".join(line for line in lines if line)
    if _OF_A_PUBLISHED_MODEL.search(text):
        text += " Expected: a published model to be called in its own database. Fix: USE that database, then call it."
    if _OF_A_MOMENT.search(text):
        text += ". Expected: as_of as a TIMESTAMP, a DATE or a text like '2009-06-01 12:00'. "
        text += "Fix: as_of := TIMESTAMP '2009-06-01'"
    if key := _OF_A_KEY.search(text):
        text += f". Expected: the values of the key's columns one by one, {key[1]}({key[2]}), in the order of the key. "
        text += f"Fix: {key[1]}(k.COLUMN, ..) for a struct k"
    return text


def _fail(message: str) -> None:
    # A message may quote text from an untrusted file, which must not control the terminal.
    note(f"relsql: error: {printable(' '.join(message.splitlines()))}")
    raise click.exceptions.Exit(FAILED)


def _interrupted(ctx: click.Context) -> None:
    note(f"\nrelsql: interrupted: {ctx.find_root().meta.get(_INTERRUPTED_KEY, 'nothing was changed')}")
    raise click.exceptions.Exit(INTERRUPTED)
