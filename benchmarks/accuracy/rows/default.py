"""relsql with default options: trained by `relsql.train`, scored by `SELECT predict_x(entity, as_of := time)`."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.rows import Scores
from benchmarks.data.problems import Problem
from relsql.database.connections import open_database
from relsql.errors import TrainingError
from relsql.evaluation.predictions import predict_split
from relsql.training.options import TrainOptions
from relsql.training.train import train

MODEL = "bench"


@dataclass(frozen=True)
class Default:
    """relsql with the given options; without options, the default that users get."""

    name: str = "relsql default"
    options: TrainOptions = field(default_factory=TrainOptions)

    def scores(self, problem: Problem, seed: int) -> Scores:
        """See `Row`; scores on val are those of the model before it is trained on val labels too."""
        options = replace(self.options, seed=seed, regime=problem.regime)
        with tempfile.TemporaryDirectory(prefix="relsql-bench-") as folder:
            path = Path(shutil.copy(problem.path, Path(folder) / "data.duckdb"))
            with closing(open_database(path)) as con:
                trained = train(con, problem.task, name=MODEL, options=options, force=True)
                assert trained.validation_scores is not None
                predictions = predict_split(con, MODEL, "test")
        found: Scores = {"val": trained.validation_scores.astype(np.float64), "test": _known(predictions.scores)}
        for split, values in found.items():
            if len(values) != problem.labels[split].num_rows:
                raise TrainingError(f"{len(values)} of {problem.labels[split].num_rows} {split} labels have a score")
        return found


def _known(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scores without NaN; an entity that is not visible at as_of has no score."""
    return scores[np.isfinite(scores)]
