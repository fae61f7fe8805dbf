"""Score every entity into a table of the database, chunk by chunk, so that a job that was stopped can be resumed.

A chunk is a range of the entity's key. Its scores and the job's row in `relsql.score_jobs` are written in one
transaction: if the process stops for any reason, finished chunks are kept and unfinished ones leave nothing behind. The
ranges and as_of are fixed when the job starts (`docs/decisions/0008-batch-jobs.md`).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import current_catalog, find_relation
from relsql.database.queries.sealed import sealed
from relsql.database.relsql_tables import ensure_table, relsql_table
from relsql.errors import DatabaseError
from relsql.gather.sql.latest_rows import ENTITY
from relsql.gather.sql.seeds import latest_sql
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card, read_card
from relsql.registry.predictions import append_predictions
from relsql.registry.score_jobs import (
    ScoreJob,
    advance_job,
    is_job_table,
    mark_table,
    read_job,
    require_job_table,
    save_job,
    table_of,
)
from relsql.schema.entity_keys import is_entity_sql, key_known_sql, key_sql, key_type
from relsql.schema.relations import relation_sql
from relsql.scoring.score_output import drop_old_scores, output_table, require_replaceable
from relsql.sql_text import literal
from relsql.tasks.kinds.supported import require_forecast
from relsql.typing import PhaseProgress
from udfs.attach import attach
from udfs.macros import batch_sql, fingerprint_sql

CHUNK_ROWS = 250_000
"""Entities in a chunk: a few row groups of 122,880, because DuckDB scores each row group on one thread."""


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that is ready to run.

    `resumed` is true if an earlier run left it unfinished. `all_because` is the reason why a job that should score only
    changed entities has to score all of them.
    """

    job: ScoreJob
    resumed: bool = False
    all_because: str | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """What the caller asks for; None where the caller did not choose."""

    card: ModelCard
    target: str
    as_of: str | None
    chunk_rows: int | None
    changed_only: bool
    keep_history: bool


def score_into(
    con: duckdb.DuckDBPyConnection,
    model: str,
    table: str,
    *,
    as_of: datetime.datetime | None = None,
    chunk_rows: int | None = None,
    changed_only: bool = False,
    keep_history: bool = False,
    overwrite: bool = False,
    progress: PhaseProgress | None = None,
) -> ScoreJob:
    """Score every entity that is visible at as_of into a table, or continue an earlier call that was stopped.

    Args:
        con: a connection whose current database holds the model, without an open transaction.
        model: its name, or a version of it, `dnf@2`.
        table: `risk` or `staging.risk`: a new table, or one that an earlier call has written.
        as_of: score as of this time (inclusive, zone-less); None: the latest event when the job starts.
        chunk_rows: entities in a chunk, which is one transaction; None: 250,000, or the value that the unfinished job
            was started with.
        changed_only: keep fingerprints of what the model reads, and score only entities whose fingerprint changed.
        keep_history: also append each score to relsql's table `predictions`, in the transaction of its chunk.
        overwrite: replace the scores in the table and start again; a table that relsql did not write is never replaced.
        progress: called after each chunk.

    Returns:
        The finished job.

    Raises:
        DatabaseError: the table was not written by an earlier call, its job is already finished, or its unfinished job
            differs from what is asked for; the database cannot be written; the memory limit is too small.
        ModelError, ArtifactError: the model cannot be used.
    """
    opened = open_job(
        con,
        model,
        table,
        as_of=as_of,
        chunk_rows=chunk_rows,
        changed_only=changed_only,
        keep_history=keep_history,
        overwrite=overwrite,
    )
    return run_job(con, opened.job, progress)


