"""Rows that the rows of paths point at, in SQL: each is read once, even if many rows of several paths point at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from relsql.gather.paths import Path
from relsql.schema.tables import Link, Table
from relsql.sql_text import ident, indented

Readers = dict[tuple[str, tuple[str, ...]], list[tuple[Path, Link]]]
"""By (table, columns): the paths whose rows point at these columns, each with the link that it follows."""


def readers_of(paths: Iterable[Path]) -> Readers:
    """Group the lookups of all paths by the table and the columns that they point at."""
    readers: Readers = {}
    for path in paths:
        for link in path.lookups:
            readers.setdefault((link.parent, link.parent_columns), []).append((path, link))
    return readers


def pointed_name(table: Table, columns: tuple[str, ...]) -> str:
    """Prefix of the names of CTEs over the rows of a table that links find by `columns`."""
    return table.key if columns == table.primary_key else f"{table.key} by {', '.join(columns)}"


def seen_sql(
    pointing: Sequence[tuple[str, Link]],
    *,
    by: bool = False,
    end: str | None = None,
    hidden: Callable[[str], str] | None = None,
) -> str:
    """A query for the distinct keys k0, k1, ... that the rows of some CTEs point at.

    Args:
        pointing: names of the CTEs, each with the link that its rows follow.
        by: add columns by0, by1, ...: for each CTE, whether any of its rows points at the key.
        end: column with the end of the data that a row's reader may see; adds the latest one per key as `until`.
        hidden: returns the number of the column that is hidden from the readers in a CTE; adds it to the keys.
    """
    parts = []
    for position, (rows, link) in enumerate(pointing):
        found = ", ".join(f"r.{ident(c)} AS k{i}" for i, c in enumerate(link.child_columns))
        found += f", {hidden(rows)} AS hidden" if hidden else ""
        found += (f", {position} AS reader" if by else "") + (f", {end} AS until" if end else "")
        parts.append(f"SELECT {found} FROM {rows}")
    keys = ", ".join([*(f"k{i}" for i in range(len(pointing[0][1].child_columns))), *(["hidden"] if hidden else [])])
    readers = "".join(
        f", bool_or(reader = {position}) AS by{position}" for position in range(len(pointing) if by else 0)
    )
    readers += ", max(until) AS until" if end else ""
    pointed = "\nUNION ALL ".join(parts)
    return f"SELECT {keys}{readers}\nFROM (\n{indented(pointed)}\n)\nGROUP BY {keys}"


def seen_join_sql(seen: str, relation: str, columns: Sequence[str]) -> str:
    """FROM and JOIN clauses for the rows `p` of a relation whose keys are in the relation `seen`."""
    on = " AND ".join(f"p.{ident(column)} = seen.k{i}" for i, column in enumerate(columns))
    return f"FROM {seen} seen\nJOIN {relation} p ON {on}"
