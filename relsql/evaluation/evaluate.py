"""Evaluate a model through the same SQL functions that users call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.copied_labels import say_the_same
from relsql.evaluation.doubts import copied_in_split, trained_on
from relsql.evaluation.metrics.class_metrics import LEAST_PROBABILITY, class_metrics
from relsql.evaluation.metrics.intervals import metric_intervals
from relsql.evaluation.metrics.label_metrics import label_metrics
from relsql.evaluation.predictions import Predictions, predict_among, split_labels
from relsql.evaluation.recommendations import MODEL, recommendation_metrics
from relsql.evaluation.step_forecasts import judge_steps
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card
from relsql.registry.runs import recorded_findings
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.tasks.kinds.classes import Classes, shown_classes
from relsql.tasks.labels.label_findings import few_labels
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.labels.label_table import label_entities
from relsql.tasks.regime import Regime
from relsql.tasks.splits import Split
from relsql.tasks.summary import SplitSummary, summarize_labels
from relsql.tasks.target import MEAN, MEDIAN, regression_loss, target_metric
from relsql.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one model version on one split.

    Attributes:
        model, version: the model version.
        task: name of its task.
        split: the split.
        regime: how old the data of a score may be, see `relsql.tasks.regime`.
        rows: number of scored labels.
        unscored: number of labels without a score, which are left out.
        metrics: the metrics.
        target: what a score is, see `Task.predicts`.
        intervals: by metric, both ends of its bootstrap interval.
        findings: what is doubtful: about these labels, and what training found.
        baselines: of a recommendation or a forecast in steps, the metrics of what needs no model, by name.
    """

    model: str
    version: int
    task: str
    split: str
    regime: str
    rows: int
    unscored: int
    metrics: dict[str, float]
    target: str
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)


