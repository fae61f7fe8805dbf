"""Keys, time columns and links written as text, as `relsql init` and dbt models declare them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import fold
from relsql.errors import SchemaError
from relsql.schema.declared.declare import declare_link, declare_table, remove_link, resolve_link
from relsql.schema.declared.text import parse_columns, parse_link, parse_time
from relsql.schema.discovery.propose import infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link, Schema
from relsql.schema.times.row_times import NO_TIME_COLUMN
from relsql.schema.value_tables import Declared, declare_value_table, parse_value_table


@dataclass(frozen=True, slots=True)
class Declarations:
    """Primary keys and time columns by `Table.key`, links to add and links to remove; nothing is checked yet."""

    primary_keys: tuple[tuple[str, tuple[str, ...]], ...]
    time_columns: tuple[tuple[str, str], ...]
    known_columns: tuple[tuple[str, str], ...]
    entities: tuple[Declared, ...]
    links: tuple[Link, ...]
    removed_links: tuple[Link, ...]

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @classmethod
    def parse(
        cls,
        *,
        primary_keys: Iterable[str] = (),
        time_columns: Iterable[str] = (),
        known_columns: Iterable[str] = (),
        entities: Iterable[str] = (),
        untimed: Iterable[str] = (),
        links: Iterable[str] = (),
        removed_links: Iterable[str] = (),
    ) -> Declarations:
        """Read declarations.

        Args:
            primary_keys: `table(column, ...)`.
            time_columns: `table(column)`, or another form of `relsql.schema.times.row_times` in the parentheses.
            known_columns: `table(column)`: when a row became known.
            entities: `name=table(column),table(column)`: entities that are only values of columns.
            untimed: tables whose rows are always visible.
            links: `child(column, ...) -> parent` or `child(column, ...) -> parent(column, ...)`.
            removed_links: links in the same form.

        Raises:
            SchemaError: a text has another form.
        """
        timed = tuple(map(parse_time, time_columns))
        return cls(
            tuple(map(parse_columns, primary_keys)),
            timed + tuple((table, NO_TIME_COLUMN) for table in untimed),
            tuple(map(parse_time, known_columns)),
            tuple(map(parse_value_table, entities)),
            tuple(map(parse_link, links)),
            tuple(map(parse_link, removed_links)),
        )

    def store(self, con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
        """Check the declarations against the data and write them in one transaction; returns a line about each.

        Raises:
            SchemaError: a table or column does not exist, or the data contradict, see `relsql.schema.declared.declare`.
            DatabaseError: the database is read-only.
        """
        with transaction(con):
            done = [declare_value_table(con, catalog, read_schema(con, catalog), each) for each in self.entities]
            for table, columns in self.primary_keys:
                declare_table(con, catalog, table, primary_key=columns)
                done.append(f"{table}({', '.join(columns)}) is the primary key" if columns else f"{table} has no key")
            done += [f"{_remove(con, catalog, link)} is not a link" for link in self.removed_links]
            for link in self.links:
                counts = declare_link(con, catalog, link)
                lost = f"; {counts.dangling:,} of {counts.rows:,} keys are in no parent row" if counts.dangling else ""
                done.append(f"{link} is a link{lost}")
            done += _store_times(con, catalog, self.time_columns)
            for table, column in self.known_columns:
                declare_table(con, catalog, table, known_column=column)
                done.append(_time_line(con, catalog, table))
        return done


def _store_times(con: duckdb.DuckDBPyConnection, catalog: str, times: Iterable[tuple[str, str]]) -> list[str]:
    """Declare time columns given in any order; the time of a line is checked after its header has got a time."""
    waiting, done = list(times), []
    while waiting:
        refused: list[tuple[tuple[str, str], SchemaError]] = []
        for table, time in waiting:
            try:
                declare_table(con, catalog, table, time_column=time)
            except SchemaError as error:
                refused.append(((table, time), error))
            else:
                done.append(_time_line(con, catalog, table) if time else f"{table} has no time column")
        if len(refused) == len(waiting):
            raise refused[0][1]
        waiting = [each for each, _ in refused]
    return done


def _time_line(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> str:
    table = read_schema(con, catalog).table(name)
    return f"{table.key}({table.time_text}) is the time column"


def _meant(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, link: Link) -> Link:
    """The stored or proposed link that a text without parent columns refers to; `link` itself if there is none."""

    def is_meant(other: Link) -> bool:
        names = fold(other.child), fold(other.parent), *map(fold, other.child_columns)
        return names == (fold(child.key), fold(parent.key), *map(fold, link.child_columns))

    child, parent = schema.table(link.child), schema.table(link.parent)
    known = next(filter(is_meant, schema.links), None)
    if known or parent.primary_key:
        return known or link
    return next(filter(is_meant, (each.link for each in infer_schema(con, catalog).links)), link)


def _remove(con: duckdb.DuckDBPyConnection, catalog: str, link: Link) -> Link:
    """Remove a link. A link that is not known yet is stored as removed, so that it is never proposed."""
    schema = read_schema(con, catalog)
    if not link.parent_columns:
        link = _meant(con, catalog, schema, link)
    link = replace(resolve_link(schema, link), origin="inferred")
    if not any(link.same_columns(other) for other in schema.links):
        declare_link(con, catalog, link)
    remove_link(con, catalog, link)
    return link
