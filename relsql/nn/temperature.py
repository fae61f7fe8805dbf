"""The temperature that makes the scores of a classification probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def best_temperature(raw: npt.NDArray[np.floating], labels: npt.NDArray[np.floating]) -> float:
    """The temperature that minimises the log loss of raw outputs, both [labels] (Guo et al. 2017, arXiv 1706.04599)."""
    candidates = np.exp(np.linspace(np.log(0.1), np.log(10.0), 185))
    scaled = raw[None, :].astype(np.float64) / candidates[:, None]
    losses = np.mean(np.logaddexp(0.0, scaled) - labels[None, :] * scaled, axis=1)
    return float(candidates[int(np.argmin(losses))])


def log_loss_at(raw: npt.NDArray[np.floating], labels: npt.NDArray[np.floating], temperature: float) -> float:
    """The log loss of raw outputs at a temperature; both [labels]."""
    scaled = raw.astype(np.float64) / temperature
    return float(np.mean(np.logaddexp(0.0, scaled) - labels * scaled))
