"""How far scores may be off, fitted on validation labels (`relsql.registry.cards.uncertainty` is the result).

Three methods that need no other model, and that a table of a few numbers expresses:

* Values: split conformal prediction (Lei et al. 2018, arXiv 1604.04173, section 5.2). A residual is divided by the mean
  absolute residual of scores of its size, and one quantile of these holds for all.
* Classes: the least probability of a class in the set. The probability of the true class is below it only for the share
  of labels that may be missed (Sadinle, Lei and Wasserman 2019, arXiv 1609.00451).
* Probabilities: Venn-Abers prediction (Vovk and Petej 2014, arXiv 1211.0025): the isotonic fit with the label 0 added
  at the score, and with the label 1. The wider the distance between the two, the less the labels near a score say about
  its probability.

All three assume that later labels are distributed like those of validation. `benchmarks.accuracy.coverage` measures how
many later labels are covered.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from relsql.registry.cards.uncertainty import Uncertainty
from relsql.tasks.task import Task

Floats = npt.NDArray[np.float64]

COVERAGE = 0.9
"""The default share of labels that an interval or a set has to cover."""

FEWEST_LABELS, FEWEST_BEYOND = 40, 4
"""Fewer labels say too little, and too little about the tails if fewer of them lie beyond the interval."""

_LABELS_OF_BAND, _MOST_BANDS = 100, 10
"""A scale is a mean; from a band of this many labels it is accurate to a few percent."""

_LABELS_OF_STEP, _MOST_STEPS = 20, 50


def fit_uncertainty(
    task: Task, labels: npt.NDArray[np.generic], scores: Floats, coverage: float = COVERAGE
) -> Uncertainty | None:
    """The table for a task; None if there are too few labels.

    Args:
        task: the task.
        labels: [n]; of a multiclass task codes, those of unknown classes below 0.
        scores: float64 [n], of labels that the model was not fitted on; of a multiclass task [n, classes].
        coverage: the share of labels to cover.
    """
    if len(labels) < max(FEWEST_LABELS, round(FEWEST_BEYOND / (1 - coverage))) or not np.isfinite(scores).all():
        return None
    if task.is_multiclass:
        return _of_classes(labels.astype(np.int64), scores.astype(np.float64), coverage)
    fit = _of_probabilities if task.is_classification else _of_values
    with np.errstate(over="ignore", invalid="ignore"):
        found = fit(labels.astype(np.float64), scores.astype(np.float64), coverage)
    # With labels near the largest DOUBLE, residuals overflow.
    return None if any(found.problems()) else found


def _of_values(labels: Floats, scores: Floats, coverage: float) -> Uncertainty:
    bounds = _bounds(scores, min(len(labels) // _LABELS_OF_BAND, _MOST_BANDS))
    band, residuals = np.searchsorted(bounds, scores, side="right"), np.abs(labels - scores)
    count = np.bincount(band, minlength=len(bounds) + 1)
    scales = np.bincount(band, residuals, len(bounds) + 1) / np.maximum(count, 1)
    # Residuals are divided by the scale of their band. A scale of 0 would make later errors in the band infinitely
    # large.
    scales = np.maximum(scales, 1e-3 * residuals.mean())
    quantile = _upper(
        np.divide(residuals, scales[band], out=np.zeros_like(residuals), where=scales[band] > 0), coverage
    )
    reach = tuple((quantile * scales).tolist())
    floor = 0.0 if labels.min() >= 0 else None
    return Uncertainty(
        coverage, len(labels), tuple(bounds.tolist()), tuple(-width for width in reach), reach, floor=floor
    )


def _of_classes(codes: npt.NDArray[np.int64], probabilities: Floats, coverage: float) -> Uncertainty:
    found = np.where(codes >= 0, probabilities[np.arange(len(codes)), np.maximum(codes, 0)], 0.0)
    return Uncertainty(coverage, len(codes), least=max(1 - _upper(1 - found, coverage), 0.0))


def _of_probabilities(labels: Floats, scores: Floats, coverage: float) -> Uncertainty:
    bounds = _bounds(scores, min(len(labels) // _LABELS_OF_STEP, _MOST_STEPS))
    step = np.searchsorted(bounds, scores, side="right")
    count = np.bincount(step, minlength=len(bounds) + 1).astype(np.float64)
    positive = np.bincount(step, labels, len(bounds) + 1).astype(np.float64)
    ends = [_with_another(positive, count, label) for label in (0.0, 1.0)]
    low, high = (tuple(end.tolist()) for end in ends)
    return Uncertainty(coverage, len(labels), tuple(bounds.tolist()), low, high)


def _with_another(positive: Floats, count: Floats, label: float) -> Floats:
    """For each step, the isotonic fit there if one more label of this step were known: float64 [steps].

    It is the largest, over all beginnings at or before the step, of the least mean up to an end at or after it.
    """
    sums, counts = (np.concatenate([[0.0], np.cumsum(part)]) for part in (positive, count))
    found = []
    for step in range(len(count)):
        starts, ends = np.arange(step + 1)[:, None], np.arange(step + 1, len(count) + 1)
        means = (sums[ends] - sums[starts] + label) / (counts[ends] - counts[starts] + 1)
        found.append(means.min(axis=1).max())
    return np.array(found)


def _bounds(scores: Floats, bands: int) -> Floats:
    """The scores at which bands with about equally many scores begin, without the first one; ascending."""
    ends = np.quantile(scores, np.linspace(0, 1, max(bands, 1) + 1)[1:-1])
    bounds: Floats = np.unique(ends[ends > scores.min()])
    return bounds


def _upper(values: Floats, coverage: float) -> float:
    """The value that the next one does not exceed with this probability; the largest one if there are too few."""
    rank = min(math.ceil((len(values) + 1) * coverage), len(values))
    return float(np.sort(values)[rank - 1])
