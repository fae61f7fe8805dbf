"""`relsql sql`: one statement with the models attached."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from relsql.cli.failures import duckdb_message
from relsql.cli.output import Cells, DatabasePath, note, write_csv, write_json_rows, write_table
from relsql.hints import counted
from relsql.schema.types import is_number

if TYPE_CHECKING:
    import duckdb

    from relsql.statements.syntax import Statement as ModelStatement

Format = Literal["table", "csv", "json"]

_READERS = frozenset({"SELECT", "EXPLAIN"})


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement.

    Attributes:
        text: the statement as written.
        reads: whether it only reads.
        selects: whether it can be a subquery in FROM.
        ours: the parsed statement, if it is about models.
    """

    text: str
    reads: bool
    selects: bool
    ours: ModelStatement | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a statement as text, or as JSON for format json; `right` are the positions of the number columns."""

    columns: tuple[str, ...]
    rows: Sequence[Cells]
    right: frozenset[int]


@click.command("sql", short_help="Run a SQL statement with the models attached.")
@click.argument("file", type=DatabasePath())
@click.argument("statement")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)
@click.option(
    "--read-only/--read-write",
    "read_only",
    default=None,
    help="How to open FILE. Default: read-only for SELECT (also FROM, WITH, VALUES, PIVOT, DESCRIBE, SHOW, SUMMARIZE) "
    "and EXPLAIN, for writing otherwise.",
)
@click.option(
    "--model", "pinned", multiple=True, metavar="MODEL@VERSION", help="Attach a version too: dnf@2 as predict_dnf_v2."
)
def sql_command(file: Path, statement: str, form: Format, read_only: bool | None, pinned: tuple[str, ...]) -> None:
    """Run one SQL STATEMENT in FILE, with the functions of all its models.

    STATEMENT may also be about models: CREATE MODEL, SHOW MODELS, DESCRIBE MODEL, DROP MODEL or PREDICT.

    If STATEMENT is `-`, it is read from stdin. All rows are printed. In CSV, NULL is an empty field and an empty string
    is `""`; in JSON, NaN and infinite numbers are null.

    \b
    relsql sql f1.duckdb "SELECT driver_id, predict_dnf(driver_id) AS risk FROM drivers ORDER BY risk DESC"
    relsql sql f1.duckdb "INSERT INTO risk_scores FROM predict_dnf_batch()"
    relsql sql shop.duckdb "CREATE MODEL churn AS PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.id"
    """  # noqa: D301
    from contextlib import closing

    from relsql.database.connections import open_database
    from udfs.attach import attach

    parsed = parse(sys.stdin.read() if statement == "-" else statement)
    with closing(open_database(file, read_only=parsed.reads if read_only is None else read_only)) as con:
        functions = attach(con) + (attach(con, models=pinned) if pinned else ())
        run_statement(con, parsed, form, functions)


def parse(text: str) -> Statement:
    """Parse one statement.

    Raises:
        click.UsageError: the text contains no statement, or several.
        duckdb.Error: the text is not valid SQL.
    """
    import duckdb

    from relsql.statements.parse import parse_statement
    from relsql.statements.syntax import only_reads

    ours = parse_statement(text)
    if ours is not None:
        return Statement(text, only_reads(ours), False, ours)
    with duckdb.connect() as con:
        statements = con.extract_statements(text)
    kinds = [statement.type.name for statement in statements]
    # DuckDB splits a PIVOT into several statements.
    if kinds == ["MULTI"] or (kinds == ["CREATE", "SELECT"] and "pivot" in text.lower()):
        return Statement(text, True, False)
    if len(statements) != 1:
        raise click.UsageError(
            f"STATEMENT holds {len(statements)} statements; give one, and call relsql again for more."
        )
    return Statement(text, kinds[0] in _READERS, kinds[0] == "SELECT")


def run_statement(
    con: duckdb.DuckDBPyConnection, statement: Statement, form: Format, functions: tuple[str, ...] = ()
) -> None:
    """Run a statement and write its rows to stdout; if there are none to show, a short note goes to stderr.

    Raises:
        ModelError: the statement calls a function of a model that does not exist.
        duckdb.Error: the statement fails.
    """
    import duckdb

    try:
        with unknown_function_explained(lambda: functions):
            result = _result(con, statement, form)
    except duckdb.InvalidInputException as error:
        if "read-only mode" in str(error):
            _explain_read_only(error)
        raise
    if result is None:
        return
    if form == "csv":
        write_csv(result.columns, result.rows)
    elif form == "json":
        write_json_rows(result.columns, result.rows)
    else:
        write_table(result.columns, result.rows, result.right)
        if not result.rows:
            note("no rows")


def _result(con: duckdb.DuckDBPyConnection, statement: Statement, form: Format) -> Result | None:
    """Run a statement; None if it has no rows to show."""
    if statement.ours is not None:
        from relsql.cli.commands.training import train_with_progress
        from relsql.statements.run import run_statement as run_model_statement

        return _read(run_model_statement(con, statement.ours, trainer=train_with_progress), form)
    return _read(con.sql(statement.text), form) if statement.selects else _execute(con, statement)


def _read(relation: duckdb.DuckDBPyRelation, form: Format) -> Result:
    """Read the rows of a relation; DuckDB converts every value to text, because it knows its types best."""
    positions = range(1, len(relation.columns) + 1)
    # By position, because several columns may have the same name.
    cells = (f"to_json(#{i})::VARCHAR" if form == "json" else f"#{i}::VARCHAR" for i in positions)
    rows = relation.project(", ".join(cells)).fetchall()
    right = {i for i, kind in enumerate(relation.types) if is_number(str(kind))}
    return Result(tuple(relation.columns), rows, frozenset(right))


def _execute(con: duckdb.DuckDBPyConnection, statement: Statement) -> Result | None:
    """Run any other statement; None if it has no rows to show."""
    done = con.execute(statement.text)
    columns = tuple(str(column[0]) for column in done.description or ())
    rows = done.fetchall()
    if not rows and not statement.reads:
        note("done")
        return None
    if columns == ("explain_key", "explain_value"):
        # A query plan is drawn over several lines.
        click.echo("\n".join(str(row[1]).rstrip() for row in rows))
        return None
    if columns == ("Count",) and len(rows) == 1:
        note(counted(rows[0][0], "row"))
        return None
    return Result(columns, [[None if value is None else str(value) for value in row] for row in rows], frozenset())


@contextmanager
def unknown_function_explained(functions: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Turn DuckDB's error about a missing scoring function into one that lists the existing ones.

    Args:
        functions: returns the existing ones.

    Raises:
        ModelError: a statement in the block calls a scoring function that does not exist.
    """
    import duckdb

    from relsql.errors import ModelError, nearest

    try:
        yield
    except duckdb.CatalogException as error:
        unknown = re.search(r"Function with name ((?:predict|explain)_\S+) does not exist", str(error))
        if unknown is None:
            raise
        raise ModelError(
            f"function '{unknown.group(1)}' does not exist",
            expected=nearest(unknown.group(1), functions()),
            fix="relsql models FILE, or relsql train FILE TASK --name NAME",
        ) from error


def _explain_read_only(error: Exception) -> None:
    from relsql.errors import DatabaseError

    raise DatabaseError(duckdb_message(error), fix="relsql sql --read-write FILE STATEMENT") from error
