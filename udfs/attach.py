"""Attach the models of a database: register functions on the DuckDB instance, create macros on the connection."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container, Iterable, Sequence
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from relsql.database.connections import open_database
from relsql.database.names import (
    DEFAULT_SCHEMA,
    Functions,
    Macro,
    current_catalog,
    fold,
    read_functions,
    stored_catalog,
)
from relsql.database.relsql_schema import schema_known
from relsql.errors import DatabaseError, ModelError
from relsql.gather.layout import layouts_of
from relsql.gather.sql.removals.messages import left_parameter
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.function_names import all_names, embed_name, explain_names, predict_name
from relsql.registry.models import active_card, read_artifacts, read_models
from relsql.registry.publications import is_mark, require_unclaimed
from relsql.registry.versions import MODEL_NAME, shared_function, suffix_of
from relsql.schema.indexes import indexed_columns
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from udfs.ambiguous_functions import Ambiguous, ambiguity, find_ambiguous, mark_macro
from udfs.functions import create_arrow_function, scalar_functions
from udfs.hub_messages import MESSAGE_SQL_TYPE
from udfs.macros import model_macros, recommendation_macros, score_parameter
from udfs.scorer import Scorer, result_type

_SCORERS: dict[str, Scorer] = {}
"""Scorers by `ModelCard.functions_id`, kept for the life of the process, like the functions that call them."""

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
    con: duckdb.DuckDBPyConnection,
    *,
    database: str | None = None,
    models: Sequence[str] | None = None,
    shared: bool = False,
    prefix: str | None = None,
) -> tuple[str, ...]:
    """Make the models of an attached database callable on this connection.

    Creates `predict_<model>`, `predict_<model>_full`, `predict_<model>_batch`, `embed_<model>`, `explain_<model>`,
    `explain_<model>_batch` and `row_text_<table>` as temporary macros, for a multiclass task also
    `predict_<model>_classes`. They belong to this connection, so a cursor has to be attached separately. Nothing is
    written to the database. Another call is cheap, and adds models that were trained or promoted since.

    An explicit version, such as `dnf@2`, creates `predict_dnf_v2`, `predict_dnf_v2_full` and `predict_dnf_v2_batch`,
    whichever version is active.

    A function that the models of two databases would have refuses calls, with an error that names both, until one of
    them is attached under a prefix or detached: neither database is silently preferred.

    Args:
        con: any open connection.
        database: name of the attached database; default: the current one.
        models: names of models, or versions of them: `dnf@2`, `dnf@best`, `dnf@previous`; default: all active versions.
        shared: create the macros in the current database, which must be in memory, for all its cursors and
            connections, because some libraries run every query on a new cursor.
        prefix: distinguishes the models of this database from others: `north` creates `predict_north_dnf`.

    Returns:
        Names of the macros.

    Raises:
        DatabaseError: shared macros would be written to a file. ModelError: a model or version does not exist,
            another model's functions have the same names, or the prefix cannot be part of a name. SchemaDriftError: its
            tables changed. ArtifactError: it is damaged.
    """
    catalog = stored_catalog(con, database) if database else current_catalog(con)
    if shared:
        _require_memory(con)
    start = _name_start(prefix)
    with schema_known(con, catalog):
        return _attach(con, catalog, models, shared=shared, start=start)


def _attach(
    con: duckdb.DuckDBPyConnection, catalog: str, models: Sequence[str] | None, *, shared: bool, start: str
) -> tuple[str, ...]:
    """Like `attach`; `start` comes before the names of the models."""
    known = read_models(con, catalog)
    if models is None:
        # Models whose rows are damaged are included: they are refused rather than reported as missing.
        models = list(dict.fromkeys(model.name for model in known))
    cards = {text: active_card(con, catalog, text, recommendations=True) for text in models}
    schema = read_schema(con, catalog) if cards else Schema({})
    suffixes = {text: suffix_of(text, card.name, card.version) for text, card in cards.items()}
    for text, card in cards.items():
        check_drift(card, schema)
        if suffixes[text] != card.name:
            _check_free(text, suffixes[text], {model.name for model in known})
        suffixes[text] = start + suffixes[text]
    _check_distinct(suffixes.values())
    created: list[str] = []
    functions = read_functions(con) if cards else Functions(frozenset(), ())
    ambiguous = find_ambiguous(con, catalog, functions)
    for text, card in cards.items():
        created += attach_model(
            con, catalog, card, suffix=suffixes[text], shared=shared, functions=functions, ambiguous=ambiguous
        )
    return tuple(dict.fromkeys(created))


def _name_start(prefix: str | None) -> str:
    """The text that a prefix puts before the names of models."""
    if prefix is not None and not MODEL_NAME.fullmatch(prefix):
        raise ModelError(
            f"prefix '{prefix}' cannot be part of a function name",
            expected="a letter or underscore, then letters, digits and underscores: prefix='north'",
        )
    return f"{prefix}_" if prefix else ""


def _check_distinct(suffixes: Iterable[str]) -> None:
    """Raise ModelError if a function of one model would replace another model's; earlier builds allowed such names."""
    for first, second in itertools.combinations(sorted(set(suffixes)), 2):
        shared = shared_function(first, second)
        if shared:
            raise ModelError(
                f"the models '{first}' and '{second}' both have a function {shared}",
                expected=f"one of them to be attached: models=['{first}'] or models=['{second}']",
                fix=f"{command('drop', 'FILE', second, '--all')}, or relsql.attach(con, models=[{first!r}])",
            )


