"""How good the scores in the ledger were, now that their windows are closed: metrics by period, against validation."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.connections import is_read_only, transaction
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.errors import ModelError
from relsql.evaluation.metrics.class_metrics import confidence
from relsql.evaluation.metrics.intervals import main_value, metric_intervals
from relsql.hints import command
from relsql.monitoring.realised import Period, Realised, realised_scores
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, read_card, read_versions
from relsql.registry.predictions import ledger_versions
from relsql.registry.versions import parse_reference
from relsql.schema.finding import Finding
from relsql.tasks.kinds.supported import require_forecast
from relsql.tasks.labels.label_findings import are_few
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.split_choice import ENOUGH_LABELS, ENOUGH_OF_A_KIND
from relsql.tasks.summary import summarize_labels
from relsql.tasks.target import more_is_better
from relsql.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Outcome:
    """How good the scores of one model version were in one period.

    Attributes:
        version: the version.
        period: the beginning of the period that as_of is in; None for all periods together.
        metric: that of the task, see `relsql.tasks.task.Task.metric`.
        value: the metric of the scores that have a label; None without any, or if all labels are of one class.
        interval: its 95 % interval when entities are resampled with all their labels.
        validation: the metric on the validation labels of training.
        labels: scores with a label.
        mean_score, mean_label: their means, which are equal for a calibrated model, apart from chance. Of classes they
            are the mean probability of the predicted class, and the share of predictions that were right.
        unlabelled: scores whose window is closed, but for which the label query returns no row.
        unclosed: scores whose window is still open.
    """

    version: int
    period: datetime.datetime | None
    metric: str
    value: float | None
    interval: tuple[float, float] | None
    validation: float | None
    labels: int
    mean_score: float | None
    mean_label: float | None
    unlabelled: int
    unclosed: int


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the scores of a model.

    Attributes:
        model: its name.
        by: the length of a period.
        outcomes: by version, the one for all periods first, then by period.
        findings: what is doubtful or has changed.
        newest: by version, the newest event of the tables that the label query reads; closed windows end by it.
        stored: whether they are in relsql's table `outcomes`; they are not if the file is read-only.
    """

    model: str
    by: Period
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    newest: dict[int, datetime.datetime]
    stored: bool


