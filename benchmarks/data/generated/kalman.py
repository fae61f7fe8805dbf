"""A Kalman filter over one state vector: the exact posterior of linear Gaussian states, observed with noise.

Source: R. E. Kalman, "A new approach to linear filtering and prediction problems" (1960); the update of many
observations at once is the information form (Anderson and Moore, "Optimal filtering", 1979, chapter 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(slots=True)
class KalmanFilter:
    """Mean float64 [n] and covariance float64 [n, n] of the states, given all observations so far."""

    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def stationary(cls, n: int) -> KalmanFilter:
        """Initially independent states with mean 0 and variance 1."""
        return cls(np.zeros(n), np.eye(n))

    def step(self, decay: FloatArray) -> None:
        """One step of x <- decay * x + sqrt(1 - decay^2) * normal, which keeps the variance 1. `decay`: [n]."""
        self.mean = decay * self.mean
        self.covariance = decay[:, None] * self.covariance * decay + np.diag(1 - decay**2)

    def restart(self, states: IntArray) -> None:
        """Reset `states` to mean 0 and variance 1, independent of all others."""
        self.mean[states] = 0.0
        self.covariance[states, :] = 0.0
        self.covariance[:, states] = 0.0
        self.covariance[states, states] = 1.0

    def observe(self, states: IntArray, weights: FloatArray, values: FloatArray, noise: FloatArray) -> None:
        """Update with observations value = sum over j of weight_j * state_j + normal(0, noise).

        Args:
            states: int64 [observations, terms], the states of each observation.
            weights: float64 [observations, terms].
            values: float64 [observations].
            noise: standard deviations, float64 [observations].
        """
        precision = np.linalg.inv(self.covariance)
        pull = precision @ self.mean
        scaled = weights / noise[:, None] ** 2
        terms = states.shape[1]
        for i in range(terms):
            np.add.at(pull, states[:, i], scaled[:, i] * values)
            for j in range(terms):
                np.add.at(precision, (states[:, i], states[:, j]), scaled[:, i] * weights[:, j])
        self.covariance = np.linalg.inv(precision)
        self.covariance = (self.covariance + self.covariance.T) / 2
        self.mean = self.covariance @ pull


def normal_cdf(x: FloatArray) -> FloatArray:
    """The probability that a standard normal variable is at most `x`, elementwise."""
    return np.asarray(0.5 * (1.0 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2.0))))
