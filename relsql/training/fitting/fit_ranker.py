"""Fit the ranker of a recommendation: boosted trees over the numbers of candidates.

The number of trees is chosen on validation.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from relsql.database.names import unique_name
from relsql.database.queries.sealed import sealed
from relsql.errors import TrainingError
from relsql.evaluation.metrics.ranking_metrics import ranking_metrics
from relsql.gather.candidates.features import FEATURES, Candidates
from relsql.gather.candidates.ranker import BASELINES, MAX_LEAVES, Ranker, Tree
from relsql.gather.candidates.ranking import Ranking
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.sql_text import literal
from relsql.training.fitting.fit_trees import load_lightgbm
from relsql.typing import IntArray

MAX_SEEDS = 6_000
"""Only the last labels are learned from; each has up to 300 candidates."""

STEPS = (10, 20, 40, 60, 80, 100, 150)
"""The numbers of trees that are compared on validation."""

SETTINGS: dict[str, Any] = {
    "objective": "lambdarank",
    "num_leaves": MAX_LEAVES,
    "learning_rate": 0.1,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    # Every number has a value, even for a pair without interactions.
    "use_missing": False,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True)
class RankedRows:
    """The candidates of labelled seeds, in the order of the seeds, popular items first.

    Attributes:
        values: float64 [rows, features].
        wanted: bool [rows], whether the item is in the label.
        sizes: int64 [seeds], the number of candidates of each seed.
        counts: int64 [seeds], the number of items in its label.
        scores: by name, the score that SQL computes, float64 [rows].
    """

    values: npt.NDArray[np.float64]
    wanted: npt.NDArray[np.bool_]
    sizes: IntArray
    counts: IntArray
    scores: dict[str, npt.NDArray[np.float64]]

    def hits(self, scores: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.bool_]:
        """Which of the first k candidates by score are in the label, bool [seeds, k]."""
        found = np.zeros((len(self.sizes), k), dtype=bool)
        ends = np.cumsum(self.sizes)
        for row, (start, end) in enumerate(zip(ends - self.sizes, ends, strict=True)):
            best = np.argsort(-scores[start:end], kind="stable")[:k]
            found[row, : len(best)] = self.wanted[start:end][best]
        return found

    def metrics(self, scores: npt.NDArray[np.float64], k: int) -> dict[str, float]:
        """The metrics of a ranking by score."""
        return ranking_metrics(self.hits(scores, k), self.counts)


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """A ranker fitted on all labels, the metrics of one fitted on the training labels, and its difference from SQL."""

    ranker: Ranker
    metrics: dict[str, float]
    parity: float


def ranked_rows(con: duckdb.DuckDBPyConnection, catalog: str, ranking: Ranking, labels: pa.Table) -> RankedRows:
    """The candidates of the last labels, in the form of `relsql.tasks.labels.label_table.LabelTable.table`."""
    labels = labels.slice(max(0, labels.num_rows - MAX_SEEDS))
    labels = labels.append_column("position", pa.array(np.arange(labels.num_rows)))
    name = unique_name("relsql_labels")
    con.register(name, labels)
    try:
        # Items seen together are counted for each moment, so all moments at once would multiply the memory.
        moments = pc.unique(labels.column("as_of")).to_pylist()
        found = pa.concat_tables([_rows_at(con, catalog, ranking, name, moment) for moment in moments])
    finally:
        con.unregister(name)
    columns = {key: np.asarray(found.column(key)) for key in found.column_names}
    return RankedRows(
        np.column_stack([columns[key] for key in FEATURES]),
        columns["wanted"].astype(bool),
        np.bincount(columns["position"], minlength=labels.num_rows).astype(np.int64),
        np.asarray(pc.list_value_length(labels.column("label"))).astype(np.int64),
        {key: columns[key].astype(np.float64) for key in ranking.scores},
    )


def _rows_at(
    con: duckdb.DuckDBPyConnection, catalog: str, ranking: Ranking, labels: str, moment: datetime.datetime
) -> pa.Table:
    """The candidates of the labels at a moment: the label's position, whether the item is in it, numbers and scores."""
    seeds = f"SELECT s.entity AS {ENTITY}, s.as_of AS {AS_OF} FROM {labels} s WHERE s.as_of = {literal(moment)}"
    query = (
        f"SELECT l.position, list_contains(l.label, c.item) AS wanted, c.* EXCLUDE ({ENTITY}, {AS_OF}, item)\n"
        f"FROM (\n{ranking.features_sql(catalog, seeds)}\n) c\n"
        f"JOIN {labels} l ON l.entity = c.{ENTITY} AND l.as_of = c.{AS_OF}\n"
        "ORDER BY l.position ASC, c.item_place ASC, c.own_place ASC, c.item ASC"
    )
    return con.sql(sealed(query)).to_arrow_table()


