"""`relsql backtest`: train at moments of the past on what was known then, and score what came next.

Models are trained in a copy of the database in memory, so that nothing but results is written to the user's file. The
copy keeps later rows: a training run reads nothing after its task's test timestamp, which is the cutoff
(`tests/udfs/test_no_leak.py::test_rows_after_the_test_timestamp_train_the_same_model`).

Each cutoff is stored in one transaction. A run that is stopped loses only the cutoff in progress: what the same
request has stored is not computed again.
"""

from __future__ import annotations

import datetime
import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.backtests.ahead import Ahead, ahead_of_baselines
from relsql.backtests.cutoffs import Cutoffs, Window, find_cutoffs
from relsql.backtests.store import BacktestRow, scores_table, store_cutoff, stored_rows
from relsql.database.connections import require_writable, use_catalog
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog, stored_name, unique_name
from relsql.errors import TaskError, TrainingError
from relsql.evaluation.copied_labels import MAX_SEEDS, single_columns
from relsql.evaluation.leaks.answers import reader
from relsql.evaluation.leaks.subject import Subject
from relsql.evaluation.metrics.intervals import main_value, metric_intervals
from relsql.evaluation.plain_baselines import (
    BestColumn,
    best_column,
    constant,
    entity_means,
    entity_shares,
    own_columns,
)
from relsql.evaluation.predictions import Predictions, score_labels
from relsql.evaluation.recommendations import recommend
from relsql.gather.candidates.ranker import BASELINES
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, read_models
from relsql.registry.versions import suffix_of
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.sql_text import ident
from relsql.tasks.kinds.supported import require_any_moment, require_no_lists
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_entities, label_table
from relsql.tasks.splits import check_timedelta
from relsql.tasks.stored_tasks import find_task, read_tasks
from relsql.tasks.task import Task
from relsql.training.fingerprint import training_fingerprint
from relsql.training.options import TrainOptions
from relsql.training.train import train
from relsql.typing import PhaseProgress
from udfs.attach import attach

DEFAULT_CUTOFFS = 8

_MODEL = "backtest"


@dataclass(frozen=True, slots=True)
class Backtest:
    """The outcome of a backtest.

    Attributes:
        backtest: the key of its rows in `backtests` and `backtest_scores`.
        task: name of the task.
        metric: the metric of the task.
        rows: the cutoffs, oldest first.
        skipped: cutoffs without a result, each with the reason.
        missing: number of requested cutoffs that do not fit into the data.
        reused: number of cutoffs that were stored already.
    """

    backtest: str
    task: str
    metric: str
    rows: tuple[BacktestRow, ...]
    skipped: tuple[tuple[datetime.datetime, str], ...]
    missing: int
    reused: int

    @property
    def seen(self) -> tuple[BacktestRow, ...]:
        """The cutoffs before the end of the labels that the model was trained on. Their metrics are too good."""
        return tuple(row for row in self.rows if row.seen)

    def ahead(self) -> Ahead | None:
        """How far the model is ahead of the baseline that is best on average; None if nothing can be compared.

        Cutoffs that the model has seen do not count.
        """
        return ahead_of_baselines([row for row in self.rows if not row.seen])


