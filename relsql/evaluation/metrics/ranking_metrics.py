"""The metrics of recommendations, as RelBench computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def ranking_metrics(hits: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64]) -> dict[str, float]:
    """Mean average precision, recall and NDCG of the first k items; arguments as of `ranking_values`."""
    return {name: float(values.mean()) for name, values in ranking_values(hits, counts).items()}


def ranking_values(hits: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
    """The metrics of each label, before the mean, float64 [seeds].

    Args:
        hits: bool [seeds, k], whether the item at each rank is in the label; False where there is no item.
        counts: int64 [seeds], the number of items in the label, all > 0.
    """
    k = hits.shape[1]
    ranks = np.arange(1, k + 1)
    most = np.minimum(counts, k)
    precision = np.cumsum(hits, axis=1) / ranks
    discount = 1 / np.log2(ranks + 1)
    return {
        "map": (precision * hits).sum(axis=1) / most,
        "recall": hits.sum(axis=1) / counts,
        "ndcg": (hits * discount).sum(axis=1) / np.cumsum(discount)[most - 1],
    }


def hits_of(ranked: Sequence[Sequence[object]], labels: Sequence[Sequence[object]], k: int) -> npt.NDArray[np.bool_]:
    """Which of the first k ranked items are in the label, bool [seeds, k]."""
    hits = np.zeros((len(ranked), k), dtype=bool)
    for row, (items, label) in enumerate(zip(ranked, labels, strict=True)):
        wanted = set(label)
        hits[row, : len(items)] = [item in wanted for item in items[:k]]
    return hits
