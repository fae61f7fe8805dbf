"""`relsql shell`: SQL at a prompt, with the models attached."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relsql.cli.commands.prompts.query import unknown_function_explained
from relsql.cli.commands.training import train_with_progress
from relsql.cli.output import DatabasePath, note
from relsql.cli.progress import QueryProgress
from relsql.errors import needs_extra
from relsql.registry.function_names import is_score_name
from relsql.version import __version__

if TYPE_CHECKING:
    from relsql.shell.prompt import Prompt
    from relsql.shell.session import Output, Session


@click.command("shell", short_help="Type SQL at a prompt, with the models attached.")
@click.argument("file", type=DatabasePath())
@click.option("--read-only", is_flag=True, help="Open FILE read-only, so that others can read it too.")
@click.option("-c", "script", metavar="SQL", help="Run these statements and exit.")
def shell_command(file: Path, read_only: bool, script: str | None) -> None:
    """Type SQL at a prompt, with the functions of all models of FILE.

    A statement ends with `;` and may span several lines. Tab completes keywords, tables, columns and functions; Ctrl-C
    stops a query, Ctrl-D exits; .help lists more. DuckDB formats the results; of long ones the first and last rows are
    shown.

    With -c, or with a script on stdin, the statements run in order, up to the first error.

    \b
    relsql shell f1.duckdb
    relsql shell f1.duckdb < script.sql
    """  # noqa: D301
    from relsql.database.connections import open_database

    interactive = script is None and sys.stdin.isatty()
    if interactive:
        with needs_extra("shell", "relsql shell at a terminal"):
            import relsql.shell.prompt  # noqa: F401  # Report missing libraries before the file is opened.
    from relsql.shell.session import Quit, Session

    with closing(open_database(file, read_only=read_only)) as con, QueryProgress() as progress:
        session = Session(con, progress, lambda: shutil.get_terminal_size((120, 24)).columns, train_with_progress)
        try:
            if interactive:
                converse(session, file)
            else:
                session.attach()
                lines = sys.stdin if script is None else script.splitlines(keepends=True)
                _write(session, session.run_lines(lines))
        except Quit:
            pass


def converse(session: Session, file: Path) -> None:
    """Run what the user types until they exit; the shell also starts if models cannot be used."""
    import duckdb

    from relsql.errors import RelsqlError
    from relsql.shell.prompt import Prompt, history_path

    try:
        session.attach()
    except RelsqlError as error:
        note(f"models are not attached: {error}")
    models = [name for name in session.functions if is_score_name(name)]
    note(f"relsql {__version__}, DuckDB {duckdb.__version__}, {file}: {', '.join(models) or 'no models yet'}")
    note(".help lists what else can be typed.")
    prompt = Prompt(session.names, history_path())
    while (text := _typed(prompt)) is not None:
        try:
            _write(session, session.run(text))
        except KeyboardInterrupt:
            note("interrupted")
        except (RelsqlError, duckdb.Error, ValueError) as error:
            note(str(error).rstrip())


def _typed(prompt: Prompt) -> str | None:
    """The next input; None when the user exits."""
    while True:
        try:
            return prompt.read()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return None


def _write(session: Session, outputs: Iterator[Output]) -> None:
    """Write outputs as they arrive: results to stdout, notes to stderr.

    Raises:
        ModelError: a statement calls a scoring function that does not exist. SchemaDriftError: the tables changed.
        duckdb.Error, RelsqlError: another failure.
    """
    with unknown_function_explained(lambda: session.functions), drift_explained(session):
        for output in outputs:
            click.echo(output.text, err=not output.is_result)


@contextmanager
def drift_explained(session: Session) -> Iterator[None]:
    """Turn DuckDB's error from inside a scoring function into one about the table that has changed.

    The functions are macros, which DuckDB binds when they are called. If a column was renamed after the models were
    attached, the error of DuckDB is about names that the user never wrote.

    Raises:
        SchemaDriftError: the tables of an attached model changed, and a statement in the block could not be bound.
    """
    import duckdb

    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException):
        if session.functions:
            session.check_drift()
        raise
