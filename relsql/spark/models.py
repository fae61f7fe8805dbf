"""Score on Spark, or on an engine that speaks its protocol, such as Sail: a bundle over the tables of a session.

    scores = relsql.spark.score(session, "model/", catalog="lake", as_of="2009-06-01")

    churn = relsql.spark.register(session, "model/", tables={"customers": customers, "orders": orders})
    scores = churn.predict(questions)  # a data frame with the columns of the key, and as_of

Nothing is computed until the rows of the data frame are requested.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np

from relsql.bundles.bundle import Bundle, read_bundle
from relsql.database.names import fold
from relsql.errors import ScoringError
from relsql.gather.paths import Path
from relsql.gather.sql.results import batch_columns
from relsql.registry.cards.card import ModelCard
from relsql.spark.dialect import ident, microseconds
from relsql.spark.query import SparkGather
from relsql.spark.rows import AS_OF, Seeds, SparkRows, key_name
from relsql.spark.sessions import require_session
from relsql.spark.supported import CLASS_TYPES, require_supported
from relsql.spark.tables import find_tables, named, same_family
from relsql.spark.workers import ScoreSeeds, SendMessages, ShippedModel
from relsql.tasks.fields import as_timestamp

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MAX_SHIPPED_BYTES = 64 * 2**20
"""Embeddings that travel with the model; a worker computes those of other texts when it meets them."""

_MESSAGE_TYPE = "struct<message: binary, evidence: int, newest_days: double>"
_RESULT_TYPES = {"score": "double", "status": "string", "evidence": "int", "as_of": "timestamp_ntz", "version": "int"}


@dataclass(frozen=True, slots=True)
class SparkModel:
    """A model over the tables of a session.

    Attributes:
        session: the session.
        card: the model's card.
        shipped: what its workers need.
        stored: by table, the relation with its rows.
    """

    session: SparkSession
    card: ModelCard
    shipped: ShippedModel
    stored: Mapping[str, str]

    def score(self, as_of: datetime.datetime | str, entities: DataFrame | None = None) -> DataFrame:
        """Scores at one moment: the columns of the key, score, status, evidence, as_of, version.

        Args:
            as_of: score as of this time (inclusive; without a zone it is UTC).
            entities: a data frame with the columns of the key; default: every entity that may be seen.

        Raises:
            ScoringError: `entities` lacks a column of the key, or it has another type.
        """
        moment = microseconds(as_timestamp(as_of, "score", "as_of"))
        return self._scores(Seeds(moment, self._seeds(entities, timed=False) if entities is not None else ""))

    def predict(self, seeds: DataFrame) -> DataFrame:
        """Scores of entities, each at its own moment, which the column `as_of` has; each combination once.

        Raises:
            ScoringError: a column of the key or `as_of` is missing, or has another type.
        """
        return self._scores(Seeds(None, self._seeds(seeds, timed=True)))

    def _scores(self, seeds: Seeds) -> DataFrame:
        card, session = self.card, self.session
        rows = SparkRows(card.rows, self.stored, seeds, card.task.visible)
        messages = {path.name: self._messages(SparkGather(rows), path) for path in card.paths if path.shared}
        gathered = session.sql(SparkGather(rows, messages).query())
        types = {field.name: field.dataType.simpleString() for field in gathered.schema}
        schema = [f"{ident(name)} {types[key_name(i)]}" for i, name in enumerate(card.entity.primary_key)]
        schema += [f"{name} {type_}" for name, type_ in _result_types(card).items()]
        work = ScoreSeeds(self.shipped, seeds.as_of, batch_columns(card.classes))
        return gathered.mapInArrow(work, ", ".join(schema))

    def _messages(self, gather: SparkGather, path: Path) -> str:
        """A view with the messages of the hubs of a shared path."""
        hubs = self.session.sql(gather.message_query(path))
        types = {field.name: field.dataType.simpleString() for field in hubs.schema}
        keys = [f"{name} {types[name]}" for name in gather.rows.keys(path)]
        sent = hubs.mapInArrow(SendMessages(self.shipped, path.name), ", ".join([*keys, f"message {_MESSAGE_TYPE}"]))
        return named(sent, "messages")

    def _seeds(self, frame: DataFrame, *, timed: bool) -> str:
        """A view with each of the seeds once, their moments in microseconds."""
        entity = self.card.entity
        types = {fold(field.name): field.dataType.simpleString() for field in frame.schema.fields}
        wanted = {name: entity.column(name).type for name in entity.primary_key}
        for name, type_ in wanted.items():
            if not same_family(type_, types.get(fold(name), "")):
                key = ", ".join(f"{name} {type_}" for name, type_ in wanted.items())
                raise _wrong_column(name, types, f"the key of {entity.key}: {key}")
        columns = [f"s.{ident(name)} AS {ident(name)}" for name in wanted]
        if timed:
            if types.get("as_of") not in ("date", "timestamp", "timestamp_ntz"):
                raise _wrong_column("as_of", types, "a date or a timestamp")
            columns.append(f"unix_micros(CAST(s.as_of AS TIMESTAMP)) AS {AS_OF}")
        known = " AND ".join(f"s.{ident(name)} IS NOT NULL" for name in [*wanted, *(["as_of"] if timed else [])])
        distinct = f"SELECT DISTINCT {', '.join(columns)} FROM {named(frame, 'entities')} s WHERE {known}"
        return named(self.session.sql(distinct), "seeds")


def register(
    session: SparkSession,
    bundle: str | FilePath,
    *,
    tables: Mapping[str, DataFrame | str] | None = None,
    catalog: str | None = None,
) -> SparkModel:
    """A model over tables of a session. Nothing is scored yet.

    Args:
        session: a Spark session, classic or by Spark Connect, whose time zone is UTC.
        bundle: the folder that `relsql.export_model` wrote, which only this process reads.
        tables: data frames, or names of tables in the session, by the names of the model's tables.
        catalog: a catalogue or a schema, such as `lake` or `lake.shop`, that has the other tables under their names.

    Raises:
        ArtifactError: the bundle is damaged or of a newer relsql. TaskError, ScoringError: Spark cannot score the
            model, or the session has another time zone. SchemaDriftError, SchemaError: the tables are not
            those of the model.
    """
    require_session(session)
    found = read_bundle(FilePath(bundle))
    require_supported(found.card)
    return SparkModel(session, found.card, _shipped(found), find_tables(session, found.card, tables, catalog))


def score(
    session: SparkSession,
    bundle: str | FilePath,
    *,
    tables: Mapping[str, DataFrame | str] | None = None,
    catalog: str | None = None,
    as_of: datetime.datetime | str,
    entities: DataFrame | None = None,
) -> DataFrame:
    """Scores at one moment; arguments, results and errors are those of `register` and `SparkModel.score`."""
    return register(session, bundle, tables=tables, catalog=catalog).score(as_of, entities)


def _shipped(bundle: Bundle) -> ShippedModel:
    texts: list[str] = []
    vectors: list[bytes] = []
    room = MAX_SHIPPED_BYTES
    for some, embeddings in bundle.embeddings():
        room -= embeddings.nbytes
        if room < 0:
            break
        texts += some
        vectors.append(np.ascontiguousarray(embeddings).tobytes())
    return ShippedModel(
        bundle.folder.manifest.digest, bundle.card.to_json(), bundle.artifacts, tuple(texts), b"".join(vectors)
    )


def _result_types(card: ModelCard) -> dict[str, str]:
    """The columns of results with their types in Spark."""
    if not card.classes:
        return _RESULT_TYPES
    type_ = CLASS_TYPES[card.classes.type]
    return {**_RESULT_TYPES, "score": type_, "probabilities": f"map<{type_}, double>"}


def _wrong_column(name: str, types: Mapping[str, str], expected: str) -> ScoringError:
    return ScoringError(
        f"the column '{name}' of the entities is {types.get(fold(name), 'missing')}",
        expected=expected,
        fix=f"frame.withColumn('{name}', ...)",
    )
