"""Whether the data that a model reads still look like those of its training: by table and column, the worst first.

The rows up to the end of training are compared with the rows since. `docs/decisions/0040-ledger-and-drift.md` says how
bins are chosen, and what is put down to chance.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import duckdb

from relsql.database.connections import is_read_only, transaction
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.monitoring.distributions import Distribution, quantity
from relsql.monitoring.psi import share_by_chance
from relsql.monitoring.table_drift import Ranges, TableRows, column_values, table_rows
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import active_card
from relsql.registry.predictions import ledger_moments, scores_sql
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.sql_text import literal
from relsql.tasks.splits import event_span

MIN_UNSEEN_ROWS = 5
"""Fewer rows with unseen values are not reported: one or two may be typing errors."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits up to which data count as unchanged.

    Attributes:
        psi: the largest PSI of a column or of the scores. Common limits are .1 (worth a look) and .25 (a change).
        missing: the largest difference between the shares of missing values.
        unseen: the largest share of rows with a value that no row had in training.
        silence: how long a table may go without a new row, as a multiple of its longest gap in training.
    """

    psi: float = 0.25
    missing: float = 0.1
    unseen: float = 0.05
    silence: float = 2.0


@dataclass(frozen=True, slots=True)
class DriftRow:
    """How one table, column or the scores have changed.

    Attributes:
        table: the table; empty for the scores.
        column: the column; None for the rows of a table.
        kind: `rows`, `score`, or the kind of a column's values: `number`, `age`, `category`, `text`.
        finding: what has changed, in words; None if it is within the limits.
        severity: the largest measure as a multiple of its limit: above 1 for a change, below it if chance explains it.
        psi, psi_by_chance: see `relsql.monitoring.psi`.
        missing_then, missing_now: shares of missing values.
        unseen_share, unseen: rows of now with values that no row had in training, and the commonest of these values.
        rows_then, rows_now: numbers of rows.
        rows: for a table, more about its rows.
    """

    table: str
    column: str | None
    kind: str
    finding: str | None
    severity: float
    rows_then: int
    rows_now: int
    psi: float | None = None
    psi_by_chance: float | None = None
    missing_then: float | None = None
    missing_now: float | None = None
    unseen_share: float | None = None
    unseen: tuple[str, ...] = ()
    rows: TableRows | None = None

    @property
    def changed(self) -> bool:
        """True beyond the limits."""
        return self.severity > 1


@dataclass(frozen=True, slots=True)
class Drift:
    """How the data of a model have changed.

    Attributes:
        model, version: the model version.
        ranges: the times that were compared.
        rows: the worst first.
        untimed: tables that the model reads and that have no time, so that old and new rows cannot be separated.
        stored: whether the rows are in relsql's table `drift`; they are not if the file is read-only.
    """

    model: str
    version: int
    ranges: Ranges
    rows: tuple[DriftRow, ...]
    untimed: tuple[str, ...] = ()
    stored: bool = field(default=False, compare=False)

    @property
    def changed(self) -> bool:
        """True if something is beyond the limits."""
        return any(row.changed for row in self.rows)


def drift(
    con: duckdb.DuckDBPyConnection,
    model: str,
    *,
    since: datetime.datetime | None = None,
    as_of: datetime.datetime | None = None,
    limits: Limits | None = None,
) -> Drift:
    """Compare the rows that a model reads with those of its training, and write the result to relsql's table `drift`.

    Args:
        con: a connection whose current database holds the model; its transaction state does not change.
        model: its name, or a version of it, `dnf@2`.
        since: rows after this time are new (exclusive); None: those since the end of the model's training range. An
            earlier time also ends the rows that they are compared with.
        as_of: the end of the new rows (inclusive), and what the ages of tables are counted from; None: the latest event
            of the tables that the model reads.
        limits: up to where data count as unchanged.

    Raises:
        ModelError: unknown model. SchemaDriftError: its tables or columns no longer exist.
        TaskError: the tables have no events.
    """
    catalog, limits = current_catalog(con), limits or Limits()
    card = active_card(con, catalog, model)
    check_drift(card, read_schema(con, catalog))
    with task_cursor(con, catalog) as cursor:
        read = Schema({key: card.schema.table(key) for key in card.inputs})
        newest = as_of or event_span(cursor, catalog, read, card.task)[1]
        start = since or card.trained_until
        ranges = Ranges(min(start, card.trained_until), start, newest)
        timed = {table.key for table in read.timed_tables}
        rows = [
            row for key in card.inputs if key in timed for row in _of_table(cursor, catalog, card, key, ranges, limits)
        ]
        rows += _of_scores(cursor, catalog, card, limits)
    ranked = tuple(sorted(rows, key=lambda row: (-row.severity, row.table, row.column or "")))
    untimed = tuple(key for key in card.inputs if key not in timed)
    result = Drift(card.name, card.version, ranges, ranked, untimed, stored=not is_read_only(con, catalog))
    if result.stored:
        _store(con, catalog, result)
    return result


def _of_table(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, key: str, ranges: Ranges, limits: Limits
) -> Iterator[DriftRow]:
    table = card.schema.table(key)
    found = table_rows(con, catalog, table, ranges)
    silence = found.age_days / found.longest_gap_days if found.age_days and found.longest_gap_days else 0.0
    severity = silence / limits.silence
    stopped = f"no new row for {found.age_days:.3g} days, {silence:.3g} times its longest gap in training"
    if not found.now:
        finding: str | None = f"no new rows since {ranges.since}"
    else:
        finding = stopped if severity > 1 else None
    yield DriftRow(key, None, "rows", finding, severity, found.then, found.now, rows=found)
    if found.then and found.now:
        # The cells that the model completes are empty in new rows, which is not a change of the data.
        asked = card.task.asked.hidden if key == card.task.entity_table else ()
        for each in column_values(con, catalog, table, card.inputs[key], ranges):
            if each.column in asked:
                continue
            yield _compared(key, each.column, each.kind, each.values, limits)


def _of_scores(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, limits: Limits) -> Iterator[DriftRow]:
    """The scores of the newest as_of in the ledger against those of the first one."""
    moments = ledger_moments(con, catalog, card)
    if len(moments) < 2:
        return
    first, last = literal(moments[0]), literal(moments[-1])
    scores = f"SELECT score AS value, as_of = {last} AS fresh FROM ({scores_sql(con, catalog, card)})"
    yield _compared("", None, "score", quantity(con, f"{scores} WHERE as_of IN ({first}, {last})"), limits)


def _compared(table: str, column: str | None, kind: str, values: Distribution, limits: Limits) -> DriftRow:
    """Judge a column: report what is beyond a limit and more than chance explains."""
    then, now = values.missing_then / values.rows_then, values.missing_now / values.rows_now
    unseen = values.unseen / values.rows_now
    index, chance = values.psi or 0.0, values.psi_by_chance or 0.0
    surprising = values.unseen >= MIN_UNSEEN_ROWS and unseen > values.single / values.rows_then
    measures = [
        (index / limits.psi, index > chance, f"PSI {index:.3g}"),
        (
            abs(now - then) / limits.missing,
            abs(now - then) > share_by_chance(then, values.rows_then, now, values.rows_now),
            f"missing {then:.1%} -> {now:.1%}",
        ),
        (unseen / limits.unseen, surprising, f"{unseen:.1%} unseen, such as {', '.join(values.unseen_values)}"),
    ]
    severity = max(measure if real else min(measure, 1.0) for measure, real, _ in measures)
    said = [text for measure, real, text in measures if measure > 1 and real]
    return DriftRow(
        table,
        column,
        kind,
        "; ".join(said) or None,
        severity,
        values.rows_then,
        values.rows_now,
        index,
        chance,
        then,
        now,
        unseen if kind == "category" else None,
        values.unseen_values,
    )


def _store(con: duckdb.DuckDBPyConnection, catalog: str, result: Drift) -> None:
    """Replace the rows of the version, in one transaction."""
    computed = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
    ends = (result.ranges.since, result.ranges.newest, computed)
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        table = ensure_table(cursor, catalog, "drift")
        cursor.execute(f"DELETE FROM {table} WHERE model = ? AND version = ?", [result.model, result.version])
        for rank, row in enumerate(result.rows, start=1):
            values = [result.model, result.version, rank, *_cells(row), *ends]
            cursor.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _cells(row: DriftRow) -> Iterable[object]:
    """The columns `table_name` to `age_days` of the table `drift`."""
    of_rows = row.rows
    return (
        *(row.table, row.column, row.kind, row.finding, row.severity, row.psi, row.psi_by_chance),
        *(row.missing_then, row.missing_now, row.unseen_share, list(row.unseen), row.rows_then, row.rows_now),
        *((of_rows.per_day_then, of_rows.per_day_now, of_rows.newest, of_rows.age_days) if of_rows else (None,) * 4),
    )
