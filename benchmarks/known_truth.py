"""Measure how much of the attainable gain over the entity's own columns relsql recovers on data with a known truth.

    python -m benchmarks.known_truth [--databases league,clinics,tickets] [--seeds 1] [--out FILE.json]

Every database is generated, a model is trained with default options, and all ROC-AUCs are taken on the test split:

    own columns   `relsql.evaluation.baseline`: gradient boosting on the entity table alone
    told: ...     linear model or gradient boosting, whichever is better on validation, on the planted features: what
                  this number of labels allows if a learner knows the right features
    relsql        the trained model, through its SQL function
    attainable    the best forecast from all rows up to as_of, given the process that generates the data
    known state   the same if the hidden states at as_of are known as well, which no model can reach

    share recovered = (relsql - own columns) / (attainable - own columns)
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.generated import DATABASES, Generated, read_labels, read_truth
from benchmarks.problems import DEFAULT_CACHE, cache_folder
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.demo.truth import roc_auc
from relsql.errors import DatabaseError, ScoringError, nearest
from relsql.evaluation.baseline import entity_columns_auc
from relsql.schema.reading import read_schema
from relsql.tasks.splits import Split
from relsql.tasks.task import read_task

TARGET = 0.95
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
    from relsql.evaluation.evaluate import predict_split

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


def table(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table, one row per ROC-AUC of each database: mean and standard deviation over the seeds, and share."""
    lines = ["| database | forecast | test ROC-AUC | share recovered |", "| --- | --- | --- | --- |"]
    for name in dict.fromkeys(outcome.database for outcome in outcomes):
        chosen = [outcome for outcome in outcomes if outcome.database == name]
        for row, values in _rows(chosen):
            spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
            share = f"{100 * _mean_share(chosen, values):.1f} %"
            lines.append(f"| {name} | {row} | {np.mean(values):.4f}{spread} | {share} |")
    return "\n".join(lines)


def _rows(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[float]]]:
    """Names and values over the seeds of all ROC-AUCs of one database."""
    yield "own columns", [outcome.own_columns for outcome in outcomes]
    for group in list(outcomes[0].told)[1:]:
        yield f"told: {group}", [outcome.told[group] for outcome in outcomes]
    models = [outcome.model for outcome in outcomes if outcome.model is not None]
    if len(models) == len(outcomes):
        yield "**relsql**", models
    yield "attainable", [outcome.attainable for outcome in outcomes]
    yield "known state", [outcome.known_state for outcome in outcomes]


def _mean_share(outcomes: Sequence[Outcome], values: Sequence[float]) -> float:
    """Mean gain divided by mean attainable gain, so that a seed with a small attainable gain does not dominate."""
    own = np.mean([outcome.own_columns for outcome in outcomes])
    attainable = np.mean([outcome.attainable for outcome in outcomes])
    return float((np.mean(values) - own) / (attainable - own))


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One line per database with a model: the share recovered against the target."""
    lines = []
    for name in dict.fromkeys(outcome.database for outcome in outcomes if outcome.model is not None):
        chosen = [outcome for outcome in outcomes if outcome.database == name]
        models = [outcome.model for outcome in chosen if outcome.model is not None]
        told = [list(outcome.told.values())[-1] for outcome in chosen]
        share, reference = _mean_share(chosen, models), _mean_share(chosen, told)
        word = "met" if share >= TARGET else "missed"
        lines.append(
            f"{name}: {100 * share:.1f} % recovered, target {100 * TARGET:.0f} % {word}; "
            f"a learner told where to look recovers {100 * reference:.1f} %"
        )
    return "\n".join(lines)


def write_json(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes with their shares."""
    rows = []
    for outcome in outcomes:
        share = None if outcome.model is None else outcome.share(outcome.model)
        bound = DATABASES[outcome.database].bound
        rows.append(asdict(outcome) | {"share": share, "target": TARGET, "attainable_is": bound})
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.known_truth", description=__doc__.splitlines()[0])
    parser.add_argument("--databases", default=",".join(DATABASES), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=1, help="number of draws of each database")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help="folder for the databases")
    parser.add_argument("--references-only", action="store_true", help="train no relsql model")
    options = parser.parse_args(arguments)
    folder = cache_folder(options.cache) / "known_truth"
    outcomes: list[Outcome] = []
    for name in options.databases.split(","):
        if name not in DATABASES:
            raise DatabaseError(f"there is no generated database '{name}'", expected=nearest(name, DATABASES))
        for seed in range(1, options.seeds + 1):
            outcomes.append(measure(DATABASES[name], seed, folder, None if options.references_only else train_relsql))
            print(_line(outcomes[-1]), file=sys.stderr)
    print("\n".join(filter(None, (table(outcomes), "", verdict(outcomes)))))
    if options.out:
        write_json(options.out, outcomes)


def _line(outcome: Outcome) -> str:
    counts = " / ".join(f"{count:,}" for count in outcome.labels.values())
    model = "" if outcome.model is None else f"relsql {outcome.model:.4f} in {outcome.seconds:.0f} s, "
    return (
        f"{outcome.database} seed {outcome.seed}: {counts} labels, {model}attainable {outcome.attainable:.4f}, "
        f"own columns {outcome.own_columns:.4f}"
    )


if __name__ == "__main__":
    main()
