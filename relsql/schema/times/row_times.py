"""The meaning of a table's declared time: a column, the time of the row's header, or an expression over the row.

A declaration is a text:

    day                            the column of that name
    orders.order_date              that column of the order that a line points at
    orders                         the time of that order, whatever it is
    order_id -> orders.order_date  the same by the foreign key order_id, where several lead to orders
    strptime(day, '%d.%m.%Y')      an expression over the row

Beside it a table may have a second clock, a column that says when a row became known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb

from relsql.database.names import split_name, stored_name
from relsql.database.queries.row_expressions import row_expression
from relsql.errors import DatabaseError, SchemaError, nearest
from relsql.hints import command
from relsql.schema.declared.text import columns_text, table_text
from relsql.schema.relations import STORED
from relsql.schema.tables import Column, Link, RowTime, Schema, Table, table_key
from relsql.schema.times.events import as_timestamp_sql, value_as_timestamp_sql
from relsql.schema.types import TIME_TYPES, is_number
from relsql.sql_text import ident

ROW_TIME = "row_time"
"""Name of the computed column; underscores are added if the table has a column of that name."""


NO_TIME_COLUMN = ""
"""Stored for a table whose rows are declared to be always visible."""


@dataclass(frozen=True, slots=True)
class DeclaredTime:
    """The declared time of a table, and the column or expression that says when a row became known."""

    time: str | None
    known: str | None = None


class RowTimes:
    """Resolves the declared times of a schema; a header's time is resolved before that of its lines."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, declared: Mapping[str, DeclaredTime]
    ) -> None:
        self._con, self._catalog, self._schema = con, catalog, schema
        self._declared = {key: each for key, each in declared.items() if key in schema.tables}
        self._resolved: dict[str, Table] = {}
        self._waiting: list[str] = []

    def schema(self) -> Schema:
        """The schema with all times.

        A declared time that no longer fits becomes the name of a column that does not exist, which `check_schema`
        reports.
        """
        tables = {}
        for key, table in self._schema.tables.items():
            try:
                tables[key] = self.table(key)
            except SchemaError:
                tables[key] = replace(table, time_column=self._declared[key].time or self._declared[key].known)
        return replace(self._schema, tables=tables)

    def table(self, key: str) -> Table:
        """A table with its declared time.

        Raises:
            SchemaError: the declaration does not fit the table, or its time depends on itself.
        """
        if key not in self._resolved:
            table, declared = self._schema.tables[key], self._declared.get(key, DeclaredTime(None))
            if key in self._waiting:
                raise SchemaError(f"the time of table '{key}' depends on itself: {' <- '.join([*self._waiting, key])}")
            self._waiting.append(key)
            try:
                self._resolved[key] = self._resolve(table, declared)
            finally:
                self._waiting.remove(key)
        return self._resolved[key]

    def _resolve(self, table: Table, declared: DeclaredTime) -> Table:
        if not declared.time:
            if declared.known:
                raise SchemaError(
                    f"table '{table.key}' has no stored time column besides '{declared.known}'",
                    expected="both: when a row happened, and when it became known",
                    fix=f"store the proposals first, if they have its time: {command('init', 'FILE', '--yes')}, or "
                    + command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN")),
                )
            return table
        found = self._row_time(table, declared.time)
        if isinstance(found, str) and not declared.known:
            return replace(table, time_column=found)
        if isinstance(found, str):
            found = RowTime(found, as_timestamp_sql(table.column(found), STORED))
        if declared.known:
            known = self._timestamp_sql(table, declared.known)
            found = replace(found, text=f"{found.text}, known {declared.known}", known=known)
        return with_row_time(table, found)

    def _row_time(self, table: Table, text: str) -> str | RowTime:
        """The column that a text names, or how the time is computed."""
        column = stored_name(text, table.column_names)
        if column and table.column(column).type in TIME_TYPES:
            return column
        if column is None and (header := self._header_time(table, text)):
            return header
        return RowTime(text, self._timestamp_sql(table, text))

    def _timestamp_sql(self, table: Table, text: str) -> str:
        """A column or an expression over the row as TIMESTAMP."""
        column = stored_name(text, table.column_names)
        sql = f"{STORED}.{ident(column)}" if column else row_expression(text, table.name, table.column_names, STORED)
        type_ = self._type_of(table, sql, text)
        if type_ not in TIME_TYPES:
            raise SchemaError(
                f"{text} of table '{table.key}' has type {type_}",
                expected=f"a DATE or TIMESTAMP: a column of that type, or an expression such as "
                f"strptime({ident('day')}, '%d.%m.%Y') or make_timestamp({ident('seconds')} * 1000000)",
                fix=f"{command('init', 'FILE')}, which proposes a reading, or "
                + command("init", "FILE", "--time-column", columns_text(table.key, "EXPRESSION")),
            )
        # A value that the expression cannot read becomes NULL; it must not make the whole query fail.
        value = sql if column else f"TRY({sql})"
        return value_as_timestamp_sql(value, type_)

    def _type_of(self, table: Table, sql: str, text: str) -> str:
        try:
            described = self._con.execute(f"DESCRIBE SELECT {sql} AS t FROM {table.sql(self._catalog)} {STORED}")
            return str(described.fetchall()[0][1])
        except duckdb.Error as error:
            reason = str(error).partition("\n")[0]
            raise SchemaError(f"{text} cannot be computed for the rows of table '{table.key}': {reason}") from error

    def _header_time(self, table: Table, text: str) -> RowTime | None:
        """The time of the row that a row points at, if the text names its table; else None."""
        by, arrow, place = text.rpartition("->")
        try:
            parts = split_name(place.strip())
        except DatabaseError:
            return None
        found = self._header(parts)
        if found is None:
            return None
        key, column = found
        columns = tuple(part.strip().strip('"') for part in by.split(",")) if arrow else ()
        header = self._schema.tables[key] if column else self.table(key)
        if column:
            _require_time(table, header, header.column(column))
            header = replace(header, time_column=header.column(column).name)
        if header.time_column is None:
            raise SchemaError(
                f"the time of table '{table.key}' is that of '{key}', which has none",
                fix=command("init", "FILE", "--time-column", columns_text(key, "COLUMN")),
            )
        link = self._link_to(table, key, columns)
        return RowTime(text, header=_only_time(header, link), link=link)

    def _header(self, parts: tuple[str, ...]) -> tuple[str, str | None] | None:
        """The table that a name's parts refer to, and the column that follows, if any."""
        for taken in (len(parts), len(parts) - 1):
            name = parts[:taken]
            table = self._schema.find(name[0] if taken == 1 else table_key(*name)) if 1 <= taken <= 2 else None
            if table:
                return table.key, (parts[taken] if taken < len(parts) else None)
        return None

    def _link_to(self, table: Table, header: str, columns: tuple[str, ...]) -> Link:
        links = [link for link in self._schema.links_from(table.key) if link.parent == header]
        if columns:
            stored = tuple(table.column(name).name for name in columns)
            links = [link for link in links if link.child_columns == stored]
        if len(links) == 1:
            return links[0]
        options = [f"{', '.join(link.child_columns)} -> {header}" for link in links]
        found = "several links" if links else "no link"
        missing = f"{columns_text(table.key, 'COLUMN')} -> {table_text(header)}"
        raise SchemaError(
            f"table '{table.key}' cannot take its time from '{header}': it has {found} to it",
            expected=f"one of {'; '.join(options)}" if options else nearest(header, self._schema.tables),
            fix=None if links else command("init", "FILE", "--link", missing),
        )


