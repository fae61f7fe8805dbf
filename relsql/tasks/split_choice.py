"""Choose the split timestamps that a task lacks: as late as the data allow, where there are labels of both kinds.

By the calendar alone, test is the last `num_eval_timestamps` horizons of the data, and validation is as many before it.
That stands wherever it gives enough labels. In bursts, seasons and short data it may not, so earlier moments are tried,
the latest first:

- test: the rows of the tables that the label query names are counted within the window, and the labels at its
  timestamps; a window with a typical number of rows comes first. The values of test labels are never looked at.
- validation, on tables that end at the test timestamp: the labels of both kinds at its timestamps, and at the training
  timestamps that remain before it.

A task that gives neither of them, and no number of timestamps, gets more than one in each split where one has too few
labels: as many as are needed, as long as half of the data remain for training. Their windows follow one another, so the
horizons of training, validation and test never overlap.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from relsql.database.cursors import one_row
from relsql.database.names import DEFAULT_SCHEMA
from relsql.database.queries.sealed import sealed
from relsql.database.queries.syntax_tree import nodes
from relsql.errors import TaskError
from relsql.hints import in_manifest
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Schema, table_key
from relsql.schema.times.events import event_times_sql
from relsql.schema.visibility import asof_visible_sql
from relsql.sql_text import literal
from relsql.tasks.labels.query_check import parse_select
from relsql.tasks.splits import DENSE, event_span, step_sql, train_timestamps
from relsql.tasks.task import Task

ENOUGH_LABELS = 100
"""Fewer validation labels than this are a finding."""

ENOUGH_OF_A_KIND = 30
"""The same for labels of a class; in a regression, for labels that differ from the most common one."""

QUIET_SHARE = 0.1
"""A window with a smaller share of the median number of events is quiet, such as a closed season."""

TYPICAL_FACTOR = 2
"""A window with the median number of events, up to this factor more or less, is typical: it promises labels of both
kinds, where a window that holds the end of a burst, or a whole one, may have one kind only."""

MOST_WINDOWS = 50
"""No more timestamps than this are chosen for a split; a task may give more."""

SPLIT_FIELDS = ("val_timestamp", "test_timestamp")
WINDOWS_FIELD = "num_eval_timestamps"
GIVEN = "given by the task"

_BATCHES = (1, 3, 12, 48)
"""Numbers of candidates whose labels are counted at once: the first one is nearly always good enough."""

_TRAIN_TIMESTAMPS = 8
"""Latest training timestamps whose labels are counted."""


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Labels at one timestamp, and how many of them differ from the commonest value."""

    labels: int = 0
    rarer: int = 0


CountLabels = Callable[[Sequence[datetime.datetime], datetime.datetime | None], Mapping[datetime.datetime, LabelCount]]
"""(timestamps, end of the timed tables, inclusive; None: the data are not cut) -> the counts at each timestamp."""


@dataclass(frozen=True, slots=True)
class SplitChoice:
    """A task with both split timestamps, and a line about each field that was chosen, which says why."""

    task: Task
    reasons: dict[str, str]


def choose_splits(
    cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, count: CountLabels
) -> SplitChoice:
    """Choose the split timestamps that a task lacks.

    Args:
        cursor: a cursor inside the database.
        catalog: its name.
        schema: its schema; the timed tables that the label query reads give the range of the data.
        task: the task; timestamps that it has are kept.
        count: counts labels; the values of test labels are not used.

    Raises:
        TaskError: the horizon is too long for the data.
    """
    read, counted = tables_read(cursor, schema, task), _remembered(count)
    scan = _Scan(cursor, catalog, read, task, counted)
    chosen = scan.choose()
    may_grow = task.num_eval_timestamps == 1 and not (task.val_timestamp or task.test_timestamp)
    return scan.with_more_windows(chosen) if may_grow else chosen


def _remembered(count: CountLabels) -> CountLabels:
    """A counter that counts the labels at a timestamp once."""
    known: dict[tuple[datetime.datetime, datetime.datetime | None], LabelCount] = {}

    def counted(
        timestamps: Sequence[datetime.datetime], end: datetime.datetime | None
    ) -> Mapping[datetime.datetime, LabelCount]:
        missing = [t for t in timestamps if (t, end) not in known]
        if missing:
            found = dict.fromkeys(missing, LabelCount()) | dict(count(missing, end))
            known.update({(t, end): found[t] for t in missing})
        return {t: known[t, end] for t in timestamps}

    return counted


