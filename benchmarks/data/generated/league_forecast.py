"""Forecasts of an observer of the demo league who does not know the future dates and line-ups.

The observer knows the rules of the calendar: a season starts on a fixed Sunday and has 17 gaps, 12 of two weeks and 5
of three, in any order. The observer also knows the rules of the transfer market: drivers move in winter and before one
race in the middle of the season. A driver who moves is assumed to get every seat with the same probability, and a
future race to be on any circuit with any weather.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.data.generated.league_filter import LEVELS, NODES, TEAMS, WEIGHTS, Observer, known_logit
from relsql.demo import simulate as law

FloatArray = npt.NDArray[np.float64]

ROUNDS = len(law.RACE_GAPS_DAYS) + 1
GAPS = sorted(set(law.RACE_GAPS_DAYS))

_level_transition = functools.cache(law.level_transition)


@dataclass(frozen=True, slots=True)
class Day:
    """A future race day, or the last one: its date, season and number within the season; `gaps` used before it."""

    date: datetime.date
    season: int
    number: int
    gaps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Contract:
    """A driver's latest contract: its team, and whether it was signed in the middle of its season."""

    team: int
    season: int
    midseason: bool


@dataclass(slots=True)
class Forecaster:
    """Forecasts made at one time.

    Attributes:
        observer: the beliefs at that time.
        marginals: probability of each level by place on the last race day, float64 [teams, levels].
        today: the last race day.
        calendars: the possible sequences of race days within the horizon, at least one day each, with probabilities.
    """

    observer: Observer
    marginals: FloatArray
    today: Day
    calendars: list[tuple[float, tuple[Day, ...]]]

    @classmethod
    def at(cls, observer: Observer, today: Day, as_of: datetime.date, horizon: datetime.timedelta) -> Forecaster:
        """Start forecasts at `as_of`. A label exists only if there is a race, so calendars without one are excluded."""
        found = [each for each in _calendars(today, as_of, as_of + horizon) if each[1]]
        total = sum(probability for probability, _ in found)
        return cls(observer, observer.marginals(), today, [(probability / total, days) for probability, days in found])

    def retirement(self, driver: int, birth_year: int, contract: Contract) -> float:
        """Probability that the driver retires from one of the coming races."""
        return sum(p * (1 - self._survival(driver, birth_year, contract, days)) for p, days in self.calendars)

    def _survival(self, driver: int, birth_year: int, contract: Contract, days: tuple[Day, ...]) -> float:
        """Probability that the driver finishes all of `days`."""
        observer, marginals, date = self.observer, self.marginals, self.today.date
        seat = np.full(TEAMS, 1 / TEAMS)  # A team that has not raced yet may take over any position.
        if contract.team in observer.places:
            seat = np.eye(TEAMS)[observer.places[contract.team]]
        # For each value of the driver's care: probability of seat and level, and of having finished so far.
        alive = np.repeat((seat[:, None] * marginals)[None], len(NODES), axis=0)
        mean, variance = observer.care[driver]
        before = Day(date, contract.season, law.MIDSEASON_ROUND if contract.midseason else self._known_round(contract))
        for i, day in enumerate(days):
            moves = _level_transition(law.swaps_between(date, day.date))
            marginals, alive, date = marginals @ moves, alive @ moves, day.date
            for moved in _transfers(before, day):
                mass = alive.sum(axis=(1, 2))[:, None, None]
                alive = (1 - moved) * alive + moved * mass * marginals / TEAMS
            logit = known_logit(day.date, birth_year, observer.starts[driver] + i) + mean + np.sqrt(variance) * NODES
            alive = alive * (1 - _retires(logit)[:, None, :])
            before = day
        return float(WEIGHTS @ alive.sum(axis=(1, 2)))

    def _known_round(self, contract: Contract) -> int:
        """The last round for which the line-up is known: contracts hold until the reshuffle."""
        same = contract.season == self.today.season
        return max(self.today.number, 1) if same else 1


def _transfers(before: Day, day: Day) -> Iterator[float]:
    """Shares of drivers who change seats between two race days."""
    if day.season != before.season:
        yield law.MOVE_CHANCE
    if day.number >= law.MIDSEASON_ROUND and (day.season != before.season or before.number < law.MIDSEASON_ROUND):
        yield law.MIDSEASON_MOVE_CHANCE


def _retires(logit: FloatArray) -> FloatArray:
    """Probability of retirement on any circuit in any weather, float64 [nodes] -> [nodes, levels]."""
    given_circuit = law.retirement_probability(logit[:, None, None] + LEVELS[:, None] + law.CIRCUIT_SD * NODES)
    return np.asarray(given_circuit @ WEIGHTS)


def _calendars(today: Day, as_of: datetime.date, until: datetime.date) -> Iterator[tuple[float, tuple[Day, ...]]]:
    """The possible sequences of race days in (as_of, until] after `today`, with their probabilities."""
    for probability, day in _next_days(today, as_of):
        if day.date > until:
            yield probability, ()
        else:
            for rest, days in _calendars(day, day.date, until):
                yield probability * rest, (day, *days)


def _next_days(today: Day, as_of: datetime.date) -> list[tuple[float, Day]]:
    """The possible next race days, given that there is none up to `as_of`."""
    if today.number == ROUNDS:
        return [(1.0, Day(opening(today.season + 1), today.season + 1, 1))]
    found = []
    for gap in GAPS:
        left = law.RACE_GAPS_DAYS.count(gap) - today.gaps.count(gap)
        date = today.date + datetime.timedelta(days=gap)
        if left and date > as_of:
            found.append((float(left), Day(date, today.season, today.number + 1, (*today.gaps, gap))))
    total = sum(weight for weight, _ in found)
    return [(weight / total, day) for weight, day in found]


def opening(year: int) -> datetime.date:
    """The first Sunday on or after 8 March: the season's first race."""
    day = datetime.date(year, 3, 8)
    return day + datetime.timedelta(days=6 - day.weekday())
