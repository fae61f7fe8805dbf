"""Draw a fictional racing league: its drivers and teams, its races, and the probability of every retirement.

A car retires from a race with

    logit p = base(date) + driver + circuit + team(date) + weather

`base` falls slowly over the years; `driver` is a fixed carefulness, an age term and a rookie term; `circuit` is fixed;
`team` is the latent unreliability that all cars of the team share: each team has one of `TEAM_LEVELS`, and every
`DAYS_PER_SWAP` days two teams on neighbouring levels swap, so that each team performs a random walk over the levels;
`weather` is drawn on the day of the race for all its cars. `docs/decisions/0002-demo-league.md` gives the reasons.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from relsql.demo.names import Namer

FIRST_YEAR = 2012
CARS_PER_TEAM = 3
RACE_GAPS_DAYS = (14,) * 12 + (21,) * 5
RACES_OF_LAST_SEASON = 12
CIRCUITS = 20

BASE_LOGIT = -0.9
BASE_DRIFT_PER_YEAR = -0.02
TEAM_LEVELS = (-1.8, -1.2, -0.6, 0.0, 0.6, 1.2, 1.8)
DAYS_PER_SWAP = 24
MOVE_CHANCE = 0.6
MIDSEASON_MOVE_CHANCE = 0.7
MIDSEASON_ROUND = 9
CARE_SD = 0.3
YOUTH_PER_YEAR = 0.05
ROOKIE_LOGIT = 0.4
ROOKIE_STARTS = 15.0
CIRCUIT_SD = 0.2
WEATHER: tuple[tuple[str, float, float], ...] = (
    ("dry", 0.58, -0.2),
    ("overcast", 0.22, -0.1),
    ("showers", 0.14, 0.5),
    ("heavy rain", 0.06, 1.0),
)
"""Text, probability and logit shift of each kind of weather."""

POINTS = (25, 18, 15, 12, 10, 8, 6, 4, 2, 1)
_CAR_FAULTS = ("Engine", "Gearbox", "Hydraulics", "Electrics", "Suspension", "Brakes")
_DRIVER_FAULTS = ("Collision", "Spun off", "Accident")
_FOCUS_WORDS = {
    "reliability": ("revised oil cooling", "stronger gearbox casing", "new wiring loom", "reworked hydraulic seals"),
    "pace": ("lighter rear wing", "new front wing", "wider floor", "shorter exhaust"),
}

Row = tuple[object, ...]


def retirement_probability(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the retirement probability over the weather.

    Args:
        logit: sum of all terms except the weather, float64 of any shape.

    Returns:
        Probabilities in (0, 1), float64 of the same shape.
    """
    terms = [share * sigmoid(logit + shift) for _, share, shift in WEATHER]
    return np.asarray(np.sum(terms, axis=0), dtype=np.float64)


def swaps_between(start: datetime.date, end: datetime.date) -> int:
    """Number of swaps of two teams after `start`, up to and including `end`."""
    return end.toordinal() // DAYS_PER_SWAP - start.toordinal() // DAYS_PER_SWAP


def level_transition(swaps: int) -> NDArray[np.float64]:
    """Probability that a team on level i is on level j after `swaps` swaps, float64[levels, levels]."""
    n = len(TEAM_LEVELS)
    hop = 1.0 / (n - 1)
    step = np.eye(n)
    for low in range(n - 1):
        step[low, low + 1] = step[low + 1, low] = hop
        step[low, low] -= hop
        step[low + 1, low + 1] -= hop
    return np.asarray(np.linalg.matrix_power(step, swaps), dtype=np.float64)