def fit_ranker(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    candidates: Candidates,
    train: pa.Table,
    validation: pa.Table,
    *,
    k: int,
    seed: int,
) -> FittedRanker:
    """Fit trees on the training labels, choose their number by MAP on validation, and fit that many on all labels.

    Raises:
        TrainingError: LightGBM cannot be loaded, or no candidate of a training label is in the label.
    """
    baselines = Ranking(candidates, {name: sql.format("c") for name, sql in BASELINES.items()})
    rows, checked = (ranked_rows(con, catalog, baselines, labels) for labels in (train, validation))
    if not rows.wanted.any():
        raise TrainingError(
            "no item of the training labels is among the candidates of its entity",
            expected="labels that name items that their entity, or others, interacted with before",
        )
    model = _fit([rows], max(STEPS), k, seed)
    metrics = {n: checked.metrics(model.predict(checked.values, num_iteration=n), k) for n in STEPS}
    rounds = max(STEPS, key=lambda n: (metrics[n]["map"], -n))
    final = _fit([rows, checked], rounds, k, seed)
    trees = tuple(_tree(each["tree_structure"]) for each in final.dump_model()["tree_info"])
    ranker = Ranker(candidates.way, candidates.horizon_days, trees)
    scored = ranked_rows(con, catalog, replace(baselines, scores={"score": ranker.score_sql("c")}), validation)
    parity = float(np.abs(scored.scores["score"] - final.predict(scored.values)).max(initial=0.0))
    found = {f"val_{name}": value for name, value in metrics[rounds].items()}
    found |= {f"{name}_val_map": checked.metrics(scores, k)["map"] for name, scores in checked.scores.items()}
    return FittedRanker(ranker, {**found, "trees": float(len(trees))}, parity)


def _fit(parts: list[RankedRows], rounds: int, k: int, seed: int) -> Any:
    lgb = load_lightgbm()
    sizes = np.concatenate([part.sizes for part in parts])
    data = lgb.Dataset(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.wanted for part in parts]).astype(np.int32),
        group=sizes[sizes > 0],
        feature_name=list(FEATURES),
    )
    return lgb.train({**SETTINGS, "lambdarank_truncation_level": k + 5, "seed": seed}, data, rounds)


def _tree(root: dict[str, Any]) -> Tree:
    """A tree of LightGBM's dump."""
    if "split_feature" not in root:
        return Tree((), (), (), (), (float(root["leaf_value"]),))
    questions, leaves = dict[int, dict[str, Any]](), dict[int, float]()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            questions[node["split_index"]] = node
            waiting += [node["left_child"], node["right_child"]]
        else:
            leaves[node["leaf_index"]] = float(node["leaf_value"])
    ordered, names = [questions[i] for i in range(len(questions))], list(FEATURES)

    def place(node: dict[str, Any]) -> int:
        return int(node["split_index"] if "split_feature" in node else -1 - node["leaf_index"])

    return Tree(
        tuple(names[node["split_feature"]] for node in ordered),
        tuple(float(node["threshold"]) for node in ordered),
        tuple(place(node["left_child"]) for node in ordered),
        tuple(place(node["right_child"]) for node in ordered),
        tuple(leaves[i] for i in range(len(leaves))),
    )
