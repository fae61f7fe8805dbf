"""Score the entities of one part into a file, which appears when it is complete."""

from __future__ import annotations

import duckdb

from relsql.database.drafts import draft_path, remove_draft
from relsql.database.engine_errors import first_line
from relsql.database.interrupts import keyboard_interrupts
from relsql.errors import DatabaseError
from relsql.shards.prepare import opened, prepare
from relsql.shards.shard_request import MARK, ShardRequest
from relsql.sql_text import literal
from udfs.macros import batch_sql


def score_part(request: ShardRequest, part: int, threads: int | None = None) -> None:
    """Score a part, and prepare what it reads if no other process has done so.

    Args:
        request: the request.
        part: the number of the part, 0 to shards - 1.
        threads: threads of DuckDB; default: all cores.

    Raises:
        DatabaseError: files cannot be read or written; else as `relsql.shards.prepare.prepare`.
    """
    prepare(request, threads)
    target = request.part_file(part)
    draft = draft_path(target)
    try:
        with keyboard_interrupts(), opened(request, threads) as (con, prepared):
            query = batch_sql(
                prepared.card,
                prepared.catalog,
                moment=literal(request.as_of),
                where=prepared.where(part),
                gather=prepared.gather(part),
            )
            options = f"FORMAT parquet, KV_METADATA {{{MARK}: {literal(request.identity)}}}"
            con.execute(
                f"COPY (FROM ({query}) ORDER BY {prepared.card.score_order}) TO {literal(str(draft))} ({options})"
            )
        draft.replace(target)
    except (duckdb.IOException, OSError) as error:
        raise DatabaseError(
            f"file '{target}' cannot be written: {first_line(error)}",
            expected="enough disk space",
            fix="free some, then run the same command again: parts that are there are kept",
        ) from error
    finally:
        remove_draft(draft)
