"""Cursors that relsql opens on the user's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import duckdb

from relsql.database.connections import use_catalog
from relsql.database.queries.sealed import sealed


@contextmanager
def task_cursor(con: duckdb.DuckDBPyConnection, catalog: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a cursor inside `catalog`; closing it drops its temporary relations."""
    with closing(con.cursor()) as cursor:
        use_catalog(cursor, catalog)
        # The timestamps of seeds have no zone and are in UTC, so zoned times must be compared with them as UTC.
        cursor.execute("SET TimeZone = 'UTC'")
        # Under another collation, 'a' and 'A' would be one category, and one key.
        cursor.execute("SET default_collation = ''")
        yield cursor


def one_row(cursor: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """Return the only row of `query`."""
    row: tuple[Any, ...] = cursor.execute(sealed(query)).fetchall()[0]
    return row