def open_job(
    con: duckdb.DuckDBPyConnection,
    model: str,
    table: str,
    *,
    as_of: datetime.datetime | None = None,
    chunk_rows: int | None = None,
    changed_only: bool = False,
    keep_history: bool = False,
    overwrite: bool = False,
) -> OpenJob:
    """Find the unfinished job of a table, or start one; arguments and errors are those of `score_into`."""
    target = output_table(con, table)
    catalog = target.catalog
    found, former = find_relation(con, target), read_job(con, catalog, target.key, damaged_too=overwrite)
    resumable = is_job_table(found, former)
    require_replaceable(found, ("--into", table), overwrite=overwrite or resumable)
    attach(con, models=[model])
    card = active_card(con, catalog, model)
    moment = None if as_of is None else _text(con, f"CAST({literal(as_of)} AS TIMESTAMP)")
    if keep_history:
        require_forecast(card.task, "a history of scores")
    request = _Request(card, target.key, moment, chunk_rows, changed_only, keep_history)
    with _memory_explained(con, request.target, chunk_rows or CHUNK_ROWS):
        if former is None or not resumable or overwrite:
            reason = "the table is new; later runs score what has changed since" if changed_only else None
            return OpenJob(_start(con, catalog, request), all_because=reason)
        _check_columns(con, catalog, request)
        if not former.finished:
            _check_same(former, request)
            return OpenJob(former, resumed=True)
        if not changed_only:
            raise DatabaseError(
                f"table '{table}' exists, and its job is finished",
                expected="a new name, --changed-only to update the table, or --overwrite to start again",
                fix=command("score", "FILE", model, "--into", table, "--overwrite"),
            )
        return _start_changed(con, catalog, former, request)


def run_job(con: duckdb.DuckDBPyConnection, job: ScoreJob, progress: PhaseProgress | None = None) -> ScoreJob:
    """Score the remaining chunks of a job from `open_job`, each in one transaction.

    Raises:
        DatabaseError: the database cannot be written, the memory limit is too small, or another connection has changed
            the job; finished chunks are kept.
    """
    catalog = current_catalog(con)
    card = read_card(con, catalog, job.model, job.version)
    report = progress or (lambda phase, fraction, metrics: None)
    report("score", job.chunks_done / job.chunks, {"entities": job.entities})
    while not job.finished:
        with _memory_explained(con, job.target, job.chunk_rows), transaction(con):
            require_job_table(con, catalog, job)
            job = (_score_changed if job.changed_only else _score_all)(con, catalog, card, job)
        report("score", job.chunks_done / job.chunks, {"entities": job.entities, "scored": job.scored})
    return job


def _start(con: duckdb.DuckDBPyConnection, catalog: str, request: _Request) -> ScoreJob:
    """Create an empty table and its job; a table that an earlier job wrote is replaced."""
    table = _table_sql(catalog, request.target)
    with transaction(con):
        job = _new_job(con, catalog, request)
        drop_old_scores(con, table_of(catalog, request.target), ("--into", request.target), overwrite=True)
        query = batch_sql(request.card, catalog, moment=job.moment_sql)
        con.execute(f"CREATE TABLE {table} AS FROM ({query}) LIMIT 0")
        mark_table(con, table_of(catalog, request.target), job)
        _forget_fingerprints(con, catalog, request.target)
        save_job(con, catalog, job)
    return job


def _start_changed(con: duckdb.DuckDBPyConnection, catalog: str, former: ScoreJob, request: _Request) -> OpenJob:
    """Start a job that updates a finished table; without valid fingerprints every entity counts as changed."""
    with transaction(con):
        job = _new_job(con, catalog, request, name=former.job)
        reason = None
        if former.model != job.model:
            raise DatabaseError(
                f"table '{job.target}' holds scores of model '{former.model}', not of '{job.model}'",
                fix=command("score", "FILE", job.model, "--into", job.target, "--overwrite"),
            )
        if former.identity != job.identity:
            reason = f"the table holds scores of version {former.version}, but the model is now version {job.version}"
        elif former.as_of != job.as_of:
            reason = f"the table is as of {former.as_of}, this job as of {job.as_of}"
        elif not former.changed_only:
            reason = "the table has no fingerprints yet; they are kept from now on"
        if reason:
            _forget_fingerprints(con, catalog, job.target)
        save_job(con, catalog, job)
    return OpenJob(job, all_because=reason)