def outcomes(
    con: duckdb.DuckDBPyConnection,
    model: str,
    *,
    by: Period = "month",
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Outcomes:
    """Join the scores of the ledger to what happened, and write metrics by period to relsql's table `outcomes`.

    Args:
        con: a connection whose current database holds the model; its transaction state does not change.
        model: its name, for all versions that have scores in the ledger, or a version of it, `dnf@2`.
        by: the length of a period.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query after this many seconds.

    Raises:
        ModelError: unknown model, or it has no scores in the ledger. TaskError: the label query no longer runs, does
            something that is not allowed or takes too long.
    """
    catalog = current_catalog(con)
    limits = LabelLimits(allow_external, label_timeout_seconds)
    found, newest = list[Outcome](), dict[int, datetime.datetime]()
    findings = list[Finding]()
    cards = judged_cards(con, catalog, model)
    for card in cards:
        realised = realised_scores(con, catalog, card, by=by, limits=limits)
        newest[card.version] = realised.newest
        of_version = list(_outcomes(card, realised))
        found += of_version
        findings += _findings(card, realised, of_version[0])
    result = Outcomes(cards[0].name, by, tuple(found), tuple(findings), newest, not is_read_only(con, catalog))
    if result.stored:
        _store(con, catalog, {card.version: card.task.name for card in cards}, result)
    return result


def judged_cards(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> list[ModelCard]:
    """The cards of the versions that a reference names and that have scores in the ledger, the oldest first.

    A name alone stands for all versions: after a training it is the windows of the former version that close next.

    Raises:
        ModelError: unknown model, or it has no scores in the ledger.
    """
    name = read_versions(con, catalog, parse_reference(model).name)[0].name
    require_forecast(active_card(con, catalog, name).task, "a comparison with what happened")
    known = {each.version for each in read_versions(con, catalog, name)}
    if parse_reference(model).version is not None:
        known &= {active_card(con, catalog, model).version}
    scored = [version for version in ledger_versions(con, catalog, name) if version in known]
    if not scored:
        raise ModelError(
            f"model '{model}' has no scores in the ledger, relsql's table predictions",
            expected="scores that a job has kept",
            fix=command("score", "FILE", name, "--into", "TABLE", "--keep-history"),
        )
    return [read_card(con, catalog, name, version) for version in scored]


def _outcomes(card: ModelCard, realised: Realised) -> Iterator[Outcome]:
    """The outcome of all periods, then of each."""
    yield _outcome(card, realised, None, np.ones(len(realised.scores), dtype=bool))
    for period in np.unique(realised.period):
        yield _outcome(card, realised, period.astype(object), realised.period == period)


def _outcome(
    card: ModelCard, realised: Realised, period: datetime.datetime | None, chosen: npt.NDArray[np.bool_]
) -> Outcome:
    metric = card.task.metric
    judged = chosen & realised.judged
    labels, scores = realised.labels[judged], realised.scores[judged]
    value, interval, score, label = None, None, scores, labels
    if len(labels):
        value = main_value(card.task, labels, scores)
        interval = metric_intervals(card.task, labels, scores, realised.entity[judged].tolist(), (metric,)).get(metric)
        score, label = confidence(labels, scores) if card.classes else (scores, labels)
    return Outcome(
        card.version,
        period,
        metric,
        value,
        interval,
        card.metrics.get(f"val_{metric}"),
        len(labels),
        float(score.mean()) if len(labels) else None,
        float(label.mean()) if len(labels) else None,
        int((chosen & realised.closed & ~judged).sum()),
        int((chosen & ~realised.closed).sum()),
    )


def few_realised(task: Task, realised: Realised, chosen: npt.NDArray[np.bool_]) -> bool:
    """True if the chosen scores have so few labels that a metric needs its interval."""
    if not chosen.any():
        return True
    as_of = pa.array(realised.as_of[chosen], pa.timestamp("us"))
    return are_few(summarize_labels("test", pa.table({"as_of": as_of, "label": realised.labels[chosen]}), task))


def _findings(card: ModelCard, realised: Realised, outcome: Outcome) -> Iterator[Finding]:
    of_model = f"model {card.name}@{card.version}"
    if not outcome.labels:
        waiting = f"{outcome.unclosed:,} scores wait for their windows to close"
        yield Finding("info", of_model, f"nothing to judge yet: {waiting}, the newest event is {realised.newest}")
        return
    seen = outcome.labels - int(realised.unseen(card.task).sum())
    if seen:
        text = (
            f"{seen:,} of {outcome.labels:,} labels are from before {card.task.test_timestamp}, so that the model may "
        )
        yield Finding("warning", of_model, text + "have been trained on them: metrics that include them are too good")
    if few_realised(card.task, realised, realised.judged):
        enough = f"at least {ENOUGH_LABELS}, and {ENOUGH_OF_A_KIND} of each kind, are enough"
        yield Finding(
            "warning", of_model, f"{outcome.labels:,} labels are few ({enough}): read metrics with their interval"
        )
    if outcome.interval is None or outcome.validation is None:
        return
    low, high = outcome.interval
    if high < outcome.validation if more_is_better(outcome.metric) else low > outcome.validation:
        yield Finding(
            "warning",
            of_model,
            f"{outcome.metric} is {outcome.value:.4g} (95% interval {low:.4g} .. {high:.4g}), worse than "
            f"{outcome.validation:.4g} on validation; see what has changed: {command('drift', 'FILE', card.name)}",
        )


def _store(con: duckdb.DuckDBPyConnection, catalog: str, tasks: dict[int, str], result: Outcomes) -> None:
    """Replace the rows of the versions, in one transaction."""
    computed = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        table = ensure_table(cursor, catalog, "outcomes")
        stored = f"DELETE FROM {table} WHERE model = ? AND system.main.list_contains(?, version)"
        cursor.execute(stored, [result.model, list(tasks)])
        for each in result.outcomes:
            values: Sequence[object] = (
                *(result.model, each.version, tasks[each.version], result.by, each.period, each.metric, each.value),
                *(each.interval or (None, None)),
                *(each.validation, each.labels, each.mean_score, each.mean_label, each.unlabelled, each.unclosed),
                *(result.newest[each.version], computed),
            )
            cursor.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
