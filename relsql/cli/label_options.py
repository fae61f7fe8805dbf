"""Options for the commands that run the label query of a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relsql.cli.failures import duckdb_message

if TYPE_CHECKING:
    import duckdb

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DEFAULT_TIMEOUT_SECONDS = 3600.0
"""A copy of `LABEL_TIMEOUT_SECONDS`, so that `relsql --help` does not load DuckDB; a test compares the two."""


def memory_option(command: _Command) -> _Command:
    """Add `--memory-limit`."""
    text = "DuckDB's memory_limit, for example 2GB. Default: 80% of the machine's memory."
    return click.option("--memory-limit", metavar="SIZE", help=text)(command)


def label_options(command: _Command) -> _Command:
    """Add `--allow-external`, `--label-timeout` and `--memory-limit`."""
    external = click.option(
        "--allow-external", is_flag=True, help="Let the label query read files and call any function. It cannot write."
    )
    timeout = click.option(
        "--label-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=_DEFAULT_TIMEOUT_SECONDS,
        show_default=True,
        metavar="SECONDS",
        help="Time limit of the label query.",
    )
    return external(timeout(memory_option(command)))


def open_for_labels(
    file: Path, *, read_only: bool = False, allow_external: bool, memory_limit: str | None
) -> duckdb.DuckDBPyConnection:
    """Open FILE for a command that runs a label query, without access to other files unless that is allowed.

    Raises:
        DatabaseError: the file cannot be opened.
        click.BadParameter: the memory limit is not a size.
    """
    from relsql.database.connections import open_database

    con = open_database(file, read_only=read_only, external=allow_external)
    if memory_limit is not None:
        try:
            limit_memory(con, memory_limit)
        except click.BadParameter:
            con.close()
            raise
    return con


def limit_memory(con: duckdb.DuckDBPyConnection, size: str) -> None:
    """Set DuckDB's memory limit, which applies to all connections to the file in this process.

    Raises:
        click.BadParameter: `size` is not a size.
    """
    import duckdb

    from relsql.sql_text import literal

    try:
        con.execute(f"SET memory_limit = {literal(size)}")
    except duckdb.Error as error:
        raise click.BadParameter(duckdb_message(error), param_hint="--memory-limit") from None
