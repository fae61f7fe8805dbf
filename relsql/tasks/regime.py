"""How old the data are that a label may use: the two regimes in which forecasts over a database are judged.

seed-time: every label row sees the database up to its own as_of, as a live database does.
frozen: the database ends at the split's first timestamp, while the as_of of its labels runs on, by up to
    `num_eval_timestamps - 1` horizons; RelBench's default. A model for it is trained on seeds whose data end at random
    so many horizons before they ask, since a model that has only seen fresh rows misreads old ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from relsql.errors import TaskError, nearest

if TYPE_CHECKING:
    # The help of the command line names the regimes, and must not load DuckDB for it.
    import pyarrow as pa

    from relsql.tasks.task import Task

Regime = Literal["seed-time", "frozen"]
REGIMES: tuple[Regime, ...] = get_args(Regime)
DELAYS = 2
"""Delays drawn for each training label in the frozen regime, beside none."""


def check_regime(regime: str) -> Regime:
    """Return `regime` if there is such a one.

    Raises:
        TaskError: there is none.
    """
    for known in REGIMES:
        if regime == known:
            return known
    raise TaskError(f"there is no regime '{regime}'", expected=nearest(regime, REGIMES))


def delayed_labels(labels: pa.Table, task: Task, horizon_days: float, seed: int) -> pa.Table:
    """Labels with fresh data, and again with data that end 0 to `num_eval_timestamps - 1` horizons before they ask.

    Args:
        labels: columns entity, as_of, label.
        task: gives the number of horizons.
        horizon_days: length of one.
        seed: of the delays.

    Returns:
        Each label with up to `DELAYS + 1` distinct values of a column `until` (timestamp[us], inclusive end of its
        data), in the order of `labels`.
    """
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    horizons = rng.integers(0, task.num_eval_timestamps, (labels.num_rows, DELAYS))
    # Delay 0 for all: fresh rows teach what the columns mean, delayed ones what age does to them.
    delays = np.concatenate([np.zeros((labels.num_rows, 1), dtype=np.int64), horizons], axis=1)
    positions = np.repeat(np.arange(labels.num_rows), DELAYS + 1)
    # Equal copies would be one seed gathered twice.
    distinct = np.unique(np.stack([positions, delays.ravel()], axis=1), axis=0)
    chosen = labels.take(pa.array(distinct[:, 0]))
    microseconds = np.asarray(chosen.column("as_of").cast(pa.timestamp("us")).cast(pa.int64()))
    until = microseconds - distinct[:, 1] * round(horizon_days * 86_400_000_000)
    return chosen.append_column("until", pa.array(until).cast(pa.timestamp("us")))


def ended_labels(labels: pa.Table, end: datetime) -> pa.Table:
    """Labels whose data all end at `end` (inclusive), in a column `until`."""
    import pyarrow as pa

    return labels.append_column("until", pa.array([end] * labels.num_rows, pa.timestamp("us")))


def split_end(task: Task, split: str) -> datetime | None:
    """Where a frozen database ends for a split: its first timestamp; None for `train`, whose rows stay fresh."""
    return {"val": task.val_timestamp, "test": task.test_timestamp}.get(split)
