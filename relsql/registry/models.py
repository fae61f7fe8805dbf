"""The registry: models and their artefacts as rows of schema `relsql`."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import duckdb

from relsql.database.names import stored_name
from relsql.database.relsql_tables import (
    SealedRow,
    ensure_table,
    has_column,
    has_relsql_table,
    read_sealed,
    relsql_table,
    rows_sql,
    seal_rows,
)
from relsql.errors import ArtifactError, ModelError, nearest
from relsql.hints import command
from relsql.registry.cards.card import SEALED_CARD_FORMAT, ModelCard
from relsql.registry.cards.reading import read_card_text
from relsql.registry.function_names import batch_name
from relsql.registry.publications import published
from relsql.registry.row_embeddings import add_embeddings, check_embeddings, create_table, drop_embeddings
from relsql.registry.score_jobs import check_job_row
from relsql.registry.versions import (
    ACTIVE,
    BEST,
    RETIRED,
    ModelRow,
    choose_version,
    parse_reference,
    require_new_name,
)
from relsql.tasks.target import CLASS, CLASSES, ITEMS, MEDIAN, PROBABILITY
from relsql.typing import FloatArray

STORING = threading.Lock()
"""Held while a version gets its number and is stored. Only one process writes to a file, but its threads may train or
import at the same time. Without the lock, two threads could read the same highest number, or one could undo the other's
changes."""


def read_models(con: duckdb.DuckDBPyConnection, catalog: str) -> tuple[ModelRow, ...]:
    """All model versions, by name and version."""
    if not has_relsql_table(con, catalog, "models"):
        return ()
    # A regression card that an earlier build wrote has no target; such a model predicts medians.
    target = f"""CASE task_type WHEN 'regression' THEN CASE WHEN system.main.json_valid(card)
                 THEN coalesce(system.main.json_extract_string(card, '$.task.target'), '{MEDIAN}') END
                 WHEN 'binary_classification' THEN '{PROBABILITY}'
                 WHEN 'multiclass_classification' THEN '{CLASS}'
                 WHEN 'multilabel_classification' THEN '{CLASSES}'
                 WHEN 'recommendation' THEN '{ITEMS}' END"""
    query = f"""SELECT name, version, status, task, task_type, created, metrics, sha256, activated, request, {target}
                FROM {rows_sql(con, catalog, "models")} ORDER BY name ASC, version ASC"""
    rows = con.execute(query).fetchall()
    return tuple(_model_row(*row) for row in rows)


def _model_row(
    name: str | None,
    version: int | None,
    status: str | None,
    task: str | None,
    task_type: str | None,
    created: datetime | None,
    metrics: str | None,
    sha256: str | None,
    activated: datetime | None,
    trained_from: str | None,
    target: str | None,
) -> ModelRow:
    """A row as it is stored, damaged or not, because listing and repairing models must also read damaged rows."""
    return ModelRow(
        name or "?",
        version or 0,
        status or "?",
        task or "?",
        task_type or "?",
        created,
        _metrics(metrics),
        sha256 or "?",
        activated,
        trained_from,
        target or "?",
    )


def _metrics(text: str | None) -> dict[str, float]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and all(isinstance(x, int | float) for x in found.values()) else {}


def read_versions(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> tuple[ModelRow, ...]:
    """All versions of the model that `name` refers to, in upper or lower case, sorted by number.

    Raises:
        ModelError: no model has this name.
    """
    models = read_models(con, catalog)
    found = stored_name(name, {model.name for model in models})
    if found is None:
        raise ModelError(
            f"model '{name}' does not exist in database '{catalog}'",
            expected=nearest(name, {model.name for model in models}),
            fix=command("train", "FILE", "TASK", "--name", name),
        )
    return tuple(model for model in models if model.name == found)


def find_model(con: duckdb.DuckDBPyConnection, catalog: str, reference: str) -> ModelRow:
    """The version that a reference refers to: `dnf` the active one, `dnf@2`, `dnf@best`, `dnf@previous`.

    Raises:
        ModelError: the model or version does not exist. ArtifactError: the registry does not say which one is active.
    """
    wanted = parse_reference(reference)
    versions = read_versions(con, catalog, wanted.name)
    if not isinstance(wanted.version, int):
        check_active(versions)
    return choose_version(wanted, versions, readable_cards(con, catalog, versions) if wanted.version == BEST else {})


def active_card(
    con: duckdb.DuckDBPyConnection, catalog: str, reference: str, *, recommendations: bool = False
) -> ModelCard:
    """The card of the version that a reference refers to; a name alone refers to the active version.

    Args:
        con: a connection to the database.
        catalog: its name.
        reference: see `find_model`.
        recommendations: the caller can use the card of a recommendation, which has no network.

    Raises:
        ModelError: the model or version does not exist, or it is a recommendation and the caller cannot use one.
            ArtifactError: its row or card is damaged.
    """
    model = find_model(con, catalog, reference)
    check_statuses([model])
    card = read_card(con, catalog, model.name, model.version)
    if card.ranker and not recommendations:
        name = batch_name(card.name)
        raise ModelError(
            f"model '{card.name}' version {card.version} recommends items of {card.task.item_table}: it has no "
            "network, so it cannot be explained, published, exported, sharded, refreshed, or scored in jobs",
            expected="a model of another type of task; this one has its functions, relsql evaluate and relsql score",
            fix=command("sql", "FILE", f"FROM {name}()"),
        )
    return card


def check_statuses(versions: Sequence[ModelRow]) -> None:
    """Check that every version is either active or retired: any other status would hide it.

    Raises:
        ArtifactError: a version has another status.
    """
    for model in versions:
        if model.status not in (ACTIVE, RETIRED):
            raise ArtifactError(
                f"model '{model.name}' version {model.version} has the status '{model.status}'",
                expected=f"{ACTIVE} or {RETIRED}",
                fix=command("promote", "FILE", model.name, "VERSION"),
            )


def check_active(versions: Sequence[ModelRow]) -> None:
    """Check the statuses of a model's versions: at most one is active, and it is the one that was activated last.

    Raises:
        ArtifactError: a status is unknown, several versions are active, or another version was activated later.
    """
    check_statuses(versions)
    active = [model for model in versions if model.status == ACTIVE]
    if not active:
        return
    name, listed = active[0].name, " and ".join(str(model.version) for model in active)
    if len(active) > 1:
        problem = f"model '{name}' has {len(active)} active versions, {listed}"
        raise ArtifactError(problem, expected="one", fix=command("promote", "FILE", name, "VERSION"))
    latest = max((model.activated for model in versions if model.activated), default=None)
    if latest is not None and active[0].activated != latest:
        raise ArtifactError(
            f"model '{name}': version {listed} is active, but another one was made active after it",
            expected="the active version to be the one that was activated last",
            fix=command("promote", "FILE", name, "VERSION"),
        )


def read_card(con: duckdb.DuckDBPyConnection, catalog: str, name: str, version: int) -> ModelCard:
    """The card of one model version, after checking its row.

    Raises:
        ModelError: the version does not exist. ArtifactError: its row or card is damaged, or the card is too new.
    """
    rows = read_sealed(con, catalog, "models", "name = ? AND version = ?", [name, version])
    if not rows:
        raise ModelError(f"model '{name}' has no version {version}", fix="relsql models FILE")
    if len(rows) > 1:
        raise _damaged_row(name, version, rows[0], f"is stored {len(rows)} times")
    [row] = rows
    if row.values["card"] is None:
        raise _damaged_row(name, version, row, "has no card")
    try:
        card = read_card_text(row.values["card"], database_path(con, catalog))
    except ArtifactError as error:
        fix = (error.fix or "").replace("TASK --name NAME", f"{row.values['task'] or 'TASK'} --name {name}")
        problem = f"model '{name}' version {version}: {error.problem}"
        raise ArtifactError(problem, expected=error.expected, fix=fix) from error
    if row.intact is False or (row.intact is None and card.format >= SEALED_CARD_FORMAT):
        raise _damaged_row(name, version, row, "does not have the digest that was written with it")
    for column, expected in (
        ("name", card.name),
        ("version", card.version),
        ("task", card.task.name),
        ("task_type", card.task.task_type),
        ("sha256", card.identity),
    ):
        if row.values[column] != expected:
            raise _damaged_row(name, version, row, f"has the {column} {row.values[column]}, its card {expected}")
    return card


def _damaged_row(name: str, version: int, row: SealedRow, problem: str) -> ArtifactError:
    task = row.values["task"] or "TASK"
    return ArtifactError(
        f"the row of model '{name}' version {version} in relsql's table models is damaged: it {problem}",
        expected="the row that training wrote",
        fix=command("train", "FILE", task, "--name", name),
    )


def database_path(con: duckdb.DuckDBPyConnection, catalog: str) -> str:
    """Where a database is stored: its path, or its name if it is in memory."""
    rows = con.execute("SELECT path FROM system.main.duckdb_databases() WHERE database_name = ?", [catalog]).fetchall()
    return os.path.realpath(rows[0][0]) if rows and rows[0][0] else f":memory:{catalog}"


def readable_cards(con: duckdb.DuckDBPyConnection, catalog: str, versions: Sequence[ModelRow]) -> dict[int, ModelCard]:
    """The cards of versions of a model by number, without the cards that this relsql cannot read."""
    cards = {}
    for model in versions:
        try:
            cards[model.version] = read_card(con, catalog, model.name, model.version)
        except (ArtifactError, ModelError):
            continue
    return cards


def read_artifacts(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> dict[str, bytes]:
    """The artefacts of a model version, each checked against the digest in its card.

    Raises:
        ArtifactError: an artefact is missing, or its bytes do not match the digest.
    """
    query = f"SELECT name, bytes FROM {relsql_table(con, catalog, 'artifacts')} WHERE model = ? AND version = ?"
    rows = con.execute(query, [card.name, card.version]).fetchall()
    found = {name: bytes(content) for name, content in rows if content is not None}
    for name, digest in card.sha256.items():
        retrain = command("train", "FILE", card.task.name, "--name", card.name)
        if name not in found:
            raise ArtifactError(f"model '{card.name}' version {card.version}: artefact {name} is missing", fix=retrain)
        actual = hashlib.sha256(found[name]).hexdigest()
        if actual != digest:
            raise ArtifactError(
                f"model '{card.name}' version {card.version}: artefact {name} is damaged (SHA-256 {actual[:12]}...)",
                expected=f"SHA-256 {digest[:12]}...",
                fix=retrain,
            )
    return {name: found[name] for name in card.sha256}


def find_damage(con: duckdb.DuckDBPyConnection, catalog: str, models: Sequence[ModelRow]) -> list[str]:
    """Problems of the rows and cards of models, one line each; nothing in them is run."""
    found: dict[str, None] = {}
    for model in models:
        try:
            find_model(con, catalog, model.name)
            read_card(con, catalog, model.name, model.version)
        except (ArtifactError, ModelError) as error:
            found[str(error)] = None
    return list(found)


def check_stored(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> tuple[str, ...]:
    """Check everything that is stored for a version except its artefacts; returns what has no digests yet.

    Raises:
        ArtifactError: a stored part is damaged.
    """
    without = [] if has_column(con, catalog, "models", "digest") else ["card"]
    without += [] if check_embeddings(con, catalog, card) else ["row embeddings"]
    if has_relsql_table(con, catalog, "score_jobs"):
        for row in read_sealed(con, catalog, "score_jobs", "model = ?", [card.name]):
            check_job_row(row)
    return tuple(without)


def find_trained(con: duckdb.DuckDBPyConnection, catalog: str, name: str, trained_from: str) -> ModelRow | None:
    """The version of a model that has this training fingerprint: the active one if it matches, else the newest match.

    Versions with a damaged card or damaged artefacts are ignored, because training again is what repairs them.
    """
    found = [model for model in read_models(con, catalog) if (model.name, model.request) == (name, trained_from)]
    for model in sorted(found, key=lambda model: (model.status == ACTIVE, model.version), reverse=True):
        try:
            read_artifacts(con, catalog, read_card(con, catalog, name, model.version))
        except (ArtifactError, ModelError):
            continue
        return model
    return None


def next_version(con: duckdb.DuckDBPyConnection, catalog: str, name: str) -> int:
    """One more than the highest version that the model ever had: the numbers of dropped versions are not reused.

    The number of a failed run is reused, because no version ever had it.
    """
    numbers = [model.version for model in read_models(con, catalog) if model.name == name and model.version > 0]
    if has_relsql_table(con, catalog, "runs"):
        runs = relsql_table(con, catalog, "runs")
        failed = f"SELECT run_id FROM {runs} WHERE error IS NOT NULL AND run_id IS NOT NULL"
        query = f"SELECT system.main.max(version) FROM {runs} WHERE model = ? AND run_id NOT IN ({failed})"
        numbers += [number for (number,) in con.execute(query, [name]).fetchall() if number]
    return max(numbers, default=0) + 1


def save_model(
    con: duckdb.DuckDBPyConnection,
    catalog: str,
    card: ModelCard,
    artifacts: Mapping[str, bytes],
    texts: Sequence[str],
    embeddings: FloatArray,
    *,
    trained_from: str | None = None,
) -> None:
    """Write a model version and make it the active one. The caller owns the transaction.

    `trained_from` is the training fingerprint (`relsql.training.fingerprint`), stored in column `request`; None if the
    training cannot be repeated.

    Raises:
        ModelError: another model has one of its function names by now.
    """
    require_new_name(card.name, {model.name for model in read_models(con, catalog)})
    models = ensure_table(con, catalog, "models")
    values = [card.name, card.version, RETIRED, card.task.name, card.task.task_type, card.created]
    values += [json.dumps(card.metrics), card.to_json(), card.identity, None, trained_from]
    columns = "name, version, status, task, task_type, created, metrics, card, sha256, activated, request"
    con.execute(f"INSERT INTO {models} ({columns}) VALUES ({', '.join('?' * len(values))})", values)
    seal_rows(con, catalog, "models", "name = ? AND version = ?", [card.name, card.version])
    activate(con, catalog, card.name, card.version)
    stored = ensure_table(con, catalog, "artifacts")
    for name, content in artifacts.items():
        con.execute(
            f"INSERT INTO {stored} VALUES (?, ?, ?, ?, ?)", [card.name, card.version, name, content, card.sha256[name]]
        )
    # Embeddings of retired versions are only a cache: texts are encoded again if such a version is called. Plain SQL
    # cannot encode, so the published version keeps its embeddings.
    found = published(con, catalog, card.name)
    drop_embeddings(con, catalog, card.name, keep=found[1] if found else None)
    add_embeddings(con, create_table(con, catalog, card), card, texts, embeddings)


def replace_card(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> None:
    """Replace the card of a version; its artefacts stay the same. The caller owns the transaction."""
    models, version = ensure_table(con, catalog, "models"), [card.name, card.version]
    con.execute(f"UPDATE {models} SET card = ? WHERE name = ? AND version = ?", [card.to_json(), *version])
    seal_rows(con, catalog, "models", "name = ? AND version = ?", version)


def activate(con: duckdb.DuckDBPyConnection, catalog: str, name: str, version: int) -> None:
    """Make a version the active one of its model, and retire all others. The caller owns the transaction."""
    models = ensure_table(con, catalog, "models")
    [(latest,)] = con.execute(f"SELECT system.main.max(activated) FROM {models} WHERE name = ?", [name]).fetchall()
    # Always later than the last activation, whatever the clock says, because the order of these times matters.
    now = datetime.now(UTC).replace(tzinfo=None)
    moment = max(now, latest + timedelta(microseconds=1)) if latest else now
    others = "name = ? AND version <> ? AND status IS DISTINCT FROM ?"
    con.execute(f"UPDATE {models} SET status = ? WHERE {others}", [RETIRED, name, version, RETIRED])
    query = f"UPDATE {models} SET status = ?, activated = ? WHERE name = ? AND version = ?"
    con.execute(query, [ACTIVE, moment, name, version])
