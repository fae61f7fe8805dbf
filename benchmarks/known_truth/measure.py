"""Measure one generated database: the references, a learner that is given the planted features, and a trained model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.data.generated import Generated, read_labels, read_truth
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.demo.truth import roc_auc
from relsql.errors import ScoringError
from relsql.evaluation.baseline import entity_columns_auc
from relsql.schema.reading import read_schema
from relsql.tasks.splits import Split
from relsql.tasks.stored_tasks import read_task

MODEL = "known_truth"
FloatArray = npt.NDArray[np.float64]
Score = Callable[[duckdb.DuckDBPyConnection, str], FloatArray]
"""Trains on the task with the given name and returns one score per test label, in the order of the labels."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """ROC-AUCs on the test split of one database; `model` and `seconds` are None if no model was trained."""

    database: str
    seed: int
    labels: dict[Split, int]
    positive_rate: float
    own_columns: float
    told: dict[str, float]
    attainable: float
    known_state: float
    model: float | None = None
    seconds: float | None = None

    def share(self, auc: float) -> float:
        """Fraction of the attainable gain over the own columns."""
        return (auc - self.own_columns) / (self.attainable - self.own_columns)


def measure(database: Generated, seed: int, folder: Path, score: Score | None = None) -> Outcome:
    """Generate a database in `folder`, and evaluate the references and, if `score` is given, a model."""
    path = folder / f"{database.name}-{seed}.duckdb"
    database.create(path, seed)
    with open_database(path) as con:
        catalog = current_catalog(con)
        labels = read_labels(con, database.task)
        test = np.asarray(labels["test"]["label"])
        truth = read_truth(path, labels["test"])
        schema, task = read_schema(con, catalog), read_task(con, catalog, database.task)
        own_columns = entity_columns_auc(con, catalog, schema, task, ("test",))["test"]
        told = _told(con, database, labels)
        model, started = None, time.perf_counter()
        if score is not None:
            model = roc_auc(test, score(con, database.task))
        return Outcome(
            database.name,
            seed,
            {split: table.num_rows for split, table in labels.items()},
            float(test.mean()),
            own_columns,
            told,
            roc_auc(test, truth["forecast"]),
            roc_auc(test, truth["known_state"]),
            model,
            None if score is None else time.perf_counter() - started,
        )


def train_relsql(con: duckdb.DuckDBPyConnection, task: str) -> FloatArray:
    """Train a model with default options and score the test split through its SQL function.

    Raises:
        ScoringError: a label row has no score.
    """
    import relsql
    from relsql.evaluation.predictions import predict_split

    relsql.train(con, task, name=MODEL)
    scores = predict_split(con, MODEL, "test").scores
    missing = int(np.isnan(scores).sum())
    if missing:
        raise ScoringError(f"{missing} of {len(scores)} test labels of task '{task}' have no score")
    return scores


def _told(con: duckdb.DuckDBPyConnection, database: Generated, labels: dict[Split, pa.Table]) -> dict[str, float]:
    """Test ROC-AUC of the reference learners by group of planted features."""
    features = {split: database.features(con, table) for split, table in labels.items()}
    y = {split: np.asarray(table["label"]) for split, table in labels.items()}
    found = {}
    for group in features["train"]:
        fitted = [model.fit(features["train"][group], y["train"]) for model in _learners()]
        scores = [{split: each.predict_proba(features[split][group])[:, 1] for split in labels} for each in fitted]
        best = max(scores, key=lambda score: roc_auc(y["val"], score["val"]))
        found[group] = roc_auc(y["test"], best["test"])
    return found


def _learners() -> Iterator[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(add_indicator=True, keep_empty_features=True)
    for inverse_penalty in (1e-3, 1e-2, 1e-1):
        yield make_pipeline(imputer, StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=1000))
    yield HistGradientBoostingClassifier(learning_rate=0.05, max_iter=100, max_leaf_nodes=8, random_state=0)
