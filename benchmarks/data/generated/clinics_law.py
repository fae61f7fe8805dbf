"""The process that generates `clinics`, and the best forecast given that process.

Time consists of periods of 30 days. In a period a patient has a visit with probability `ATTENDS`, to the doctor of the
last visit or, with probability `CHANGES_DOCTOR`, to any other one. With the severity s = own + x of the patient and the
strain z of the doctor, each visit records

    pressure   = 120 + 12 (s + noise)         depends on the patient
    wait       =  30 + 10 (z + noise)         depends on the doctor
    discomfort =   5 + 2 (s + DOCTOR_WEIGHT z + noise)

`own` is fixed by the patient's columns; x and z are first-order autoregressive over the periods, with variance 1. The
label is whether the next visit, if there is one in the next 30 days, records a discomfort above `THRESHOLD`.

Everything is linear and Gaussian, so a Kalman filter over all patients and doctors gives the exact forecast; the
next doctor, who is not known at the time of the forecast, is averaged over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.data.generated.kalman import KalmanFilter, normal_cdf
from benchmarks.data.generated.periods import Periods

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PERIOD_DAYS = 30
ATTENDS = 0.48
CHANGES_DOCTOR = 0.15
LEAVES = 0.015
PATIENT_DECAY = 0.9
DOCTOR_DECAY = 0.85
SMOKER_EFFECT = 0.6
AGE_EFFECT_PER_YEAR = 0.015
MEAN_AGE = 50
PRESSURE_NOISE = 1.0
WAIT_NOISE = 0.8
DOCTOR_WEIGHT = 1.5
DISCOMFORT_NOISE = 0.9
THRESHOLD = 5.5
NEVER = -1
"""Doctor of the last visit of a patient who never came."""


@dataclass(frozen=True, slots=True)
class Size(Periods):
    """The size of the database: periods, patients at a time, and doctors."""

    train_periods: int = 38
    evaluation_periods: int = 13
    patients: int = 320
    doctors: int = 24


@dataclass(frozen=True, slots=True)
class Period:
    """The visits of one period, arrays of length n.

    Attributes:
        replaced: slots whose patient is new in this period, int64 [any].
        slot: slot of the patient among the current patients.
        patient: row of the patient in the arrays of `Draw`, such as `Draw.smoker`.
        last_doctor: doctor of the visit before, or `NEVER`.
        doctor: doctor of this visit.
        day: 1 to 30, days after the start of the period.
        readings: pressure, wait and discomfort, float64 [3, n].
        state_before: x of the patient, float64 [n], at the start of the period; NaN for a new patient.
        doctors_before: z of every doctor at the start of the period, float64 [doctors].
    """

    replaced: IntArray
    slot: IntArray
    patient: IntArray
    last_doctor: IntArray
    doctor: IntArray
    day: IntArray
    readings: FloatArray
    state_before: FloatArray
    doctors_before: FloatArray


@dataclass(frozen=True, slots=True)
class Draw:
    """All generated data: the patients' columns (age in years at the start) and the periods."""

    smoker: npt.NDArray[np.bool_]
    age: FloatArray
    periods: list[Period] = field(default_factory=list)

    @property
    def own(self) -> FloatArray:
        """Contribution of the patients' columns to the severity, float64 [patients]."""
        return SMOKER_EFFECT * (self.smoker - 0.5) + AGE_EFFECT_PER_YEAR * (self.age - MEAN_AGE)


def simulate(rng: np.random.Generator, size: Size) -> Draw:
    """Draw patients, doctors and visits."""
    leaves = rng.random((size.periods, size.patients)) < LEAVES
    leaves[0] = False
    patients = size.patients + int(leaves.sum())
    draw = Draw(rng.random(patients) < 0.3, np.round(rng.uniform(20, 80, patients), 2))
    own, patient, last_doctor = draw.own, np.arange(size.patients), np.full(size.patients, NEVER)
    x, z = rng.normal(size=size.patients), rng.normal(size=size.doctors)
    newest = size.patients
    for left in leaves:
        replaced = np.flatnonzero(left)
        patient[replaced] = newest + np.arange(len(replaced))
        newest += len(replaced)
        last_doctor[replaced] = NEVER
        x_before, z_before = np.where(left, np.nan, x), z
        x = np.where(left, rng.normal(size=len(x)), _walk(rng, x, PATIENT_DECAY))
        z = _walk(rng, z, DOCTOR_DECAY)
        slot = np.flatnonzero(rng.random(size.patients) < ATTENDS)
        before = last_doctor[slot]
        doctor = _next_doctor(rng, before, size.doctors)
        severity, strain, noise = own[patient[slot]] + x[slot], z[doctor], rng.normal(size=(3, len(slot)))
        readings = np.stack(
            [
                120 + 12 * (severity + PRESSURE_NOISE * noise[0]),
                30 + 10 * (strain + WAIT_NOISE * noise[1]),
                5 + 2 * (severity + DOCTOR_WEIGHT * strain + DISCOMFORT_NOISE * noise[2]),
            ]
        )
        day = rng.integers(1, PERIOD_DAYS + 1, len(slot))
        last_doctor[slot] = doctor
        draw.periods.append(
            Period(replaced, slot, patient[slot], before, doctor, day, np.round(readings, 2), x_before[slot], z_before)
        )
    return draw


