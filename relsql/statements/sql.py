"""`relsql.sql`: statements of SQL and statements about models, in one text."""

from __future__ import annotations

from typing import cast

import duckdb

from relsql.statements.parse import parse_statement
from relsql.statements.run import Trainer, run_statement
from relsql.statements.split import is_blank, split_statements


def sql(con: duckdb.DuckDBPyConnection, text: str, *, trainer: Trainer | None = None) -> duckdb.DuckDBPyRelation | None:
    """Run statements in order; the last one need not end with `;`.

    `CREATE MODEL`, `SHOW MODELS`, `DESCRIBE MODEL`, `DROP MODEL` and `PREDICT` are run by relsql. DuckDB gets every
    other statement as it is written. A model can be called on `con` once a statement has created or used it;
    `relsql.attach` makes the others callable.

    Args:
        con: an open connection.
        text: the statements.
        trainer: trains models; default: `relsql.train`.

    Returns:
        The relation of the last statement, as `con.sql` returns it; None without a statement.

    Raises:
        RelsqlError, duckdb.Error: a statement failed; those after it did not run.
    """
    statements, rest = split_statements(text)
    result = None
    for statement in [*statements, *([] if is_blank(rest) else [rest])]:
        ours = parse_statement(statement)
        if ours is not None:
            result = run_statement(con, ours, trainer=trainer)
        else:
            result = cast("duckdb.DuckDBPyRelation | None", con.sql(statement))
    return result
