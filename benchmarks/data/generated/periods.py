"""The time of a generated database: equal periods, divided into training, validation and test labels."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

from relsql.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Periods:
    """Numbers of periods with training labels, and with validation and with test labels."""

    train_periods: int
    evaluation_periods: int

    @property
    def periods(self) -> int:
        """Number of all periods: one more follows the test labels, so that their last window is complete."""
        return self.train_periods + 2 * self.evaluation_periods + 1

    def divided(self, task: Task, start: datetime.datetime, period: datetime.timedelta) -> Task:
        """The task with its split timestamps, for periods that begin at `start`."""
        return replace(
            task,
            num_eval_timestamps=self.evaluation_periods,
            val_timestamp=start + self.train_periods * period,
            test_timestamp=start + (self.train_periods + self.evaluation_periods) * period,
        )