def evaluate(
    con: duckdb.DuckDBPyConnection,
    model: str,
    split: Split = "test",
    regime: Regime | None = None,
    *,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Evaluation:
    """Metrics of a model version on `train`, `val` or `test`; a name without a version means the active version.

    Every row is scored at its own timestamp; `regime` determines which data it may read. See `predict_split` for all
    arguments.

    Raises:
        ModelError: unknown model. TaskError: the label query no longer runs, does something that is not allowed or
            takes too long, no labelled entity is visible at its timestamp, or the regime does not exist.
    """
    limits = LabelLimits(allow_external, label_timeout_seconds)
    catalog = current_catalog(con)
    card = active_card(con, catalog, model, recommendations=True)
    if card.ranker:
        labels = split_labels(con, card, read_schema(con, catalog), split, limits)
        return _evaluate_ranking(con, catalog, card, labels, split, regime or card.regime)
    return judge(con, model, split, regime, limits)[0]


def judge(
    con: duckdb.DuckDBPyConnection, model: str, split: Split, regime: Regime | None, limits: LabelLimits
) -> tuple[Evaluation, Predictions]:
    """The evaluation of `evaluate`, with all scores and labels, including labels without a score."""
    catalog = current_catalog(con)
    card, schema = active_card(con, catalog, model), read_schema(con, catalog)
    regime = regime or card.regime
    table = split_labels(con, card, schema, split, limits)
    predictions = predict_among(con, model, card, table, split, regime)
    scored = predictions.scored
    labels, scores = predictions.labels[scored], predictions.scores[scored]
    if not len(labels):
        raise TaskError(
            f"task '{card.task.name}': no entity of the {len(scored)} {split} labels is visible at its timestamp",
            expected="entities dated before their labels",
        )
    # The table and the predictions have the same order.
    judged, baselines = table.filter(pa.array(scored)), dict[str, dict[str, float]]()
    if card.task.steps:
        metrics, baselines = judge_steps(con, catalog, schema, card.task, judged, scores, limits)
    else:
        metrics = task_metrics(card.task, labels, scores, card.classes)
    summary = summarize_labels(split, judged.select(["as_of", "label"]), card.task)
    few = tuple(few_labels(con, catalog, schema, card.task, summary))
    entities = [entity for entity, known in zip(predictions.entities, scored, strict=True) if known]
    found_ends = metric_intervals(card.task, labels, scores, entities)
    intervals = {name: found_ends[name] for name in metrics if name in found_ends}
    recorded = recorded_findings(con, catalog, card.name, card.version)
    coded = card.classes.coded(card.classes.known(table)) if card.classes else table
    copied = copied_in_split(con, catalog, card, coded, split, regime)
    found = [*trained_on(card, split), *_unknown_classes(card, summary), *few, *copied]
    # Training has stored findings too. Those that repeat one above, perhaps about other labels, are left out.
    found += [each for each in recorded if each not in few and not any(say_the_same(each, other) for other in copied)]
    evaluation = Evaluation(
        card.name,
        card.version,
        card.task.name,
        split,
        regime,
        len(labels),
        int((~scored).sum()),
        metrics,
        card.task.predicts,
        intervals,
        tuple(found),
        baselines,
    )
    return evaluation, predictions


def _evaluate_ranking(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, labels: pa.Table, split: Split, regime: Regime
) -> Evaluation:
    """`evaluate` for a recommendation, with its baselines."""
    if regime != "seed-time":
        raise TaskError(
            f"task '{card.task.name}' is a recommendation, which is not evaluated in the regime {regime}",
            expected="regime seed-time",
        )
    metrics, found = recommendation_metrics(con, catalog, card, labels, split)
    rows, entities = len(found.wanted), label_entities(labels.filter(pa.array(found.known)))
    intervals = metric_intervals(card.task, found.counts, found.hits(MODEL).astype(np.float64), entities)
    recorded = recorded_findings(con, catalog, card.name, card.version)
    return Evaluation(
        card.name,
        card.version,
        card.task.name,
        split,
        regime,
        rows,
        labels.num_rows - rows,
        metrics.pop(MODEL),
        card.task.predicts,
        intervals,
        findings=(*trained_on(card, split), *recorded),
        baselines=metrics,
    )


def _unknown_classes(card: ModelCard, summary: SplitSummary) -> Iterator[Finding]:
    """The finding that labels are of classes that a multiclass model does not know."""
    unknown = {value: count for value, count in summary.classes if card.classes and value not in card.classes.values}
    if unknown:
        yield Finding(
            "warning",
            f"model {card.name} version {card.version}",
            f"{sum(unknown.values()):,} of {summary.labels:,} labels are of {len(unknown):,} classes that it does not "
            f"know, because no training label has them ({shown_classes(unknown.items(), summary.labels, 3)}): they "
            + (
                "are not judged"
                if card.task.is_multilabel
                else f"count as wrong, with probability {LEAST_PROBABILITY:g}"
            )
            + "; "
            + command("train", "FILE", card.task.name, "--name", card.name)
            + " once there are labels of them before the split",
        )


def task_metrics(
    task: Task, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64], classes: Classes | None = None
) -> dict[str, float]:
    """The metrics of a task, the one that training minimises or maximises first (if it is defined).

    Labels and scores as in `Predictions`; `classes` are those of a task that has some.
    """
    if classes and classes.thresholds is not None:
        return label_metrics(labels, scores, classes.thresholds)
    if task.is_multiclass:
        return class_metrics(labels, scores)
    if task.target is None:
        return classification_metrics(labels, scores)
    return regression_metrics(labels, scores, task.target)


def classification_metrics(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """ROC-AUC and average precision (if both classes occur), log loss and the rate of positives."""
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    both = labels.min() < labels.max()
    ranking = {"roc_auc": roc_auc_score, "average_precision": average_precision_score} if both else {}
    return {
        **{name: float(metric(labels, scores)) for name, metric in ranking.items()},
        "log_loss": float(log_loss(labels, clipped, labels=[0.0, 1.0])),
        "positive_rate": float(labels.mean()),
        "mean_score": float(scores.mean()),
    }


def regression_metrics(
    labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], target: str = MEDIAN
) -> dict[str, float]:
    """The target's own metric, MAE, RMSE, R2 (if the labels are not all equal), and the means of labels and scores.

    For a mean also `sum_ratio`, the sum of scores divided by the sum of labels (if that is not 0), and for medians and
    quantiles `coverage`, the share of labels at or below their score.
    """
    error = scores - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    metrics = {
        target_metric(target): regression_loss(target, labels, scores),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        **({"r2": 1 - float((error**2).sum()) / spread} if spread else {}),
        "mean_label": float(labels.mean()),
        "mean_score": float(scores.mean()),
    }
    if target != MEAN:
        metrics["coverage"] = float((labels <= scores).mean())
    elif labels.sum():
        metrics["sum_ratio"] = float(scores.sum() / labels.sum())
    return metrics
