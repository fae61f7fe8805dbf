"""Find columns that count rows of another table, such as the answers of a question: they grow with every such row.

A score at an earlier `as_of` does not see the later rows, and would still read their number.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.hints import remove_column
from relsql.schema.discovery.names import table_words, words
from relsql.schema.finding import Finding, column_object
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.types import INTEGER_TYPES
from relsql.sql_text import ident

_COUNT_WORDS = frozenset(("count", "number", "num", "total", "n", "no", "cnt"))
"""Words of columns that count something; the word for what is counted may stand alone, as in `answers`."""

MIN_EQUAL = 0.8
"""Of the rows that have child rows, at least this share must hold their exact number. For the rest, child rows may have
been deleted or not counted."""

FEWEST_ROWS = 10


def running_totals(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> Iterator[Finding]:
    """Findings about the columns that hold the number of a row's child rows in a timed table. Nothing is written."""
    links = [link for link in schema.links_to(table.key) if schema.table(link.child).time_column]
    columns = [column for column in table.columns if _may_count(schema, table, column, links)]
    named: set[str] = set()
    for link in links if columns else ():
        for column in _equal(con, catalog, schema, link, [each for each in columns if each.name not in named]):
            named.add(column.name)
            text = f"is the number of its rows of {link.child}: it grows with them, and a score at an earlier as_of "
            text += f"reads it too early; to leave it out, {remove_column(table.key, column.name)}"
            yield Finding("warning", column_object(table.key, column.name), text)


def _may_count(schema: Schema, table: Table, column: Column, links: list[Link]) -> bool:
    keys = {*table.primary_key, *(name for link in schema.links_from(table.key) for name in link.child_columns)}
    if column.computed or column.type not in INTEGER_TYPES or column.name in {*keys, table.time_column}:
        return False
    counted = {word for link in links for word in table_words(schema.table(link.child).name)}
    return bool(set(words(column.name)) & (_COUNT_WORDS | counted))


def _equal(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, link: Link, columns: list[Column]
) -> Iterator[Column]:
    """The columns whose value is the number of child rows that point at the row by a link."""
    if not columns:
        return
    keys = ", ".join(f"c.{ident(name)}" for name in link.child_columns)
    same = " AND ".join(
        f"p.{ident(mine)} = k.{ident(theirs)}"
        for mine, theirs in zip(link.parent_columns, link.child_columns, strict=True)
    )
    shares = ", ".join(
        f"avg(CASE WHEN p.{ident(each.name)} = k.relsql_rows THEN 1.0 ELSE 0.0 END) "
        f"FILTER (WHERE p.{ident(each.name)} > 0 OR k.relsql_rows > 1)"
        for each in columns
    )
    child, parent = (relation_sql(schema.table(key), catalog) for key in (link.child, link.parent))
    query = f"""
        SELECT count(*), count(DISTINCT k.relsql_rows), {shares}
        FROM {parent} p
        JOIN (SELECT {keys}, count(*) AS relsql_rows FROM {child} c GROUP BY ALL) k ON {same}"""
    rows, different, *equal = con.execute(sealed(query)).fetchall()[0]
    if rows >= FEWEST_ROWS and different > 1:
        yield from (each for each, share in zip(columns, equal, strict=True) if share and share >= MIN_EQUAL)
