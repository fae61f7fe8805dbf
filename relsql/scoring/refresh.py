"""Embed the row texts that have no stored embedding yet.

DuckDB collects, deduplicates and sorts the texts and spills to disk what does not fit in memory; Python holds one chunk
at a time. Each chunk is a transaction: a run that is stopped loses at most one chunk, and the next run continues from
there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb

from relsql.database.connections import require_writable, transaction
from relsql.database.cursors import task_cursor
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog
from relsql.database.relsql_tables import ensure_table
from relsql.gather.sql.row_texts import row_text_queries
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import active_card, read_artifacts
from relsql.registry.publications import add_texts, remove_texts
from relsql.registry.row_embeddings import add_embeddings, create_table, remove_damaged, stored_sql, text_hash_sql
from relsql.schema.reading import read_schema
from relsql.typing import PhaseProgress
from udfs.encoder import RowTextEncoder

CHUNK_TEXTS = 8_192
"""Texts that are encoded and committed together."""

TEXTS = "temp.relsql_texts"
"""The table that `collect_texts` makes: text_hash, text, row_count."""

_MISSING = "temp.relsql_missing"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Result of a refresh.

    Attributes:
        model, version: the model whose embeddings were refreshed.
        rows: rows of the tables whose text the model reads.
        texts: distinct texts among them.
        new: texts that were embedded.
        pruned: embeddings that were removed because no row has their text.
        seconds: total wall time.
        repaired: damaged embeddings that were removed; they also count as `new` if a row has their text.
    """

    model: str
    version: int
    rows: int
    texts: int
    new: int
    pruned: int
    seconds: float
    repaired: int = 0


def refresh(
    con: duckdb.DuckDBPyConnection,
    model: str,
    *,
    prune: bool = False,
    threads: int | None = None,
    progress: PhaseProgress | None = None,
) -> Refreshed:
    """Embed and store all row texts that a version of a model reads and that have no stored embedding yet.

    Only committed rows count. Scores do not change but become faster, because a query has to encode every text that has
    no stored embedding. All stored embeddings are checked: damaged ones are encoded again, and those of an earlier
    build get their digests. If the version is published, its plain SQL can use the new embeddings at once.

    Args:
        con: a connection whose current database holds the model; its transaction state and settings are not changed.
        model: its name, or a version of it, `dnf@2`.
        prune: also remove embeddings of texts that no committed row has.
        threads: CPU threads of the encoder; None: all.
        progress: called with the progress of the phases `read`, `embed` and `prune`.

    Raises:
        DatabaseError: the database is read-only or full. ModelError: there is no such model, or its plain SQL was
            changed. SchemaDriftError: its tables changed. ArtifactError: it is damaged.
        KeyboardInterrupt: interrupted; the chunks that were finished are stored.
    """
    started = time.perf_counter()
    catalog = current_catalog(con)
    card = active_card(con, catalog, model)
    require_writable(con, catalog, "refreshing row embeddings")
    check_drift(card, read_schema(con, catalog))
    with task_cursor(con, catalog) as cursor, keyboard_interrupts():
        found = store_embeddings(cursor, catalog, card, prune=prune, threads=threads, progress=progress)
        with transaction(cursor):
            add_texts(cursor, catalog, card)
    return replace(found, seconds=time.perf_counter() - started)


def store_embeddings(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    card: ModelCard,
    *,
    prune: bool = False,
    threads: int | None = None,
    progress: PhaseProgress | None = None,
) -> Refreshed:
    """Do the work of `refresh` on row embeddings, published or not; the cursor must not be used for anything else."""
    started = time.perf_counter()
    report = progress or _silent
    report("read", 0.0, {})
    repaired = _check_stored(cursor, catalog, card)
    rows, texts = collect_texts(cursor, catalog, card)
    new = _collect_missing(cursor, catalog, card)
    report("read", 1.0, {"rows": rows, "texts": texts, "new": new})
    if new:
        _embed_missing(cursor, catalog, card, new, threads, report)
    pruned = _prune(cursor, catalog, card, report) if prune else 0
    return Refreshed(card.name, card.version, rows, texts, new, pruned, time.perf_counter() - started, repaired)


