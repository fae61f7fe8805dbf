"""`%load_ext relsql`: SQL and statements about models in the cells of a notebook.

%load_ext relsql
%relsql shop.duckdb
%relsql SHOW MODELS
%%relsql
SELECT customer_id, predict_churn(customer_id) FROM customers
"""

from __future__ import annotations

from typing import Any

import duckdb

from relsql.errors import DatabaseError, RelsqlError, needs_extra
from relsql.hints import counted
from relsql.statements.sql import sql
from udfs.attach import attach, connect

with needs_extra("notebook", "%relsql"):
    from IPython.core.error import UsageError
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.core.magic import Magics, line_cell_magic, magics_class


@magics_class
class RelsqlMagics(Magics):
    """The magic `%relsql`: it opens a file, takes an open connection, or runs statements."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._con: duckdb.DuckDBPyConnection | None = None

    @line_cell_magic
    def relsql(self, line: str, cell: str | None = None) -> duckdb.DuckDBPyRelation | None:
        """Run the statements of a line or cell; or open a file, or take the variable of a connection.

        Raises:
            UsageError: no database is open, or relsql refuses a statement; IPython shows it as one line.
            duckdb.Error: a statement of SQL failed.
        """
        try:
            return self._run(line, cell)
        except RelsqlError as error:
            raise UsageError(str(error)) from error

    def _run(self, line: str, cell: str | None) -> duckdb.DuckDBPyRelation | None:
        word = line.strip()
        if cell is None and self._opens(word):
            return None
        if self._con is None:
            raise DatabaseError("no database is open in this notebook", fix="%relsql FILE, or %relsql VARIABLE")
        return sql(self._con, line if cell is None else f"{line}\n{cell}")

    def _opens(self, word: str) -> bool:
        """True if a word names a connection or a file; it is then the one that statements run on."""
        named: Any = self.shell.user_ns.get(word)
        if isinstance(named, duckdb.DuckDBPyConnection):
            self._con, functions = named, attach(named)
        elif word.endswith((".duckdb", ".db", ".ddb")) and len(word.split()) == 1:
            self._con = connect(word)
            functions = attach(self._con)
        else:
            return False
        print(f"{word}: {counted(len(functions), 'function')} of models attached")  # noqa: T201  # The cell's output.
        return True


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magic; IPython calls this for `%load_ext relsql`."""
    ipython.register_magics(RelsqlMagics)
