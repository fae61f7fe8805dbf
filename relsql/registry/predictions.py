"""The ledger: the scores of jobs that keep their history, as rows of relsql's table `predictions`.

A row is written in the transaction of the chunk that scores it, and never changed or removed afterwards.

A key of any type, with any number of columns, is stored as one VARCHAR: DuckDB's own text of the value that
`relsql.schema.entity_keys` describes, as in the fingerprints and bounds of jobs. So one table serves all models. A cast
to the type of the key restores the key, which JSON would not do for a BLOB or a DECIMAL.

For a model of classes, `class` is the likeliest class, `score` is its probability, and `probabilities` are those of all
classes in the order of the card. For other models `class` and `probabilities` are NULL.
"""

from __future__ import annotations

import datetime

import duckdb

from relsql.database.relsql_tables import ensure_table, has_relsql_table, relsql_table, rows_sql
from relsql.registry.cards.card import ModelCard
from relsql.registry.score_jobs import ScoreJob, table_of
from relsql.schema.entity_keys import key_type
from relsql.sql_text import literal

LEDGER = "predictions"


def append_predictions(
    con: duckdb.DuckDBPyConnection, catalog: str, job: ScoreJob, card: ModelCard, key: str, where: str
) -> None:
    """Append the scores of a job's table that meet a condition on its columns. The caller owns the transaction.

    `key` is the entity's key in a row of that table.
    """
    scored_at = literal(datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0))
    columns = "model, version, entity, as_of, score, class, probabilities, status, target, scored_at"
    score = "score, NULL, NULL"
    if card.classes:
        all_of_them = "system.main.map_values(probabilities)"
        score = f"system.main.list_max({all_of_them}), CAST(score AS VARCHAR), {all_of_them}"
    values = f"{literal(job.model)}, version, CAST({key} AS VARCHAR), as_of, {score}, status"
    con.execute(
        f"INSERT INTO {ensure_table(con, catalog, LEDGER)} ({columns})\n"
        f"SELECT {values}, {literal(job.target)}, {scored_at}\n"
        f"FROM {table_of(catalog, job.target).sql} WHERE {where}"
    )


def ledger_versions(con: duckdb.DuckDBPyConnection, catalog: str, model: str) -> tuple[int, ...]:
    """The versions of a model that have scores in the ledger, the oldest first."""
    if not has_relsql_table(con, catalog, LEDGER):
        return ()
    query = f"SELECT DISTINCT version FROM {relsql_table(con, catalog, LEDGER)} WHERE model = ? ORDER BY version ASC"
    return tuple(version for (version,) in con.execute(query, [model]).fetchall() if version is not None)


def ledger_moments(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> list[datetime.datetime]:
    """The moments at which a model version has scores in the ledger, the oldest first."""
    if not has_relsql_table(con, catalog, LEDGER):
        return []
    query = f"SELECT DISTINCT as_of FROM ({scores_sql(con, catalog, card)}) ORDER BY as_of ASC"
    return [as_of for (as_of,) in con.execute(query).fetchall()]


def scores_sql(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str:
    """A query for the scores of a model version in the existing ledger.

    Its columns are entity (the key itself), as_of, score and probabilities. An entity that was scored several times for
    one moment has the score that was written last.
    """
    mine = f"model = {literal(card.name)} AND version = {card.version} AND score IS NOT NULL AND as_of IS NOT NULL"
    return (
        f"SELECT TRY_CAST(entity AS {key_type(card.entity)}) AS entity, as_of, system.main.arg_max(score, scored_at) "
        f"AS score, system.main.arg_max(probabilities, scored_at) AS probabilities "
        f"FROM {rows_sql(con, catalog, LEDGER)} WHERE {mine} GROUP BY ALL"
    )
