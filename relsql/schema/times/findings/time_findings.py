"""Doubts about the times of a table: rows without one, sentinels, later changes, no time at all."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Literal

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.hints import FIELDS_PAGE, command, counted
from relsql.schema.declared.text import columns_text, table_text
from relsql.schema.discovery.names import LATER_WORDS, OUTCOME_WORDS, UPDATE_WORDS, word_set, words
from relsql.schema.finding import Finding
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Column, EventRange, Schema, Table
from relsql.schema.times.events import as_timestamp_sql, changed_after_sql, time_sql
from relsql.schema.times.findings.changing_columns import CHANGING_WORDS, changing_columns, is_place
from relsql.schema.times.findings.later_columns import MANY_OPEN, later_columns
from relsql.schema.times.findings.open_values import judged
from relsql.schema.times.findings.relative_times import options_of, relative_times
from relsql.schema.times.findings.running_totals import running_totals
from relsql.schema.times.findings.wide_columns import wide_findings
from relsql.schema.times.sentinels import Sentinels, find_sentinels
from relsql.schema.types import TIME_TYPES
from relsql.sql_text import ident

LONG_WORD = 6
"""Shorter words are not looked for at the end of a name, because they end too many other words, such as `estate`."""

_LAST_WORDS = word_set("last latest recent")

MIN_CHANGED = 0.01
"""If less than this share of rows was changed later, the changes are taken for corrections."""


def time_findings(
    con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table, untimed: Set[str]
) -> Iterator[Finding]:
    """Findings about the times of one table, whose time column exists and has a time's type. Nothing is written.

    `untimed` are the keys of the tables that are declared to have no time.
    """
    if table.time_column:
        yield from _null_times(con, catalog, table)
        found = find_sentinels(con, catalog, table)
        yield from _sentinels(table, found)
        yield from _changed_later(con, catalog, table)
        ranged = replace(table, events=found.events if found else EventRange())
        later = list(later_columns(con, catalog, schema, ranged))
        yield from later
        yield from changing_columns(con, catalog, schema, table, {finding.object for finding in later})
    elif table.key not in untimed:
        yield from _untimed(con, catalog, schema, table)
    yield from running_totals(con, catalog, schema, table)
    yield from wide_findings(schema, table)
    yield from _other_sentinels(con, catalog, table)


def _null_times(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> Iterator[Finding]:
    query = f"SELECT system.main.count_star(), system.main.count({time_sql(table, 'r')})"
    [(rows, timed)] = con.execute(sealed(f"{query} FROM {relation_sql(table, catalog)} r")).fetchall()
    if rows > timed:
        text = f"{rows - timed:,} of {rows:,} rows have no time in '{table.time_text}'; they are never visible"
        yield Finding("warning", table.key, text)


def _sentinels(table: Table, found: Sentinels | None) -> Iterator[Finding]:
    if found:
        text = f"{_far(found, table.time_text or '')}; "
        text += (
            "they do not count as events: neither training timestamps nor the default as_of of models that are trained "
        )
        text += "from now on follow them"
        yield Finding("warning", table.key, text)


def _other_sentinels(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> Iterator[Finding]:
    """Sentinels in columns that are not the table's time, which are only inputs."""
    for column in table.columns:
        if column.type in TIME_TYPES and column.name != table.time_column and not column.computed:
            found = find_sentinels(con, catalog, table, as_timestamp_sql(column, "r"))
            if found:
                text = f"{_far(found, column.name)}; "
                text += "scores read them like any other; where they mean that there is none, store NULL"
                yield Finding("info", table.key, text)


def _far(found: Sentinels, column: str) -> str:
    has = "has" if found.rows == 1 else "have"
    return f"{counted(found.rows, 'row')} {has} a time far from the rest in '{column}': {found}"


