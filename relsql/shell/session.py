"""The shell without a terminal: it takes lines, runs statements and dot commands, and returns text."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb

from relsql.database.names import current_catalog
from relsql.database.relsql_tables import has_relsql_table, relsql_table, users_objects_sql
from relsql.errors import DatabaseError, nearest
from relsql.hints import counted
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.function_names import predict_name
from relsql.registry.models import active_card, read_models
from relsql.registry.versions import RETIRED
from relsql.schema.reading import read_schema
from relsql.shell.completion import Names, read_names
from relsql.shell.running import run_interruptible
from relsql.sql_text import literal
from relsql.statements.parse import FORMS, parse_statement
from relsql.statements.run import Trainer, run_statement
from relsql.statements.split import is_blank, split_statements
from udfs.attach import attach

MAX_ROWS = 40
"""Maximum number of rows shown of a result: the first and the last ones, as in DuckDB's shell."""

COMMANDS = {
    ".attach": ".attach [DATABASE]   attach the models again, or those of another attached database",
    ".help": ".help                this list",
    ".models": ".models              the models that can be called",
    ".quit": ".quit                exit; so does Ctrl-D",
    ".read": ".read FILE           run the statements of a file",
    ".tables": ".tables              tables and views, without relsql's own",
}

HELP = "\n".join(
    [
        "A statement ends with ; and may span several lines. Tab completes, Ctrl-C stops a query or clears the line.",
        *COMMANDS.values(),
        "Beside the statements of SQL:",
        *FORMS.values(),
    ]
)


class Quit(Exception):
    """The user wants to exit."""


@dataclass(frozen=True, slots=True)
class Output:
    """Text for the user: a result, or a note."""

    text: str
    is_result: bool = True


