"""How certain a score is: an interval or a set of classes, as a small table that is part of a model's card.

The table is fitted on validation labels (`relsql.evaluation.uncertainty`). Scores are divided into bands; each has the
ends of its interval. Both engines read the same table: numpy here, SQL in a published model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MAX_BANDS = 1_000
"""Limit for the bands of a table: a larger number is a mistake, or an attempt to exhaust memory."""


class Uncertainty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table.

    Attributes:
        coverage: the share of labels that lie between the ends, or in the set of classes.
        labels: number of validation labels that it was fitted on.
        bounds: the scores at which the bands after the first one begin.
        low, high: both ends of the interval of each band: for a value relative to the score, for a probability
            absolute; empty for classes.
        floor: no interval goes below this value; None if any value may be.
        least: for a multiclass task, the set holds the classes of at least this probability, and the likeliest class.
    """

    coverage: float
    labels: int
    bounds: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    floor: float | None = None
    least: float | None = None

    def ends(self, scores: Floats, *, probability: bool) -> tuple[Floats, Floats]:
        """Both ends of the interval of each score, float64 [n]; NaN where the score is NaN."""
        band = np.searchsorted(np.array(self.bounds), np.nan_to_num(scores), side="right")
        start = np.where(np.isnan(scores), np.nan, 0.0 if probability else scores)
        low, high = start + np.array(self.low)[band], start + np.array(self.high)[band]
        return (low, high) if self.floor is None else (np.fmax(low, self.floor), np.fmax(high, self.floor))

    def ends_sql(self, score: str, *, probability: bool) -> tuple[str, str]:
        """Both ends as SQL expressions over a score; NULL where the score is NULL."""
        bounds = f"CAST([{', '.join(map(repr, self.bounds))}] AS DOUBLE[])"
        band = f"1 + len(list_filter({bounds}, lambda bound: bound <= {score}))"
        start = "" if probability else f"{score} + "
        found = []
        for ends in (self.low, self.high):
            end = f"{start}list_extract(CAST([{', '.join(map(repr, ends))}] AS DOUBLE[]), {band})"
            end = end if self.floor is None else f"greatest({end}, {self.floor!r})"
            found.append(f"CASE WHEN {score} IS NOT NULL THEN {end} END")
        return found[0], found[1]

    def problems(self) -> Iterator[str]:
        """What is wrong with a table that was read from a card."""
        bands = 0 if self.least is not None else len(self.bounds) + 1
        numbers = [self.coverage, *self.bounds, *self.low, *self.high]
        numbers += [number for number in (self.floor, self.least) if number is not None]
        if not all(map(math.isfinite, numbers)) or not 0 < self.coverage < 1 or len(self.bounds) >= MAX_BANDS:
            yield f"its uncertainty is not a table of up to {MAX_BANDS:,} bands"
        elif len(self.low) != bands or len(self.high) != bands:
            yield f"its uncertainty has {len(self.low)} and {len(self.high)} ends for {bands} bands"
        elif any(left >= right for left, right in itertools.pairwise(self.bounds)):
            yield "the bounds of its uncertainty do not ascend"
        elif any(low > high for low, high in zip(self.low, self.high, strict=True)):
            yield "an interval of its uncertainty ends before it begins"
