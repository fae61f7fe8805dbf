"""Embed the row texts that have no stored embedding yet.

Texts are collected, told apart and ordered by DuckDB, which spills to disk what does not fit in memory; Python holds
one chunk of them. Each chunk is committed by itself: whatever ends a run loses one chunk at most, and the next run goes
on from there.
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
from relsql.gather.row_texts import row_text_queries
from relsql.registry.card import ModelCard
from relsql.registry.models import active_card, check_drift, read_artifacts
from relsql.registry.publications import add_texts, remove_texts
from relsql.registry.row_embeddings import add_embeddings, create_table, remove_damaged, stored_sql, text_hash_sql
from relsql.schema.reading import read_schema
from relsql.typing import TrainProgress
from udfs.encoder import RowTextEncoder

CHUNK_TEXTS = 8_192
"""Texts that are encoded and committed together."""

_TEXTS, _MISSING = "temp.relsql_texts", "temp.relsql_missing"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh found and did.

    Attributes:
        model, version: whose embeddings.
        rows: rows of the tables whose text the model reads.
        texts: distinct texts among them.
        new: texts that were embedded.
        pruned: embeddings that were removed because no row has their text.
        seconds: in all.
        repaired: damaged embeddings that were removed; they are among `new` where a row has their text.
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
    progress: TrainProgress | None = None,
) -> Refreshed:
    """Store the embeddings of all committed rows that a version of a model reads and that have none yet.

    Scores do not change, they only take less time: a text without stored embedding is encoded when a query meets it.
    All stored embeddings are checked, and damaged ones encoded again; those of an earlier build get their digests.
    Where the version is published, its plain SQL knows the texts from then on.

    Args:
        con: a connection whose current database holds the model; its transaction state and settings are left alone.
        model: its name, or a version of it, `dnf@2`.
        prune: also remove embeddings of texts that no committed row has.
        threads: CPU threads of the encoder; None: all.
        progress: told about the phases `read`, `embed` and `prune`.

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
    progress: TrainProgress | None = None,
) -> Refreshed:
    """What `refresh` does to row embeddings, whether or not the version is published; the cursor is a task's own."""
    started = time.perf_counter()
    report = progress or _silent
    report("read", 0.0, {})
    repaired = _check_stored(cursor, catalog, card)
    rows, texts = _collect_texts(cursor, catalog, card)
    new = _collect_missing(cursor, catalog, card)
    report("read", 1.0, {"rows": rows, "texts": texts, "new": new})
    if new:
        _embed_missing(cursor, catalog, card, new, threads, report)
    pruned = _prune(cursor, catalog, card, report) if prune else 0
    return Refreshed(card.name, card.version, rows, texts, new, pruned, time.perf_counter() - started, repaired)


def _check_stored(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> int:
    """Check the stored embeddings and remove damaged ones, or give digests to those of an earlier build."""
    with transaction(cursor):
        ensure_table(cursor, catalog, "models")
        repaired = remove_damaged(cursor, catalog, card)
        create_table(cursor, catalog, card)
    return repaired


def _collect_texts(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> tuple[int, int]:
    """All row texts into a temporary table, each once; returns the number of rows and of texts."""
    queries = row_text_queries(catalog, card.schema, card.inputs)
    every_row = "\nUNION ALL\n".join(queries) or "SELECT NULL::VARCHAR AS text WHERE false"
    cursor.execute(
        f"""CREATE TEMP TABLE {_TEXTS} AS
            SELECT {text_hash_sql("text")} AS text_hash, text, system.main.count_star() AS row_count
            FROM ({every_row}) GROUP BY text"""
    )
    [(rows, texts)] = cursor.execute(
        f"SELECT coalesce(system.main.sum(row_count), 0), system.main.count_star() FROM {_TEXTS}"
    ).fetchall()
    return int(rows), int(texts)


def _collect_missing(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> int:
    """The texts without stored embedding into a temporary table, short ones first; returns their number."""
    # Length in characters brings texts of like length into one chunk; within it the encoder goes by tokens.
    cursor.execute(
        f"""CREATE TEMP TABLE {_MISSING} AS
            SELECT text FROM {_TEXTS} ANTI JOIN ({stored_sql(cursor, catalog, card)}) stored USING (text_hash)
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
    report: TrainProgress,
) -> None:
    """Encode and store the missing texts, chunk by chunk."""
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
        # Time goes with length, and the short texts come first.
        characters_done += sum(map(len, texts))
        done = texts_done == new
        report("embed", 1.0 if done else min(characters_done / characters, 0.999), {"texts": texts_done})


def _chunks(cursor: duckdb.DuckDBPyConnection, new: int) -> Iterator[list[str]]:
    """The missing texts, short ones first."""
    for start in range(0, new, CHUNK_TEXTS):
        query = f"SELECT text FROM {_MISSING} WHERE rowid >= ? AND rowid < ?"
        yield [text for (text,) in cursor.execute(query, [start, start + CHUNK_TEXTS]).fetchall()]


def _prune(cursor: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, report: TrainProgress) -> int:
    """Remove the embeddings of texts that no row has; returns how many there were."""
    report("prune", 0.0, {})
    with transaction(cursor):
        table = create_table(cursor, catalog, card)
        unused = f"text_hash NOT IN (SELECT text_hash FROM {_TEXTS})"
        [(pruned,)] = cursor.execute(f"DELETE FROM {table} WHERE {unused}").fetchall()
        remove_texts(cursor, catalog, card, unused)
    report("prune", 1.0, {"removed": pruned})
    return int(pruned)


def _silent(phase: str, fraction: float, metrics: dict[str, float]) -> None:
    """Tell nobody."""