def _check_free(text: str, suffix: str, models: Iterable[str]) -> None:
    """Raise ModelError if a pinned version's functions would replace those of another model, attached or not."""
    functions = {fold(name) for name in all_names(suffix)}
    for model in models:
        if functions & {fold(predict_name(model)), fold(explain_names(model)[0])}:
            raise ModelError(
                f"'{text}' would be called by {predict_name(suffix)}, but there is a model '{model}'",
                expected=f"no other model with the function {predict_name(model)}",
                fix=f"relsql train FILE TASK --name OTHER, then {command('drop', 'FILE', model, '--all')}",
            )


def attach_model(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    card: ModelCard,
    *,
    tables_from: str | None = None,
    suffix: str | None = None,
    shared: bool = False,
    functions: Functions | None = None,
    ambiguous: Ambiguous | None = None,
) -> list[str]:
    """Create the functions and macros of one model version; returns the names of the macros.

    Args:
        con: any open connection.
        catalog: database that holds the model.
        card: the model's card.
        tables_from: database whose tables the macros read; default: `catalog`.
        suffix: what follows `predict_` in the names of the macros; default: the model's name.
        shared: see `attach`.
        functions: the functions of the connection, if they have already been read.
        ambiguous: functions that other databases have too, and that therefore refuse calls.

    Raises:
        ArtifactError: an artefact is missing or damaged. ModelError: a macro that is not relsql's has one of the names.
    """
    functions = functions or read_functions(con)
    tables = tables_from or catalog
    if card.ranker:
        macros = recommendation_macros(card, tables, suffix)
    else:
        register_functions(con, load_scorer(con, catalog, card), taken=functions.scalars)
        macros = model_macros(card, tables, suffix, indexed=indexed_columns(con, tables, card.schema))
    names = [macro.name for macro in macros]
    here = current_catalog(con)
    require_unclaimed(functions.find_macros({"temp", here}, names), card.name)
    for macro in macros:
        others = (ambiguous or {}).get(fold(macro.name), frozenset()) - {tables}
        created = macro.refusing(ambiguity(macro.name, card.name, {*others, tables})) if others else macro
        con.execute(created.statement(shared=shared))
        where = Macro(here if shared else "temp", DEFAULT_SCHEMA, macro.name, macro.is_table)
        mark_macro(con, where, card.name, [tables, *sorted(others)])
    _drop_functions_of_former(con, functions, suffix or card.name, names)
    return names


def _drop_functions_of_former(
    con: duckdb.DuckDBPyConnection, functions: Functions, suffix: str, created: Container[str]
) -> None:
    """Drop the functions that only a version of another type of task has, if one was attached."""
    others = [name for name in (*all_names(suffix), embed_name(suffix)) if name not in created]
    for macro in functions.find_macros({"temp"}, others):
        if is_mark(macro.comment):
            con.execute(f"DROP {macro.sql}")


def _require_memory(con: duckdb.DuckDBPyConnection) -> None:
    """Raise DatabaseError if the current database is a file, because macros in it would outlive their functions."""
    current = current_catalog(con)
    query = "SELECT path FROM system.main.duckdb_databases() WHERE database_name = ?"
    if con.execute(query, [current]).fetchall() != [(None,)]:
        raise DatabaseError(
            f"database '{current}' is a file, and shared functions are not written to files",
            expected="a connection from duckdb.connect(), with the file attached",
            fix="ATTACH 'FILE' AS f, then relsql.attach(con, database='f', shared=True)",
        )


def detach(con: duckdb.DuckDBPyConnection) -> None:
    """Drop relsql's temporary macros from this connection; those of other connections stay."""
    for macro in read_functions(con).find_macros(["temp"]):
        if is_mark(macro.comment):
            con.execute(f"DROP {macro.sql}")


def load_scorer(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> Scorer:
    """The process's scorer of a model version, set up to look up row embeddings stored in the database.

    Raises:
        ArtifactError: an artefact is missing or damaged, or a row embedding that was read is damaged.
    """
    with _LOCK:
        scorer = _SCORERS.get(card.functions_id)
    if scorer is None:
        new = Scorer(card, read_artifacts(con, catalog, card))
        with _LOCK:
            scorer = _SCORERS.setdefault(card.functions_id, new)
    scorer.texts.add(*scorer.stored.attach(con, catalog))
    return scorer


def register_functions(con: duckdb.DuckDBPyConnection, scorer: Scorer, *, taken: Container[str] | None = None) -> None:
    """Register a scorer's functions on the connection's DuckDB instance once; `taken` are the names it already has."""
    card = scorer.card
    # pyarrow imports pandas, if it is installed, at the first conversion. This must not happen during a query.
    pa.array([1.0]).to_numpy()
    create = partial(create_arrow_function, con, taken=scalar_functions(con) if taken is None else taken)
    create(card.text_function, scorer.texts.ids, ["VARCHAR"], "INTEGER")
    rows, left = (score_parameter(card, apart) for apart in (card.message_functions, card.left_functions))
    result = result_type(card.classes, card.task.steps)
    create(card.score_function, scorer.score, [rows], result)
    create(card.left_function, scorer.score_left, [left], result)
    create(card.state_function, scorer.embed, [rows], f"FLOAT[{card.channels}]")
    for path, layout in zip(card.paths, layouts_of(card.paths, card.inputs), strict=True):
        rows = f"STRUCT(hub UBIGINT, rows {layout.arrow_type()}, counts {layout.counts_type()})"
        if layout.shared:
            create(card.message_functions[layout.name], scorer.hubs[layout.name].send, [rows], MESSAGE_SQL_TYPE)
        if layout.name in card.left_functions:
            keys, sent = left_parameter(card.rows, path, layout), f"{MESSAGE_SQL_TYPE}[]"
            create(card.left_functions[layout.name], scorer.left_senders[layout.name], [keys], sent)
    create(card.encode_function, scorer.encode_column, ["VARCHAR"], f"FLOAT[{card.encoder.width}]")
