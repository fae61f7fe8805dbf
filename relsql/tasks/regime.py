"""The two regimes in which forecasts are evaluated; they differ in how old the data of a label are.

seed-time: every label sees the database up to its own as_of, as with a live database.
frozen: the database ends at the split's first timestamp, while the as_of of its labels goes on by up to
    `num_eval_timestamps - 1` horizons; RelBench's default. A model for this regime is trained on seeds whose data end a
    random number of horizons before their as_of, because a model that has only seen fresh rows misinterprets old ones.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from relsql.errors import TaskError, nearest
from relsql.hints import command

if TYPE_CHECKING:
    # Imported only for type checking, because the command line imports this module for its help text.
    import pyarrow as pa

    from relsql.tasks.task import Task

Regime = Literal["seed-time", "frozen"]
REGIMES: tuple[Regime, ...] = get_args(Regime)
DELAYS = 2
"""Number of delays drawn for each training label in the frozen regime, in addition to no delay."""


def check_regime(regime: str, task: Task | None = None) -> Regime:
    """Return `regime` if it exists, and if a task can be asked about in it.

    Raises:
        TaskError: the regime does not exist, or is not one of the task's kind.
    """
    if task is not None and task.kind != "forecast" and regime == "frozen":
        what = "asks about rows as of their own time, which a frozen database does not hold"
        raise TaskError(
            f"task '{task.name}' {'is static, which a frozen database cannot answer' if task.is_static else what}",
            expected="regime seed-time",
            fix=command("train", "FILE", "TASK", "--name", "NAME", "--regime", "seed-time"),
        )
    for known in REGIMES:
        if regime == known:
            return known
    raise TaskError(
        f"there is no regime '{regime}'",
        expected=nearest(regime, REGIMES),
        fix=command("train", "FILE", "TASK", "--name", "NAME", "--regime", REGIMES[0]),
    )


def delayed_labels(labels: pa.Table, task: Task, horizon_days: float, seed: int) -> pa.Table:
    """Repeat labels with fresh data and with data that end 0 to `num_eval_timestamps - 1` horizons before their as_of.

    Args:
        labels: columns entity, as_of, label.
        task: the task, which determines the number of horizons.
        horizon_days: length of one horizon in days.
        seed: random seed of the delays.

    Returns:
        Each label with up to `DELAYS + 1` distinct values of a column `until` (timestamp[us], inclusive end of its
        data), in the order of `labels`.
    """
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    horizons = rng.integers(0, task.num_eval_timestamps, (labels.num_rows, DELAYS))
    # Every label also gets delay 0: the model learns from fresh rows what columns mean, from delayed rows how they age.
    delays = np.concatenate([np.zeros((labels.num_rows, 1), dtype=np.int64), horizons], axis=1)
    positions = np.repeat(np.arange(labels.num_rows), DELAYS + 1)
    # Equal copies would gather the same seed twice.
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
    """The end of a frozen database for a split: its first timestamp; None for `train`, whose data stay fresh."""
    return {"val": task.val_timestamp, "test": task.test_timestamp}.get(split)
