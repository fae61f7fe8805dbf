"""Statistics that screen single columns against the labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

SHARES_PER_CATEGORY = 8
"""The number of a category's most frequent values whose shares are compared with the labels."""


def commonest(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The `SHARES_PER_CATEGORY` most frequent values, the commonest first."""
    found, counts = np.unique(values, return_counts=True)
    return found[np.argsort(-counts, kind="stable")][:SHARES_PER_CATEGORY]


def means(values: Doubles, seed: npt.NDArray[np.int64], seeds: int) -> Doubles:
    """Mean of each seed's finite values; a seed without finite values gets the mean of the other seeds' means."""
    known = np.isfinite(values)
    counts = np.bincount(seed[known], minlength=seeds)
    sums = np.bincount(seed[known], weights=values[known], minlength=seeds)
    means = np.divide(sums, counts, out=np.full(seeds, np.nan), where=counts > 0)
    return np.where(counts > 0, means, np.mean(means[counts > 0]) if counts.any() else 0.0)


def ranks(values: Doubles) -> Doubles:
    """Ranks; equal values share their mean rank."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[position]
    return ranks


def centred(values: Doubles, group: npt.NDArray[np.int64]) -> Doubles:
    """Values minus the mean of their group."""
    means = np.bincount(group, weights=values) / np.bincount(group)
    centred: Doubles = values - means[group]
    return centred


def correlation(a: Doubles, b: Doubles) -> float:
    """Absolute correlation of two centred columns; 0 if one of them is constant."""
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return abs(float(a @ b)) / scale if scale > 1e-9 else 0.0


def separation(values: Doubles, labels: Doubles, *, classification: bool) -> float:
    """How well the order of one column alone predicts the labels, from 0.5 (not at all) to 1 (perfectly).

    For classes the ROC-AUC of the column or of its negative; for numbers the same from the rank correlation r,
    (1 + abs(r)) / 2.
    """
    if not classification:
        one_group = np.zeros(len(labels), dtype=np.int64)
        return (1 + correlation(centred(ranks(values), one_group), centred(ranks(labels), one_group))) / 2
    positive = labels > 0
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return 0.5
    area = (float(ranks(values)[positive].sum()) - count * (count + 1) / 2) / (count * others)
    return max(area, 1 - area)
