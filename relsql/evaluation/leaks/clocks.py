"""Times that nobody declared, and columns that are filled in after their row. By these, more rows may lie after as_of.

* A table without a time may have one after all: the proposal of `relsql init`.
* A row may become known later than it happened: a second clock, which the caller names.
* A column may be filled in later, as `relsql inspect` finds; if it is a date, it says when.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import duckdb

from relsql.errors import SchemaError
from relsql.evaluation.leaks.changes import Change, Kept
from relsql.evaluation.leaks.subject import Subject
from relsql.hints import command
from relsql.schema.declared.text import columns_text, parse_columns
from relsql.schema.discovery.profile import Profiler
from relsql.schema.discovery.times.time_columns import infer_times
from relsql.schema.finding import Finding, column_object
from relsql.schema.relations import STORED
from relsql.schema.tables import RowTime, Schema, Table
from relsql.schema.times.events import as_timestamp_sql
from relsql.schema.times.findings.later_columns import later_columns
from relsql.schema.times.findings.open_values import judged
from relsql.schema.times.row_times import DeclaredTime, RowTimes, with_row_time
from relsql.schema.times.sentinels import with_event_ranges
from relsql.schema.types import TIME_TYPES
from relsql.schema.visibility import since_sql
from relsql.sql_text import literal


@dataclass(frozen=True, slots=True)
class Clock:
    """Another time of a table: `column` as people write it, the table with this time, and the advice if it leaks."""

    table: Table
    column: str
    fix: str

    def change(self, moment: datetime.datetime) -> Change:
        """Delete the rows that are later by this clock; rows for which it has no time stay."""
        return Change("deleted", {self.table.key: Kept.until(self.table, moment, unknown=True)})


@dataclass(frozen=True, slots=True)
class LateColumn:
    """A column that seems to be filled in later: the finding, and if it is a date, its SQL over a row `r`."""

    table: Table
    column: str
    finding: Finding
    date: str

    def change(self, moment: datetime.datetime) -> Change:
        """Empty the column in the rows whose date is later, as it was at the moment."""
        kept = f"coalesce(NOT {since_sql(self.date, literal(moment))}, true)"
        return Change("emptied", {self.table.key: Kept(self.table, kept, (self.column,))})


def proposed_clocks(con: duckdb.DuckDBPyConnection, catalog: str, subject: Subject) -> Iterator[Clock]:
    """The times that `relsql init` would propose for tables without one, even if they were declared to have none."""
    schema = subject.database
    untimed = [key for key in subject.plan.schema.tables if not schema.tables[key].time_column]
    if not untimed:
        return
    others = {key for key in schema.tables if key not in untimed}
    for proposal in infer_times(Profiler(con, catalog, schema), others):
        if proposal.column is None or proposal.table not in untimed:
            continue
        times = RowTimes(con, catalog, schema, {proposal.table: DeclaredTime(proposal.column)})
        try:
            table = times.table(proposal.table)
        except SchemaError:
            continue  # It is a proposal only.
        text = columns_text(proposal.table, proposal.column)
        yield Clock(table, proposal.column, f"declare its time: {command('init', 'FILE', '--time-column', text)}")


def second_clocks(schema: Schema, known_columns: Iterable[str]) -> Iterator[Clock]:
    """The tables with a second clock, from texts such as `orders(entered_at)`.

    Raises:
        SchemaError: there is no such table or column, the table has no time, or the column holds no times.
    """
    for text in known_columns:
        name, [column_name, *_] = parse_columns(text)
        table = schema.table(name)
        column = table.column(column_name)
        if not table.time_column or column.type not in TIME_TYPES:
            what = f"column '{column.name}' has type {column.type}" if table.time_column else "it has no time"
            raise SchemaError(
                f"table '{table.key}' cannot have the second clock {column.name}: {what}",
                expected="a DATE or TIMESTAMP column of a table with a time",
                fix=command("init", "FILE", "--time-column", columns_text(table.key, "COLUMN")),
            )
        known = as_timestamp_sql(column, STORED)
        if table.row_time:
            timed = replace(table, row_time=replace(table.row_time, known=known))
        else:
            own = as_timestamp_sql(table.column(table.time_column), STORED)
            timed = with_row_time(table, RowTime(table.time_column, own, known=known))
        declared = command("init", "FILE", "--known-column", columns_text(table.key, column.name))
        yield Clock(timed, column.name, f"declare when its rows become known: {declared}")


def late_columns(con: duckdb.DuckDBPyConnection, catalog: str, subject: Subject) -> Iterator[LateColumn]:
    """The columns that are read and that `relsql inspect` reports as filled in later."""
    schema = with_event_ranges(con, catalog, subject.database)
    for key in subject.plan.inputs:
        table = schema.tables[key]
        if not table.time_column:
            continue
        columns = {column_object(key, column.name): column for column in table.columns}
        for finding in later_columns(con, catalog, schema, table):
            column = columns.get(finding.object)
            if finding.severity != "warning" or column is None or not subject.reads(table, column.name):
                continue
            yield LateColumn(table, column.name, finding, judged(con, catalog, table, column).time)
