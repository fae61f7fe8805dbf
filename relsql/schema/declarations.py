"""Keys, time columns and links written as text, as `relsql init` and dbt models declare them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import duckdb

from relsql.database.connections import transaction
from relsql.errors import SchemaError
from relsql.schema.declare import (
    NO_TIME_COLUMN,
    declare_link,
    declare_table,
    parse_columns,
    parse_link,
    remove_link,
    resolve_link,
)
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link


@dataclass(frozen=True, slots=True)
class Declarations:
    """Primary keys and time columns by `Table.key`, links to add and links to remove; nothing is checked yet."""

    primary_keys: tuple[tuple[str, tuple[str, ...]], ...]
    time_columns: tuple[tuple[str, str], ...]
    links: tuple[Link, ...]
    removed_links: tuple[Link, ...]

    def __bool__(self) -> bool:
        return bool(self.primary_keys or self.time_columns or self.links or self.removed_links)

    @classmethod
    def parse(
        cls,
        *,
        primary_keys: Iterable[str] = (),
        time_columns: Iterable[str] = (),
        untimed: Iterable[str] = (),
        links: Iterable[str] = (),
        removed_links: Iterable[str] = (),
    ) -> Declarations:
        """Read declarations.

        Args:
            primary_keys: `table(column, ...)`.
            time_columns: `table(column)`.
            untimed: tables whose rows are always visible.
            links: `child(column, ...) -> parent` or `child(column, ...) -> parent(column, ...)`.
            removed_links: links in the same form.

        Raises:
            SchemaError: a text has another form.
        """
        timed = tuple(_time_column(text) for text in time_columns)
        return cls(
            tuple(map(parse_columns, primary_keys)),
            timed + tuple((table, NO_TIME_COLUMN) for table in untimed),
            tuple(map(parse_link, links)),
            tuple(map(parse_link, removed_links)),
        )

    def store(self, con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
        """Check the declarations against the data and write them in one transaction; returns a line about each.

        Raises:
            SchemaError: a table or column does not exist, or the data contradict, see `relsql.schema.declare`.
            DatabaseError: the database is read-only.
        """
        done = []
        with transaction(con):
            for table, columns in self.primary_keys:
                declare_table(con, catalog, table, primary_key=columns)
                done.append(f"{table}({', '.join(columns)}) is the primary key" if columns else f"{table} has no key")
            for table, column in self.time_columns:
                declare_table(con, catalog, table, time_column=column)
                done.append(f"{table}({column}) is the time column" if column else f"{table} has no time column")
            done += [f"{_remove(con, catalog, link)} is not a link" for link in self.removed_links]
            for link in self.links:
                counts = declare_link(con, catalog, link)
                lost = f"; {counts.dangling:,} of {counts.rows:,} keys are in no parent row" if counts.dangling else ""
                done.append(f"{link} is a link{lost}")
        return done


def _time_column(text: str) -> tuple[str, str]:
    table, columns = parse_columns(text)
    if len(columns) != 1:
        raise SchemaError(f"'{text}' names {len(columns)} columns", expected="one time column: table(column)")
    return table, columns[0]


def _remove(con: duckdb.DuckDBPyConnection, catalog: str, link: Link) -> Link:
    """Remove a link. A link that is not known yet is stored as removed, so that it is never proposed."""
    schema = read_schema(con, catalog)
    link = replace(resolve_link(schema, link), origin="inferred")
    if not any(link.same_columns(other) for other in schema.links):
        declare_link(con, catalog, link)
    remove_link(con, catalog, link)
    return link