class _Scan:
    """The candidates of one task."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, catalog: str, schema: Schema, task: Task, count: CountLabels
    ) -> None:
        self.cursor, self.catalog, self.schema, self.task, self.count = cursor, catalog, schema, task, count
        self.first, self.last = event_span(cursor, catalog, schema, task)
        self.step = step_sql(task)
        self.windows = task.num_eval_timestamps

    def choose(self) -> SplitChoice:
        """The task with the split timestamps that it lacks."""
        task, reasons = self.task, dict.fromkeys(SPLIT_FIELDS, GIVEN)
        if task.test_timestamp is None:
            found, reasons["test_timestamp"] = self.test()
            task = replace(task, test_timestamp=found)
        if task.val_timestamp is None:
            assert task.test_timestamp is not None
            found, reasons["val_timestamp"] = self.val(task.test_timestamp)
            task = replace(task, val_timestamp=found)
        return SplitChoice(task, reasons)

    def with_more_windows(self, chosen: SplitChoice) -> SplitChoice:
        """A choice with as many timestamps a split as give enough labels, or come closest to it."""
        best, enough = chosen, self.enough(chosen.task)
        first, most = enough, most_windows(self.cursor, self.task, self.first, self.last)
        windows = 1
        while enough < 1 and windows < most:
            windows = min(most, max(windows + 1, math.ceil(windows / max(enough, 1 / most))))
            scan = _Scan(
                self.cursor, self.catalog, self.schema, replace(self.task, num_eval_timestamps=windows), self.count
            )
            more = scan.choose()
            if (found := scan.enough(more.task)) > enough:
                best, enough = more, found
        if best is not chosen:
            reason = f"one gives {first:.0%} of the labels that are enough, {best.task.num_eval_timestamps} give "
            reason += "enough" if enough >= 1 else f"{enough:.0%}, the most that the data have room for"
            best.reasons[WINDOWS_FIELD] = reason
        return best

    def enough(self, task: Task) -> float:
        """1 if validation and test have enough labels, else the share that they have of it."""
        val, test = task.val_timestamp, task.test_timestamp
        assert val is not None and test is not None
        val_times, test_times = self._series(val, self.windows), self._series(test, self.windows)
        tested = _total(self.count(test_times, None), test_times).labels / ENOUGH_LABELS
        return min(1.0, tested, _share(_total(self.count(val_times, test), val_times)))

    def test(self) -> tuple[datetime.datetime, str]:
        """The test timestamp, and why."""

        def parts(start: datetime.datetime) -> list[list[datetime.datetime]]:
            return [self._series(start, self.windows)]

        def score(found: LabelCount) -> float:
            return found.labels / ENOUGH_LABELS

        latest = f"{self._horizons()} before the last event ({self.last})"
        return self._choose(self.last, self.windows + 1, latest, parts, score, None)

    def val(self, test: datetime.datetime) -> tuple[datetime.datetime, str]:
        """The validation timestamp before a test timestamp, and why."""

        def parts(start: datetime.datetime) -> list[list[datetime.datetime]]:
            return [self._series(start, self.windows), self._before(start)]

        return self._choose(test, 1, f"{self._horizons()} before test", parts, _share, test)

    def _choose(
        self,
        over: datetime.datetime,
        room: int,
        latest: str,
        parts: Callable[[datetime.datetime], list[list[datetime.datetime]]],
        score: Callable[[LabelCount], float],
        end: datetime.datetime | None,
    ) -> tuple[datetime.datetime, str]:
        """Choose among the candidates.

        Args:
            over: where the windows of the latest candidate end.
            room: horizons that must remain before a candidate.
            latest: why the latest candidate is what it is.
            parts: the timestamps of a candidate whose labels are counted, by split.
            score: whether the labels of one of them are enough; 1 if they are.
            end: where the tables end when labels are counted.
        """
        candidates = self._candidates(over, f"{literal(self.first)} + {room} * {self.step}")
        if not candidates:
            raise too_long(self.task, self.first, self.last)
        busy, quiet = self._busy(candidates)
        chosen, counts = self._best(busy, parts, score, end)
        first = candidates[0]
        if chosen == first:
            return chosen, latest
        if first in quiet:
            problem = quiet[first]
        else:
            found = min((_total(counts, part) for part in parts(first)), key=score)
            problem = f"gives {found.labels:,} labels" + (f", {found.rarer:,} of the rarer kind" if end else "")
        return chosen, f"the latest with enough labels; {first}, {latest}, {problem}"

    def _best(
        self,
        candidates: Sequence[datetime.datetime],
        parts: Callable[[datetime.datetime], list[list[datetime.datetime]]],
        score: Callable[[LabelCount], float],
        end: datetime.datetime | None,
    ) -> tuple[datetime.datetime, Mapping[datetime.datetime, LabelCount]]:
        """The best candidate: its labels, weighed against the share of the past that is given up for it.

        If no candidate has enough labels, the first stands that is at least half as good as the best.
        """
        counts: dict[datetime.datetime, LabelCount] = {}
        values: dict[datetime.datetime, float] = {}
        whole = max(candidates) - self.first
        for batch in _batches(candidates):
            series = {start: parts(start) for start in batch}
            wanted = {t for lists in series.values() for part in lists for t in part} - counts.keys()
            counts |= dict.fromkeys(wanted, LabelCount()) | dict(self.count(sorted(wanted), end))
            scores = {start: min(score(_total(counts, part)) for part in lists) for start, lists in series.items()}
            values |= {start: min(1.0, scores[start]) * ((start - self.first) / whole) for start in batch}
            if max(scores.values()) >= 1:
                return max(values, key=lambda start: values[start]), counts
        best = max(values.values())
        return next(start for start in values if values[start] >= best / 2), counts

    def _candidates(self, end: datetime.datetime, earliest: str) -> list[datetime.datetime]:
        """Starts of a split whose windows are over at `end`, the latest first, ever sparser; none before `earliest`."""
        quarter = f"epoch({self.step}) * 1e6 / {DENSE}"
        latest = f"greatest({literal(end)} - {self.windows} * {self.step}, TIMESTAMP '0001-01-01')"
        room = one_row(self.cursor, f"SELECT (epoch({latest}) - epoch({earliest})) * 1e6 / ({quarter})")[0]
        offsets, offset = [], 0
        while offset <= room:
            offsets.append(offset)
            offset += max(1, offset // 50)
        query = (
            f"SELECT {latest} - to_microseconds((i * {quarter})::BIGINT) FROM (SELECT unnest({offsets}::BIGINT[]) AS i)"
        )
        return [t for (t,) in self.cursor.execute(sealed(query)).fetchall()]

    def _busy(
        self, candidates: list[datetime.datetime]
    ) -> tuple[list[datetime.datetime], dict[datetime.datetime, str]]:
        """The candidates whose windows are not quiet, and for each of the others what its window lacks.

        The latest candidate is the first, then come those whose windows are typical, then the others.
        """
        events = self._events(candidates)
        median = statistics.median([count for count in events.values() if count] or [0])
        quiet = {
            start: f"has {count:,} rows in its window, where {median:,.0f} are the median"
            for start, count in events.items()
            if count < QUIET_SHARE * median
        }
        busy = [start for start in candidates if start not in quiet]
        return sorted(busy, key=lambda start: start != candidates[0] and not _is_typical(events[start], median)), quiet

    def _events(self, starts: list[datetime.datetime]) -> dict[datetime.datetime, int]:
        """Number of events within the windows of each start."""
        ends = f"s + {self.windows} * {self.step}"
        points = f"SELECT DISTINCT unnest([s, {ends}]) AS p FROM (SELECT unnest(?::TIMESTAMP[]) AS s)"
        events = event_times_sql(self.schema.timed_tables, lambda table: relation_sql(table, self.catalog))
        # Each event belongs to the first point at or after it.
        query = f"""WITH points AS ({points}),
            binned AS (SELECT p, count(*) AS n FROM ({events}) e ASOF JOIN points ON {asof_visible_sql("p", "e.t")}
                       GROUP BY p),
            summed AS (SELECT p, sum(coalesce(n, 0)) OVER (ORDER BY p ASC) AS n
                       FROM points LEFT JOIN binned USING (p))
            SELECT s, b.n - a.n FROM (SELECT unnest(?::TIMESTAMP[]) AS s) starts
            JOIN summed a ON a.p = s JOIN summed b ON b.p = {ends}"""
        rows = dict(self.cursor.execute(sealed(query), [starts, starts]).fetchall())
        return {start: int(rows[start]) for start in starts}

    def _series(self, start: datetime.datetime, count: int) -> list[datetime.datetime]:
        """Timestamps of an evaluation split."""
        query = f"SELECT {literal(start)} + i * {self.step} FROM range({count}) r(i)"
        return [t for (t,) in self.cursor.execute(sealed(query)).fetchall()]

    def _before(self, val: datetime.datetime) -> list[datetime.datetime]:
        """The latest training timestamps before a validation timestamp."""
        oldest = f"greatest({literal(self.first)}, {literal(val)} - {_TRAIN_TIMESTAMPS} * {self.step})"
        [first] = one_row(self.cursor, f"SELECT {oldest}")
        return train_timestamps(self.cursor, self.task, first, val)

    def _horizons(self) -> str:
        return "one horizon" if self.windows == 1 else f"{self.windows:,} horizons"


def most_windows(
    cursor: duckdb.DuckDBPyConnection, task: Task, first: datetime.datetime, last: datetime.datetime
) -> int:
    """The most timestamps of validation, and of test, that leave half of the data's horizons for training."""
    horizons = one_row(
        cursor, f"SELECT floor((epoch({literal(last)}) - epoch({literal(first)})) / epoch({step_sql(task)}))"
    )
    return max(1, min(MOST_WINDOWS, int(horizons[0]) // 4))


def too_long(task: Task, first: datetime.datetime, last: datetime.datetime) -> TaskError:
    """The error for a horizon that does not fit into the data."""
    needed = 2 * task.num_eval_timestamps + 1
    fewer = " or fewer num_eval_timestamps" if task.num_eval_timestamps > 1 else ""
    fewer = f", or fewer than {task.steps} windows" if task.steps else fewer
    return TaskError(
        f"task '{task.name}': its horizon, timedelta '{task.timedelta}', is too long for the data: the events are from "
        f"{first} to {last}",
        expected=f"events over at least {needed} horizons: 1 of training, {task.num_eval_timestamps} of validation and "
        f"{task.num_eval_timestamps} of test labels",
        fix=in_manifest(f"a shorter timedelta{fewer}", "timedelta"),
    )


def tables_read(cursor: duckdb.DuckDBPyConnection, schema: Schema, task: Task) -> Schema:
    """The timed tables that the label query names; all timed tables if it names none, but views or macros over them.

    Raises:
        TaskError: the query is not one SELECT.
    """
    tree = parse_select(cursor, task.name, task.label_sql)
    written = (node for node in nodes(tree) if node.get("type") == "BASE_TABLE")
    found = {table_key(node["schema_name"] or DEFAULT_SCHEMA, node["table_name"]) for node in written}
    named = {table.key for table in map(schema.find, found) if table is not None}
    read = {table.key: table for table in schema.timed_tables if table.key in named}
    return Schema(read or {table.key: table for table in schema.timed_tables}) if schema.timed_tables else schema


def _total(counts: Mapping[datetime.datetime, LabelCount], timestamps: Sequence[datetime.datetime]) -> LabelCount:
    found = [counts[t] for t in timestamps]
    return LabelCount(sum(each.labels for each in found), sum(each.rarer for each in found))


def _is_typical(count: int, median: float) -> bool:
    return median / TYPICAL_FACTOR <= count <= median * TYPICAL_FACTOR


def _share(count: LabelCount) -> float:
    """1 if the labels are enough, 0 if they are all alike."""
    return min(1.0, count.labels / ENOUGH_LABELS, count.rarer / ENOUGH_OF_A_KIND)


def _batches(candidates: Sequence[datetime.datetime]) -> Iterator[Sequence[datetime.datetime]]:
    """The candidates in batches that grow; of very many, the later ones are thinned out."""
    start = 0
    for size in _BATCHES:
        rest = candidates[start:]
        if size == _BATCHES[-1]:
            rest = rest[:: -(-len(rest) // size)] if rest else rest
        if batch := rest[:size]:
            yield batch
        start += size
