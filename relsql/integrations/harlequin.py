"""The adapter of `harlequin -a relsql FILE`: Harlequin's DuckDB adapter with the models attached.

Needs `relsql[harlequin]`.
"""

from __future__ import annotations

import duckdb
from harlequin import HarlequinCompletion
from harlequin.exception import HarlequinQueryError
from harlequin_duckdb import DuckDbAdapter
from harlequin_duckdb.adapter import DuckDbConnection, DuckDbCursor

from relsql.errors import RelsqlError
from relsql.statements.parse import parse_statement
from relsql.statements.run import run_statement
from udfs.attach import attach

_FIRST = 100
"""Priority of a completion, the same as for reserved words. Lower ones come first; DuckDB's functions have 1000."""


class RelsqlConnection(DuckDbConnection):
    """A connection of Harlequin's DuckDB adapter with models attached.

    Args:
        conn: the connection; models that cannot be used are left out.
        init_message: the message that Harlequin shows once it is connected.
    """

    def __init__(self, conn: duckdb.DuckDBPyConnection, init_message: str = "") -> None:
        self.functions: tuple[str, ...] = ()
        try:
            self.functions = attach(conn)
            attached = f"Attached {', '.join(self.functions) or 'no models'}"
        except RelsqlError as error:
            attached = f"Models are not attached: {error}"
        super().__init__(conn, "\n".join(filter(None, [init_message, attached])))

    def execute(self, query: str) -> DuckDbCursor | None:
        """Run a statement about models, or leave another one to DuckDB.

        Raises:
            HarlequinQueryError: it failed.
        """
        try:
            ours = parse_statement(query)
            if ours is None:
                return super().execute(query)
            relation = run_statement(self.conn, ours)
            self.functions = attach(self.conn)
        except RelsqlError as error:
            raise HarlequinQueryError(msg=str(error), title="relsql cannot run the statement:") from error
        return DuckDbCursor(conn=self, relation=relation)

    def get_completions(self) -> list[HarlequinCompletion]:
        """DuckDB's completions, and the functions of the models, which exist only on this connection."""
        models = [
            HarlequinCompletion(label=name, type_label="fn", value=name, priority=_FIRST, context=None)
            for name in self.functions
        ]
        return [*models, *super().get_completions()]


class RelsqlAdapter(DuckDbAdapter):
    """Harlequin's DuckDB adapter with the same options, which also attaches the models of the first file."""

    ADAPTER_DETAILS = "DuckDB with the models of relsql attached: SELECT predict_<model>(id)."

    def connect(self) -> RelsqlConnection:
        """Open the files and attach the models of the first one.

        Raises:
            HarlequinConnectionError: a file cannot be opened.
        """
        connection = super().connect()
        return RelsqlConnection(connection.conn, connection.init_message)
