"""Change which version of a model is active, and drop versions, each in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import has_relsql_table, relsql_table
from relsql.errors import ArtifactError, ModelError
from relsql.hints import command
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import (
    activate,
    check_active,
    check_statuses,
    find_model,
    read_artifacts,
    read_card,
    read_versions,
    readable_cards,
)
from relsql.registry.publications import published, remove_publication
from relsql.registry.row_embeddings import drop_embeddings
from relsql.registry.versions import ACTIVE, BEST, Comparison, ModelRow, compare_versions, parse_reference
from relsql.schema.reading import read_schema


@dataclass(frozen=True, slots=True)
class Promotion:
    """The result of `promote`.

    Attributes:
        name: name of the model.
        version: the active version now.
        replaced: the version that was active before, if there was one; equal to `version` if nothing changed.
        metrics: metrics of the version on the validation split.
        published: the version that plain SQL scores with, if the model is published; promoting does not change it.
        comparison: the versions that `best` was chosen from.
    """

    name: str
    version: int
    replaced: int | None
    metrics: dict[str, float]
    published: int | None = None
    comparison: Comparison | None = None


def promote(con: duckdb.DuckDBPyConnection, name: str, version: int | str) -> Promotion:
    """Make a version of a model the active one; `predict_<name>` calls it wherever the model is attached from then on.

    The row embeddings of all versions stay as they are; `relsql.refresh` adds those that the version lacks.

    Args:
        con: a connection whose current database holds the model; its transaction state does not change.
        name: name of the model.
        version: a number, `best` by the validation metric among versions that were validated on the same labels as the
            active one, or `previous`: the version that was active before.

    Raises:
        ModelError: the model or version does not exist. SchemaDriftError: its tables changed. ArtifactError: it is
            damaged. DatabaseError: the database is read-only.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "promoting a version")
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        versions = read_versions(cursor, catalog, name)
        name = versions[0].name
        chosen = find_model(cursor, catalog, f"{name}@{version}")
        cards = readable_cards(cursor, catalog, versions) if version == BEST else {}
        comparison = compare_versions(versions, cards) if version == BEST else None
        if chosen.status != ACTIVE or not _has_valid_active(versions):
            card = read_card(cursor, catalog, name, chosen.version)
            check_drift(card, read_schema(cursor, catalog))
            read_artifacts(cursor, catalog, card)
            activate(cursor, catalog, name, chosen.version)
        found = published(cursor, catalog, name)
    replaced = next((model.version for model in versions if model.status == ACTIVE), None)
    return Promotion(name, chosen.version, replaced, chosen.metrics, found[0] if found else None, comparison)


def _has_valid_active(versions: tuple[ModelRow, ...]) -> bool:
    """True if the registry says which version is active; otherwise promoting a version repairs it."""
    try:
        check_active(versions)
    except ArtifactError:
        return False
    return True


def drop(con: duckdb.DuckDBPyConnection, model: str, *, all_versions: bool = False) -> tuple[int, ...]:
    """Remove a version of a model that is not active, or a model with all its versions.

    This removes its rows in `relsql.models` and `relsql.artifacts`, its row embeddings, and the fingerprints of score
    tables that it has written. Score tables and the records of training runs stay.

    Args:
        con: a connection whose current database holds the model; its transaction state does not change.
        model: `dnf@1`, or `dnf` with `all_versions`.
        all_versions: drop the whole model.

    Returns:
        The numbers of the versions that were dropped.

    Raises:
        ModelError: the version does not exist or is active, or a whole model is named without `all_versions`.
        ArtifactError: the registry does not say whether the version is active.
        DatabaseError: the database is read-only.
    """
    catalog = current_catalog(con)
    require_writable(con, catalog, "dropping a model")
    with task_cursor(con, catalog) as cursor, transaction(cursor):
        doomed = versions_to_drop(cursor, catalog, model, all_versions=all_versions)
        for version in doomed:
            _drop_version(cursor, catalog, version)
    return tuple(version.version for version in doomed)


def versions_to_drop(
    con: duckdb.DuckDBPyConnection, catalog: str, model: str, *, all_versions: bool = False
) -> tuple[ModelRow, ...]:
    """The versions that `drop` would remove; arguments and errors as in `drop`."""
    reference = parse_reference(model)
    versions = read_versions(con, catalog, reference.name)
    name = versions[0].name
    if all_versions and reference.version is not None:
        raise ModelError(
            f"'{model}' names one version, not all of model '{name}'",
            expected=f"one of the two: {model}, or {name} with all versions",
            fix=command("drop", "FILE", name, "--all"),
        )
    if all_versions:
        return versions
    if reference.version is None:
        raise ModelError(
            f"'{name}' is a whole model, which is only dropped with --all",
            expected=f"one of {', '.join(f'{name}@{version.version}' for version in versions)}, or --all",
            fix=command("drop", "FILE", name, "--all"),
        )
    chosen = find_model(con, catalog, model)
    check_statuses([chosen])
    if chosen.status == ACTIVE:
        others = len(versions) > 1
        raise ModelError(
            f"version {chosen.version} of model '{name}' is {'active' if others else 'the only one'}",
            expected="another version to be active" if others else "--all to drop the model",
            fix=command("promote", "FILE", name, "previous") if others else command("drop", "FILE", name, "--all"),
        )
    return (chosen,)


def _drop_version(con: duckdb.DuckDBPyConnection, catalog: str, model: ModelRow) -> None:
    """Remove everything that belongs to a version. The caller owns the transaction."""
    key = [model.name, model.version]
    if published(con, catalog, model.name) == (model.version, model.sha256):
        remove_publication(con, catalog, model.name)
    drop_embeddings(con, catalog, model.name, model.version)
    if has_relsql_table(con, catalog, "score_fingerprints"):
        jobs = f"SELECT target FROM {relsql_table(con, catalog, 'score_jobs')} WHERE identity = ?"
        fingerprints = relsql_table(con, catalog, "score_fingerprints")
        con.execute(f"DELETE FROM {fingerprints} WHERE target IN ({jobs})", [model.sha256])
    con.execute(f"DELETE FROM {relsql_table(con, catalog, 'artifacts')} WHERE model = ? AND version = ?", key)
    con.execute(f"DELETE FROM {relsql_table(con, catalog, 'models')} WHERE name = ? AND version = ?", key)
