"""Check a published model: everything that is stored of it, and its scores."""

from __future__ import annotations

import time

import duckdb

from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.errors import ModelError
from relsql.hints import command
from relsql.publishing.parity import measure_parity
from relsql.publishing.publish import Published, require_parity
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import active_card, check_stored, read_artifacts
from relsql.registry.publications import changed_sql, check_publication, require_published
from relsql.schema.reading import read_schema


def selftest(con: duckdb.DuckDBPyConnection, model: str) -> Published:
    """Check everything that is stored of a published model, and compare its scores with torch and onnxruntime.

    The card, the artefacts, all row embeddings, jobs and the published tables, views and macros are compared with their
    digests. A component that takes too long is stopped.

    Args:
        con: a connection whose current database holds the model; it may be read-only.
        model: its name.

    Raises:
        ModelError: the model is not published, or one of its objects is missing. SchemaDriftError: the tables changed.
            ArtifactError: the model is damaged. ParityError: the scores differ. ScoringError: a component takes too
            long.
    """
    started = time.perf_counter()
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    artifacts = read_artifacts(con, catalog, card)
    without_digest = check_stored(con, catalog, card)
    _, version = require_published(con, catalog, card.name)
    if version != card.version:
        raise ModelError(
            f"model '{model}' is published as version {version}, while version {card.version} is the active one",
            fix=command("publish", "FILE", model),
        )
    check_drift(card, read_schema(con, catalog))
    without_digest += () if check_publication(con, catalog, card) else ("plain SQL",)
    with task_cursor(con, catalog) as cursor:
        try:
            parity = measure_parity(cursor, catalog, card, artifacts)
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise changed_sql(model, error) from error
    require_parity(card, parity)
    seconds = time.perf_counter() - started
    return Published(card.name, version, card.functions, parity, seconds, without_digest)
