"""Rows that the rows of paths point at, in SQL: each is read once, however many rows of whichever paths point at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relsql.gather.paths import Path
from relsql.schema.tables import Link, Table
from relsql.sql import ident, indented

Readers = dict[tuple[str, tuple[str, ...]], list[tuple[Path, Link]]]
"""Links by which paths read what their rows point at, by the table and the columns that they point at."""


def readers_of(paths: Iterable[Path]) -> Readers:
    """Who points at what."""
    readers: Readers = {}
    for path in paths:
        for link in path.lookups:
            readers.setdefault((link.parent, link.parent_columns), []).append((path, link))
    return readers


def pointed_name(table: Table, columns: tuple[str, ...]) -> str:
    """What the names of CTEs over rows that are pointed at by some of their columns begin with."""
    return table.key if columns == table.primary_key else f"{table.key} by {', '.join(columns)}"


def seen_sql(pointing: Sequence[tuple[str, Link]], *, by: bool = False, end: str | None = None) -> str:
    """The distinct keys k0, k1, ... that rows of some CTEs, by name, point at.

    `by` adds for each CTE whether its rows do: by0, by1, ... `end`, the column that says until when a row's reader may
    see data, adds the latest of them as `until`.
    """
    parts = []
    for position, (rows, link) in enumerate(pointing):
        found = ", ".join(f"r.{ident(c)} AS k{i}" for i, c in enumerate(link.child_columns))
        found += (f", {position} AS reader" if by else "") + (f", {end} AS until" if end else "")
        parts.append(f"SELECT {found} FROM {rows}")
    keys = ", ".join(f"k{i}" for i in range(len(pointing[0][1].child_columns)))
    told = "".join(f", bool_or(reader = {position}) AS by{position}" for position in range(len(pointing) if by else 0))
    told += ", max(until) AS until" if end else ""
    pointed = "\nUNION ALL ".join(parts)
    return f"SELECT {keys}{told}\nFROM (\n{indented(pointed)}\n)\nGROUP BY {keys}"


def seen_join_sql(seen: str, relation: str, columns: Sequence[str]) -> str:
    """FROM and JOIN of the rows `p` of a relation whose keys are `seen`."""
    on = " AND ".join(f"p.{ident(column)} = seen.k{i}" for i, column in enumerate(columns))
    return f"FROM {seen} seen\nJOIN {relation} p ON {on}"
