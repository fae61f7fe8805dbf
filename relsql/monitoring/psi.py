"""The population stability index (PSI): how far apart two distributions over the same bins are, and how much is chance.

PSI = sum over bins of (now - then) * ln(now / then), the symmetric Kullback-Leibler divergence of the shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SMOOTHING = 0.5
"""Added to the count of each bin, because the logarithm has no value for an empty one. Half a row is Jeffreys' prior
for shares; a bin that is empty on one side counts by the rows of the other."""

_CHANCE = 3.0902
"""The 99.9 % quantile of the normal distribution: about one in a thousand unchanged columns is beyond it."""


def psi(then: Sequence[int], now: Sequence[int]) -> float | None:
    """The PSI of two lists of counts over the same bins; None if one of them has no rows."""
    if not sum(then) or not sum(now):
        return None
    before, after = (_shares(counts) for counts in (then, now))
    return float(((after - before) * np.log(after / before)).sum())


def psi_by_chance(then: Sequence[int], now: Sequence[int]) -> float | None:
    """The PSI below which 99.9 % of samples of these sizes from one distribution stay; None as for `psi`.

    Without a change, PSI / (1 / rows then + 1 / rows now) has approximately a chi-square distribution with one degree
    of freedom less than there are bins (Yurdakul 2018). Its quantile is that of Wilson and Hilferty.
    """
    if not sum(then) or not sum(now):
        return None
    freedom = max(1, sum(1 for before, after in zip(then, now, strict=True) if before or after) - 1)
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + _CHANCE * math.sqrt(spread)) ** 3 * (1 / sum(then) + 1 / sum(now))


def share_by_chance(share_then: float, rows_then: int, share_now: float, rows_now: int) -> float:
    """The difference of two shares below which 99.9 % of samples of these sizes stay when nothing has changed."""
    share = (share_then * rows_then + share_now * rows_now) / (rows_then + rows_now)
    return _CHANCE * math.sqrt(share * (1 - share) * (1 / rows_then + 1 / rows_now))


def _shares(counts: Sequence[int]) -> npt.NDArray[np.float64]:
    smoothed = np.asarray(counts, dtype=np.float64) + SMOOTHING
    shares: npt.NDArray[np.float64] = smoothed / smoothed.sum()
    return shares
