"""Find columns that are filled in after their row appears: a score at an earlier `as_of` reads them too early.

In tables whose rows have a time, their own or that of a header, there are three signs:

- dates after the row's time in most rows that have one, such as a date of delivery;
- columns that are filled in older rows, but not yet in any of the newest ones, such as a result;
- columns that are empty in the same rows as one of these.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from relsql.hints import command, remove_column
from relsql.schema.declared.text import columns_text
from relsql.schema.discovery.names import INTERVAL_END_WORDS, PLANNED_WORDS, UPDATE_WORDS, words
from relsql.schema.finding import Finding, column_object
from relsql.schema.tables import Column, Schema, Table
from relsql.schema.times.findings.later_counts import Dated, Filled, count_dates, count_filled, empty_with
from relsql.schema.times.findings.open_values import Judged, judged
from relsql.schema.times.findings.scheduled import scheduled_rows
from relsql.schema.types import TIME_TYPES

MANY_OPEN = 0.05
"""If more than this share of rows lacks a date, hiding them for good costs more than the date is worth."""


def later_columns(con: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, table: Table) -> Iterator[Finding]:
    """The columns of a table with a time that seem to be filled in after their row appears, and its planned rows.

    `table.events`, the range of its times, has to be known.
    """
    keys = _keys_of_timed_rows(schema, table)
    columns = [
        Judged(column) if column.name in keys else judged(con, catalog, table, column)
        for column in table.columns
        if _is_judged(table, column)
    ]
    dates = [each for each in columns if each.time]
    dated = dict(zip((each.name for each in dates), count_dates(con, catalog, table, dates), strict=True))
    named: list[Judged] = []
    for each in dates:
        if dated[each.name].is_later:
            named.append(each)
            yield _finding(table, each, _after(dated[each.name]), dated[each.name])
    others = [each for each in columns if each not in named and not (each.time and dated[each.name].is_constant)]
    last: dict[str, str] = {}
    for each, filled in zip(others, count_filled(con, catalog, table, others), strict=True):
        if filled.is_later:
            named.append(each)
            last |= {each.name: filled.last} if filled.last else {}
            yield _finding(table, each, _not_yet(filled), dated.get(each.name))
    yield from _companions(con, catalog, table, columns, named)
    yield from scheduled_rows(con, catalog, schema, table, last)


def _keys_of_timed_rows(schema: Schema, table: Table) -> set[str]:
    """Foreign keys to rows with a time, such as the days of a calendar.

    They cannot leak the future: a score does not read the key itself, and reads the row only from its own time on.
    """
    links = [link for link in schema.links_from(table.key) if schema.table(link.parent).time_column]
    return {name for link in links for name in link.child_columns}


def _is_judged(table: Table, column: Column) -> bool:
    """False for keys, the time itself, and dates of the last change, which have a finding of their own."""
    if column.computed or column.name in {table.time_column, *table.primary_key}:
        return False
    return column.type not in TIME_TYPES or not set(words(column.name)) & UPDATE_WORDS


def _companions(
    con: duckdb.DuckDBPyConnection, catalog: str, table: Table, columns: list[Judged], named: list[Judged]
) -> Iterator[Finding]:
    """Columns that are empty in the same rows as one of `named`: they are filled in together with it."""
    left = [each for each in columns if each not in named]
    for main in named:
        for each, value, rows in empty_with(con, catalog, table, main, tuple(left)):
            left.remove(each)
            text = f"{_is(value)} in the same {rows:,} rows as '{main.name}', and in no other"
            yield _finding(table, each, text, None, planned=_is_planned(main))


def _after(counts: Dated) -> str:
    return f"lies after the row's own time in {counts.after:,} of the {counts.dated:,} rows that have it"


def _not_yet(filled: Filled) -> str:
    before = filled.times - filled.empty
    at = f"{_is(filled.value)} at the {filled.empty:,} newest times of its rows"
    return f"{at}, and {'filled' if not filled.value else 'another'} at {filled.filled:,} of the {before:,} before"


def _is(value: str | None) -> str:
    """What the finding says about an unfilled column: it is empty, or has a value that stands for empty."""
    return f"is '{value}'" if value else "is empty"


def _is_planned(each: Judged) -> bool:
    """True for a date whose name says that it lies ahead.

    Other columns are excluded, because a flag such as `hospital_expire_flag` is only set when the event happens.
    """
    return bool(each.time) and bool(set(words(each.name)) & PLANNED_WORDS)


def _finding(table: Table, each: Judged, text: str, counts: Dated | None, *, planned: bool = False) -> Finding:
    """The finding about a column, with advice. `counts`: those of a date; `planned`: filled in with a planned date."""
    planned = planned or _is_planned(each)
    text = f"{text}: it seems to be filled in later, and a score at an earlier as_of reads it too early; to leave it "
    text += f"out, {remove_column(table.key, each.name)}"
    text += _known(table, each, counts) if counts else ""
    text += "; if it is set when the row appears, there is nothing to do" if planned else ""
    return Finding("info" if planned else "warning", column_object(table.key, each.name), text)


def _known(table: Table, each: Judged, counts: Dated) -> str:
    """The advice to hide each row until its date, unless that would hide the rows that matter at every as_of."""
    ends = set(words(each.name)) & INTERVAL_END_WORDS
    if ends or counts.open > MANY_OPEN * counts.rows:
        hidden = "each row until it ends" if ends else f"the {counts.open:,} rows without it for good"
        text = f"; --known-column does not help, because it would hide {hidden}"
        return f"{text}; to let a model read what has happened, store it as rows of another table that have this time"
    known = command("init", "FILE", "--known-column", columns_text(table.key, each.name))
    return f"; to hide each row until then{', and rows without it for good' if counts.open else ''}: {known}"
