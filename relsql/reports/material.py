"""What a report shows: a model's scores and what happened, a baseline on the same labels, and all labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.baseline import MAX_CLASSES, class_probabilities, entity_columns_scores
from relsql.evaluation.evaluate import Evaluation, judge, task_metrics
from relsql.evaluation.metrics.bootstrap import Floats
from relsql.evaluation.metrics.class_metrics import confidence
from relsql.evaluation.metrics.intervals import Gain, gain_over, metric_intervals
from relsql.evaluation.predictions import Predictions, split_labels
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card
from relsql.reports.model_card import Card, model_card
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.kinds.supported import require_forecast
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits
from relsql.tasks.labels.label_table import label_table
from relsql.tasks.splits import SPLITS, Split
from relsql.typing import IntArray

Progress = Callable[[str, float], None]
"""(what was done, seconds that it took)."""

Interval = tuple[float, float]

OWN_COLUMNS, SHARES = "own columns only", "shares of the classes"

IMPORTANCE_SEEDS = 100_000
"""Up to this many scores, a report computes the importance of tables and columns by default."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report shows.

    Attributes:
        split: the labels that scores are compared with: `test`, `val` or `train`.
        importance: score the labels again without each table and column; None: if that is at most
            `IMPORTANCE_SEEDS` scores, half a minute or so.
        limits: what the label query may do.
        progress: called after each part.
    """

    split: Split = "test"
    importance: bool | None = None
    limits: LabelLimits = DEFAULT_LIMITS
    progress: Progress | None = None

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Report how long a part took."""
        started = time.perf_counter()
        yield
        if self.progress:
            self.progress(what, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the sections of a report are written from.

    Attributes:
        con: the connection; its current database holds the model.
        model: the model or version that was asked for.
        card, person_card: the card of the registry, and the one for people.
        schema: the tables and links as they are now.
        options: what to show.
        evaluation: metrics and findings on the labels of the split.
        seeds: the labels that have a score: `entity`, `as_of`, `label`.
        labels, scores, baseline: of these labels, as in `relsql.evaluation.evaluate.Predictions`; `baseline` are scores
            of a model of the entity's own columns, or the shares of very many classes.
        cluster: int64 [labels], the number of the entity of each label.
        label_tables: the labels of every split that has any. Of classes, they are 1 for the commonest one, else 0.
    """

    con: duckdb.DuckDBPyConnection
    model: str
    card: ModelCard
    person_card: Card
    schema: Schema
    options: ReportOptions
    evaluation: Evaluation
    seeds: pa.Table
    labels: npt.NDArray[Any]
    scores: Floats
    baseline: Floats
    cluster: IntArray
    label_tables: Mapping[str, pa.Table] = field(default_factory=dict)

    @property
    def baseline_name(self) -> str:
        """What the baseline is, for people."""
        classes = self.card.classes
        return SHARES if classes and len(classes) > MAX_CLASSES else OWN_COLUMNS

    @property
    def label_mean(self) -> str:
        """What a mean of `label_tables` is, for people."""
        if self.card.classes:
            return "share of the commonest class"
        return "share of positives" if self.card.task.is_classification else "mean label"

    @property
    def single(self) -> tuple[Floats, Floats]:
        """Labels and scores with one number each: of classes, whether the prediction was right, and its probability."""
        if not self.card.classes:
            return self.labels, self.scores
        sure, right = confidence(self.labels, self.scores)
        return right, sure

    def baseline_metrics(self) -> dict[str, float]:
        """The metrics of the baseline on the same labels."""
        return task_metrics(self.card.task, self.labels, self.baseline, self.card.classes)

    def intervals(self, scores: Floats) -> dict[str, Interval]:
        """The middle 95 % of each metric that is defined, when entities are resampled."""
        return metric_intervals(self.card.task, self.labels, scores, self.cluster.tolist())

    def comparison(self) -> Gain | None:
        """The model compared with the baseline; None if the metric is not defined."""
        return gain_over(self.card.task, self.labels, self.scores, self.baseline, self.cluster)


def gather_material(con: duckdb.DuckDBPyConnection, model: str, options: ReportOptions) -> Material:
    """Score the labels of a split by the model and by the baseline, and compute the labels of all splits.

    Raises:
        ModelError: unknown model. TaskError: the split has no labels, or the label query cannot be used.
    """
    catalog = current_catalog(con)
    card, schema, limits = active_card(con, catalog, model), read_schema(con, catalog), options.limits
    require_forecast(card.task, "a report")
    with options.timed("scores"):
        evaluation, predictions = judge(con, model, options.split, None, limits)
    with options.timed("baseline"):
        baseline = _baseline(con, catalog, card, schema, options)
    with options.timed("labels"):
        label_tables = dict(_all_labels(con, card, schema, options))
    scored = predictions.scored
    kept = predictions.seeds.filter(pa.array(scored))
    return Material(
        con=con,
        model=model,
        card=card,
        person_card=model_card(con, model),
        schema=schema,
        options=options,
        evaluation=evaluation,
        seeds=kept,
        labels=predictions.labels[scored],
        scores=predictions.scores[scored],
        baseline=baseline[scored].astype(np.float64),
        cluster=_clusters(predictions, scored),
        label_tables=label_tables,
    )


def _baseline(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, schema: Schema, options: ReportOptions
) -> Floats:
    """The scores of the baseline of all labels of the split."""
    if not card.classes:
        scored = entity_columns_scores(con, catalog, schema, card.task, (options.split,), limits=options.limits)
        return scored[options.split][1]
    schema = schema.without_columns(card.task.removed)
    judged = label_table(con, catalog, schema, card.task, options.split, limits=options.limits)
    found = class_probabilities(con, catalog, schema, card.task, card.classes, judged, options.limits)
    return np.tile(card.classes.prior, (judged.table.num_rows, 1)) if found is None else found


def _clusters(predictions: Predictions, scored: np.ndarray) -> IntArray:
    places: dict[object, int] = {}
    entities = [str(entity) for entity, known in zip(predictions.entities, scored, strict=True) if known]
    return np.array([places.setdefault(entity, len(places)) for entity in entities], dtype=np.int64)


def _all_labels(
    con: duckdb.DuckDBPyConnection, card: ModelCard, schema: Schema, options: ReportOptions
) -> Iterator[tuple[str, pa.Table]]:
    for split in SPLITS:
        try:
            table = split_labels(con, card, schema, split, options.limits)
        except TaskError:
            continue  # A split may have no labels.
        if card.classes:
            commonest = card.classes.codes(table.column("label")) == int(np.argmax(card.classes.counts))
            table = table.set_column(table.column_names.index("label"), "label", pa.array(commonest.astype(np.int64)))
        yield split, table
