"""The beliefs of an observer of the demo league who sees the rows up to a time and knows how the league is generated.

Each of the seven teams has one level of unreliability, so the belief about the levels is a distribution over 5,040
permutations, which swaps, results and upgrades update exactly. The contributions of a driver and of a circuit to the
logit are fixed but unknown; each has a Gaussian belief, which gets the moments of its posterior after every start
(assumed density filtering: T. Minka, "A family of algorithms for approximate Bayesian inference", 2001, chapter 3).
"""

from __future__ import annotations

import datetime
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from relsql.demo import simulate as law

FloatArray = npt.NDArray[np.float64]
Moments = tuple[float, float]
"""Mean and variance of a Gaussian belief."""

LEVELS = np.array(law.TEAM_LEVELS)
TEAMS = len(LEVELS)
SHIFTS = {text: shift for text, _, shift in law.WEATHER}
CAR_FAULT_LOGIT = 0.8
NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()

_PERMUTATIONS = np.array(list(itertools.permutations(range(TEAMS))))
_POSITION = {tuple(levels): i for i, levels in enumerate(_PERMUTATIONS.tolist())}


def _after_swap(low: int) -> npt.NDArray[np.int64]:
    """Position of each permutation once the teams on levels `low` and `low` + 1 have swapped."""
    exchange = {low: low + 1, low + 1: low}
    return np.array([_POSITION[tuple(exchange.get(v, v) for v in levels)] for levels in _PERMUTATIONS.tolist()])


_SWAPPED = [_after_swap(low) for low in range(TEAMS - 1)]


@dataclass(frozen=True, slots=True)
class Start:
    """A car in a race; `fault`: None if it finished, "car" or "driver" if it retired."""

    driver: int
    birth_year: int
    team: int
    fault: str | None


@dataclass(frozen=True, slots=True)
class Race:
    """A race day: its starts, and the upgrades of that day as (team, whether it is about reliability)."""

    date: datetime.date
    season: int
    number: int
    circuit: int
    weather: str
    starts: tuple[Start, ...]
    upgrades: tuple[tuple[int, bool], ...]


