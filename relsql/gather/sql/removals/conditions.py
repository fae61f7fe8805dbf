"""What a seed leaves out: a row, a table or the values of a column, as if the database did not have it.

A contribution is the difference between two scores, with and without something. Both come from the one gather query:
the columns of `OUT` say what a seed must not see, and wherever the query reads a row of a user's table, `and_kept_sql`
stands beside the rule of visibility. So a row that is out is missing from lists, counts and ages on every path, the
next row moves up, and rows that were reached through it are not.

A row is identified by a hash of its key. A row that takes its time from a header is out with it: without the header,
it would have no time and could not be seen (`relsql.schema.visibility`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relsql.gather.layout import DATA_AGE
from relsql.gather.row_plan import RowPlan, row_key
from relsql.schema.tables import Table
from relsql.sql_text import ident

OUT_TABLE, OUT_ROW, OUT_COLUMN = OUT = ("_out_table", "_out_row", "_out_column")
"""The columns of a seed: the number of the table that a row or all rows are left out of, the row's id, and the number
of the column."""

NOTHING = -1
"""Stands for the number of a table or a column if nothing is left out."""

ALL_ROWS = 0
"""Stands for a row's id if all rows of the table are left out."""

ALL_ROWS_SQL = f"CAST({ALL_ROWS} AS UBIGINT)"
"""The same in SQL. Beside an INTEGER, ids would become HUGEINT, which are slow to compare."""


def out_sql(table: int = NOTHING, row: str = str(ALL_ROWS), column: int = NOTHING) -> str:
    """The columns of `OUT` for a select list."""
    columns = (f"CAST({table} AS INTEGER)", f"CAST({row} AS UBIGINT)", f"CAST({column} AS INTEGER)")
    return ", ".join(f"{value} AS {name}" for value, name in zip(columns, OUT, strict=True))


def table_number(plan: RowPlan, table: str) -> int:
    """The number of a table, by its key."""
    return list(plan.schema.tables).index(table)


def hidden_columns(plan: RowPlan) -> list[tuple[str, str]]:
    """The columns that can be hidden, as (table, column); the position of a column is its number."""
    return [
        (key, column)
        for key, inputs in plan.inputs.items()
        for column in inputs.columns
        if column != DATA_AGE.column or column in plan.table(key).column_names
    ]


def row_id_sql(table: Table, row: str) -> str:
    """The id of a row, an alias or a struct in the query: UBIGINT."""
    return id_sql([f"{row}.{column}" for column in key_names(table)])


def id_sql(key: Sequence[str]) -> str:
    """The id of the row whose key has these values, which have the types of the key's columns."""
    # The hash of the integer 0 is 0, which means all rows.
    return f"greatest(hash({', '.join(key)}), CAST(1 AS UBIGINT))"


def key_names(table: Table) -> list[str]:
    """The columns that identify a row, quoted; `rowid` is DuckDB's own."""
    stored = table.primary_key or table.is_view
    return [ident(column) if stored else column for column in row_key(table)]


def ids_sql(plan: RowPlan, table: Table, row: str) -> str:
    """Two lists, for a select list: the tables and ids of the rows without which a row cannot be seen, itself first."""
    numbers, ids = zip(*numbered_ids(plan, table, row), strict=True)
    return f"{list(numbers)} AS out_tables, [{', '.join(ids)}] AS out_rows"


def and_kept_event_sql(event: str, source: str) -> str:
    """`and_kept_sql` for an event, a row of any table, with the columns of `ids_sql`."""
    position = f"list_position({event}.out_tables, {source}.{OUT_TABLE})"
    row = f"list_extract({event}.out_rows, CAST({position} AS BIGINT))"
    return f" AND ({position} IS NULL OR {source}.{OUT_ROW} NOT IN ({ALL_ROWS}, {row}))"


def and_kept_sql(plan: RowPlan, table: Table, row: str, source: str) -> str:
    """The condition that a row of a table is not out, to append to the condition of a join: ` AND ...`.

    Args:
        plan: the plan of rows, which numbers the tables.
        table: the row's table.
        row: its alias in the query.
        source: a relation with the columns of `OUT`.
    """
    return "".join(
        f" AND ({source}.{OUT_TABLE} <> {number} OR {source}.{OUT_ROW} NOT IN ({ALL_ROWS}, {row_id}))"
        for number, row_id in numbered_ids(plan, table, row)
    )


