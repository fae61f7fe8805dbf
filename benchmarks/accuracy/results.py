"""Results of the accuracy benchmark on disk: a JSON file, and a folder with the scores of every run.

A run is one row on one problem with one seed. It is stored as soon as it is done, so that an interrupted benchmark can
be continued. Summaries over seeds are recomputed from the stored scores after each run.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import msgspec
import numpy as np

import relsql
from benchmarks.accuracy.judge import (
    Bin,
    Floats,
    Interval,
    IntervalCheck,
    Judge,
    bootstrap_interval,
    expected_calibration_error,
    interval_check,
    reliability,
)
from benchmarks.accuracy.rows import Scores
from benchmarks.data.problems import Problem, Regime
from relsql.errors import DatabaseError

Key = tuple[str, str, Regime, str]
"""Data set, task, regime, and the row's name in `ROWS`."""


@dataclass(frozen=True)
class Run:
    """One row on one problem with one seed; `val` and `test` are metrics by name, the first one is reported."""

    dataset: str
    task: str
    regime: Regime
    row: str
    name: str
    seed: int
    seconds: float
    val: dict[str, float]
    test: dict[str, float]

    @property
    def key(self) -> Key:
        """The key of the run, without its seed."""
        return self.dataset, self.task, self.regime, self.row


@dataclass(frozen=True)
class Calibration:
    """Calibration of the scores on test.

    Attributes:
        error: expected calibration error, mean over seeds; classification only.
        bins: the reliability table over the scores of all seeds; classification only.
        intervals: one check per seed; regression only.
    """

    error: float | None = None
    bins: tuple[Bin, ...] = ()
    intervals: tuple[IntervalCheck, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One row on one problem over its seeds: means, sample deviation (None for one seed), mean seconds per seed."""

    dataset: str
    task: str
    regime: Regime
    row: str
    name: str
    metric: str
    seeds: int
    val: float
    test: float
    test_deviation: float | None
    interval: Interval
    seconds: float
    calibration: Calibration

    @property
    def key(self) -> Key:
        """The key of the summary."""
        return self.dataset, self.task, self.regime, self.row


@dataclass
class Results:
    """All runs and summaries of one file."""

    runs: list[Run] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def read_results(path: Path) -> Results:
    """Read a results file.

    Raises:
        DatabaseError: it does not exist or is not a results file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as error:
        raise DatabaseError(
            f"'{path}' holds no benchmark results: {error}", fix="python -m benchmarks.accuracy --fresh --out FILE.json"
        ) from error


class Store:
    """A results file that is being written; the scores of `FILE.json` are in the folder `FILE.scores`."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.results = read_results(path) if path.exists() and not fresh else Results()
        self.results.environment = {
            "cores": str(os.cpu_count()),
            "python": platform.python_version(),
            "duckdb": duckdb.__version__,
            "relsql": relsql.__version__,
        }
        path.parent.mkdir(parents=True, exist_ok=True)

    def has(self, key: Key, seed: int) -> bool:
        """True if the run is stored, with its scores."""
        known = any(run.key == key and run.seed == seed for run in self.results.runs)
        return known and self._scores_file(key, seed).exists()

    def add(
        self, problem: Problem, judge: Judge, row: str, name: str, seed: int, seconds: float, scores: Scores
    ) -> Run:
        """Evaluate and store one run, and update the summary over its seeds.

        Raises:
            ValueError: the scores are not one finite number per label.
        """
        val, test = judge.metrics("val", scores["val"]), judge.metrics("test", scores["test"])
        run = Run(problem.dataset, problem.task.name, problem.regime, row, name, seed, seconds, val, test)
        file = self._scores_file(run.key, seed)
        file.parent.mkdir(exist_ok=True)
        np.savez_compressed(file, val=scores["val"], test=scores["test"])
        self.results.runs = [r for r in self.results.runs if (r.key, r.seed) != (run.key, seed)] + [run]
        self.results.summaries = [s for s in self.results.summaries if s.key != run.key] + [
            self._summary(problem, run.key)
        ]
        self._write()
        return run

    def _scores_file(self, key: Key, seed: int) -> Path:
        name = "--".join((*key, str(seed))).replace("/", "_")
        return self.path.with_suffix(".scores") / f"{name}.npz"

    def _summary(self, problem: Problem, key: Key) -> Summary:
        runs = sorted((run for run in self.results.runs if self.has(key, run.seed) and run.key == key), key=_seed)
        val, test = (self._stacked(key, runs, split) for split in ("val", "test"))
        metric = next(iter(runs[0].test))
        found = [run.test[metric] for run in runs]
        return Summary(
            *key,
            name=runs[-1].name,
            metric=metric,
            seeds=len(runs),
            val=float(np.mean([run.val[metric] for run in runs])),
            test=float(np.mean(found)),
            test_deviation=float(np.std(found, ddof=1)) if len(runs) > 1 else None,
            interval=bootstrap_interval(problem, "test", test),
            seconds=float(np.mean([run.seconds for run in runs])),
            calibration=_calibration(problem, val, test),
        )

    def _stacked(self, key: Key, runs: list[Run], split: str) -> Floats:
        parts = []
        for run in runs:
            with np.load(self._scores_file(key, run.seed), allow_pickle=False) as arrays:
                parts.append(arrays[split])
        return np.stack(parts)

    def _write(self) -> None:
        """Write a temporary file and rename it, so that an interruption leaves either the old or the new file."""
        temporary = self.path.with_name(f".{self.path.name}.writing")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self.results), indent=1))
        temporary.replace(self.path)


def _seed(run: Run) -> int:
    return run.seed


def _calibration(problem: Problem, val: Floats, test: Floats) -> Calibration:
    """Calibration on test; `val` and `test` are scores, float64 [seeds, labels]."""
    labels = problem.targets("test")
    if problem.task.is_classification:
        errors = [expected_calibration_error(reliability(labels, each)) for each in test]
        return Calibration(float(np.mean(errors)), reliability(np.tile(labels, len(test)), test.ravel()))
    pairs = zip(val, test, strict=True)
    return Calibration(intervals=tuple(interval_check(problem.targets("val"), v, labels, t) for v, t in pairs))
