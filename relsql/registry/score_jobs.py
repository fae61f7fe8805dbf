"""Batch scoring jobs as rows of `relsql.score_jobs`: their request, their progress and the table that they write.

A job is read, written and advanced in the same transaction as the scores that it counts, so that the two always agree.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass, field, fields, replace

import duckdb

from relsql.database.names import DEFAULT_SCHEMA, ObjectName, Relation, find_relation, split_name
from relsql.database.relsql_tables import (
    SealedRow,
    ensure_table,
    has_relsql_table,
    read_sealed,
    relsql_table,
    rows_sql,
    seal_rows,
)
from relsql.errors import ArtifactError, DatabaseError
from relsql.hints import command
from relsql.schema.visibility import opaque_sql
from relsql.sql_text import literal


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """One job; there is at most one for each table.

    Attributes:
        target: the table as `ObjectName.key` writes it, `risk` or `staging.risk`.
        model, version, identity: name, version and identity of the model version that scores.
        as_of: the text of a TIMESTAMP, inclusive; fixed at the start and the same for all chunks.
        chunk_rows: number of entities in a chunk.
        bounds: keys, as text, at which the second and later chunks start, inclusive; the last chunk has no end.
        changed_only: fingerprints are kept, and entities with an unchanged fingerprint are not scored again.
        job: unique name of the job.
        chunks_done: number of committed chunks.
        entities, scored: number of entities in these chunks, and number of those that were scored.
        keep_history: the scores are also appended to the ledger, see `relsql.registry.predictions`.
    """

    target: str
    model: str
    version: int
    identity: str
    as_of: str
    chunk_rows: int
    bounds: tuple[str, ...]
    changed_only: bool
    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    chunks_done: int = 0
    entities: int = 0
    scored: int = 0
    keep_history: bool = False

    @property
    def chunks(self) -> int:
        """Total number of chunks."""
        return len(self.bounds) + 1

    @property
    def finished(self) -> bool:
        """True if all chunks are committed."""
        return self.chunks_done == self.chunks

    @property
    def moment_sql(self) -> str:
        """`as_of` as an SQL expression."""
        return f"CAST({literal(self.as_of)} AS TIMESTAMP)"

    def range_sql(self, key: str, key_type: str) -> str:
        """The condition that the expression `key` is a key of the next chunk."""
        start = self.bounds[self.chunks_done - 1] if self.chunks_done else None
        end = self.bounds[self.chunks_done] if self.chunks_done < len(self.bounds) else None
        conditions = [f"{key} >= CAST({literal(start)} AS {key_type})"] if start is not None else []
        conditions += [f"{key} < CAST({literal(end)} AS {key_type})"] if end is not None else []
        if key_type.startswith("STRUCT("):
            # DuckDB 2.0.0 merges the two conditions into a BETWEEN, which it then cannot evaluate for a STRUCT.
            conditions = [opaque_sql(condition) for condition in conditions]
        return " AND ".join(conditions) or "true"


_COLUMNS = ", ".join(f.name for f in fields(ScoreJob))
_COMMENT = "scores written by relsql, "


def read_job(
    con: duckdb.DuckDBPyConnection, catalog: str, target: str, *, damaged_too: bool = False
) -> ScoreJob | None:
    """The job of a table, or None; a damaged job is only returned to a caller that replaces it.

    Raises:
        ArtifactError: its row is damaged.
    """
    if not has_relsql_table(con, catalog, "score_jobs"):
        return None
    rows = read_sealed(con, catalog, "score_jobs", "target = ?", [target])
    if not rows:
        return None
    if not damaged_too:
        check_job_row(rows[0])
    # `keep_history` is not a sealed column, because the digests of earlier builds' jobs do not cover it.
    query = f"SELECT coalesce(keep_history, false) FROM {rows_sql(con, catalog, 'score_jobs')} WHERE target = ?"
    [(keep_history,), *_] = con.execute(query, [target]).fetchall()
    values = rows[0].values
    return ScoreJob(**values | {"bounds": tuple(values["bounds"] or ()), "keep_history": keep_history})


def check_job_row(row: SealedRow) -> None:
    """Raise ArtifactError if a job's row was changed: its scores could be for other entities or times."""
    if row.intact is False or any(value is None for value in row.values.values()):
        target, model = row.values["target"], row.values["model"]
        raise ArtifactError(
            f"the job of table '{target}' in relsql's table score_jobs is damaged",
            expected="the row that relsql score wrote",
            fix=command("score", "FILE", model, "--into", target, "--overwrite"),
        )


