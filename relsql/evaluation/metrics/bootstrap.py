"""Bootstrap intervals of metrics: what the metric would be on other labels of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 1_000
LEVEL = 0.95
_DRAWS_AT_ONCE = 100

MOST_RESAMPLED = 10_000
"""With this many labels, a bootstrap takes about a second."""

WeightedMetric = Callable[[Floats, Floats, Floats], Floats]
"""(labels [n], scores [n], weights [draws, n]) -> metric [draws]."""


def weighted_roc_auc(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    """ROC-AUC under each weighting; NaN where one class has no weight. Ties count half."""
    values, group = np.unique(scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(values)))
    positive = np.add.reduceat((weights * labels)[:, order], starts, axis=1)
    negative = np.add.reduceat((weights * (1 - labels))[:, order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    area = np.full(len(weights), np.nan)
    np.divide((positive * below).sum(axis=1), pairs, out=area, where=pairs > 0)
    return area


def weighted_mae(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    """Mean absolute error under each weighting."""
    result: Floats = weights @ np.abs(labels - scores) / weights.sum(axis=1)
    return result


def clustered_bootstrap(
    labels: Floats, scores: Floats, cluster: npt.NDArray[np.int64], metric: WeightedMetric, *, draws: int = DRAWS
) -> tuple[float, float]:
    """Percentile interval of the seed-averaged metric over resampled clusters; arguments as in `bootstrap_draws`."""
    return percentile_interval(bootstrap_draws(labels, scores, cluster, metric, draws=draws))


def percentile_interval(values: Floats) -> tuple[float, float]:
    """The middle 95 % of the draws of a metric; draws that are NaN are left out."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_draws(
    labels: Floats, scores: Floats, cluster: npt.NDArray[np.int64], metric: WeightedMetric, *, draws: int = DRAWS
) -> Floats:
    """The seed-averaged metric of each resample of the clusters, float64 [draws]; NaN for draws with only one class.

    All seeds of a draw use the same clusters, and the draws are the same in every call: draws of two methods on the
    same labels are pairs.

    Args:
        labels: float64 [labels].
        scores: float64 [seeds, labels].
        cluster: int64 [labels], from 0.
        metric: the metric under weights.
        draws: number of resamples.
    """
    means = [
        np.mean([metric(labels, each, weights) for each in scores], axis=0)
        for weights in cluster_weights(cluster, draws)
    ]
    return np.concatenate(means)


def cluster_weights(cluster: npt.NDArray[np.int64], draws: int = DRAWS) -> Iterator[Floats]:
    """How often each label is in the resamples of the clusters, float64 [some draws, labels] at a time."""
    clusters = int(cluster.max()) + 1
    random = np.random.default_rng(0)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        size = min(_DRAWS_AT_ONCE, draws - start)
        counts = random.multinomial(clusters, np.full(clusters, 1 / clusters), size=size)
        yield counts[:, cluster].astype(np.float64)


def sampled(entity: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """The labels to resample, bool [labels]: all, or of more than `MOST_RESAMPLED` those of some of the entities."""
    if len(entity) <= MOST_RESAMPLED:
        return np.ones(len(entity), dtype=bool)
    entities = np.unique(entity)
    count = max(2, len(entities) * MOST_RESAMPLED // len(entity))
    return np.isin(entity, np.random.default_rng(0).choice(entities, count, replace=False))


def widened(ends: tuple[float, float], part: float, whole: float, share: float) -> tuple[float, float]:
    """The interval of a metric over all labels, from that over a share of them.

    The distances of the ends from the metric shrink by the root of the numbers of labels (Politis and Romano 1994).
    """
    scale = float(np.sqrt(share))
    return whole + scale * (ends[0] - part), whole + scale * (ends[1] - part)
