"""Publish a model: its network as plain SQL in the database file, for every DuckDB client.

Everything except row embeddings is written in one transaction: weights, views, macros, their comments and the record.
Before it is committed, the macros are compared with torch and onnxruntime.
"""

from __future__ import annotations

import datetime
import shlex
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from relsql.database.connections import open_database, require_no_log, require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.drafts import complete_draft, draft_path, remove_draft
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import DEFAULT_SCHEMA, current_catalog, find_macros, fold
from relsql.database.relsql_schema import relsql_schema
from relsql.database.relsql_tables import ensure_table, relsql_table
from relsql.database.sources.attach_sources import attach_statements
from relsql.errors import DatabaseError, MissingExtraError, ParityError
from relsql.hints import command
from relsql.publishing.database_copy import copy_database, require_absent
from relsql.publishing.parity import TOLERANCE, Parity, measure_parity
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.function_names import all_names
from relsql.registry.models import active_card, read_artifacts
from relsql.registry.publications import (
    PUBLICATION_FORMAT,
    record_objects,
    remove_publication,
    require_known_format,
    require_published,
    require_unclaimed,
)
from relsql.registry.row_embeddings import create_table
from relsql.schema.indexes import indexed_columns
from relsql.schema.reading import read_schema
from relsql.scoring.refresh import store_embeddings
from relsql.sql_layout import readable
from relsql.typing import PhaseProgress
from relsql.version import __version__

if TYPE_CHECKING:
    from exporters.sql.model import SqlModel

_NEW = "relsql_new_weights"


@dataclass(frozen=True, slots=True)
class Published:
    """A model version that is published as plain SQL.

    Attributes:
        model, version: the version that the macros score with.
        macros: names of the macros.
        parity: the differences between torch, onnxruntime and SQL; None if they were not compared.
        seconds: wall time of publishing.
        without_digest: objects that an earlier build wrote without a digest, so they cannot be checked.
    """

    model: str
    version: int
    macros: tuple[str, ...]
    parity: Parity | None = None
    seconds: float = 0.0
    without_digest: tuple[str, ...] = ()


def publish(con: duckdb.DuckDBPyConnection, model: str, *, progress: PhaseProgress | None = None) -> Published:
    """Write the active version of a model into its database as plain SQL.

    Afterwards its functions, `ModelCard.functions`, work in every DuckDB client that opens the file, without Python; on
    connections that relsql has attached models to, its temporary macros are called.

    Args:
        con: a connection whose current database holds the model.
        model: its name.
        progress: called with the progress of the phases `read`, `embed` (see `relsql.refresh`), `write` and `compare`.

    Raises:
        DatabaseError: the database is read-only or full. ModelError: there is no such model, or a macro that relsql did
            not create has the same name. SchemaDriftError: its tables changed. ArtifactError: it is damaged, or was
            published by a newer relsql. ParityError: the scores differ; nothing was written. MissingExtraError: torch
            is missing.
        KeyboardInterrupt: interrupted; what was published before is unchanged.
    """
    started = time.perf_counter()
    report = progress or (lambda phase, fraction, metrics: None)
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    require_writable(con, catalog, "publishing")
    _require_unambiguous(con, catalog, card)
    check_drift(card, read_schema(con, catalog))
    require_unclaimed(find_macros(con, [catalog], all_names(card.name)), card.name, made_for=card.name)
    require_known_format(con, catalog, card.name)
    artifacts = read_artifacts(con, catalog, card)
    with task_cursor(con, catalog) as cursor, keyboard_interrupts():
        store_embeddings(cursor, catalog, card, progress=progress)
        report("write", 0.0, {})
        with transaction(cursor):
            remove_publication(cursor, catalog, card.name)
            macros = _write(cursor, catalog, card, artifacts)
            report("write", 1.0, {})
            report("compare", 0.0, {})
            parity = measure_parity(cursor, catalog, card, artifacts)
            require_parity(card, parity)
            _record(cursor, catalog, card, parity)
        report("compare", 1.0, {"seeds": parity.seeds, "difference": parity.largest})
    return Published(card.name, card.version, macros, parity, time.perf_counter() - started)