def _new_job(con: duckdb.DuckDBPyConnection, catalog: str, request: _Request, name: str | None = None) -> ScoreJob:
    """The job that is asked for, with its as_of and the key ranges of its chunks."""
    card, chunk_rows = request.card, request.chunk_rows or CHUNK_ROWS
    as_of = request.as_of or _text(con, f"({latest_sql(card.gather(catalog).rows)})")
    key = key_sql(card.entity)
    numbered = (
        f"SELECT {key} AS key, row_number() OVER (ORDER BY {key} ASC) - 1 AS position "
        f"FROM {relation_sql(card.entity, catalog)} WHERE {key_known_sql(card.entity)}"
    )
    query = f"""SELECT CAST(key AS VARCHAR) FROM ({numbered})
                WHERE position > 0 AND position % {chunk_rows} = 0 ORDER BY position ASC"""
    bounds = tuple(bound for (bound,) in con.execute(sealed(query)).fetchall())
    job = ScoreJob(
        request.target,
        card.name,
        card.version,
        card.identity,
        as_of,
        chunk_rows,
        bounds,
        request.changed_only,
        keep_history=request.keep_history,
    )
    return job if name is None else dataclasses.replace(job, job=name)


def _score_all(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, job: ScoreJob) -> ScoreJob:
    """Score the next chunk."""
    rows = _insert_scores(con, catalog, card, job)
    return advance_job(con, catalog, job, entities=rows, scored=rows)


def _score_changed(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, job: ScoreJob) -> ScoreJob:
    """Score the changed entities of the next chunk; entities that no longer exist lose their score and fingerprint."""
    target, column = _table_sql(catalog, job.target), key_sql(card.entity, columns=card.score_key)
    stored, of_target = relsql_table(con, catalog, "score_fingerprints"), f"target = {literal(job.target)}"
    type_, chunk = key_type(card.entity), _chunk_table(job)
    entities, changed = _compare(con, catalog, card, job)
    unchanged = f"SELECT entity FROM {chunk} WHERE NOT changed"
    for table, mine, entity in ((target, "true", column), (stored, of_target, f"TRY_CAST(entity AS {type_})")):
        gone = f"{job.range_sql(entity, type_)} AND {entity} NOT IN ({unchanged})"
        con.execute(f"DELETE FROM {table} WHERE {mine} AND {gone}")
    if changed:
        _insert_scores(con, catalog, card, job, f"SELECT entity FROM {chunk} WHERE changed")
        values = f"{literal(job.target)}, CAST(entity AS VARCHAR), fingerprint"
        con.execute(f"INSERT INTO {stored} SELECT {values} FROM {chunk} WHERE changed")
    con.execute(f"DROP TABLE {chunk}")
    return advance_job(con, catalog, job, entities=entities, scored=changed)


def _compare(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, job: ScoreJob) -> tuple[int, int]:
    """Compare the next chunk's fingerprints with the stored ones; returns the numbers of entities and of changed ones.

    An entity without a row in the table counts as changed.
    """
    fresh = fingerprint_sql(card, catalog, moment=job.moment_sql, where=job.range_sql(*_entity_key(card)))
    con.execute(
        f"""CREATE TEMP TABLE {_chunk_table(job)} AS
            SELECT fresh.{ENTITY} AS entity, fresh.fingerprint,
                stored.fingerprint IS DISTINCT FROM fresh.fingerprint OR scored.status IS NULL AS changed
            FROM ({fresh}) fresh
            LEFT JOIN {relsql_table(con, catalog, "score_fingerprints")} stored
                ON stored.target = {literal(job.target)} AND stored.entity = CAST(fresh.{ENTITY} AS VARCHAR)
            LEFT JOIN {_table_sql(catalog, job.target)} scored
                ON {is_entity_sql(card.entity, "scored", f"fresh.{ENTITY}", card.score_key)}"""
    )
    [(entities, changed)] = con.execute(
        f"SELECT system.main.count_star(), system.main.count_star() FILTER (WHERE changed) FROM {_chunk_table(job)}"
    ).fetchall()
    return int(entities), int(changed)


def _insert_scores(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, job: ScoreJob, among: str = ""
) -> int:
    """Score the entities of the next chunk into the table; returns their number.

    `among` is a query for the keys of the entities that are scored; empty: all of the chunk.
    """

    def chosen(key: str) -> str:
        return job.range_sql(key, key_type(card.entity)) + (f" AND {key} IN ({among})" if among else "")

    query = batch_sql(card, catalog, moment=job.moment_sql, where=chosen(_entity_key(card)[0]))
    done = con.execute(f"INSERT INTO {_table_sql(catalog, job.target)} FROM ({query}) ORDER BY {card.score_order}")
    if job.keep_history:
        key = key_sql(card.entity, columns=card.score_key)
        append_predictions(con, catalog, job, card, key, chosen(key))
    return int(done.fetchall()[0][0])


