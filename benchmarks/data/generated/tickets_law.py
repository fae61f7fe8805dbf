"""The process that generates `tickets`, and the best forecast given that process.

Time consists of periods of 30 days. An account has two hidden states that change from period to period: a mood (angry,
neutral, happy) and a level of business. In a period it

    writes Poisson(`TICKETS`) tickets, each in a tone drawn from TONE_GIVEN_MOOD[mood]; only the words of the ticket
        show the tone;
    places one order with probability 1 - sigmoid(logit(mood, level, plan)), of the amount
        AMOUNT_BASE + AMOUNT_PER_LEVEL * (level + normal(0, AMOUNT_NOISE)). The mood is that of the period before.

The label is whether the account places no order in the next 30 days. Accounts join over time and never leave.

Both states take few values, so the forward algorithm of hidden Markov models gives the exact forecast. It uses the
tones, the amounts, and whether there is an order in each period.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.data.generated.periods import Periods

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PERIOD_DAYS = 30
TICKETS = 1.0
MOOD_MOVES = np.array([[0.70, 0.22, 0.08], [0.20, 0.60, 0.20], [0.08, 0.22, 0.70]])
TONE_GIVEN_MOOD = np.array([[0.85, 0.13, 0.02], [0.10, 0.80, 0.10], [0.02, 0.13, 0.85]])
MOOD_LOGITS = np.array([2.0, 0.0, -2.0])
LEVELS = 5
LEVEL_MOVES = 0.1
"""Probability of one level up, and of one level down."""
LEVEL_LOGIT = -0.6
BASE_LOGIT = -0.7
PLANS = ("basic", "team", "business")
PLAN_LOGITS = np.array([0.4, 0.0, -0.4])
AMOUNT_BASE = 100.0
AMOUNT_PER_LEVEL = 25.0
AMOUNT_NOISE = 0.8


@dataclass(frozen=True, slots=True)
class Size(Periods):
    """The size of the database: periods, and accounts at the end."""

    train_periods: int = 34
    evaluation_periods: int = 10
    accounts: int = 190


@dataclass(frozen=True, slots=True)
class Period:
    """One period of the accounts that have joined, the first n of all.

    Attributes:
        mood: int64 [n]; it affects the order of the next period.
        mood_before: mood of the period before, int64 [n].
        level: int64 [n].
        tones: tickets by tone, int64 [n, 3].
        ordered: bool [n].
        amount: float64 [n], NaN without order.
    """

    mood: IntArray
    mood_before: IntArray
    level: IntArray
    tones: IntArray
    ordered: npt.NDArray[np.bool_]
    amount: FloatArray


@dataclass(frozen=True, slots=True)
class Draw:
    """All generated data: the accounts' plan and the period they join in, both int64 [accounts], and the periods."""

    plan: IntArray
    joined: IntArray
    periods: list[Period] = field(default_factory=list)


def level_moves() -> FloatArray:
    """Transition matrix of the level: a walk that stays at the ends, float64 [levels, levels]."""
    moves = np.diag(np.full(LEVELS, 1 - 2 * LEVEL_MOVES))
    moves += LEVEL_MOVES * (np.eye(LEVELS, k=1) + np.eye(LEVELS, k=-1))
    moves[0, 0] += LEVEL_MOVES
    moves[-1, -1] += LEVEL_MOVES
    return moves


def stationary(moves: FloatArray) -> FloatArray:
    """The stationary distribution of a transition matrix."""
    return np.asarray(np.linalg.matrix_power(moves, 1000)[0])


def no_order_probability(plan: IntArray) -> FloatArray:
    """P(no order) by account, mood and level, float64 [accounts, moods, levels]."""
    level = LEVEL_LOGIT * (np.arange(LEVELS) - (LEVELS - 1) / 2)
    logit = BASE_LOGIT + PLAN_LOGITS[plan][:, None, None] + MOOD_LOGITS[:, None] + level
    return np.asarray(1 / (1 + np.exp(-logit)))


