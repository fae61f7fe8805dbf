"""Attach a database's models to a connection: functions on the DuckDB instance, temporary macros on the connection."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from relsql.card import ModelCard, layouts_of
from relsql.errors import ModelError, nearest
from relsql.registry import check_drift, read_artifacts, read_card, read_models
from relsql.schema import current_catalog, read_schema
from relsql.sql import ident
from relsql.store import open_database
from udfs.functions import ArrowFunction, create_arrow_function
from udfs.macros import macro_statements, score_parameter
from udfs.messages import MESSAGE_SQL_TYPE
from udfs.scorer import RESULT_SQL_TYPE, Scorer

_SCORERS: dict[str, Scorer] = {}
"""Scorers by card identity, kept for the life of the process, as the functions that call them are."""

_LOCK = threading.Lock()


def connect(path: str | Path, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file and attach all its models.

    Raises:
        DatabaseError: the file cannot be opened.
    """
    con = open_database(path, read_only=read_only)
    try:
        attach(con)
    except BaseException:
        con.close()
        raise
    return con


def attach(
    con: duckdb.DuckDBPyConnection, *, database: str | None = None, models: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Make the models of an attached database callable on this connection.

    Creates `predict_<model>`, `predict_<model>_full`, `predict_<model>_batch` and `row_text_<table>` as temporary
    macros: they belong to this connection, so a cursor has to be attached too. Nothing is written to the database.
    Calling it again is cheap, and picks up models trained since.

    Args:
        con: any open connection.
        database: name of the attached database; default: the current one.
        models: names of the models; default: all.

    Returns:
        Names of the macros.

    Raises:
        ModelError: a model does not exist. SchemaDriftError: its tables changed. ArtifactError: it is damaged.
    """
    catalog = database or current_catalog(con)
    active = {model.name: model for model in read_models(con, catalog) if model.status == "active"}
    for name in models or ():
        if name not in active:
            raise ModelError(
                f"model '{name}' does not exist in database '{catalog}'",
                expected=nearest(name, active),
                fix=f"relsql train FILE TASK --name {name}",
            )
    schema = read_schema(con, catalog) if active else None
    created: list[str] = []
    for name in models if models is not None else active:
        card = read_card(con, catalog, name, active[name].version)
        assert schema is not None
        check_drift(card, schema)
        created += attach_model(con, catalog, card)
    return tuple(dict.fromkeys(created))


def attach_model(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, *, tables_from: str | None = None
) -> list[str]:
    """Create the functions and macros of one model version; returns the names of the macros.

    Args:
        con: any open connection.
        catalog: database that holds the model.
        card: the model's card.
        tables_from: database whose tables the macros read; default: `catalog`.

    Raises:
        ArtifactError: an artefact is missing or damaged.
    """
    register_functions(con, load_scorer(con, catalog, card))
    statements = macro_statements(card, tables_from or catalog)
    for _, statement in statements:
        con.execute(statement)
    return [macro for macro, _ in statements]


def detach(con: duckdb.DuckDBPyConnection) -> None:
    """Drop relsql's temporary macros from this connection; those of other connections stay."""
    query = """SELECT DISTINCT function_name, function_type FROM duckdb_functions()
               WHERE database_name = 'temp' AND function_type IN ('macro', 'table_macro')
                 AND macro_definition LIKE '%relsql_%'"""
    for name, kind in con.execute(query).fetchall():
        con.execute(f"DROP MACRO {'TABLE ' if kind == 'table_macro' else ''}IF EXISTS temp.{ident(name)}")


def load_scorer(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> Scorer:
    """The process's scorer of a model version, which will find the row embeddings stored in the database.

    Raises:
        ArtifactError: an artefact is missing or damaged.
    """
    with _LOCK:
        scorer = _SCORERS.get(card.identity)
    if scorer is None:
        new = Scorer(card, read_artifacts(con, catalog, card))
        with _LOCK:
            scorer = _SCORERS.setdefault(card.identity, new)
    scorer.texts.add(*scorer.stored.attach(con, catalog))
    return scorer


def register_functions(con: duckdb.DuckDBPyConnection, scorer: Scorer) -> None:
    """Register a scorer's functions on the connection's DuckDB instance, once."""
    card = scorer.card
    # pyarrow imports pandas, where there is one, at the first conversion: not in the middle of a query.
    pa.array([1.0]).to_numpy()
    create_arrow_function(con, card.text_function, scorer.texts.ids, ["VARCHAR"], "INTEGER")
    create_arrow_function(con, card.score_function, scorer.score, [score_parameter(card)], RESULT_SQL_TYPE)
    for layout in layouts_of(card.paths, card.inputs):
        if layout.shared:
            rows = f"STRUCT(hub UBIGINT, rows {layout.arrow_type()}, counts {layout.counts_type()})"
            send = scorer.hubs[layout.name].send
            create_arrow_function(con, card.message_functions[layout.name], send, [rows], MESSAGE_SQL_TYPE)
    create_arrow_function(con, card.encode_function, _encoder(scorer), ["VARCHAR"], f"FLOAT[{card.encoder.width}]")


def _encoder(scorer: Scorer) -> ArrowFunction:
    def encode(texts: pa.Array) -> pa.Array:
        ids = np.asarray(scorer.texts.ids(texts))
        embeddings = scorer.texts.embeddings(ids)
        flat = pa.array(np.ascontiguousarray(embeddings).ravel(), pa.float32())
        return pa.FixedSizeListArray.from_arrays(flat, scorer.texts.width, mask=pa.array(ids == 0))

    return encode