def save_job(con: duckdb.DuckDBPyConnection, catalog: str, job: ScoreJob) -> None:
    """Write a new job, which replaces the former job of the table. The caller owns the transaction."""
    table = ensure_table(con, catalog, "score_jobs")
    con.execute(f"DELETE FROM {table} WHERE target = ?", [job.target])
    names = [f.name for f in fields(ScoreJob)]
    values = [getattr(job, name) for name in names]
    values = [list(value) if isinstance(value, tuple) else value for value in values]
    query = f"INSERT INTO {table} ({_COLUMNS}, started, updated) VALUES ({', '.join('?' * (len(names) + 2))})"
    con.execute(query, [*values, _now(), _now()])
    seal_rows(con, catalog, "score_jobs", "target = ?", [job.target])


def advance_job(con: duckdb.DuckDBPyConnection, catalog: str, job: ScoreJob, *, entities: int, scored: int) -> ScoreJob:
    """Count the next chunk as done. The caller owns the transaction.

    Raises:
        DatabaseError: another connection has advanced or removed the job meanwhile.
    """
    after = replace(job, chunks_done=job.chunks_done + 1, entities=job.entities + entities, scored=job.scored + scored)
    query = f"""UPDATE {relsql_table(con, catalog, "score_jobs")}
                SET chunks_done = ?, entities = ?, scored = ?, updated = ?
                WHERE target = ? AND job = ? AND chunks_done = ?"""
    values = [after.chunks_done, after.entities, after.scored, _now(), job.target, job.job, job.chunks_done]
    if con.execute(query, values).fetchall()[0][0] != 1:
        raise DatabaseError(
            f"the job of table '{job.target}' was changed by another connection",
            expected="one job at a time for each table",
            fix=command("score", "FILE", job.model, "--into", job.target),
        )
    seal_rows(con, catalog, "score_jobs", "target = ?", [job.target])
    return after


def forget_job(con: duckdb.DuckDBPyConnection, target: ObjectName) -> None:
    """Delete a table's job and fingerprints, which no longer describe its rows. The caller owns the transaction."""
    for name in ("score_jobs", "score_fingerprints"):
        if has_relsql_table(con, target.catalog, name):
            con.execute(f"DELETE FROM {relsql_table(con, target.catalog, name)} WHERE target = ?", [target.key])


def mark_scores(con: duckdb.DuckDBPyConnection, table: ObjectName, by: str) -> None:
    """Mark a table with a comment that relsql wrote its scores; `by` names the writer.

    The comment stays with the table when the table is renamed. A table that is created to replace or copy it does not
    have the comment.
    """
    con.execute(f"COMMENT ON TABLE {table.sql} IS {literal(_COMMENT + by)}")


def mark_table(con: duckdb.DuckDBPyConnection, table: ObjectName, job: ScoreJob) -> None:
    """Mark a table with a comment as the table of the job."""
    mark_scores(con, table, _of_job(job))


def is_scores(found: Relation) -> bool:
    """True if relsql made this table to hold scores."""
    return found.kind == "table" and not found.temporary and (found.comment or "").startswith(_COMMENT)


def is_job_table(found: Relation | None, job: ScoreJob | None) -> bool:
    """True if this is the table that the job created."""
    return bool(found and job and is_scores(found) and found.comment == _COMMENT + _of_job(job))


def require_job_table(con: duckdb.DuckDBPyConnection, catalog: str, job: ScoreJob) -> None:
    """Check that the job's table is still the one that it created.

    Raises:
        DatabaseError: the table no longer exists, or another table has its name.
    """
    if not is_job_table(find_relation(con, table_of(catalog, job.target)), job):
        raise DatabaseError(
            f"table '{job.target}' is no longer the one that its job writes to",
            expected="the table that the job created",
            fix=command("score", "FILE", job.model, "--into", "ANOTHER_TABLE"),
        )


def table_of(catalog: str, target: str) -> ObjectName:
    """The table of a job."""
    *outside, name = split_name(target)
    return ObjectName(catalog, outside[0] if outside else DEFAULT_SCHEMA, name)


def _of_job(job: ScoreJob) -> str:
    return f"job {job.job}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