def _entity_key(card: ModelCard) -> tuple[str, str]:
    """The entity's key in the seeds of `batch_sql`, and its type."""
    return key_sql(card.entity, "relsql_entity"), key_type(card.entity)


def _chunk_table(job: ScoreJob) -> str:
    """Name of the temporary table of a chunk; no table of the user has this name."""
    return f'temp.main."relsql_chunk_{job.job}"'


def _table_sql(catalog: str, target: str) -> str:
    return table_of(catalog, target).sql


def _text(con: duckdb.DuckDBPyConnection, moment: str) -> str:
    """The value of a TIMESTAMP expression as text, because DuckDB's range of times is larger than Python's."""
    [(text,)] = con.execute(sealed(f"SELECT CAST({moment} AS VARCHAR)")).fetchall()
    return str(text)


def _forget_fingerprints(con: duckdb.DuckDBPyConnection, catalog: str, target: str) -> None:
    con.execute(f"DELETE FROM {ensure_table(con, catalog, 'score_fingerprints')} WHERE target = ?", [target])


def _check_columns(con: duckdb.DuckDBPyConnection, catalog: str, request: _Request) -> None:
    """Raise DatabaseError if the table has other columns than the scores."""
    key = request.card.score_key
    expected = con.sql(f"FROM ({batch_sql(request.card, catalog, moment='now()::TIMESTAMP')}) LIMIT 0")
    found = con.sql(f"FROM {_table_sql(catalog, request.target)} LIMIT 0")
    if found.types != expected.types or tuple(found.columns[: len(key)]) != key:
        raise DatabaseError(
            f"table '{request.target}' has other columns than the scores of model '{request.card.name}'",
            expected=", ".join(f"{c} {t}" for c, t in zip(expected.columns, expected.types, strict=True)),
            fix=command("score", "FILE", request.card.name, "--into", request.target, "--overwrite"),
        )


def _check_same(job: ScoreJob, request: _Request) -> None:
    """Raise DatabaseError if an unfinished job differs from the request."""
    card = request.card
    differences = [
        f"its {what} is {theirs} instead of {mine}"
        for what, theirs, mine in (
            ("model", f"{job.model} version {job.version}", f"{card.name} version {card.version}"),
            ("as_of", job.as_of, request.as_of or job.as_of),
            ("number of entities in a chunk", job.chunk_rows, request.chunk_rows or job.chunk_rows),
            ("scope", _scope(job.changed_only), _scope(request.changed_only)),
            ("history", _history(job.keep_history), _history(request.keep_history)),
        )
        if theirs != mine
    ]
    if not differences and job.identity != card.identity:
        differences = [f"its model {job.model} version {job.version} was trained again"]
    if differences:
        raise DatabaseError(
            f"table '{job.target}' has an unfinished job ({job.chunks_done} of {job.chunks} chunks done) that differs: "
            + "; ".join(differences),
            expected="the command that started the job, or --overwrite to start again",
            fix=command("score", "FILE", card.name, "--into", job.target, "--overwrite"),
        )


def _scope(changed_only: bool) -> str:
    return "--changed-only" if changed_only else "all entities"


def _history(keep_history: bool) -> str:
    return "--keep-history" if keep_history else "not kept"


@contextmanager
def _memory_explained(con: duckdb.DuckDBPyConnection, target: str, chunk_rows: int) -> Iterator[None]:
    """Turn an out-of-memory error of DuckDB in the block into one that says which option to change.

    Raises:
        DatabaseError: the memory limit is too small.
    """
    try:
        yield
    except (duckdb.OutOfMemoryException, DatabaseError) as error:
        # `transaction` may have wrapped DuckDB's error.
        if not isinstance(error.__cause__ or error, duckdb.OutOfMemoryException):
            raise
        [(limit,)] = con.execute("SELECT system.main.current_setting('memory_limit')").fetchall()
        raise DatabaseError(
            f"memory_limit {limit} is too small for table '{target}' in chunks of {chunk_rows:,} entities",
            expected="a larger --memory-limit, with which the same command continues and keeps the finished chunks, or "
            "a smaller --chunk-rows together with --overwrite",
            fix=command("score", "FILE", "MODEL", "--into", target, "--memory-limit", "SIZE"),
        ) from error