def _walk(rng: np.random.Generator, state: FloatArray, decay: float) -> FloatArray:
    return np.asarray(decay * state + np.sqrt(1 - decay**2) * rng.normal(size=len(state)))


def _next_doctor(rng: np.random.Generator, last: IntArray, doctors: int) -> IntArray:
    other = (last + rng.integers(1, doctors, len(last))) % doctors
    changes = rng.random(len(last)) < CHANGES_DOCTOR
    return np.where(last == NEVER, rng.integers(0, doctors, len(last)), np.where(changes, other, last))


def forecasts(draw: Draw, size: Size) -> list[tuple[FloatArray, FloatArray]]:
    """Probability of a discomfort above the threshold, for the visits of each period, before the period starts.

    Returns:
        By period (forecast from all rows of earlier periods, forecast that also uses the hidden states at that time).
        Visits of patients without an earlier visit are included, although no label asks for them.
    """
    states = KalmanFilter.stationary(size.patients + size.doctors)
    decay = np.repeat([PATIENT_DECAY, DOCTOR_DECAY], [size.patients, size.doctors])
    doctors = size.patients + np.arange(size.doctors)
    found = []
    for period in draw.periods:
        states.step(decay)
        states.restart(period.replaced)
        own, slot = draw.own[period.patient], period.slot
        mean = own[:, None] + states.mean[slot][:, None] + DOCTOR_WEIGHT * states.mean[doctors]
        variance = (
            np.diag(states.covariance)[slot][:, None]
            + DOCTOR_WEIGHT**2 * np.diag(states.covariance)[doctors]
            + 2 * DOCTOR_WEIGHT * states.covariance[np.ix_(slot, doctors)]
        )
        forecast = _over_doctors(_above(mean, variance), period.last_doctor)
        found.append((forecast, _known_state(period, own)))
        _observe(states, period, own, size)
    return found


def _known_state(period: Period, own: FloatArray) -> FloatArray:
    new = np.isnan(period.state_before)
    mean = own + np.where(new, 0.0, PATIENT_DECAY * period.state_before)
    variance = np.where(new, 1.0, 1 - PATIENT_DECAY**2)
    strain = DOCTOR_WEIGHT * DOCTOR_DECAY * period.doctors_before
    known = _above(mean[:, None] + strain, variance[:, None] + DOCTOR_WEIGHT**2 * (1 - DOCTOR_DECAY**2))
    return _over_doctors(known, period.last_doctor)


def _above(mean: FloatArray, variance: FloatArray) -> FloatArray:
    """P(discomfort > THRESHOLD) if severity + DOCTOR_WEIGHT * strain has this mean and variance."""
    return normal_cdf((mean - (THRESHOLD - 5) / 2) / np.sqrt(variance + DISCOMFORT_NOISE**2))


def _over_doctors(given_doctor: FloatArray, last_doctor: IntArray) -> FloatArray:
    """Average over the next doctor, float64 [visits, doctors] -> [visits]."""
    visits, doctors = given_doctor.shape
    share = np.full((visits, doctors), CHANGES_DOCTOR / (doctors - 1))
    share[np.arange(visits), last_doctor] = 1 - CHANGES_DOCTOR
    share[last_doctor == NEVER] = 1 / doctors
    return np.asarray(np.sum(share * given_doctor, axis=1))


def _observe(states: KalmanFilter, period: Period, own: FloatArray, size: Size) -> None:
    pressure, wait, discomfort = period.readings
    patient, doctor = period.slot, size.patients + period.doctor
    one, none = np.ones(len(own)), np.zeros(len(own))
    weights = [(one, none), (none, one), (one, DOCTOR_WEIGHT * one)]
    values = [(pressure - 120) / 12 - own, (wait - 30) / 10, (discomfort - 5) / 2 - own]
    noise = np.repeat([PRESSURE_NOISE, WAIT_NOISE, DISCOMFORT_NOISE], len(own))
    states.observe(
        np.tile(np.stack([patient, doctor], axis=1), (3, 1)),
        np.concatenate([np.stack(pair, axis=1) for pair in weights]),
        np.concatenate(values),
        noise,
    )