def simulate(rng: np.random.Generator, size: Size) -> Draw:
    """Draw the accounts and their periods; two thirds of the accounts exist from the start."""
    founders = size.accounts * 2 // 3
    late = np.sort(rng.integers(1, size.periods, size.accounts - founders))
    joined = np.concatenate([np.zeros(founders, dtype=np.int64), late])
    draw = Draw(rng.choice(len(PLANS), size.accounts, p=[0.5, 0.3, 0.2]), joined)
    no_order = no_order_probability(draw.plan)
    moods, levels = MOOD_MOVES, level_moves()
    mood = _draw(rng, np.tile(stationary(moods), (size.accounts, 1)))
    level = _draw(rng, np.tile(stationary(levels), (size.accounts, 1)))
    for number in range(size.periods):
        old = joined < number
        before, mood = mood, np.where(joined <= number, _draw(rng, moods[mood]), mood)
        level = np.where(old, _draw(rng, levels[level]), level)
        n = int((joined <= number).sum())
        tones = rng.multinomial(rng.poisson(TICKETS, n), TONE_GIVEN_MOOD[mood[:n]])
        ordered = rng.random(n) >= no_order[np.arange(n), before[:n], level[:n]]
        amount = AMOUNT_BASE + AMOUNT_PER_LEVEL * (level[:n] + AMOUNT_NOISE * rng.normal(size=n))
        amount = np.where(ordered, np.round(amount, 2), np.nan)
        draw.periods.append(Period(mood[:n], before[:n], level[:n], tones, ordered, amount))
    return draw


def _draw(rng: np.random.Generator, shares: FloatArray) -> IntArray:
    """Draw one value per row from its distribution, int64 [rows]."""
    return np.asarray((rng.random(len(shares))[:, None] > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1))


def forecasts(draw: Draw) -> list[tuple[FloatArray, FloatArray]]:
    """Probability of no order in each period, for all accounts that have joined, before the period starts.

    Returns:
        By period (forecast from all rows of earlier periods, forecast that also uses the hidden states at that time).
    """
    no_order = no_order_probability(draw.plan)
    moods, levels = MOOD_MOVES, level_moves()
    start = np.outer(stationary(moods), stationary(levels))
    belief = np.tile(start, (len(draw.plan), 1, 1))
    known = belief.copy()
    found = []
    for number, period in enumerate(draw.periods):
        old, n = draw.joined < number, len(period.mood)
        belief[old], known[old] = belief[old] @ levels, known[old] @ levels
        found.append((_expect(belief[:n], no_order[:n]), _expect(known[:n], no_order[:n])))
        belief[:n] *= _order_likelihood(period, no_order[:n])
        belief[:n] = np.einsum("aml,mn->anl", belief[:n], moods) * _ticket_likelihood(period)[:, :, None]
        belief /= belief.sum(axis=(1, 2), keepdims=True)
        known[:n] = 0.0
        known[np.arange(n), period.mood, period.level] = 1.0
    return found


def _expect(belief: FloatArray, probability: FloatArray) -> FloatArray:
    return np.asarray(np.sum(belief * probability, axis=(1, 2)))


def _order_likelihood(period: Period, no_order: FloatArray) -> FloatArray:
    """Likelihood of the order, or of none, given the mood before and the level, float64 [n, moods, levels]."""
    off = ((period.amount - AMOUNT_BASE) / AMOUNT_PER_LEVEL)[:, None] - np.arange(LEVELS)
    amount = np.exp(-0.5 * (off / AMOUNT_NOISE) ** 2)
    return np.where(period.ordered[:, None, None], (1 - no_order) * amount[:, None, :], no_order)


def _ticket_likelihood(period: Period) -> FloatArray:
    """Likelihood of the tickets' tones given the mood, up to a factor, float64 [n, moods]."""
    return np.asarray(np.exp(period.tones @ np.log(TONE_GIVEN_MOOD).T))
