"""Find columns that may be written again after their row appears, such as the status of an order, by name and values.

A column that is updated in place has no empty value and no date that would show it. But a status that is open at first
has other values in the newest rows than in the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.hints import remove_column
from relsql.schema.discovery.names import word_set, words
from relsql.schema.finding import Finding, column_object
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.events import time_sql
from relsql.schema.types import INTEGER_TYPES
from relsql.sql_text import ident

_VERDICT_WORDS = word_set("churn churned fraud fraudulent defaulted delinquent dropout readmitted")
"""Words of outcomes that are only known later, whatever the values look like."""

CHANGING_WORDS = _VERDICT_WORDS | word_set(
    "status state stage outcome resolution cancelled canceled cancellation refunded closed resolved default withdrawn"
)
_ADDRESS_WORDS = word_set("addr address city country county postal postcode region store street town zip")

MOST_VALUES = 50
"""A column with more distinct values is not a status."""

FEWEST_ROWS = 200
NEWEST = 0.1
"""The share of the rows that count as the newest ones."""

LEAST_SHIFT = 0.2
"""At least this share of the newest rows must have another value than the older rows would suggest."""


def changing_columns(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table, named: Set[str]
) -> Iterator[Finding]:
    """The columns of a table with a time that may be written again; `named` are the objects of other findings."""
    keys = {*table.primary_key, *(name for link in schema.links_from(table.key) for name in link.child_columns)}
    for column in table.columns:
        parts = set(words(column.name))
        if column.name in keys or column_object(table.key, column.name) in named or not parts & CHANGING_WORDS:
            continue
        if column.computed or column.type not in (*INTEGER_TYPES, "VARCHAR", "BOOLEAN"):
            continue
        if is_place(con, catalog, table, column.name):
            continue
        values, newest = _shift(con, catalog, table, column)
        if 1 < values <= MOST_VALUES:
            text = "may be written again after its row appears, by its name"
            text += f", and {newest}" if newest else ""
            text += ": a score at an earlier as_of reads its present value; to leave it out, "
            text += remove_column(table.key, column.name)
            sure = newest or parts & _VERDICT_WORDS
            yield Finding("warning" if sure else "info", column_object(table.key, column.name), text)


def is_place(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, name: str) -> bool:
    """True if a column `state` is a part of a country: it is beside address columns, or its values are two capitals."""
    if "state" not in words(name):
        return False
    if {word for each in table.stored_names for word in words(each)} & _ADDRESS_WORDS:
        return True
    coded = f"regexp_full_match(CAST(r.{ident(name)} AS VARCHAR), '[A-Z]{{2}}')"
    query = f"SELECT coalesce(bool_and({coded}), false) FROM {relation_sql(table, catalog)} r"
    return bool(con.execute(sealed(query)).fetchall()[0][0])


def _shift(con: duckdb.DuckDBPyConnection, catalog: str, table: Table, column: Column) -> tuple[int, str]:
    """The number of values, and which value the newest rows have more often than the others; empty if none."""
    time, value = time_sql(table, "r"), f"CAST(r.{ident(column.name)} AS VARCHAR)"
    query = f"""
        WITH ranked AS (
            SELECT {value} AS value, percent_rank() OVER (ORDER BY {time} DESC NULLS LAST) <= {NEWEST} AS newest
            FROM {relation_sql(table, catalog)} r WHERE {time} IS NOT NULL
        ),
        shares AS (
            SELECT value, count(*) FILTER (WHERE newest) / (SELECT count(*) FROM ranked WHERE newest) AS now,
                count(*) FILTER (WHERE NOT newest) / (SELECT count(*) FROM ranked WHERE NOT newest) AS before
            FROM ranked GROUP BY value
        )
        SELECT count(value), sum(greatest(now - before, 0)), (SELECT count(*) FROM ranked),
            arg_max(value, now - before), max(now - before), arg_max(now, now - before), arg_max(before, now - before)
        FROM shares"""
    [(values, shift, rows, value, _, now, before)] = con.execute(sealed(query)).fetchall()
    if rows < FEWEST_ROWS or shift is None or shift < LEAST_SHIFT:
        return values, ""
    return values, f"it is '{value}' in {now:.0%} of the newest rows and in {before:.0%} of those before"