@dataclass(slots=True)
class Observer:
    """Beliefs after the races seen so far.

    Attributes:
        levels: probability of each permutation, float64 [permutations].
        places: position of each team in a permutation; a new team takes over the position and level of the one that
            left.
        care, circuits: mean and variance of the contribution of a driver or circuit to the logit.
        starts: number of starts by driver.
        last: the last race.
    """

    levels: FloatArray = field(default_factory=lambda: np.full(len(_PERMUTATIONS), 1 / len(_PERMUTATIONS)))
    places: dict[int, int] = field(default_factory=dict)
    care: dict[int, Moments] = field(default_factory=lambda: defaultdict(lambda: (0.0, law.CARE_SD**2)))
    circuits: dict[int, Moments] = field(default_factory=lambda: defaultdict(lambda: (0.0, law.CIRCUIT_SD**2)))
    starts: Counter[int] = field(default_factory=Counter)
    last: Race | None = None

    def see(self, race: Race) -> None:
        """Update all beliefs with a race day; races come in order."""
        if self.last is not None:
            for _ in range(law.swaps_between(self.last.date, race.date)):
                self.levels = np.mean([self.levels[swapped] for swapped in _SWAPPED], axis=0)
        self._place({start.team for start in race.starts})
        cars = [self._likelihood(race, start) for start in race.starts]
        log_likelihood = np.zeros((TEAMS, TEAMS))
        for start, (given_both, _) in zip(race.starts, cars, strict=True):
            log_likelihood[self.places[start.team]] += np.log(given_both @ WEIGHTS)
        for team, reliability in race.upgrades:
            works_on_it = law.sigmoid(LEVELS)
            log_likelihood[self.places[team]] += np.log(works_on_it if reliability else 1 - works_on_it)
        log_total = log_likelihood[np.arange(TEAMS), _PERMUTATIONS].sum(axis=1)
        self.levels = self.levels * np.exp(log_total - log_total.max())
        self.levels /= self.levels.sum()
        marginals = self.marginals()
        circuit = self.circuits[race.circuit]
        for start, (given_both, gains) in zip(race.starts, cars, strict=True):
            # The joint posterior needs the belief about the level without this car's result as its prior.
            prior = marginals[self.places[start.team]] / (given_both @ WEIGHTS)
            weight = WEIGHTS * (prior @ given_both)
            self._move(race, start, weight / weight.sum(), gains, circuit)
            self.starts[start.driver] += 1
        self.last = race

    def marginals(self) -> FloatArray:
        """Probability of each level by place, float64 [teams, levels]."""
        return np.stack([np.bincount(_PERMUTATIONS[:, place], self.levels, TEAMS) for place in range(TEAMS)])

    def _place(self, teams: set[int]) -> None:
        """Give new teams the positions of the teams that left."""
        free = sorted(set(range(TEAMS)) - {place for team, place in self.places.items() if team in teams})
        for team in sorted(teams - set(self.places)):
            self.places[team] = free.pop(0)

    def _likelihood(self, race: Race, start: Start) -> tuple[FloatArray, FloatArray]:
        """Probability of the car's result, float64 [levels, nodes], and the driver's and circuit's step per node.

        The nodes are quadrature nodes of care + circuit in standard deviations; the steps are the regressions of each
        of the two on their sum.
        """
        (care, care_var), (circuit, circuit_var) = self.care[start.driver], self.circuits[race.circuit]
        sd = np.sqrt(care_var + circuit_var)
        gains = np.array([care_var, circuit_var]) / sd
        base = known_logit(race.date, start.birth_year, self.starts[start.driver]) + SHIFTS[race.weather]
        retires = law.sigmoid(base + LEVELS[:, None] + care + circuit + sd * NODES)
        if start.fault is None:
            return 1 - retires, gains
        fault = law.sigmoid(CAR_FAULT_LOGIT + LEVELS[:, None] - (care + gains[0] * NODES) - SHIFTS[race.weather])
        return retires * (fault if start.fault == "car" else 1 - fault), gains

    def _move(self, race: Race, start: Start, weight: FloatArray, gains: FloatArray, circuit: Moments) -> None:
        """Update the beliefs about driver and circuit, given the posterior weights of the nodes.

        Each start multiplies a belief by posterior / prior, so that the updates by all cars of a race combine correctly
        for their circuit; `circuit` is the belief before the race.
        """
        mean = float(weight @ NODES)
        shrinks = 1 - float(weight @ (NODES - mean) ** 2)
        care = self.care[start.driver]
        for beliefs, key, prior, gain in (
            (self.care, start.driver, care, gains[0]),
            (self.circuits, race.circuit, circuit, gains[1]),
        ):
            posterior = prior[0] + gain * mean, prior[1] - gain**2 * shrinks
            beliefs[key] = _times_ratio(beliefs[key], posterior, prior)


def _times_ratio(belief: Moments, posterior: Moments, prior: Moments) -> Moments:
    """Moments of the Gaussian belief * posterior / prior."""
    precision = 1 / belief[1] + 1 / posterior[1] - 1 / prior[1]
    pull = belief[0] / belief[1] + posterior[0] / posterior[1] - prior[0] / prior[1]
    return pull / precision, 1 / precision


def known_logit(date: datetime.date, birth_year: int, starts: int) -> float:
    """The observable terms of the retirement logit: years, age and experience."""
    base = law.BASE_LOGIT + law.BASE_DRIFT_PER_YEAR * (date.year - law.FIRST_YEAR)
    rookie = law.ROOKIE_LOGIT * float(np.exp(-starts / law.ROOKIE_STARTS))
    return base + rookie + law.YOUTH_PER_YEAR * (28 - (date.year - birth_year))