def _check_stored(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> int:
    """Check the stored embeddings, remove damaged ones, and add digests to those of an earlier build."""
    with transaction(cursor):
        ensure_table(cursor, catalog, "models")
        repaired = remove_damaged(cursor, catalog, card)
        create_table(cursor, catalog, card)
    return repaired


def collect_texts(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> tuple[int, int]:
    """Collect the distinct texts of committed rows in the table `TEXTS`; returns the number of rows and of texts."""
    queries = row_text_queries(catalog, card.rows)
    every_row = "\nUNION ALL\n".join(queries) or "SELECT NULL::VARCHAR AS text WHERE false"
    cursor.execute(
        f"""CREATE TEMP TABLE {TEXTS} AS
            SELECT {text_hash_sql("text")} AS text_hash, text, system.main.count_star() AS row_count
            FROM ({every_row}) GROUP BY text"""
    )
    [(rows, texts)] = cursor.execute(
        f"SELECT coalesce(system.main.sum(row_count), 0), system.main.count_star() FROM {TEXTS}"
    ).fetchall()
    return int(rows), int(texts)


def _collect_missing(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> int:
    """Collect the texts without a stored embedding in a temporary table, short ones first; returns their number."""
    # Sorting by length in characters puts similar texts into one chunk; the encoder sorts a chunk by number of tokens.
    cursor.execute(
        f"""CREATE TEMP TABLE {_MISSING} AS
            SELECT text FROM {TEXTS} ANTI JOIN ({stored_sql(cursor, catalog, card)}) stored USING (text_hash)
            ORDER BY system.main.length(text) ASC, text_hash ASC"""
    )
    [(new,)] = cursor.execute(f"SELECT system.main.count_star() FROM {_MISSING}").fetchall()
    return int(new)


def _embed_missing(
    cursor: duckdb.DuckDBPyConnection,
    catalog: str,
    card: ModelCard,
    new: int,
    threads: int | None,
    report: PhaseProgress,
) -> None:
    """Encode the missing texts and store their embeddings, chunk by chunk."""
    report("embed", 0.0, {})
    artifacts = read_artifacts(cursor, catalog, card)
    encoder = RowTextEncoder.load(card, artifacts, threads=threads or os.cpu_count() or 1)
    with transaction(cursor):
        table = create_table(cursor, catalog, card)
    [(characters,)] = cursor.execute(f"SELECT system.main.sum(system.main.length(text)) FROM {_MISSING}").fetchall()
    texts_done = characters_done = 0
    for texts in _chunks(cursor, new):
        embeddings = encoder.encode(texts)
        with transaction(cursor):
            add_embeddings(cursor, table, card, texts, embeddings)
        texts_done += len(texts)
        # Progress counts characters, because long texts take more time and come last.
        characters_done += sum(map(len, texts))
        done = texts_done == new
        report("embed", 1.0 if done else min(characters_done / characters, 0.999), {"texts": texts_done})


def _chunks(cursor: duckdb.DuckDBPyConnection, new: int) -> Iterator[list[str]]:
    """Yield the missing texts in chunks, short texts first."""
    for start in range(0, new, CHUNK_TEXTS):
        query = f"SELECT text FROM {_MISSING} WHERE rowid >= ? AND rowid < ?"
        yield [text for (text,) in cursor.execute(query, [start, start + CHUNK_TEXTS]).fetchall()]


def _prune(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, report: PhaseProgress) -> int:
    """Remove the embeddings of texts that no row has; returns how many there were."""
    report("prune", 0.0, {})
    with transaction(cursor):
        table = create_table(cursor, catalog, card)
        unused = f"text_hash NOT IN (SELECT text_hash FROM {TEXTS})"
        [(pruned,)] = cursor.execute(f"DELETE FROM {table} WHERE {unused}").fetchall()
        remove_texts(cursor, catalog, card, unused)
    report("prune", 1.0, {"removed": pruned})
    return int(pruned)


def _silent(phase: str, fraction: float, metrics: dict[str, float]) -> None:
    """Ignore progress reports."""