def _require_time(table: Table, header: Table, column: Column) -> None:
    if is_number(column.type) or column.type == "BOOLEAN":
        raise SchemaError(
            f"the time of table '{table.key}' is {header.key}.{column.name}, which has type {column.type}",
            expected="a DATE or TIMESTAMP column of the header, or the time that is declared for it",
            fix=command(
                "init",
                "FILE",
                *("--time-column", columns_text(header.key, column.name)),
                *("--time-column", f"{table_text(table.key)}({table_text(header.key)})"),
            ),
        )


def without_row_times(schema: Schema) -> Schema:
    """The schema as it is stored, without computed columns."""
    tables = {}
    for key, table in schema.tables.items():
        stored = tuple(column for column in table.columns if not column.computed)
        tables[key] = replace(table, columns=stored, time_column=None, row_time=None)
    return replace(schema, tables=tables)


def as_happened(schema: Schema) -> Schema:
    """The schema in which rows have the time at which they happened, whenever they became known."""
    tables = {
        key: replace(table, row_time=replace(table.row_time, known="")) if table.row_time else table
        for key, table in schema.tables.items()
    }
    return replace(schema, tables=tables)


def with_row_time(table: Table, row_time: RowTime) -> Table:
    """The table with a computed time column."""
    return replace(with_time_column(table), row_time=row_time)


def with_time_column(table: Table) -> Table:
    """The table with a computed column as its time, whose name no other column has."""
    name = ROW_TIME
    while stored_name(name, table.column_names):
        name += "_"
    columns = (*table.columns, Column(name, "TIMESTAMP", computed=True))
    return replace(table, columns=columns, time_column=name)


def _only_time(header: Table, link: Link) -> Table:
    """A header table with the columns that its time is read from."""
    needed = {*link.parent_columns, header.time_column}
    return replace(header, columns=tuple(column for column in header.columns if column.name in needed))
