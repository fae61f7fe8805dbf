"""Results of the accuracy benchmark on disk: a JSON file, and a folder with the scores of every run.

A run is one row on one problem with one seed. It is stored as soon as it is done, so that an interrupted benchmark can
be continued. Summaries over seeds are recomputed from the stored scores after each run. The folder also holds the test
labels of every problem, so that rows can be compared later (`benchmarks.accuracy.comparison`).
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt

import relsql
from benchmarks.accuracy.build import Build, current_build
from benchmarks.accuracy.comparison import Scored
from benchmarks.accuracy.judge import (
    Bin,
    Floats,
    Interval,
    IntervalCheck,
    Judge,
    bootstrap_interval,
    clusters,
    expected_calibration_error,
    interval_check,
    reliability,
)
from benchmarks.accuracy.rows import DEFAULT, PRETRAINED, Scores
from benchmarks.data.problems import Problem, Regime
from relsql.errors import DatabaseError

ProblemKey = tuple[str, str, Regime]
"""Data set, task and regime."""

Key = tuple[str, str, Regime, str]
"""Data set, task, regime, and the row's name in `ROWS`."""


@dataclass(frozen=True)
class Run:
    """One row on one problem with one seed, by one build.

    `val` and `test` are metrics by name, the first one is reported.
    """

    dataset: str
    task: str
    regime: Regime
    row: str
    name: str
    seed: int
    seconds: float
    val: dict[str, float]
    test: dict[str, float]
    build: Build = field(default_factory=Build)

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


def read_scored(path: Path, results: Results) -> list[Scored]:
    """The stored labels and scores of all problems of a results file; earlier builds stored no labels."""
    found = []
    for dataset, task, regime in dict.fromkeys(summary.key[:3] for summary in results.summaries):
        file = _labels_file(path, (dataset, task, regime))
        of_problem = [summary for summary in results.summaries if summary.key[:3] == (dataset, task, regime)]
        if not file.exists():
            continue
        scores = {s.row: _stacked(path, s.key, _seeds(results, s.key), "test") for s in of_problem}
        with np.load(file, allow_pickle=False) as arrays:
            labels, cluster, unit = arrays["labels"], arrays["cluster"], str(arrays["unit"])
        found.append(Scored(dataset, task, regime, of_problem[0].metric, labels, cluster, unit, scores))
    return found


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
        """True if the run is stored, with its scores.

        A run of relsql's own row by other code does not count, because the current code is measured. Runs of baselines
        take hours, so they count whatever code made them; the report names the rows whose runs are mixed.
        """
        run = next((run for run in self.results.runs if run.key == key and run.seed == seed), None)
        if run is None or not _scores_file(self.path, key, seed).exists():
            return False
        return run.row not in (DEFAULT, PRETRAINED) or run.build.code == current_build(run.row).code

    def add(
        self, problem: Problem, judge: Judge, row: str, name: str, seed: int, seconds: float, scores: Scores
    ) -> Run:
        """Evaluate and store one run, and update the summary over its seeds.

        Raises:
            ValueError: the scores are not one finite number per label.
            DatabaseError: the stored runs of the problem have other labels.
        """
        val, test = judge.metrics("val", scores["val"]), judge.metrics("test", scores["test"])
        build = current_build(row)
        run = Run(problem.dataset, problem.task.name, problem.regime, row, name, seed, seconds, val, test, build)
        self._keep_labels(problem, run.key[:3])
        _save(_scores_file(self.path, run.key, seed), val=scores["val"], test=scores["test"])
        # Runs of relsql's row by other code are dropped, so that their seeds are not averaged with those of this code.
        self.results.runs = [r for r in self.results.runs if r.key != run.key or self._stays(r, run)] + [run]
        self.results.summaries = [s for s in self.results.summaries if s.key != run.key] + [
            self._summary(problem, run.key)
        ]
        self._write()
        return run

    def _stays(self, stored: Run, run: Run) -> bool:
        """True if a stored run of the same row and problem is kept beside a new one."""
        return stored.seed != run.seed and self.has(stored.key, stored.seed)

    def _keep_labels(self, problem: Problem, key: ProblemKey) -> None:
        """Store the test labels and their clusters; those of earlier runs have to be the same."""
        file, labels = _labels_file(self.path, key), problem.targets("test")
        if not file.exists():
            cluster, unit = clusters(problem, "test")
            _save(file, labels=labels, cluster=cluster, unit=np.array(unit))
            return
        with np.load(file, allow_pickle=False) as arrays:
            if not np.array_equal(arrays["labels"], labels):
                raise DatabaseError(
                    f"'{self.path}' has runs on other test labels of {problem.dataset} {problem.task.name}",
                    fix="python -m benchmarks.accuracy --fresh, or another --out",
                )

    def _summary(self, problem: Problem, key: Key) -> Summary:
        runs = sorted((run for run in self.results.runs if run.key == key), key=lambda run: run.seed)
        seeds = [run.seed for run in runs]
        val, test = (_stacked(self.path, key, seeds, split) for split in ("val", "test"))
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

    def _write(self) -> None:
        """Write a temporary file and rename it, so that an interruption leaves either the old or the new file."""
        temporary = self.path.with_name(f".{self.path.name}.writing")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self.results), indent=1))
        temporary.replace(self.path)


def _scores_file(path: Path, key: Key, seed: int) -> Path:
    return _file(path, *key, str(seed))


def _labels_file(path: Path, key: ProblemKey) -> Path:
    return _file(path, *key)


def _file(path: Path, *parts: str) -> Path:
    return path.with_suffix(".scores") / f"{'--'.join(parts).replace('/', '_')}.npz"


def _save(file: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays to a temporary file and rename it: an interruption leaves no half file."""
    file.parent.mkdir(exist_ok=True)
    temporary = file.with_name(f".{file.name}")
    np.savez_compressed(temporary, allow_pickle=False, **arrays)
    temporary.replace(file)


def _seeds(results: Results, key: Key) -> list[int]:
    return sorted(run.seed for run in results.runs if run.key == key)


def _stacked(path: Path, key: Key, seeds: list[int], split: str) -> Floats:
    """The scores of a row, float64 [seeds, labels]."""
    parts = []
    for seed in seeds:
        with np.load(_scores_file(path, key, seed), allow_pickle=False) as arrays:
            parts.append(arrays[split])
    return np.stack(parts)


def _calibration(problem: Problem, val: Floats, test: Floats) -> Calibration:
    """Calibration on test; `val` and `test` are scores, float64 [seeds, labels]."""
    labels = problem.targets("test")
    if problem.task.is_classification:
        errors = [expected_calibration_error(reliability(labels, each)) for each in test]
        return Calibration(float(np.mean(errors)), reliability(np.tile(labels, len(test)), test.ravel()))
    pairs = zip(val, test, strict=True)
    return Calibration(intervals=tuple(interval_check(problem.targets("val"), v, labels, t) for v, t in pairs))