def _ids(plan: RowPlan, table: Table, row: str) -> list[tuple[str, str]]:
    """The ids without which a row cannot be seen: its own, and that of the row whose time it has; each with a table."""
    ids = [(table.key, row_id_sql(table, row))]
    header, link = (table.row_time.header, table.row_time.link) if table.row_time else (None, None)
    if header and link and header.key in plan.schema.tables and {*link.parent_columns} == {*row_key(header)}:
        pointed = dict(zip(link.parent_columns, link.child_columns, strict=True))
        typed = [f"CAST({row}.{ident(pointed[c])} AS {header.column(c).type})" for c in row_key(header)]
        ids.append((header.key, id_sql(typed)))
    return ids


def numbered_ids(plan: RowPlan, table: Table, row: str) -> list[tuple[int, str]]:
    """The numbers of tables and the ids of the rows without which a row cannot be seen, itself first."""
    return [(table_number(plan, key), row_id) for key, row_id in _ids(plan, table, row)]


def same_row_sql(rows: str, source: str) -> str:
    """The condition that a row of the relation, with `out_table` and `out_row`, is the one that a seed leaves out."""
    return f"{rows}.out_table = {source}.{OUT_TABLE} AND {rows}.out_row = {source}.{OUT_ROW}"


def and_whole_sql(plan: RowPlan, table: Table, source: str) -> str:
    """The condition that a table is not out as a whole, nor that of its rows' headers: ` AND ...`."""
    return f" AND NOT {_whole_sql(plan, [table], source)}"


def _whole_sql(plan: RowPlan, tables: Iterable[Table], source: str) -> str:
    numbers = sorted({table_number(plan, key) for table in tables for key, _ in _ids(plan, table, "r")})
    return f"({source}.{OUT_ROW} = {ALL_ROWS} AND {source}.{OUT_TABLE} IN ({', '.join(map(str, numbers))}))"


def shown_sql(plan: RowPlan, tables: Sequence[str], source: str, is_row: str) -> list[str]:
    """The columns of `OUT` for a select list, reset where they name what seeds that read only these tables do not read.

    `is_row` is the condition that they read the row that is out.
    """
    whole = _whole_sql(plan, map(plan.table, tables), source)
    columns = [n for key in dict.fromkeys(tables) for n in column_numbers(plan, key, plan.inputs[key].columns)]
    column = f"{source}.{OUT_COLUMN} IN ({', '.join(map(str, columns))})" if columns else "false"
    return [
        f"CASE WHEN {is_row} THEN {source}.{OUT_TABLE} WHEN {whole} THEN {source}.{OUT_TABLE} "
        f"ELSE {NOTHING} END AS {OUT_TABLE}",
        f"CASE WHEN {is_row} THEN {source}.{OUT_ROW} WHEN {whole} THEN {source}.{OUT_ROW} "
        f"ELSE {ALL_ROWS_SQL} END AS {OUT_ROW}",
        f"CASE WHEN {column} THEN {source}.{OUT_COLUMN} ELSE {NOTHING} END AS {OUT_COLUMN}",
    ]


def column_numbers(plan: RowPlan, table: str, columns: Iterable[str]) -> list[int]:
    """The numbers of columns of a table; those that cannot be hidden are left out."""
    known = hidden_columns(plan)
    return [known.index((table, column)) for column in columns if (table, column) in known]


def shown_value_sql(plan: RowPlan, table: str, columns: Iterable[str], value: str, missing: str, out: str) -> str:
    """A value, or what stands for a missing one where a column of a table that it is made of is hidden.

    `out` is the number of the hidden column, an expression.
    """
    numbers = column_numbers(plan, table, columns)
    return f"CASE WHEN {out} IN ({', '.join(map(str, numbers))}) THEN {missing} ELSE {value} END" if numbers else value


def hidden_of_table_sql(plan: RowPlan, table: str, source: str) -> str:
    """The number of the hidden column if it is one of this table, else `NOTHING`."""
    out = f"{source}.{OUT_COLUMN}"
    return shown_value_sql(plan, table, plan.inputs[table].columns, str(NOTHING), out, out)
