"""Is the model ahead of the best baseline over the cutoffs, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relsql.backtests.store import BASELINES, BacktestRow
from relsql.evaluation.metrics.bootstrap import DRAWS, percentile_interval
from relsql.tasks.target import more_is_better

_FEWEST_CUTOFFS = 3
"""With fewer cutoffs, an interval would be meaningless."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The mean advantage over one baseline, positive if the model is better.

    Attributes:
        baseline: the baseline that is best on average.
        metric: the metric.
        mean: mean advantage over the cutoffs.
        low, high: its 95 % interval when cutoffs are resampled; None for fewer than three.
        cutoffs: number of cutoffs that are compared.
        better: the number of cutoffs at which the model is better.
    """

    baseline: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    cutoffs: int
    better: int

    def __str__(self) -> str:
        ends = "" if self.low is None else f", 95% interval over cutoffs {self.low:.4g} .. {self.high:.4g}"
        which = "ahead of" if self.mean > 0 else "behind"
        text = f"{which} the best baseline ({self.baseline}) by {abs(self.mean):.4g} {self.metric} on average{ends}"
        return f"{text}; better at {self.better} of {self.cutoffs} cutoffs"


def ahead_of_baselines(rows: Sequence[BacktestRow]) -> Ahead | None:
    """Compare the model with the baseline that is best on average, at the cutoffs where all of them have a value."""
    known = {
        name: np.array([[row.value, getattr(row, name)] for row in rows], dtype=np.float64).reshape(-1, 2)
        for name in BASELINES
        if rows and any(getattr(row, name) is not None for row in rows)
    }
    if not known:
        return None
    sign = 1 if more_is_better(rows[0].metric) else -1
    complete = np.all([np.isfinite(pairs).all(axis=1) for pairs in known.values()], axis=0)
    if not complete.any():
        return None
    gains = {name: sign * (pairs[complete, 0] - pairs[complete, 1]) for name, pairs in known.items()}
    name, gain = min(gains.items(), key=lambda item: item[1].mean())
    low = high = None
    if len(gain) >= _FEWEST_CUTOFFS:
        chosen = np.random.default_rng(0).integers(0, len(gain), (DRAWS, len(gain)))
        low, high = percentile_interval(gain[chosen].mean(axis=1))
    better = int((gain > 0).sum())
    return Ahead(BASELINES[name], rows[0].metric, float(gain.mean()), low, high, len(gain), better)