def _changed_later(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> Iterator[Finding]:
    """Rows that were updated in place: a score at an earlier moment reads their present values."""
    for column in table.columns:
        if column.type not in TIME_TYPES or column.name == table.time_column:
            continue
        if not set(words(column.name)) & UPDATE_WORDS:
            continue
        changed = changed_after_sql(time_sql(table, "r"), as_timestamp_sql(column, "r"))
        query = f"""SELECT system.main.count_star(), system.main.count_star() FILTER (WHERE {changed}),
                           system.main.count_star() - system.main.count(r.{ident(column.name)})"""
        [(rows, later, without)] = con.execute(sealed(f"{query} FROM {relation_sql(table, catalog)} r")).fetchall()
        if later > MIN_CHANGED * rows:
            text = f"{later:,} of {rows:,} rows were changed after they appeared, by '{column.name}'; a score at an "
            text += "earlier as_of reads their present values"
            # A row without a change would never be visible.
            if without <= MANY_OPEN * rows:
                known = command("init", "FILE", "--known-column", columns_text(table.key, column.name))
                text += f". To hide a row until its last change: {known}"
            yield Finding("warning", table.key, text)


def _untimed(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> Iterator[Finding]:
    """The consequence for a table without a time if others have one; it names the columns that look like outcomes."""
    if table.values_of or not schema.timed_tables or not (schema.links_from(table.key) or schema.links_to(table.key)):
        return
    outcomes = [name for name in table.stored_names if _is_outcome(name)]
    outcomes = [name for name in outcomes if not is_place(con, catalog, table, name)]
    outcomes += [name for name in _later_dates(con, catalog, table) if name not in outcomes]
    text = "has no time: all its rows count at every as_of, also rows that were added later"
    text += f"; {', '.join(outcomes)} may hold what became known later" if outcomes else ""
    time = command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN"))
    text += f"; declare it: {time}, or {command('init', 'FILE', '--no-time-column', table_text(table.key))}"
    yield Finding("warning" if outcomes or schema.links_from(table.key) else "info", table.key, text)


def _is_outcome(name: str) -> bool:
    """True if a word of a name is that of an outcome; a long one may also end a name in one word: `dischargestatus`."""
    parts, vocabulary = words(name), OUTCOME_WORDS | CHANGING_WORDS
    ends = any(part.endswith(word) for part in parts[-1:] for word in vocabulary if len(word) >= LONG_WORD)
    return ends or bool(set(parts) & vocabulary)


def _later_dates(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> list[str]:
    """The dates that many rows lack, such as that of a cancellation: they are written when it happens.

    The dates of a last event, such as the last visit, are included too, because they are written again and again.
    """
    stored = [column for column in table.columns if column.name in table.stored_names]
    stored = [column for column in stored if not set(words(column.name)) & UPDATE_WORDS]
    dates = [found for column in stored if (found := judged(con, catalog, table, column)).time]
    if not dates:
        return []
    counts = ", ".join(["system.main.count_star()", *(f"system.main.count({each.time})" for each in dates)])
    rows, *filled = con.execute(sealed(f"SELECT {counts} FROM {relation_sql(table, catalog)} r")).fetchall()[0]
    pairs = zip(dates, filled, strict=True)
    last = {each.name for each in dates if set(words(each.name)) & _LAST_WORDS}
    return [each.name for each, values in pairs if 0 < values <= (1 - MANY_OPEN * (each.name not in last)) * rows]


ALL_TABLES = "all tables"
"""The object of the finding that no table has a time."""


def no_times(schema: Schema, untimed: Set[str]) -> Iterator[Finding]:
    """The consequence if no table has a time; `untimed` as in `time_findings`."""
    if not schema.tables or schema.timed_tables:
        return
    text = "none has a time: all rows count at every as_of, so no task about the future can be trained, but static "
    text += f"ones ({FIELDS_PAGE}#rows-without-a-time)"
    relative = list(relative_times(schema))
    if relative and not any(_is_date(column) for table in schema.tables.values() for column in table.columns):
        text += (
            f"; {', '.join(map(str, relative))} may count from a start: then as_of means so long after it, whoever's "
        )
        text += "start it is, if you declare that, with to_hours, to_days, .. by the unit"
    severity: Literal["warning", "info"] = "info" if untimed >= schema.tables.keys() else "warning"
    yield Finding(severity, ALL_TABLES, f"{text}; declare when rows appear: {declare_a_time(schema)}")


def declare_a_time(schema: Schema) -> str:
    """The command that declares the first time of a schema without any: a date, if a table has one.

    Otherwise it declares numbers that count from a start, if there are any.
    """
    found = (
        (table.key, column.name) for table in schema.tables.values() for column in table.columns if _is_date(column)
    )
    dated, relative = next(found, None), list(relative_times(schema))
    if dated:
        return command("init", "FILE", "--time-column", columns_text(*dated))
    if relative:
        return command("init", "FILE", *options_of(schema, relative))
    return command("init", "FILE", "--time-column", "TABLE(COLUMN OR EXPRESSION)")


def _is_date(column: Column) -> bool:
    return column.type in TIME_TYPES and not set(words(column.name)) & LATER_WORDS
