"""What validation labels say of a model that has not seen them: intervals, and the lead over plain baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.evaluation.copied_labels import MAX_SEEDS, single_columns
from relsql.evaluation.metrics.intervals import gain_over, main_value, metric_intervals, numbered
from relsql.evaluation.plain_baselines import best_column, entity_means
from relsql.gather.arrays.blocks import SeedSet
from relsql.registry.versions import main_metric
from relsql.tasks.kinds.classes import Classes
from relsql.tasks.labels.label_findings import are_few
from relsql.tasks.labels.label_table import label_entities
from relsql.tasks.summary import SplitSummary
from relsql.tasks.target import more_is_better
from relsql.tasks.task import Task
from relsql.training.fitting.fit_network import FittedNetwork
from relsql.training.plan import Plan

MOST_LABELS = 10_000
"""At most this many validation labels are compared, the latest ones, because the user waits for the result."""

SHARES, ENTITY_MEAN = "shares of the classes", "entity's mean label"


@dataclass(frozen=True, slots=True)
class Lead:
    """The lead over the baseline that is best on these labels; negative if the model is behind.

    Attributes:
        baseline: the baseline.
        metric: the metric.
        gain: by how much the metric of the model is better.
        low, high: its 95 % interval when entities are resampled.
        labels: number of validation labels.
    """

    baseline: str
    metric: str
    gain: float
    low: float
    high: float
    labels: int

    def __str__(self) -> str:
        side = "ahead of" if self.gain >= 0 else "behind"
        size = f"{abs(self.gain):.4g} {self.metric}"
        ends = f"95% interval of the lead {self.low:.4g} .. {self.high:.4g}"
        text = f"{side} the best baseline ({self.baseline}) by {size} on {self.labels:,} validation labels, {ends}"
        return text if self.low > 0 or self.high < 0 else f"{text}: they do not show which of them is better"


def lead_on_validation(
    plan: Plan,
    seeds: dict[str, SeedSet],
    labels: dict[str, pa.Table],
    scores: npt.NDArray[Any],
    classes: Classes | None = None,
) -> Lead | None:
    """The lead of a model's scores on the validation labels.

    None for multilabel tasks and forecasts in steps, and if no baseline can be computed.

    Args:
        plan: what the model reads.
        seeds: the gathered rows of `train` and `val`.
        labels: their label tables.
        scores: of the seeds of `val`, by a model that has not seen their labels.
        classes: the classes of a multiclass task.
    """
    if plan.task.is_multilabel or plan.task.steps:
        return None
    count = min(len(seeds["val"]), MOST_LABELS)
    found, truth = scores[-count:].astype(np.float64), seeds["val"].labels[-count:]
    truth = truth.astype(np.int64 if classes else np.float64)
    others = {name: other[-count:] for name, other in _baselines(plan, seeds, labels, classes)}
    reached = {name: main_value(plan.task, truth, other) for name, other in others.items()}
    known = {name: value for name, value in reached.items() if value is not None}
    if not known:
        return None
    best = (max if more_is_better(plan.task.metric) else min)(known, key=lambda name: known[name])
    # Labels of invisible entities have no seeds, so the seeds' entities are known only if every label has a seed.
    whole = labels["val"].num_rows == len(seeds["val"])
    entity = numbered(label_entities(labels["val"])[-count:]) if whole else np.arange(count)
    gain = gain_over(plan.task, truth, found, others[best], entity)
    return Lead(best, gain.metric, gain.gain, *gain.interval, count) if gain else None


def _baselines(
    plan: Plan, seeds: dict[str, SeedSet], labels: dict[str, pa.Table], classes: Classes | None
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    """The scores of the validation seeds by each baseline."""
    count = len(seeds["val"])
    if classes:
        yield SHARES, np.tile(classes.prior, (count, 1)).astype(np.float64)
        return
    if labels["val"].num_rows == count:
        yield ENTITY_MEAN, entity_means(plan.task, labels["train"], label_entities(labels["val"]))
    known = _latest(seeds["train"], plan)
    both = known.joined(seeds["val"], plan.layouts)
    columns = single_columns(plan.schema, plan.layouts, both, np.arange(len(both)))
    best = best_column(plan.task, columns, len(known), known.labels.astype(np.float64))
    if best:
        yield f"best single column, {best.name}", best.scores


def _latest(seeds: SeedSet, plan: Plan) -> SeedSet:
    """The latest seeds, at most `MAX_SEEDS`, because no more are used to compare single columns."""
    rows = np.arange(max(0, len(seeds) - MAX_SEEDS), len(seeds))
    blocks = zip(seeds.blocks, plan.layouts, strict=True)
    taken = tuple(block.take(rows, block.row_starts(), layout.fanout) for block, layout in blocks)
    return SeedSet(taken, seeds.as_of_days[rows], seeds.labels[rows])


def metric_ends(
    task: Task, fitted: FittedNetwork, seeds: SeedSet, labels: pa.Table, split: SplitSummary
) -> dict[str, float]:
    """Both ends of the validation metric's bootstrap interval where there are few labels."""
    name = main_metric(fitted.metrics)
    if name is None or fitted.thresholds is not None or not are_few(split):
        return {}
    # Labels of invisible entities are dropped when seeds are gathered, so the remaining seeds cannot be matched to
    # entities.
    same = labels.num_rows == len(seeds)
    entities = label_entities(labels) if same else list(range(len(seeds)))
    metric = name.removeprefix("val_")
    values = seeds.labels.astype(np.int64) if task.is_multiclass else seeds.labels
    found = metric_intervals(task, values, fitted.validation_scores.astype(np.float64), entities, (metric,)).get(metric)
    return {f"{name}_low": found[0], f"{name}_high": found[1]} if found else {}