def sigmoid(x: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """The logistic function, elementwise."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit, its number of laps, lap time in seconds and retirement term."""

    circuit_id: int
    laps: int
    lap_seconds: float
    term: float


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver with latent `pace` (seconds per lap, lower is faster) and `care` (retirement term)."""

    driver_id: int
    birth_date: datetime.date
    pace: float
    care: float


@dataclass(slots=True)
class Team:
    """A team with latent `pace` (seconds per lap) and `level` of unreliability, an index of `TEAM_LEVELS`."""

    team_id: int
    pace: float
    level: int

    @property
    def term(self) -> float:
        """The team's term of the retirement logit."""
        return TEAM_LEVELS[self.level]


@dataclass(slots=True)
class Simulation:
    """The state of the league while it is drawn; `tables` and `truth` hold the rows drawn so far.

    Attributes:
        rng: source of all randomness.
        tables: rows of the user's tables, by table name, in the column order of `relsql.demo.league.TABLES`.
        truth: rows of the truth tables, by table name, in the column order of `relsql.demo.truth.TABLES`.
    """

    rng: np.random.Generator
    tables: dict[str, list[Row]] = field(default_factory=dict)
    truth: dict[str, list[Row]] = field(default_factory=dict)
    names: Namer = field(init=False)
    circuits: list[Circuit] = field(default_factory=list)
    teams: list[Team] = field(default_factory=list)
    seats: list[Driver | None] = field(default_factory=lambda: [None] * (len(TEAM_LEVELS) * CARS_PER_TEAM))
    starts: Counter[int] = field(default_factory=Counter)
    date: datetime.date = datetime.date(FIRST_YEAR, 1, 1)

    def __post_init__(self) -> None:
        self.names = Namer(self.rng)

    def run(self, seasons: int) -> None:
        """Draw `seasons` seasons; the last one ends after `RACES_OF_LAST_SEASON` races."""
        self.circuits = [self._new_circuit() for _ in range(CIRCUITS)]
        self.teams = [self._new_team(FIRST_YEAR, level) for level in self.rng.permutation(len(TEAM_LEVELS)).tolist()]
        for year in range(FIRST_YEAR, FIRST_YEAR + seasons):
            self._winter(year)
            dates = self._calendar(year)
            venues = self.rng.permutation(CIRCUITS)[: len(dates)]
            if year == FIRST_YEAR + seasons - 1:
                dates = dates[:RACES_OF_LAST_SEASON]
            for round_number, (date, venue) in enumerate(zip(dates, venues.tolist(), strict=False), start=1):
                if round_number == MIDSEASON_ROUND:
                    self._midseason(year, date)
                self._race(year, round_number, date, self.circuits[venue])

    def _add(self, table: str, *values: object) -> int:
        """Append a row with the next free key and return the key."""
        rows = self.tables.setdefault(table, [])
        rows.append((len(rows) + 1, *values))
        return len(rows)

    def _chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def _pick(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def _new_circuit(self) -> Circuit:
        town = self.names.place()
        length = round(float(self.rng.uniform(3.2, 6.8)), 3)
        laps = round(305 / length)
        altitude = int(self.rng.integers(0, 1600)) if self._chance(0.8) else None
        key = self._add("circuits", self.names.circuit(town), town, length, laps, altitude)
        return Circuit(key, laps, length * 17.5, float(self.rng.normal(0, CIRCUIT_SD)))

    def _new_team(self, year: int, level: int) -> Team:
        founded = year - int(self.rng.integers(0, 30))
        sponsor = self.names.team().split()[0] if self._chance(0.7) else None
        key = self._add("teams", self.names.team(), self.names.nationality(), founded, sponsor)
        return Team(key, float(self.rng.normal(0, 0.5)), level)

    def _new_driver(self, year: int) -> Driver:
        born = datetime.date(year - int(self.rng.integers(19, 30)), 1, 1)
        born += datetime.timedelta(days=int(self.rng.integers(0, 365)))
        home = self.names.place() if self._chance(0.85) else None
        number = int(self.rng.integers(2, 100)) if self._chance(0.9) else None
        key = self._add("drivers", self.names.person(), self.names.nationality(), born, home, number)
        return Driver(key, born, float(self.rng.normal(0, 0.3)), float(self.rng.normal(0, CARE_SD)))

    def _calendar(self, year: int) -> list[datetime.date]:
        opening = datetime.date(year, 3, 8)
        opening += datetime.timedelta(days=6 - opening.weekday())
        gaps = np.cumsum(self.rng.permutation(RACE_GAPS_DAYS))
        return [opening] + [opening + datetime.timedelta(days=int(days)) for days in gaps]

    def _winter(self, year: int) -> None:
        """Replace a team in some winters, let drivers leave and move, fill the free seats, sign the contracts."""
        if year > FIRST_YEAR and self._chance(0.35):
            slot = int(self.rng.integers(len(self.teams)))
            self.teams[slot] = self._new_team(year, self.teams[slot].level)
        market: list[Driver] = []
        for seat, driver in enumerate(self.seats):
            if driver is None:
                continue
            leaves = self._chance(0.1 + 0.03 * max(0, year - driver.birth_date.year - 31))
            if leaves or self._chance(MOVE_CHANCE):
                self.seats[seat] = None
                market += [] if leaves else [driver]
        free = [seat for seat, driver in enumerate(self.seats) if driver is None]
        market += [self._new_driver(year) for _ in range(len(free) - len(market))]
        for seat, index in zip(free, self.rng.permutation(len(free)).tolist(), strict=True):
            self.seats[seat] = market[index]
        for seat in range(len(self.seats)):
            self._sign(seat, year, datetime.date(year, 2, 25) - datetime.timedelta(days=int(self.rng.integers(0, 50))))

    def _midseason(self, year: int, date: datetime.date) -> None:
        """Let many drivers change seats among themselves in the week before the race on `date`."""
        movers = [seat for seat in range(len(self.seats)) if self._chance(MIDSEASON_MOVE_CHANCE)]
        before = list(self.seats)
        for seat, origin in zip(movers, self.rng.permutation(movers).tolist(), strict=True):
            self.seats[seat] = before[origin]
            if origin != seat:
                self._sign(seat, year, date - datetime.timedelta(days=int(self.rng.integers(3, 8))))

    def _sign(self, seat: int, year: int, date: datetime.date) -> None:
        driver, team = self._car(seat)
        salary = round(float(np.exp(self.rng.normal(0.5 - driver.pace, 0.5))), 2) if self._chance(0.8) else None
        self._add("contracts", driver.driver_id, team.team_id, year, date, salary)

    def _race(self, year: int, round_number: int, date: datetime.date, circuit: Circuit) -> None:
        """Draw one race day: team states, weather, upgrades, qualifying and results."""
        self._develop(date)
        weather, shift = self._weather()
        temperature = round(float(self.rng.normal(22, 6)), 1) if self._chance(0.9) else None
        race = self._add("races", circuit.circuit_id, year, round_number, date, weather, temperature)
        grid = self._qualify(race, date, circuit)
        logits = np.array([self._logit(seat, date, circuit) for seat in range(len(self.seats))])
        known = retirement_probability(logits)
        happens = self.rng.random(len(logits)) < sigmoid(logits + shift)
        order = np.argsort(grid / 6 + self.rng.normal(0, 1, len(grid)))
        place = 0
        for seat in order.tolist():
            retired = bool(happens[seat])
            place += not retired
            self._result(race, date, circuit, seat, int(grid[seat]), None if retired else place, shift)
            driver, team = self._car(seat)
            self.starts[driver.driver_id] += 1
            self._add_truth(driver.driver_id, race, team, date, float(logits[seat]) - team.term, float(known[seat]))

    def _add_truth(
        self, driver_id: int, race_id: int, team: Team, date: datetime.date, other_logit: float, probability: float
    ) -> None:
        rows = self.truth.setdefault("retirement_probabilities", [])
        rows.append((driver_id, race_id, team.team_id, date, probability, other_logit, team.level))

    def _car(self, seat: int) -> tuple[Driver, Team]:
        driver = self.seats[seat]
        assert driver is not None
        return driver, self.teams[seat // CARS_PER_TEAM]

    def _develop(self, date: datetime.date) -> None:
        """Move the teams over the levels up to `date`, and let some bring an upgrade."""
        for _ in range(swaps_between(self.date, date)):
            low = int(self.rng.integers(len(TEAM_LEVELS) - 1))
            for team in self.teams:
                if team.level in (low, low + 1):
                    team.level = 2 * low + 1 - team.level
        self.date = date
        for team in self.teams:
            if self._chance(0.25):
                # Unreliable teams tend to work on reliability, which is a second, weak sign of the level.
                focus = "reliability" if self._chance(_chance_of(team.term)) else "pace"
                cost = round(float(np.exp(self.rng.normal(0, 0.6))), 2) if self._chance(0.7) else None
                self._add("team_upgrades", team.team_id, date, self._pick(_FOCUS_WORDS[focus]), cost)

    def _weather(self) -> tuple[str, float]:
        index = int(self.rng.choice(len(WEATHER), p=[share for _, share, _ in WEATHER]))
        return WEATHER[index][0], WEATHER[index][2]

    def _logit(self, seat: int, date: datetime.date, circuit: Circuit) -> float:
        """All terms of the retirement logit except the weather."""
        driver, team = self._car(seat)
        base = BASE_LOGIT + BASE_DRIFT_PER_YEAR * (date.year - FIRST_YEAR)
        rookie = ROOKIE_LOGIT * float(np.exp(-self.starts[driver.driver_id] / ROOKIE_STARTS))
        youth = YOUTH_PER_YEAR * (28 - (date.year - driver.birth_date.year))
        return base + driver.care + rookie + youth + circuit.term + team.term

    def _qualify(self, race: int, date: datetime.date, circuit: Circuit) -> NDArray[np.int64]:
        """Draw the day before the race; return the grid position of each seat, int64[seats]."""
        pace = np.array([driver.pace + team.pace for driver, team in map(self._car, range(len(self.seats)))])
        seconds = circuit.lap_seconds + pace + self.rng.normal(0, 0.3, len(pace))
        grid = np.argsort(np.argsort(seconds)) + 1
        for seat in np.argsort(grid).tolist():
            driver, team = self._car(seat)
            lap = None if self._chance(0.03) else round(float(seconds[seat]), 3)
            day = date - datetime.timedelta(days=1)
            self._add("qualifying", race, driver.driver_id, team.team_id, day, int(grid[seat]), lap)
        return grid

    def _result(
        self, race: int, date: datetime.date, circuit: Circuit, seat: int, grid: int, place: int | None, shift: float
    ) -> None:
        driver, team = self._car(seat)
        if place is None:
            laps, points, seconds = int(self.rng.integers(0, circuit.laps)), 0, None
            car_fault = self._chance(_chance_of(0.8 + team.term - driver.care - shift))
            status = self._pick(_CAR_FAULTS if car_fault else _DRIVER_FAULTS)
        else:
            laps, points, status = circuit.laps, POINTS[place - 1] if place <= len(POINTS) else 0, "Finished"
            seconds = round(circuit.laps * circuit.lap_seconds + 4.0 * place + float(self.rng.uniform(0, 4)), 3)
        key = (race, driver.driver_id, team.team_id, date)
        self._add("results", *key, grid, place, points, laps, seconds, status)


def _chance_of(logit: float) -> float:
    return float(sigmoid(np.float64(logit)))
