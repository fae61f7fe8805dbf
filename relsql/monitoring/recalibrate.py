"""A new version of a model whose temperature is refitted on what happened.

The intervals of its probabilities are fitted again on the same labels, and its threshold moves so that the same
entities are above it as before. Nothing else in the model changes.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt

from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog
from relsql.errors import ModelError
from relsql.evaluation.uncertainty import COVERAGE, fit_uncertainty
from relsql.hints import command
from relsql.monitoring.outcomes import few_realised, judged_cards
from relsql.monitoring.realised import realised_scores
from relsql.nn.temperature import best_temperature, log_loss_at
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import STORING, active_card, next_version, read_artifacts, save_model
from relsql.registry.publications import published
from relsql.registry.row_embeddings import add_embeddings, create_table, stored_rows, stored_sql
from relsql.registry.runs import Run
from relsql.tasks.labels.label_sandbox import LABEL_TIMEOUT_SECONDS, LabelLimits
from relsql.tasks.split_choice import ENOUGH_LABELS, ENOUGH_OF_A_KIND

_HEAD = "head.onnx"
_EMBEDDINGS = "temp.relsql_embeddings_of_the_former_version"
_LARGEST_LOGIT = 30.0
"""Scores of exactly 0 and 1 count as these logits: a score is a FLOAT, and no larger logit can be read from it."""


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """The result of a recalibration.

    Attributes:
        model: name of the model.
        version: the new version, which is now active; `source` if its temperature was the best one already.
        source: the version that it is a copy of.
        temperature, former_temperature: of both versions; a larger one moves probabilities towards one half.
        log_loss, former_log_loss: on the realised labels that the temperature was fitted on.
        labels: their number.
        published: the version that plain SQL scores with, if the model is published; it does not change.
    """

    model: str
    version: int
    source: int
    temperature: float
    former_temperature: float
    log_loss: float
    former_log_loss: float
    labels: int
    published: int | None


def recalibrate(
    con: duckdb.DuckDBPyConnection,
    model: str,
    *,
    allow_external: bool = False,
    label_timeout_seconds: float = LABEL_TIMEOUT_SECONDS,
) -> Recalibrated:
    """Refit the temperature of a model on realised labels, and make the result the active version.

    Args:
        con: a connection whose current database holds the model; its transaction state does not change.
        model: its name, or a version of it, `dnf@2`; that version must have scores in the ledger.
        allow_external: let the label query read files and other databases, and call any function.
        label_timeout_seconds: stop the label query after this many seconds.

    Raises:
        ModelError: unknown model, it is a regression, it has no scores in the ledger, or too few of them have labels.
        TaskError: the label query no longer runs, does something that is not allowed or takes too long.
        ArtifactError: the model is damaged. DatabaseError: the database is read-only. In each case nothing changed.
    """
    from exporters.onnx.temperature import temperature_of, with_temperature

    catalog = current_catalog(con)
    require_writable(con, catalog, "recalibrating a model")
    limits = LabelLimits(allow_external, label_timeout_seconds)
    card = _classification(con, catalog, model)
    artifacts = read_artifacts(con, catalog, card)
    before = temperature_of(artifacts[_HEAD])
    scores, labels = _realised(con, catalog, card, limits)
    raw = np.clip(_logits(scores), -_LARGEST_LOGIT, _LARGEST_LOGIT) * before
    after = best_temperature(raw, labels)
    # A FLOAT in the component.
    if np.float32(after) == np.float32(before):
        after, new = before, card
    else:
        artifacts[_HEAD] = with_temperature(artifacts[_HEAD], after)
        with task_cursor(con, catalog) as cursor, keyboard_interrupts(), STORING, transaction(cursor):
            new = _recalibrated_card(card, next_version(cursor, catalog, card.name), artifacts[_HEAD], after)
            level = card.uncertainty.coverage if card.uncertainty else COVERAGE
            table = fit_uncertainty(card.task, labels, 1 / (1 + np.exp(-raw / after)), level)
            new = msgspec.structs.replace(new, uncertainty=table, threshold=_moved(card.threshold, before / after))
            _store(cursor, catalog, card, new, artifacts)
    found = published(con, catalog, card.name)
    return Recalibrated(
        card.name,
        new.version,
        card.version,
        after,
        before,
        log_loss_at(raw, labels, after),
        log_loss_at(raw, labels, before),
        len(labels),
        found[0] if found else None,
    )


def _classification(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> ModelCard:
    """The card of a version whose scores have a temperature, and are in the ledger."""
    card = active_card(con, catalog, model)
    if not card.task.is_binary:
        raise ModelError(
            f"model '{card.name}' does not score with one probability, so there is no temperature to refit",
            expected="a model of probabilities",
            fix=command("train", "FILE", card.task.name, "--name", card.name),
        )
    judged_cards(con, catalog, f"{card.name}@{card.version}")
    return card


def _realised(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, limits: LabelLimits
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The scores whose labels training has not seen, and these labels."""
    realised = realised_scores(con, catalog, card, limits=limits)
    chosen = realised.unseen(card.task)
    if few_realised(card.task, realised, chosen):
        raise ModelError(
            f"model '{card.name}' version {card.version} has {int(chosen.sum()):,} scores in the ledger since "
            f"{card.task.test_timestamp} whose label is known, too few to refit its temperature",
            expected=f"at least {ENOUGH_LABELS}, and {ENOUGH_OF_A_KIND} of each kind",
            fix=command("outcomes", "FILE", card.name) + ", which counts them",
        )
    return realised.scores[chosen], realised.labels[chosen]


def _logits(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        found: npt.NDArray[np.float64] = np.log(scores) - np.log1p(-scores)
    return found


def _moved(threshold: float | None, stretch: float) -> float | None:
    """The threshold that the same entities are above after all logits are multiplied by `stretch`."""
    if threshold is None or not 0 < threshold < 1:
        return threshold
    return float(1 / (1 + ((1 - threshold) / threshold) ** stretch))


def _recalibrated_card(card: ModelCard, version: int, head: bytes, temperature: float) -> ModelCard:
    return msgspec.structs.replace(
        card,
        version=version,
        created=datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0),
        metrics=card.metrics | {"temperature": temperature},
        sha256=card.sha256 | {_HEAD: hashlib.sha256(head).hexdigest()},
        options=card.options | {"recalibrated_from": card.version},
    )


def _store(
    con: duckdb.DuckDBPyConnection, catalog: str, former: ModelCard, card: ModelCard, artifacts: dict[str, bytes]
) -> None:
    """Write the version with the embeddings of the former one. The caller owns the transaction."""
    run = Run(card.name, card.task.name, version=card.version)
    with run.phase("store") as metrics:
        # Activating the new version drops these embeddings. They may not fit into memory, so a table keeps them.
        con.execute(f"CREATE TEMP TABLE {_EMBEDDINGS.removeprefix('temp.')} AS {stored_sql(con, catalog, former)}")
        save_model(con, catalog, card, artifacts, [], np.zeros((0, card.encoder.width), dtype=np.float32))
        table, texts = create_table(con, catalog, card), 0
        for rows in stored_rows(con, f"FROM {_EMBEDDINGS}", former):
            whole = ~rows.damaged
            kept = [text for text, is_whole in zip(rows.texts, whole, strict=True) if is_whole]
            add_embeddings(con, table, card, kept, rows.embeddings[whole])
            texts += len(kept)
        con.execute(f"DROP TABLE {_EMBEDDINGS}")
        metrics.update(texts=texts, temperature=card.metrics["temperature"])
    run.save(con, catalog)