def _require_unambiguous(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> None:
    """Check that no schema that published SQL names has the database's name.

    Published SQL names schemas without the database, since a file may be attached under any name. DuckDB then cannot
    tell a schema from a database of the same name.

    Raises:
        DatabaseError: a schema has the database's name.
    """
    schemas = {relsql_schema(con, catalog), *(table.schema_name for table in card.schema.tables.values())}
    # DuckDB never takes `main` for a database.
    if fold(catalog) in map(fold, schemas - {DEFAULT_SCHEMA}):
        raise DatabaseError(
            f"database '{catalog}' has the same name as one of its schemas, which plain SQL could not tell apart",
            expected="a file of another name",
            fix=f"mv {shlex.quote(f'{catalog}.duckdb')} NEW.duckdb, then {command('publish', 'NEW.duckdb', card.name)}",
        )


def publication_sql(con: duckdb.DuckDBPyConnection, model: str) -> str:
    """The statements that `publish` runs for a model, except the table of weights; for reading, nothing is written.

    The stored objects call the same functions by their fully qualified names (`relsql.database.queries.sealed`).

    Raises:
        ModelError: there is no such model. ArtifactError: it is damaged. MissingExtraError: torch is missing.
    """
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    sql, _ = _plain_sql(con, catalog, card, read_artifacts(con, catalog, card))
    return "\n".join(f"{readable(statement)};\n" for statement in sql.statements(seal=False))


def unpublish(con: duckdb.DuckDBPyConnection, model: str) -> None:
    """Remove a model's plain SQL; the model itself stays.

    Raises:
        DatabaseError: the database is read-only. ModelError: the model is not published. ArtifactError: it was
            published by a newer relsql.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "unpublishing")
    name, _ = require_published(con, catalog, model)
    require_known_format(con, catalog, name)
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        remove_publication(cursor, catalog, name)


def publish_into(
    source: Path,
    target: Path,
    model: str,
    *,
    storage_version: str | None = None,
    progress: PhaseProgress | None = None,
) -> Published:
    """Publish a model in a copy of its database; the file appears under its name when it is complete.

    Args:
        source: the file with the model; it is only read.
        target: the new file.
        model: its name.
        storage_version: the oldest DuckDB version that can read the copy, see `copy_database`.
        progress: called with the progress of the phases, see `publish`.

    Raises:
        DatabaseError: source cannot be opened, target exists, or the storage version does not exist. All errors of
            `publish`.
    """
    require_no_log(target)
    require_absent(target)
    draft = draft_path(target)
    try:
        copy_database(source, draft, storage_version)
        with closing(open_database(draft)) as con:
            published = publish(con, model, progress=progress)
            require_absent(target)
            complete_draft(con, draft, target)
    finally:
        remove_draft(draft)
    return published


def _write(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, artifacts: Mapping[str, bytes]
) -> tuple[str, ...]:
    """Create weights, views and macros; returns the names of the macros."""
    model, weights = _plain_sql(con, catalog, card, artifacts)
    create_table(con, catalog, card)
    table = relsql_table(con, catalog, model.weights_table)
    con.register(_NEW, weights)
    try:
        con.execute(f"CREATE TABLE {table} AS FROM {_NEW}")
    finally:
        con.unregister(_NEW)
    for statement in model.statements():
        con.execute(statement)
    return card.functions


def _plain_sql(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, artifacts: Mapping[str, bytes]
) -> tuple[SqlModel, pa.Table]:
    """The SQL of a model version, and its table of weights."""
    try:
        from exporters.sql.model import SqlModel
        from exporters.sql.weights import logarithmic_columns, weights_table
        from exporters.torch_modules import load_modules
    except ImportError as error:
        raise MissingExtraError.for_extra("train", "publishing") from error
    weights: pa.Table = weights_table(*load_modules(card, artifacts), card.classes)
    schema, indexed = relsql_schema(con, catalog), indexed_columns(con, catalog, card.schema)
    sources = attach_statements(con, catalog)
    return SqlModel(card, schema, logarithmic_columns(weights), indexed, sources), weights


def require_parity(card: ModelCard, parity: Parity) -> None:
    """Raise ParityError if the scores of torch, onnxruntime and plain SQL differ by more than the tolerance."""
    if not parity.largest <= TOLERANCE:
        raise ParityError(
            f"model '{card.name}': scores of torch and onnxruntime differ by {parity.torch_onnx:.1e}, of onnxruntime "
            f"and plain SQL by {parity.onnx_sql:.1e}, on {parity.seeds} seeds",
            expected=f"at most {TOLERANCE:.0e}",
            fix=command("train", "FILE", card.task.name, "--name", card.name, "--seed", card.seed + 1),
        )


def _record(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, parity: Parity) -> None:
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
    table = ensure_table(con, catalog, "publications")
    values = [card.name, card.version, card.identity, PUBLICATION_FORMAT, now, __version__]
    columns = "model, version, identity, format, published, relsql_version"
    con.execute(f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
    record_objects(con, catalog, card)
    models = ensure_table(con, catalog, "models")
    query = f"UPDATE {models} SET sql_difference = ? WHERE name = ? AND version = ?"
    con.execute(query, [parity.largest, card.name, card.version])
