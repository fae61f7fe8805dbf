"""A tiny model of a random database, scored one by one, all at once, in parts, by torch, onnxruntime and plain SQL."""

from __future__ import annotations

import random

import duckdb

from relsql.publishing.publish import publish
from relsql.registry.models import active_card
from relsql.schema.entity_keys import key_known_sql, key_parts, key_sql
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.train import train
from udfs.attach import attach, detach

TOLERANCE, SQL_TOLERANCE = 1e-6, 1e-5
MODEL = "fuzz"
OPTIONS = TrainOptions(encoder_steps=2, fanout=3, channels=8, epochs=1, batch_size=64, threads=1)

Scores = dict[str, float | None]


def check_model(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, rng: random.Random) -> None:
    """Train a model and compare its scores.

    Raises:
        AssertionError: scores differ.
        RelsqlError: the data do not allow training, or the model cannot be published.
    """
    train(con, task, name=MODEL, options=OPTIONS)
    attach(con)
    card = active_card(con, catalog, MODEL)
    known, ids = key_known_sql(card.entity), ", ".join(key_parts(card.entity, "k").values())
    source = f"(SELECT *, rowid AS n, {key_sql(card.entity)} AS k FROM {card.entity.sql(catalog)} WHERE {known})"
    moment = "as_of := TIMESTAMP '2022-06-01'"
    calls = f"SELECT CAST(k AS VARCHAR), predict_{MODEL}({ids}, {moment}) FROM {source} WHERE true"
    every = _scores(con, calls)
    size = max([1.0, *(abs(score) for score in every.values() if score is not None)])
    _close("in another order", _scores(con, f"{calls} ORDER BY hash(n)"), every, size)
    batch = _scores(con, f"SELECT CAST({key_sql(card.entity)} AS VARCHAR), score FROM predict_{MODEL}_batch({moment})")
    _close("by batch", batch, {entity: every[entity] for entity in batch}, size)
    parts: Scores = {}
    for part in range(3):
        parts |= _scores(con, f"{calls} AND hash(n) % 3 = {part}")
    _close("in parts", parts, every, size)
    for row in rng.sample(range(len(every)), min(4, len(every))):
        one = _scores(con, f"{calls} AND n = {row}")
        _close("one by one", one, {entity: every[entity] for entity in one}, size)
    publish(con, MODEL)
    detach(con)
    _close("in plain SQL", _scores(con, calls), every, size, SQL_TOLERANCE)


def _scores(con: duckdb.DuckDBPyConnection, query: str) -> Scores:
    return dict(con.execute(query).fetchall())


def _close(how: str, found: Scores, expected: Scores, size: float, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError if scores differ by more than `tolerance`; for regression it is relative to the largest."""
    for entity in {**found, **expected}:
        a, b = found.get(entity), expected.get(entity)
        same = a == b or (a is not None and b is not None and abs(a - b) <= tolerance * size)
        assert same, f"scored {how}, {entity} has {a}, not {b}"
