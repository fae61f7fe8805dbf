"""The probability from which the answer is yes, chosen on labels: by the costs of mistakes, or to meet a goal.

A threshold is stored in the card of a version. `predict_<model>_full(..).label` and counterfactuals use it; no score
depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt

from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.errors import TaskError
from relsql.evaluation.predictions import predict_split
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, replace_card
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS
from relsql.tasks.splits import Split

Floats = npt.NDArray[np.float64]

GROUPS = 10
"""The number of groups of a gain table."""


@dataclass(frozen=True, slots=True)
class ThresholdCriterion:
    """How to choose a threshold; exactly one of the four.

    Attributes:
        costs: what a false alarm and a missed case cost: the threshold with the lowest sum.
        precision: the share of alarms that are right: the lowest threshold above which it holds.
        top: the share of the entities to act on, those with the highest scores.
        at: the threshold itself.
    """

    costs: tuple[float, float] | None = None
    precision: float | None = None
    top: float | None = None
    at: float | None = None

    def __post_init__(self) -> None:
        given = [criterion for criterion in (self.costs, self.precision, self.top, self.at) if criterion is not None]
        shares = [share for share in (self.precision, self.top, self.at) if share is not None]
        if len(given) != 1 or not all(0 <= share <= 1 for share in shares) or min(self.costs or (0,)) < 0:
            raise TaskError(
                "a threshold needs exactly one criterion",
                expected="costs of at least 0, or one of precision, top and at, from 0 to 1",
                fix=command("threshold", "FILE", "MODEL", "--cost-fp", "1", "--cost-fn", "20"),
            )


@dataclass(frozen=True, slots=True)
class Group:
    """A tenth of the labels, those with the highest scores first.

    Attributes:
        scores: the lowest and the highest score.
        labels, positives: their numbers.
        lift: the share of positives, divided by that of all labels.
        gain: the share of all positives in this group and those before.
    """

    scores: tuple[float, float]
    labels: int
    positives: int
    lift: float
    gain: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold, and what it does on the labels of a split.

    Attributes:
        model, version: the version.
        split: the split.
        threshold: the probability at or above which the answer is yes.
        hits, false_alarms, missed, rest: numbers of labels: yes and positive, yes and not, no and positive, no and not.
        groups: the gain table.
    """

    model: str
    version: int
    split: str
    threshold: float
    hits: int
    false_alarms: int
    missed: int
    rest: int
    groups: tuple[Group, ...]

    @property
    def precision(self) -> float:
        """The share of alarms that are right; NaN if there is none."""
        return self.hits / (self.hits + self.false_alarms) if self.hits + self.false_alarms else float("nan")

    @property
    def recall(self) -> float:
        """The share of positive labels that are found."""
        return self.hits / (self.hits + self.missed)


def choose_threshold(
    con: duckdb.DuckDBPyConnection,
    model: str,
    criterion: ThresholdCriterion,
    split: Split = "val",
    *,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Threshold:
    """Choose the threshold of a version on the labels of a split, and store it in its card.

    Args:
        con: a connection whose current database holds the model.
        model: its name, or a version of it, `dnf@2`.
        criterion: how to choose.
        split: `train`, `val` or `test`.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query after this many seconds.

    Raises:
        ModelError: unknown model. TaskError: it does not score with one probability, its labels are of one kind, no
            threshold reaches the precision, or the label query fails. DatabaseError: the database is read-only.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "choosing a threshold")
    card = active_card(con, catalog, model)
    if not card.task.is_binary:
        raise TaskError(
            f"task '{card.task.name}' does not ask for one probability, so there is no threshold to choose",
            expected="a binary classification",
            fix=command("models", "FILE"),
        )
    found = predict_split(con, model, split, allow_external=allow_external, label_timeout_seconds=label_timeout_seconds)
    labels, scores = found.labels[found.scored], found.scores[found.scored]
    if not 0 < labels.sum() < len(labels):
        raise TaskError(
            f"task '{card.task.name}': all {len(labels):,} {split} labels are of one kind",
            expected="labels of both kinds",
            fix=command("task", "FILE", card.task.name),
        )
    threshold = criterion.at if criterion.at is not None else _between(_lowest_yes(criterion, labels, scores), scores)
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        replace_card(cursor, catalog, msgspec.structs.replace(card, threshold=threshold))
    return _described(card, split, threshold, labels, scores)


def _lowest_yes(criterion: ThresholdCriterion, labels: Floats, scores: Floats) -> float:
    """The lowest score with the answer yes."""
    if criterion.top is not None:
        return float(np.quantile(scores, 1 - criterion.top, method="higher"))
    # Each distinct score is a threshold, from the highest on; the last one of equal scores counts.
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] < ranked[:-1], True)
    hits, alarms = np.cumsum(labels[order])[last], np.flatnonzero(last) + 1
    if criterion.costs is not None:
        false_alarm, miss = criterion.costs
        costs = false_alarm * (alarms - hits) + miss * (labels.sum() - hits)
        return float(ranked[last][np.argmin(costs)])
    enough = np.flatnonzero(hits / alarms >= (criterion.precision or 0))
    if not len(enough):
        raise TaskError(
            f"no threshold has a precision of {criterion.precision:g}: the best one has {(hits / alarms).max():.3f}",
            expected="a precision that the scores reach",
        )
    return float(ranked[last][enough[-1]])


def _between(lowest: float, scores: Floats) -> float:
    """A threshold halfway to the next lower score: both engines agree about all scores, though not to the last bit."""
    lower = scores[scores < lowest]
    return float(lowest + lower.max()) / 2 if len(lower) else float(lowest)


def _described(card: ModelCard, split: Split, threshold: float, labels: Floats, scores: Floats) -> Threshold:
    yes, positive = scores >= threshold, labels > 0
    hits, false_alarms, missed, rest = (
        int((answer & truth).sum()) for answer in (yes, ~yes) for truth in (positive, ~positive)
    )
    groups = gain_table(labels, scores)
    return Threshold(card.name, card.version, split, threshold, hits, false_alarms, missed, rest, groups)


def gain_table(labels: Floats, scores: Floats) -> tuple[Group, ...]:
    """Tenths of the labels by score, the highest first; labels are 0 and 1, and not all 0."""
    found, seen, total = [], 0, int(labels.sum())
    for rows in np.array_split(np.argsort(-scores, kind="stable"), min(GROUPS, len(labels))):
        positives = int(labels[rows].sum())
        seen += positives
        ends = float(scores[rows].min()), float(scores[rows].max())
        found.append(Group(ends, len(rows), positives, positives / len(rows) / labels.mean(), seen / total))
    return tuple(found)
