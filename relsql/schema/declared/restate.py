"""Repeat the declarations of another database for the same tables here: keys, times, links and tables of values.

No row is read, because the declarations were checked where they were made. Declarations that do not fit the tables here
are found when the schema is read: `relsql.bundles.fitted_schema` compares it with the original.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from relsql.database.relsql_tables import ensure_table
from relsql.schema.tables import Link, Schema, Table

_KNOWN = ", known "
"""Separates the two clocks in `RowTime.text`."""


def stored_tables(schema: Schema) -> dict[str, Table]:
    """The stored tables that a schema needs, by key, including those from which others take their times or values."""
    found: dict[str, Table] = {}
    for table in schema.tables.values():
        found |= {each.key: each for each in _behind(table) if each.key not in schema.tables}
    return found | {key: table for key, table in schema.tables.items() if not table.values_of}


def _behind(table: Table) -> Iterator[Table]:
    """The tables that a table's times and values come from."""
    sources = [each.table for each in table.values_of]
    sources += [table.row_time.header] if table.row_time and table.row_time.header else []
    for source in sources:
        yield source
        yield from _behind(source)


def restate(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema) -> None:
    """Store the declarations of a schema in a database that has none. The caller owns the transaction."""
    tables = stored_tables(schema)
    target = ensure_table(con, catalog, "schema_tables")
    for key, table in tables.items():
        time, known = _time_text(table)
        values = [key, list(table.primary_key), time, known]
        con.execute(
            f"""INSERT INTO {target} BY NAME
                SELECT ? AS table_name, ? AS primary_key, ? AS time_column, 'declared' AS origin, ? AS known_column""",
            values,
        )
    target = ensure_table(con, catalog, "value_tables")
    for table in schema.tables.values():
        if table.values_of:
            columns = [[each.table.schema_name, each.table.name, each.column] for each in table.values_of]
            con.execute(f"INSERT INTO {target} VALUES (?, ?, ?)", [table.name, table.primary_key[0], columns])
    target = ensure_table(con, catalog, "schema_links")
    for link in _links(schema, tables):
        values = [link.child, list(link.child_columns), link.parent, list(link.parent_columns)]
        con.execute(f"INSERT INTO {target} VALUES (?, ?, ?, ?, 'declared', false)", values)


def _time_text(table: Table) -> tuple[str | None, str | None]:
    """The time of a table as it is declared, and its second clock."""
    if table.row_time is None or not table.row_time.known:
        return table.time_text, None
    time, _, known = table.row_time.text.rpartition(_KNOWN)
    return time, known


def _links(schema: Schema, tables: dict[str, Table]) -> list[Link]:
    """The links of a schema, and those by which rows find their headers, each once."""
    links = list(schema.links)
    for table in tables.values():
        link = table.row_time.link if table.row_time else None
        if link and not any(link.same_columns(other) for other in links):
            links.append(link)
    return links