def backtest(
    con: duckdb.DuckDBPyConnection,
    task: str | Task,
    *,
    cutoffs: int = DEFAULT_CUTOFFS,
    every: str | None = None,
    window: Window = "expanding",
    model: str | None = None,
    options: TrainOptions | None = None,
    baselines: bool = True,
    progress: PhaseProgress | None = None,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Backtest:
    """At each cutoff, train on what was known then, or take a stored model, and score the window that follows.

    Args:
        con: a connection; nothing but the results is written to its current database.
        task: the task, by name or as a line, or a task itself; its split timestamps do not matter.
        cutoffs: number of cutoffs; the window of the last one ends at or before the last event.
        every: length of time between cutoffs, such as `90 days`; default: one horizon of the task.
        window: `expanding`: training labels from the first event on; `sliding`: over as long a time at every cutoff.
        model: score with this model, or version of it, instead of training; see `BacktestRow.seen`.
        options: options of training.
        baselines: also compute the metric of the baselines.
        progress: called with the share of cutoffs that are done.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query of a split after this many seconds.

    Raises:
        RelsqlError: the database is read-only, the task or the model does not fit it, no cutoff fits into the data, or
            none has a result; then it is the error of the first.
        KeyboardInterrupt: interrupted; the cutoffs that were done are stored.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "a backtest")
    limits = LabelLimits(allow_external, label_timeout_seconds)
    with task_cursor(con, catalog) as cursor:
        schema = read_schema(cursor, catalog)
        task = (task if isinstance(task, Task) else _find_task(cursor, catalog, task)).resolved(schema)
        require_no_lists(task, "a backtest")
        require_any_moment(task, "a backtest")
        check_timedelta(cursor, task)
        card = active_card(cursor, catalog, model, recommendations=True) if model else None
        if card:
            _require_same_entity(card, task)
        found = find_cutoffs(cursor, catalog, schema, task, cutoffs, every)
        request = _request(cursor, catalog, task, options or TrainOptions(), window, found, card, baselines)
    run = _Run(con, catalog, schema, task, found, window, options or TrainOptions(), card, model, baselines, limits)
    return run.result(request, progress or (lambda phase, fraction, metrics: None))


def _find_task(con: duckdb.DuckDBPyConnection, catalog: str, text: str) -> Task:
    """The task that a text names or states; for the name of a model, the task that it was trained on."""
    models = {model.name for model in read_models(con, catalog)}
    if stored_name(text, read_tasks(con, catalog)) is None and stored_name(text.partition("@")[0], models):
        return active_card(con, catalog, text, recommendations=True).task
    return find_task(con, catalog, text, _MODEL)


def _require_same_entity(card: ModelCard, task: Task) -> None:
    if card.task.entity_table != task.entity_table or card.task.task_type != task.task_type:
        raise TaskError(
            f"model '{card.name}' scores {card.task.entity_table} ({card.task.task_type}), task '{task.name}' is about "
            f"{task.entity_table} ({task.task_type})",
            expected="a model of the task",
            fix=command("train", "FILE", task.name, "--name", "NAME"),
        )


def _request(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    task: Task,
    options: TrainOptions,
    window: Window,
    found: Cutoffs,
    card: ModelCard | None,
    baselines: bool,
) -> str:
    """16 hex digits: a digest of data, task, options and code, of the window, and of the model that scores.

    The number of cutoffs and the distance between them are left out, because each cutoff is computed on its own. The
    length of a sliding window is included: it follows from the first cutoff and is the same at all of them.
    """
    # The split timestamps of a task are those of a cutoff.
    asked = replace(task, val_timestamp=None, test_timestamp=None, num_eval_timestamps=1)
    parts = [training_fingerprint(con, catalog, asked, options).sha256, window, str(baselines)]
    parts += [str(found.times[0] - found.first)] if window == "sliding" else []
    parts += [card.identity] if card else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Reached:
    """The metric of each baseline, see `BacktestRow`."""

    own_columns: float | None = None
    single_column: float | None = None
    single_column_name: str | None = None
    entity_mean: float | None = None
    popularity: float | None = None
    past_visits: float | None = None
    popular_among_similar: float | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """What a backtest needs at every cutoff; see `backtest`."""

    con: duckdb.DuckDBPyConnection
    catalog: str
    schema: Schema
    task: Task
    cutoffs: Cutoffs
    window: Window
    options: TrainOptions
    card: ModelCard | None
    model: str | None
    baselines: bool
    limits: LabelLimits

    def result(self, request: str, report: PhaseProgress) -> Backtest:
        """Compute and store the cutoffs that are not stored yet."""
        done = {row.cutoff: row for row in stored_rows(self.con, self.catalog, request)}
        reused = [cutoff for cutoff in self.cutoffs.times if cutoff in done]
        skipped: list[tuple[datetime.datetime, TaskError | TrainingError]] = []
        todo = [cutoff for cutoff in self.cutoffs.times if cutoff not in done]
        with self._place() as (cursor, catalog):
            for i, cutoff in enumerate(todo):
                report("backtest", i / len(todo), {})
                try:
                    row, scores = self._at(cursor, catalog, cutoff, request)
                except (TaskError, TrainingError) as error:
                    skipped.append((cutoff, error))
                    continue
                store_cutoff(self.con, self.catalog, row, scores)
                done[cutoff] = row
        report("backtest", 1.0, {"cutoffs": len(todo)})
        rows = tuple(done[cutoff] for cutoff in self.cutoffs.times if cutoff in done)
        if not rows:
            raise skipped[0][1]
        reasons = tuple((cutoff, error.problem) for cutoff, error in skipped)
        return Backtest(request, self.task.name, self.task.metric, rows, reasons, self.cutoffs.missing, len(reused))

    @contextmanager
    def _place(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """A cursor, and the database to work in: a copy to train models in, or the user's if a stored model scores."""
        with closing(self.con.cursor()) as cursor:
            if self.card:
                use_catalog(cursor, self.catalog)
                yield cursor, self.catalog
                return
            # The name is unique because all connections of a process see what one of them attaches.
            copy = unique_name("relsql_backtest")
            cursor.execute(f"ATTACH ':memory:' AS {ident(copy)} (READ_WRITE)")
            try:
                cursor.execute(f"COPY FROM DATABASE {ident(self.catalog)} TO {ident(copy)}")
                use_catalog(cursor, copy)
                yield cursor, copy
            finally:
                use_catalog(cursor, self.catalog)
                cursor.execute(f"DETACH {ident(copy)}")

    def _at(
        self, con: duckdb.DuckDBPyConnection, catalog: str, cutoff: datetime.datetime, request: str
    ) -> tuple[BacktestRow, pa.Table]:
        """The result at one cutoff, and its scores (entity, score, label)."""
        started = time.perf_counter()
        task = self.cutoffs.task_at(self.task, cutoff, self.window)
        labels = label_table(con, catalog, self.schema, task, "test", limits=self.limits).table
        predicted, card = self._scored(con, catalog, task, labels)
        known = predicted.scored
        if not known.any():
            raise TaskError(
                f"task '{task.name}': no entity of the {len(known)} labels at {cutoff} has a score",
                expected="entities dated before their labels",
                fix="fewer cutoffs, so that the first one is later: --cutoffs 2",
            )
        values, scores = predicted.labels[known], predicted.scores[known]
        # Each entity has one label at a cutoff.
        metric = task.metric
        ends = metric_intervals(task, values, scores, range(len(values)), (metric,)).get(metric, (None, None))
        reached = self._baselines(con, catalog, task, card, labels, values, known) if self.baselines else _Reached()
        row = BacktestRow(
            backtest=request,
            cutoff=cutoff,
            metric=metric,
            value=main_value(task, values, scores),
            low=ends[0],
            high=ends[1],
            labels=len(values),
            positives=int((values > 0).sum()) if task.is_binary or task.is_regression else None,
            task=task.name,
            model=f"{card.name}@{card.version}" if self.card else None,
            trained_until=_labels_until(card),
            seen=self.card is not None and _labels_until(card) > cutoff,
            seconds=round(time.perf_counter() - started, 3),
            created=datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0),
            **asdict(reached),
        )
        return row, scores_table(predicted, card)

    def _baselines(
        self,
        con: duckdb.DuckDBPyConnection,
        catalog: str,
        task: Task,
        card: ModelCard,
        labels: pa.Table,
        values: npt.NDArray[Any],
        scored: npt.NDArray[np.bool_],
    ) -> _Reached:
        """The metric of the baselines on the labels that the model has `scored`, bool [labels]; `values` are these."""
        if task.is_recommendation:
            found = recommend(con, catalog, card, labels.filter(pa.array(scored)), BASELINES)
            rankings: dict[str, Any] = {
                name: main_value(task, values, found.hits(name).astype(np.float64)) for name in BASELINES
            }
            return replace(_Reached(), **rankings)
        before, entities, classes = self._known_labels(con, catalog, task), label_entities(labels), card.classes
        means = entity_shares(classes, before, entities) if classes else entity_means(task, before, entities)
        best = None if classes else self._best_column(con, catalog, task, card, before, labels)
        own = own_columns(con, catalog, self.schema, task, self.limits, classes)
        return _Reached(
            main_value(task, values, own[scored]) if own is not None else None,
            main_value(task, values, best.scores[scored]) if best else None,
            best.name if best else None,
            main_value(task, values, means[scored]),
        )

    def _scored(
        self, con: duckdb.DuckDBPyConnection, catalog: str, task: Task, labels: pa.Table
    ) -> tuple[Predictions, ModelCard]:
        """Scores of the labels at a cutoff, and the card of the model that gave them."""
        if self.card and self.model:
            attach(con, models=[self.model])
            suffix = suffix_of(self.model, self.card.name, self.card.version)
            return score_labels(con, self.card, suffix, labels), self.card
        train(
            con,
            task,
            name=_MODEL,
            options=self.options,
            force=True,
            allow_external=self.limits.allow_external,
            label_timeout_seconds=self.limits.timeout_seconds,
        )
        attach(con, models=[_MODEL])
        card = active_card(con, catalog, _MODEL, recommendations=True)
        return score_labels(con, card, _MODEL, labels), card

    def _known_labels(self, con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> pa.Table:
        """The training and validation labels of a cutoff: those whose windows are over, oldest first."""
        splits = (
            label_table(con, catalog, self.schema, task, split, limits=self.limits).table for split in ("train", "val")
        )
        return pa.concat_tables(list(splits))

    def _best_column(
        self,
        con: duckdb.DuckDBPyConnection,
        catalog: str,
        task: Task,
        card: ModelCard,
        before: pa.Table,
        labels: pa.Table,
    ) -> BestColumn | None:
        """Name and scores of the best single column that the model reads, as of each label's time."""
        latest = before.slice(max(0, before.num_rows - MAX_SEEDS))
        seeds = pa.concat_tables([latest.select(["entity", "as_of"]), labels.select(["entity", "as_of"])])
        seeds = seeds.append_column("label", pa.array(np.arange(seeds.num_rows, dtype=np.float64)))
        subject = Subject(task, self.schema, self.schema, card.rows, card)
        with task_cursor(con, catalog) as cursor, reader(cursor, subject) as read:
            gathered = read.gathered(catalog, seeds)
        # Seeds whose entity does not exist yet are left out; their positions are the labels of the others.
        positions = gathered.labels.astype(int)
        known = int((positions < latest.num_rows).sum())
        columns = single_columns(card.schema, subject.layouts, gathered, np.arange(len(gathered)))
        past = np.asarray(latest.column("label"), dtype=np.float64)[positions[:known]]
        best = best_column(task, columns, known, past)
        if best is None:
            return None
        scores = np.full(labels.num_rows, constant(task, past))
        scores[positions[known:] - latest.num_rows] = best.scores
        return BestColumn(best.name, scores)


def _labels_until(card: ModelCard) -> datetime.datetime:
    """The end of the last label window that a model was trained on, or chosen and calibrated by.

    Validation labels end at the test timestamp; `ModelCard.trained_until` is where they begin.
    """
    return card.task.test_timestamp or card.trained_until
