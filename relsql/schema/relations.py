"""The relation that is read for a table: its rows, with the columns that relsql computes.

Everything that reads rows of user tables reads this relation: the gather, labels, statistics, texts, baselines, and
published SQL. A rule on how a table is read is therefore written once, here.
"""

from __future__ import annotations

from collections.abc import Collection

from relsql.schema.tables import RowTime, Table
from relsql.schema.times.events import time_sql
from relsql.schema.visibility import both_clocks_sql
from relsql.sql_text import ident

STORED = "stored"
"""The alias of a table's own row in the expressions that compute a column."""

_HEADER = "header"


def relation_sql(
    table: Table, catalog: str | None = None, *, arrays_as_text: bool = False, with_rowid: bool = True
) -> str:
    """The relation to read for a table, as it stands in FROM: its name, or a query in parentheses.

    Args:
        table: the table.
        catalog: the attached database; default: the connection's current one.
        arrays_as_text: cast ARRAY values to text, for rows that are put into lists. DuckDB 2.0.0 reads invalid memory
            where lists of structs hold ARRAY values (`docs/decisions/0001`). A model uses only the text of such a
            column.
        with_rowid: include `rowid` for a table without a key. A label query passes False, because it reads a view that
            ends at a moment, and a view has no rowid.
    """
    if table.values_of:
        return _values_sql(table, catalog)
    arrays = [column for column in table.columns if arrays_as_text and column.holds_array]
    if not arrays and table.row_time is None:
        return table.sql(catalog)
    # Columns are qualified: a bare `id` would mean the argument of the macro that contains the query.
    names = [(f"{STORED}.{ident(column.name)}", ident(column.name)) for column in arrays]
    texts = ", ".join(f"CAST({value} AS VARCHAR) AS {name}" for value, name in names)
    rowid = f"{STORED}.rowid, " if with_rowid and not table.primary_key and not table.is_view else ""
    columns = f"{rowid}{STORED}.*{f' REPLACE ({texts})' if texts else ''}"
    source = f"{table.sql(catalog)} {STORED}"
    if table.row_time and table.time_column:
        columns += f", {_row_time_sql(table.row_time)} AS {ident(table.time_column)}"
        source += _header_join(table.row_time, catalog)
    return f"(SELECT {columns} FROM {source})"


def emptied_sql(table: Table, relation: str, columns: Collection[str]) -> str:
    """A relation of a table in which some columns are NULL in every row, for a FROM clause; unknown ones are ignored.

    Args:
        table: the table.
        relation: the relation to read for it.
        columns: the columns.
    """
    # This keeps the column's type without spelling it out, which would be long for an ENUM or ARRAY.
    empty = [
        f"CASE WHEN false THEN {STORED}.{ident(name)} END AS {ident(name)}"
        for name in table.column_names
        if name in columns
    ]
    return f"(SELECT {STORED}.* REPLACE ({', '.join(empty)}) FROM {relation} {STORED})" if empty else relation


def _values_sql(table: Table, catalog: str | None) -> str:
    """The rows of a table of values: the distinct values of its columns, and the time at which each first appears."""
    key, timed = ident(table.columns[0].name), table.time_column is not None
    parts = []
    for each in table.values_of:
        value = f"v.{ident(each.column)}"
        time = f", {time_sql(each.table, 'v')} AS t" if timed else ""
        source = f"{relation_sql(each.table, catalog, with_rowid=False)} v WHERE {value} IS NOT NULL"
        parts.append(f"SELECT {value} AS {key}{time} FROM {source}")
    first = f", min(v.t) AS {ident(table.time_column or '')}" if timed else ""
    return f"(SELECT v.{key}{first} FROM ({' UNION ALL '.join(parts)}) v GROUP BY v.{key})"


def _row_time_sql(row_time: RowTime) -> str:
    """The time of a row: when it happened or, if that is later, when it became known."""
    happened = time_sql(row_time.header, _HEADER) if row_time.header else row_time.expression
    return both_clocks_sql(happened, row_time.known) if row_time.known else happened


def _header_join(row_time: RowTime, catalog: str | None) -> str:
    """The join from a row to its header; a row without a header has no time."""
    if row_time.header is None or row_time.link is None:
        return ""
    header = relation_sql(row_time.header, catalog, with_rowid=False)
    return f" LEFT JOIN {header} {_HEADER} ON {row_time.link.on_sql(STORED, _HEADER)}"
