"""`relsql leakcheck`: does anything that became known only after as_of change a label, a feature or a score?

Labels are computed again on data that end with their windows. Features and scores of a sample of seeds are read again
from copies in memory in which the later rows are deleted or garbled; they must be equal to the bit. The user's tables
are only read. Some leaks cannot be shown by changing rows, because the database keeps no history. They are judged by
values: columns that are filled in later, and single columns that predict the labels.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute

from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.copied_labels import MAX_SEEDS, copied_labels
from relsql.evaluation.leaks.answers import Arrays, Difference, Reader, compare, reader
from relsql.evaluation.leaks.changes import UNCHANGED, Change, How, Kept, changed_database
from relsql.evaluation.leaks.clocks import Clock, LateColumn, late_columns, proposed_clocks, second_clocks
from relsql.evaluation.leaks.label_windows import label_differences, labels_of
from relsql.evaluation.leaks.subject import (
    VALIDATION,
    Moment,
    Subject,
    candidate_moments,
    find_subject,
    moments_with_labels,
    seeds_at,
)
from relsql.hints import command, correct
from relsql.schema.finding import Finding, column_object
from relsql.schema.tables import Table
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.task import Task
from relsql.typing import PhaseProgress

Verdict = Literal["ok", "leak", "suspect"]

DEFAULT_SEEDS, QUICK_SEEDS = 200, 32

_HOW: tuple[How, ...] = ("deleted", "garbled")

ALL = "*"
"""Stands in place of a table if something changes only when several tables are changed together."""


@dataclass(frozen=True, slots=True)
class LeakRow:
    """One line of a leak check.

    Attributes:
        check: what was compared, and with what, such as `features, later rows deleted`.
        table: the table whose rows were changed.
        column: the column that the check is about, if it is about one.
        seeds: number of seeds or labels that were compared.
        changed: how many of them changed; None if the check looks at values, not at changes.
        largest: the largest change of a number; None if the change has no size, such as a missing row.
        verdict: `ok`; `leak`, if something changed; `suspect`, if values look like a leak that no change can show.
        advice: what it means and what to do; empty if ok.
    """

    check: str
    table: str
    column: str | None
    seeds: int
    changed: int | None
    largest: float | None
    verdict: Verdict
    advice: str = ""


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """The outcome of a leak check: what was checked, at which moments, and its rows."""

    subject: str
    moments: tuple[str, ...]
    rows: tuple[LeakRow, ...]

    @property
    def clean(self) -> bool:
        """True if nothing leaks or looks like a leak."""
        return all(row.verdict == "ok" for row in self.rows)


def leakcheck(
    con: duckdb.DuckDBPyConnection,
    subject: str | Task,
    *,
    seeds: int | None = None,
    known_columns: Sequence[str] = (),
    quick: bool = False,
    progress: PhaseProgress | None = None,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> LeakCheck:
    """Check that nothing that became known after as_of changes a label, a feature or a score.

    Args:
        con: a connection; its current database is checked, and nothing in it is changed.
        subject: a model, or a version of it (`dnf@2`); else a task, by name or as a line, or a task itself.
        seeds: number of seeds whose features are compared, at up to four moments of the label splits; of a model, up
            to `MOST_SCORED` of each moment are scored. Default: `DEFAULT_SEEDS`.
        known_columns: second clocks to try, `TABLE(COLUMN)`: are rows read that became known after as_of?
        quick: only what takes about a second: labels, and features of `QUICK_SEEDS` seeds, at one moment of
            validation, without the later rows. What training itself finds about columns is left out.
        progress: called with the progress of every phase.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query of a moment after this many seconds.

    Raises:
        RelsqlError: there is no such model or task, its labels cannot be computed, or a second clock does not fit.
    """
    report = progress or (lambda phase, fraction, metrics: None)
    catalog = current_catalog(con)
    limits = LabelLimits(allow_external, label_timeout_seconds)
    report("labels", 0.0, {})
    found = find_subject(con, catalog, subject, limits)
    found = replace(found, card=None) if quick else found
    clocks = list(second_clocks(found.whole, known_columns))
    with task_cursor(con, catalog) as cursor, reader(cursor, found) as read:
        groups = candidate_moments(cursor, catalog, found)[VALIDATION if quick else slice(None)]
        labels = labels_of(con, catalog, found, sorted({each for group in groups for each in group}), limits)
        moments = moments_with_labels(cursor, found, groups, labels)
        if not moments:
            raise _no_labels(found)
        asked = [each.as_of for each in moments]
        labels = labels.filter(pa.compute.is_in(labels.column("as_of"), pa.array(asked, pa.timestamp("us"))))
        differences = label_differences(con, catalog, found, moments, labels, limits)
        rows = [_label_row(table, labels.num_rows, each) for table, each in differences.items()]
        report("labels", 1.0, {"labels": labels.num_rows})
        clocks += proposed_clocks(cursor, catalog, found)
        late = [] if quick else list(late_columns(cursor, catalog, found))
        sample = seeds_at(labels, moments, seeds or (QUICK_SEEDS if quick else DEFAULT_SEEDS))
        check = _Check(catalog, read, list(zip(moments, sample, strict=True)), _HOW[:1] if quick else _HOW)
        rows += check.rows(clocks, late, lambda share: report("mutations", share * 0.999, {}))
        report("mutations", 1.0, {})
        report("columns", 0.0, {})
        rows += [] if quick else _near_perfect(con, catalog, found, read, limits)
        report("columns", 1.0, {})
    return LeakCheck(found.name, tuple(str(each.as_of) for each in moments), tuple(rows))


def _no_labels(subject: Subject) -> TaskError:
    return TaskError(
        f"task '{subject.task.name}': the label query returns no rows for the moments that were tried",
        expected="labels at one of the latest timestamps of training, validation or test",
        fix=command("task", "FILE", subject.task.name),
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """Features and scores by (position of the moment, position of the seed)."""

    features: dict[tuple[int, int], Arrays]
    scores: dict[tuple[int, int], Arrays]

    def __or__(self, other: _Answers) -> _Answers:
        return _Answers(self.features | other.features, self.scores | other.scores)


@dataclass(frozen=True, slots=True)
class _Check:
    """The checks that read seeds from changed copies."""

    catalog: str
    reader: Reader
    seeds: list[tuple[Moment, pa.Table]]
    hows: tuple[How, ...]

    @property
    def subject(self) -> Subject:
        """What is checked."""
        return self.reader.subject

    def rows(
        self, clocks: Sequence[Clock], late: Sequence[LateColumn], report: Callable[[float], None]
    ) -> list[LeakRow]:
        """The rows of all checks by mutation."""
        with changed_database(self.reader.cursor, self.catalog, self.subject.tables, UNCHANGED) as copy:
            present = reduce(lambda one, other: one | other, (self._read(i, copy) for i in range(len(self.seeds))))
        found = list[LeakRow]()
        timed = {table.key: table for table in self.subject.tables.timed_tables if not table.values_of}
        checks = len(self.hows) + len(clocks) + len(late)
        for i, how in enumerate(self.hows):
            report(i / checks)
            found += self._of_later_rows(present, timed, how)
        for i, clock in enumerate(clocks, start=len(self.hows)):
            report(i / checks)
            answers = self._changed(clock.change)
            found += self._rows(
                "rows later by another time", clock.table.key, clock.column, present, answers, clock.fix
            )
        for i, column in enumerate(late, start=len(self.hows) + len(clocks)):
            report(i / checks)
            found += self._of_late_column(present, column)
        return found

    def _of_later_rows(self, present: _Answers, timed: Mapping[str, Table], how: How) -> Iterator[LeakRow]:
        """The results for later rows that are deleted or garbled; single tables are tried only if something changes."""
        what = f"later rows {how}"
        together = self._changed(partial(_later_rows, timed, how))
        if _is_same(present, together):
            for key in timed:
                yield from self._rows(what, key, None, present, together)
            return
        advice = "rows after as_of change what is read; please report this, with the schema of the table"
        single = {key: self._changed(partial(_later_rows, {key: table}, how)) for key, table in timed.items()}
        if all(_is_same(present, answers) for answers in single.values()):
            single = {ALL: together, **single}
        for key, answers in single.items():
            yield from self._rows(what, key, None, present, answers, advice)

    def _of_late_column(self, present: _Answers, late: LateColumn) -> Iterator[LeakRow]:
        """A column that is filled in later: by its dates if it has any, otherwise by how it looks."""
        what = "column filled in later"
        if late.date:
            answers = self._changed(late.change)
            if not _is_same(present, answers):
                yield from self._rows(what, late.table.key, late.column, present, answers, late.finding.message)
                return
        seeds = len(present.features)
        yield LeakRow(what, late.table.key, late.column, seeds, None, None, "suspect", late.finding.message)

    def _changed(self, change: Callable[[datetime.datetime], Change]) -> _Answers:
        """The answers at each moment, from a copy with the change that `change` returns for as_of."""
        answers = _Answers({}, {})
        for i, (moment, _) in enumerate(self.seeds):
            with changed_database(self.reader.cursor, self.catalog, self.subject.tables, change(moment.as_of)) as copy:
                answers |= self._read(i, copy)
        return answers

    def _read(self, i: int, copy: str) -> _Answers:
        _, seeds = self.seeds[i]
        features, scores = self.reader.features(copy, seeds), self.reader.scores(self.catalog, copy, seeds)
        return _Answers(
            {(i, seed): arrays for seed, arrays in features.items()},
            {(i, seed): arrays for seed, arrays in scores.items()},
        )

    def _rows(
        self, what: str, table: str, column: str | None, present: _Answers, answers: _Answers, advice: str = ""
    ) -> Iterator[LeakRow]:
        features = compare(present.features, answers.features)
        yield _row(f"features, {what}", table, column, len(present.features), features, advice)
        if self.subject.card:
            scores = compare(present.scores, answers.scores)
            yield _row(f"scores, {what}", table, column, len(present.scores), scores, advice)


def _later_rows(timed: Mapping[str, Table], how: How, as_of: datetime.datetime) -> Change:
    """Change the rows of tables that are later than as_of."""
    return Change(how, {key: Kept.until(table, as_of) for key, table in timed.items()})


def _is_same(one: _Answers, other: _Answers) -> bool:
    return not compare(one.features, other.features).changed and not compare(one.scores, other.scores).changed


def _row(check: str, table: str, column: str | None, seeds: int, found: Difference, advice: str) -> LeakRow:
    verdict: Verdict = "leak" if found.changed else "ok"
    return LeakRow(
        check, table, column, seeds, found.changed, found.largest, verdict, advice if verdict != "ok" else ""
    )


def _label_row(table: str, labels: int, found: Difference) -> LeakRow:
    advice = "the label query reads rows after as_of + horizon, on which no label may depend; " + correct("sql")
    return _row("labels, rows after the window deleted", table, None, labels, found, advice)


def _near_perfect(
    con: duckdb.DuckDBPyConnection, catalog: str, subject: Subject, read: Reader, limits: LabelLimits
) -> Iterator[LeakRow]:
    """The single columns that predict the labels of training or of a later split almost perfectly."""
    labels = label_table(con, catalog, subject.database, subject.task, "train", limits=limits).table
    latest = labels.slice(max(0, labels.num_rows - MAX_SEEDS))
    if subject.task.has_classes:
        latest = Classes.of(subject.task, labels).coded(latest)
    gathered = read.gathered(catalog, latest)
    for finding in copied_labels(subject.task, subject.plan.schema, subject.layouts, gathered, "train"):
        table, column = _named(subject, finding)
        yield LeakRow(
            "column predicts the labels", table, column, len(gathered), None, None, "suspect", finding.message
        )


def _named(subject: Subject, finding: Finding) -> tuple[str, str | None]:
    """The table and the column that a finding is about."""
    for key, table in subject.plan.schema.tables.items():
        for name in table.column_names:
            if finding.object == column_object(key, name):
                return key, name
    return finding.object, None
