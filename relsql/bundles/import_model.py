"""Put the model of a bundle into another database file, as a new version, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec
import numpy as np

from relsql.bundles.bundle import Bundle, read_bundle
from relsql.bundles.fitted_schema import fitted_schema
from relsql.bundles.manifest import EMBEDDINGS, damaged
from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog, find_macros
from relsql.errors import ModelError
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import all_names
from relsql.registry.models import STORING, next_version, read_models, save_model
from relsql.registry.publications import published, require_unclaimed
from relsql.registry.row_embeddings import add_embeddings, create_table
from relsql.registry.runs import Run
from relsql.registry.versions import ACTIVE, model_name
from relsql.schema.tables import Schema

ELSEWHERE = "source_"
"""The start of the names of metrics that were measured on the labels of another file."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """Result of an import.

    Attributes:
        name, version: the new version, which is the active one.
        source_version: its number in the file that it was exported from.
        replaced: the version that was active before, if there was one.
        texts: row embeddings that came with it.
        published: the version that plain SQL scores with, if the model is published; an import does not change it.
    """

    name: str
    version: int
    source_version: int
    replaced: int | None
    texts: int
    published: int | None


def import_model(con: duckdb.DuckDBPyConnection, path: str | Path, *, name: str | None = None) -> ImportedModel:
    """Put the model of a bundle into a database and make it the active version of its name, as training does.

    Args:
        con: a connection whose current database has the tables; its transaction state does not change.
        path: the folder that `relsql.export_model` wrote.
        name: another name for the model.

    Raises:
        DatabaseError: there is no bundle, or the database is read-only or full. ArtifactError: the bundle is damaged or
            of a newer relsql. SchemaDriftError: the tables are not those that the model reads. ModelError: the name
            cannot be that of a model here. In each case nothing was changed.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "importing a model")
    bundle = read_bundle(Path(path))
    with task_cursor(con, catalog) as cursor, keyboard_interrupts(), STORING, transaction(cursor):
        name = _free_name(cursor, catalog, bundle, name or bundle.card.name)
        version = next_version(cursor, catalog, name)
        before = [model for model in read_models(cursor, catalog) if model.name == name and model.status == ACTIVE]
        texts = store_bundle(cursor, catalog, bundle, name, version)
        found = published(cursor, catalog, name)
    replaced = before[0].version if before else None
    return ImportedModel(name, version, bundle.card.version, replaced, texts, found[0] if found else None)


def store_bundle(con: duckdb.DuckDBPyConnection, catalog: str, bundle: Bundle, name: str, version: int) -> int:
    """Write the model of a bundle under a name and a version that are free; returns the number of its row embeddings.

    The caller owns the transaction.

    Raises:
        ArtifactError, SchemaDriftError, DatabaseError: as `import_model`.
    """
    schema = fitted_schema(con, catalog, bundle.card)
    return _store(con, catalog, _card_here(bundle.card, name, version, schema), bundle)


def _free_name(con: duckdb.DuckDBPyConnection, catalog: str, bundle: Bundle, name: str) -> str:
    """The name of the model in this file, in the spelling of an existing model whose name differs only in case."""
    try:
        name = model_name(name, {model.name for model in read_models(con, catalog)})
        require_unclaimed(find_macros(con, [catalog], all_names(name)), name)
    except ModelError as error:
        another = command("import", bundle.folder.path, "FILE", "--name", "ANOTHER")
        raise ModelError(error.problem, expected=error.expected, fix=another) from error
    return name


def _card_here(card: ModelCard, name: str, version: int, schema: Schema) -> ModelCard:
    """The card of a model in this file, which keeps what is known of its training."""
    return msgspec.structs.replace(
        card,
        name=name,
        version=version,
        schema=schema,
        fingerprint=schema.fingerprint(),
        metrics=_metrics_elsewhere(card.metrics),
    )


def _metrics_elsewhere(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of training, renamed so that no version of this file is compared with them."""
    return {f"{ELSEWHERE}{key}" if key.startswith("val_") else key: value for key, value in metrics.items()}


def _store(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, bundle: Bundle) -> int:
    """Write the version and its row embeddings; returns their number. The caller owns the transaction."""
    # The record keeps the number of the version, so that it is not reused after the version is dropped.
    run = Run(card.name, card.task.name, version=card.version)
    with run.phase("store") as metrics:
        save_model(con, catalog, card, bundle.artifacts, [], np.zeros((0, card.encoder.width), dtype=np.float32))
        table = create_table(con, catalog, card)
        for texts, embeddings in bundle.embeddings():
            add_embeddings(con, table, card, texts, embeddings)
        query = f"SELECT system.main.count_star(), system.main.count(DISTINCT text_hash) FROM {table}"
        [(rows, distinct)] = con.execute(query).fetchall()
        if (rows, distinct) != (bundle.folder.manifest.texts, rows):
            raise damaged(bundle.folder.path, f"its file '{EMBEDDINGS}' has a text twice")
        metrics.update(texts=rows)
    run.save(con, catalog)
    return int(rows)
