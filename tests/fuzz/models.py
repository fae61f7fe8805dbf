"""A tiny model of a random database: one by one, all at once, in parts, by torch, onnxruntime and plain SQL."""

from __future__ import annotations

import random


import duckdb

from relsql.publishing import publish
from relsql.registry import active_card
from relsql.sql import ident
from relsql.task import Task
from relsql.train_options import TrainOptions
from relsql.training import train
from udfs.attach import attach, detach

TOLERANCE, SQL_TOLERANCE = 1e-6, 1e-5
MODEL = "fuzz"
OPTIONS = TrainOptions(encoder_steps=2, fanout=3, channels=8, epochs=1, batch_size=64, threads=1)

Scores = dict[str, float | None]


def check_model(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, rng: random.Random) -> None:
    """Train a model and compare its scores.

    Raises:
        AssertionError: they differ.
        RelsqlError: the data do not allow training, or the model cannot be published.
    """
    train(con, task, name=MODEL, options=OPTIONS)
    attach(con)
    card = active_card(con, catalog, MODEL)
    key, source = ident(card.entity.primary_key[0]), card.entity.sql(catalog)
    moment = "TIMESTAMP '2022-06-01'"
    call = f"predict_{MODEL}({key}, as_of := {moment})"
    every = _scores(con, f"SELECT {key}, {call} FROM {source} WHERE {key} IS NOT NULL")
    size = max([1.0, *(abs(score) for score in every.values() if score is not None)])
    _close("in another order", _scores(con, f"SELECT {key}, {call} FROM {source} ORDER BY hash({key}::VARCHAR)"), every, size)
    batch = _scores(con, f"SELECT {key}, score FROM predict_{MODEL}_batch(as_of := {moment})")
    _close("by batch", batch, {entity: every[entity] for entity in batch}, size)
    parts: Scores = {}
    for part in range(3):
        parts |= _scores(con, f"SELECT {key}, {call} FROM {source} WHERE hash({key}::VARCHAR) % 3 = {part}")
    _close("in parts", parts, every, size)
    entities = [entity for (entity,) in con.execute(f"SELECT {key} FROM {source}").fetchall() if entity is not None]
    for entity in rng.sample(entities, min(4, len(entities))):
        [(score,)] = con.execute(f"SELECT predict_{MODEL}(?, as_of := {moment})", [entity]).fetchall()
        _close("one by one", {repr(entity): score}, {repr(entity): every[repr(entity)]}, size)
    publish(con, MODEL)
    detach(con)
    plain = _scores(con, f"SELECT {key}, {call} FROM {source} WHERE {key} IS NOT NULL")
    _close("in plain SQL", plain, every, 10 * size)


def _scores(con: duckdb.DuckDBPyConnection, query: str) -> Scores:
    return {repr(entity): score for entity, score in con.execute(query).fetchall() if entity is not None}


def _close(how: str, found: Scores, expected: Scores, size: float) -> None:
    for entity in {**found, **expected}:
        a, b = found.get(entity), expected.get(entity)
        same = a == b or (a is not None and b is not None and abs(a - b) <= TOLERANCE * size)
        assert same, f"scored {how}, {entity} has {a}, not {b}"


