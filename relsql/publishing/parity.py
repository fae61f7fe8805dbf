"""Compare the scores of torch, of onnxruntime and of plain SQL on held-out seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from relsql.database.queries.sealed import sealed
from relsql.gather.arrays.blocks import as_of_days, decode_blocks, existing_seeds
from relsql.gather.layout import layouts_of
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.gather.sql.seeds import latest_sql
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import function_names
from relsql.schema.entity_keys import key_known_sql, key_parts, key_sql
from relsql.schema.relations import relation_sql
from relsql.schema.times.events import time_sql
from relsql.sql_text import ident, literal
from relsql.tasks.kinds.classes import Classes
from udfs.attach import load_scorer, register_functions
from udfs.components import time_limit
from udfs.macros import score_argument

TOLERANCE = 1e-5
"""Largest allowed difference of scores: absolute for probabilities, relative to the largest value for regression."""

ENTITIES = 200
"""Number of entities that are scored at each as_of."""

RUN_SECONDS = 60.0
"""Time limit of one run of an ONNX component; a batch usually takes a few hundredths of a second."""

_Score = tuple[float, ...] | None
"""The score; of a model of several classes their probabilities, of a forecast in steps all of them."""

_Result = tuple[_Score, str, int, bool]
"""Score, status, evidence, and whether the predicted class follows from the probabilities (true without any)."""

# Seeds are identified by text: Arrow and DuckDB convert a UUID to different Python values, some time types need a
# library that may not be installed, and Python has no times after the year 9999. The double underscore avoids clashes,
# since path names have none.
_SEED = ("seed__entity", "seed__moment")
_SEED_SQL = f"CAST({ENTITY} AS VARCHAR) AS {_SEED[0]}, CAST({AS_OF} AS VARCHAR) AS {_SEED[1]}"
_SEEDS = "relsql_parity_seeds"


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences between scores of the same seeds.

    Attributes:
        seeds: number of seeds with a score.
        pending: seeds that are left out because one of their texts has no stored embedding yet.
        torch_onnx: difference between torch and onnxruntime.
        onnx_sql: difference between onnxruntime and SQL; infinite if only one of them has a score, or if status or
            evidence differ.
    """

    seeds: int
    pending: int
    torch_onnx: float
    onnx_sql: float

    @property
    def largest(self) -> float:
        """The larger of the two differences."""
        return max(self.torch_onnx, self.onnx_sql)


def measure_parity(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, artifacts: Mapping[str, bytes]
) -> Parity:
    """Score entities with torch, onnxruntime and SQL, as of the end of training, the start of test, and now.

    Args:
        con: a connection whose current database is `catalog`, with the model's macros published there.
        catalog: database that holds the model and the tables.
        card: the model's card.
        artifacts: its artefacts.
    """
    from exporters.torch_modules import load_modules, score_blocks

    con.execute(f"CREATE OR REPLACE TEMP TABLE {_SEEDS} AS {sealed(_seeds_sql(catalog, card))}")
    seeds = f"SELECT * FROM temp.{_SEEDS}"
    scorer = load_scorer(con, catalog, card)
    register_functions(con, scorer)

    gather = replace(card.gather(catalog), message_functions={}, coded_texts=False)
    gathered = sealed(f"SELECT *, {_SEED_SQL} FROM ({gather.query(seeds)}) ORDER BY {ENTITY} ASC, {AS_OF} ASC")
    rows = con.sql(gathered).to_arrow_table()
    layouts = layouts_of(card.paths, card.inputs)
    blocks, known = existing_seeds(decode_blocks(rows.column, layouts), layouts)
    days = as_of_days(rows.column(AS_OF).combine_chunks())[known]
    scores = score_blocks(*load_modules(card, artifacts), blocks, layouts, scorer.texts.embeddings, days)
    entities, moments = (rows.column(name).to_pylist() for name in _SEED)
    values = scores.reshape(len(scores), -1).tolist()
    torch_scores = {(entities[i], moments[i]): tuple(score) for i, score in zip(known, values, strict=True)}

    gather = card.gather(catalog)
    select = f"seed.{ENTITY}, seed.{AS_OF}, {card.score_function}({score_argument(gather)}) AS result"
    with time_limit(RUN_SECONDS):
        onnx = _results(con, card, sealed(gather.query(seeds, select=select)))
    _, full, _ = function_names(card.name)
    ids = ", ".join(key_parts(card.entity, ENTITY).values())
    called = f"SELECT {ENTITY}, {AS_OF}, {ident(full)}({ids}, as_of := {AS_OF}) AS result FROM ({seeds})"
    sql = _results(con, card, called)
    found = _compare(card, torch_scores, onnx, sql)
    if not _defaults_hold(con, card, seeds, latest_sql(gather.rows)):
        found = replace(found, onnx_sql=math.inf)
    con.execute(f"DROP TABLE temp.{_SEEDS}")
    return found