class Session:
    """Runs statements and dot commands on a connection; `attach` makes its models callable.

    Args:
        con: the connection; nothing else may use it.
        progress: called with the progress of the running query in percent; negative if DuckDB does not know it.
        width: returns the maximum width of a result in characters.
        trainer: trains the models of `CREATE MODEL` and `PREDICT`; default: `relsql.train`.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        progress: Callable[[float], None] = lambda percent: None,
        width: Callable[[], int] = lambda: 120,
        trainer: Trainer | None = None,
    ) -> None:
        self.con = con
        self._trainer = trainer
        self._progress = progress
        self._width = width
        self._names = read_names(con)
        # DuckDB must not look for a missing table among the variables of this program.
        con.execute("SET python_enable_replacements = false")
        # DuckDB tracks the progress of a query only if this is on; relsql draws the bar.
        con.execute("SET enable_progress_bar = true")
        con.execute("SET enable_progress_bar_print = false")

    def attach(self, database: str | None = None) -> tuple[str, ...]:
        """Attach the models of the current database, or of another attached one; returns their functions.

        Raises:
            DatabaseError: there is no such database. ModelError, ArtifactError: a model cannot be used.
        """
        if database is not None:
            query = "SELECT database_name FROM system.main.duckdb_databases() WHERE NOT internal"
            databases = [name for (name,) in self.con.execute(query).fetchall()]
            if database not in databases:
                raise DatabaseError(
                    f"database '{database}' is not attached",
                    expected=nearest(database, databases),
                    fix="ATTACH 'FILE';",
                )
        return attach(self.con, database=database)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of models that can be called now."""
        return self.names().models

    def check_drift(self) -> None:
        """Raise SchemaDriftError if the tables of an active model of the current database changed since training.

        Raises:
            ModelError, ArtifactError: a model of it is damaged.
        """
        try:
            catalog = current_catalog(self.con)
            schema = read_schema(self.con, catalog)
            names = dict.fromkeys(model.name for model in read_models(self.con, catalog))
            cards = [active_card(self.con, catalog, name, recommendations=True) for name in names]
        except duckdb.Error:
            return  # Nothing can be read in an aborted transaction.
        for card in cards:
            check_drift(card, schema)

    def names(self) -> Names:
        """The names that can be completed now; in an aborted transaction, the last ones read."""
        try:
            self._names = read_names(self.con)
        except duckdb.Error:
            pass
        return self._names

    def run(self, text: str) -> Iterator[Output]:
        """Run a dot command, or all statements of a text; the last one need not end with `;`.

        Raises:
            Quit: the user wants to exit. KeyboardInterrupt: Ctrl-C stopped a query.
            duckdb.Error, RelsqlError: a statement or command failed; those after it did not run.
        """
        if text.lstrip().startswith("."):
            yield from self._command(text.strip())
            return
        statements, rest = split_statements(text)
        for statement in [*statements, *([] if is_blank(rest) else [rest])]:
            output = self._statement(statement)
            if output is not None:
                yield output

    def run_lines(self, lines: Iterable[str]) -> Iterator[Output]:
        """Run a script, in which each dot command has its own line between statements. Errors are those of `run`."""
        pending = ""
        for line in lines:
            if line.startswith(".") and is_blank(pending):
                yield from self.run(line)
                continue
            statements, pending = split_statements(pending + line)
            for statement in statements:
                yield from self.run(statement)
        yield from self.run(pending)

    def _statement(self, statement: str) -> Output | None:
        ours = parse_statement(statement)
        if ours is not None:
            # Training must run in the main thread, where it handles Ctrl-C by itself.
            return Output(self._box(run_statement(self.con, ours, trainer=self._trainer)))
        return run_interruptible(self.con, lambda: self._rendered(statement), self._progress)

    def _rendered(self, statement: str) -> Output | None:
        """Run one statement; None if there is no output."""
        reads = _reads(self.con, statement)
        # For a statement without rows DuckDB 1.5 returns None, 2.0 a relation with a column `Count` or `Success`.
        relation = cast("duckdb.DuckDBPyRelation | None", self.con.sql(statement))
        if relation is None:
            return None
        columns = tuple(relation.columns)
        if columns == ("explain_key", "explain_value"):
            # A query plan is drawn over several lines.
            return Output("\n".join(str(plan).rstrip() for _, plan in relation.fetchall()))
        if not reads and columns in (("Success",), ("Count",)):
            counts = [count for (count,) in relation.fetchall()]
            return Output(counted(counts[0], "row"), is_result=False) if counts else None
        return Output(self._box(relation))

    def _box(self, relation: duckdb.DuckDBPyRelation) -> str:
        box = io.StringIO()
        with redirect_stdout(box):
            relation.show(max_width=self._width(), max_rows=MAX_ROWS)
        return box.getvalue().rstrip("\n")

    def _command(self, line: str) -> Iterator[Output]:
        name, *arguments = shlex.split(line)
        match name, arguments:
            case ".help", []:
                yield Output(HELP)
            case ((".quit" | ".exit"), []):
                raise Quit
            case ".tables", []:
                yield from self.run(_TABLES.format(users=users_objects_sql(self.con)))
            case ".models", []:
                yield from self._models()
            case ".attach", ([] | [_]):
                attached = self.attach(*arguments)
                yield Output(f"attached: {', '.join(attached) or 'no models'}", is_result=False)
            case ".read", [file]:
                yield from self._read(Path(file))
            case _:
                usage = COMMANDS.get(name)
                if usage:
                    raise DatabaseError(f"'{line}' is not how {name} is called", expected=" ".join(usage.split()))
                raise DatabaseError(f"command '{name}' does not exist", expected=nearest(name, COMMANDS), fix=".help")

    def _models(self) -> Iterator[Output]:
        catalog = current_catalog(self.con)
        if not has_relsql_table(self.con, catalog, "models"):
            yield Output("no models yet: relsql train FILE TASK --name NAME", is_result=False)
            return
        yield from self.run(
            f"""SELECT {literal(predict_name(""))} || name AS function, version, task, task_type, created
                FROM {relsql_table(self.con, catalog, "models")} WHERE status IS DISTINCT FROM {literal(RETIRED)}
                ORDER BY name ASC"""
        )

    def _read(self, path: Path) -> Iterator[Output]:
        try:
            script = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DatabaseError(f"file '{path}' cannot be read: {error}", expected="a text file with SQL") from error
        yield from self.run_lines(script.splitlines(keepends=True))


_TABLES = """
    SELECT database_name AS database, schema_name AS schema, table_name AS name, 'table' AS kind
    FROM system.main.duckdb_tables() WHERE NOT internal AND {users}
    UNION ALL
    SELECT database_name, schema_name, view_name, 'view' FROM system.main.duckdb_views() WHERE NOT internal AND {users}
    ORDER BY ALL ASC NULLS LAST"""


def _reads(con: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """True if the statement is a query; column names do not show that, because a query may choose any."""
    kinds = {parsed.type for parsed in con.extract_statements(statement)}
    return bool(kinds & {duckdb.StatementType.SELECT, duckdb.StatementType.MULTI})