def _defaults_hold(con: duckdb.DuckDBPyConnection, card: ModelCard, seeds: str, latest: str) -> bool:
    """True if the functions give the same result without `as_of` as at the latest event, and none where it is NULL.

    The catalog does not show the defaults of parameters.
    """
    score, full, _ = map(ident, function_names(card.name))
    key = _SEED[0]
    ids = ", ".join(key_parts(card.entity, key).values())
    query = f"""
        SELECT missing IS NULL, score,
            [CAST(given.as_of AS VARCHAR), given.status, CAST(given.evidence AS VARCHAR)], given.score,
            [CAST(by_default.as_of AS VARCHAR), by_default.status, CAST(by_default.evidence AS VARCHAR)],
            by_default.score
        FROM (
            SELECT {full}({ids}, as_of := seed__latest) AS given, {full}({ids}) AS by_default, {score}({ids}) AS score,
                {full}({ids}, as_of := NULL) AS missing
            FROM (SELECT DISTINCT {ENTITY} AS {key} FROM ({seeds})), (SELECT ({sealed(latest)}) AS seed__latest)
        )"""

    def first(score: Any) -> Any:
        return score[0] if card.task.steps and score is not None else score

    return all(
        no_moment
        and described == described_by_default
        and _is_close(plain, first(given))
        and _is_close(first(by_default), first(given))
        for no_moment, plain, described, given, described_by_default, by_default in con.execute(query).fetchall()
    )


def _is_close(one: object, other: object) -> bool:
    """True for scores of two calls, which differ in their last bits: lists are summed in any order."""
    if not isinstance(one, float) or not isinstance(other, float):
        return one == other
    return _difference((one,), (other,)) <= TOLERANCE * max(1.0, abs(other))


def _seeds_sql(catalog: str, card: ModelCard) -> str:
    """A query for some entities, chosen by a hash of their keys, at each as_of; for rows, at their own time."""
    key = key_sql(card.entity, "e")
    if card.task.asked.own_time:
        time = time_sql(card.entity, "e")
        return (
            f"SELECT DISTINCT {key} AS {ENTITY}, {time} AS {AS_OF}\nFROM {relation_sql(card.entity, catalog)} e\n"
            f"WHERE {key_known_sql(card.entity, 'e')} AND isfinite({time})\n"
            f"ORDER BY md5(CAST({ENTITY} AS VARCHAR)) ASC LIMIT {ENTITIES}"
        )
    moments = [literal(card.trained_until), f"({latest_sql(card.gather(catalog).rows)})"]
    moments += [literal(card.task.test_timestamp)] if card.task.test_timestamp else []
    return (
        f"SELECT DISTINCT {ENTITY}, {AS_OF}\n"
        f"FROM (\n"
        f"    SELECT {key} AS {ENTITY} FROM {relation_sql(card.entity, catalog)} e "
        f"WHERE {key_known_sql(card.entity, 'e')}\n"
        f"    ORDER BY md5(CAST({key} AS VARCHAR)) ASC LIMIT {ENTITIES}\n"
        f"), (SELECT unnest([{', '.join(moments)}]) AS {AS_OF})"
    )


def _results(con: duckdb.DuckDBPyConnection, card: ModelCard, query: str) -> dict[tuple[str, str], _Result]:
    # Nothing is computed in SQL here: a macro of the user's could have the name of any function.
    more = ", result.probabilities" if card.classes else ""
    rows = con.execute(f"SELECT {_SEED_SQL}, result.score, result.status, result.evidence{more} FROM ({query})")
    return {(entity, as_of): _result(card.classes, *found) for entity, as_of, *found in rows.fetchall()}


def _result(
    classes: Classes | None, score: Any, status: str, evidence: int, probabilities: Mapping[Any, float] | None = None
) -> _Result:
    if score is None:
        return None, status, evidence, True
    if isinstance(score, list) and classes is None:
        return tuple(score), status, evidence, True
    if probabilities is None:
        return (score,), status, evidence, True
    if classes and classes.thresholds is not None:
        # A probability may be at its threshold up to rounding.
        parts = zip(probabilities.items(), classes.thresholds, strict=True)
        named = all(
            (key in score) == (value >= least) or abs(value - least) <= TOLERANCE for (key, value), least in parts
        )
        return tuple(probabilities.values()), status, evidence, named
    # Two classes may be equally likely up to rounding.
    named = probabilities[score] >= max(probabilities.values()) - TOLERANCE
    return tuple(probabilities.values()), status, evidence, named


def _compare(
    card: ModelCard,
    torch_scores: Mapping[tuple[str, str], tuple[float, ...]],
    onnx: Mapping[tuple[str, str], _Result],
    sql: Mapping[tuple[str, str], _Result],
) -> Parity:
    known = {seed: result for seed, result in onnx.items() if result[0] is not None}
    # Differences of regression values are relative, because their unit is arbitrary.
    size = 1.0
    if not card.task.is_classification:
        size = max([1e-30, *(abs(value) for score in torch_scores.values() for value in score)])
    pending = {seed for seed, result in sql.items() if result[1] == "text_pending"}
    torch_onnx = max([0.0, *(_difference(score, onnx[seed][0]) / size for seed, score in torch_scores.items())])
    onnx_sql = 0.0
    for seed, (score, *described) in onnx.items():
        if seed in pending:
            continue
        other, *other_described = sql[seed]
        if (score, described) != (other, other_described):
            onnx_sql = max(onnx_sql, _difference(score, other) / size if described == other_described else math.inf)
    return Parity(len(known), len(pending), torch_onnx, onnx_sql)


def _difference(one: _Score, other: _Score) -> float:
    """The largest absolute difference of two scores; infinite if one of them is missing or not a number."""
    if one is None or other is None or not all(map(math.isfinite, (*one, *other))):
        return math.inf
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
