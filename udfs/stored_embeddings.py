"""Read stored row embeddings when queries need them, so attaching takes the same time for any number of them.

A scoring function cannot query the connection that it runs on, but it can query a cursor of it. The cursor sees
committed rows only. This does no harm, because the embedding of a text is the same whether it is stored or computed.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from relsql.database.interrupts import interrupted
from relsql.registry.cards.card import ModelCard
from relsql.registry.row_embeddings import read_rows, stored_sql, text_hash_sql
from relsql.typing import FloatArray

PRELOADED = 50_000
"""Number of texts that are read at attach: all texts of a small database; this takes a few 10 ms in a large one."""

READ_AHEAD = 10
"""Number of stored texts that are read ahead for each text looked up: a query that scores everything soon has all
texts, while one that scores a few entities only holds a multiple of the texts that it needs."""

_REQUESTED = "relsql_asked"

Found = tuple[list[str], FloatArray]
"""Texts and their embeddings, float32 [n, width]."""


@dataclass(slots=True)
class _Source:
    """The stored embeddings of one database.

    Attributes:
        connection: a weak reference, so that the file is closed when its user releases the connection.
        card: card of the model whose embeddings they are.
        sql: the query for the stored rows, see `stored_sql`.
        end: one more than the last position.
        position: all rows before this position have been read.
    """

    connection: weakref.ref[duckdb.DuckDBPyConnection]
    card: ModelCard
    sql: str
    end: int
    position: int = 0

    def ahead(self, con: duckdb.DuckDBPyConnection, rows: int) -> Found:
        """The next rows in the order of storage."""
        start, self.position = self.position, min(self.end, self.position + rows)
        return self._fetch(con, f"position >= {start} AND position < {self.position}")

    def lookup(self, texts: Sequence[str]) -> Found:
        """Those of the texts that are stored, and some more.

        Raises:
            duckdb.Error: the connection is closed, or the database is detached. ArtifactError: a row is damaged.
        """
        con = self.connection()
        if con is None:
            raise duckdb.ConnectionException("the connection is gone")
        with con.cursor() as cursor:
            cursor.register(_REQUESTED, pa.table({"text": pa.array(texts, pa.string())}))
            found = self._fetch(cursor, f"text_hash IN (SELECT {text_hash_sql('text')} FROM {_REQUESTED})")
            more = self.ahead(cursor, READ_AHEAD * len(texts))
        return found[0] + more[0], np.concatenate([found[1], more[1]])

    def _fetch(self, con: duckdb.DuckDBPyConnection, where: str) -> Found:
        rows = read_rows(con, self.sql, where, self.card)
        rows.require_whole(self.card)
        return rows.texts, rows.embeddings


class StoredEmbeddings:
    """Stored embeddings of one model version, in all databases that it was attached from.

    Args:
        card: the model's card.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._sources: list[_Source] = []
        self._always_look_up = False

    def stop_reading_ahead(self) -> None:
        """Look up all texts from now on, because some that were read are forgotten; nothing more is read ahead."""
        self._always_look_up = True
        for source in self._sources:
            source.position = source.end

    def attach(self, con: duckdb.DuckDBPyConnection, catalog: str) -> Found:
        """Look texts up in this database from now on; returns the first stored texts, unless they were read before.

        Raises:
            ArtifactError: a stored embedding is damaged.
        """
        sql = stored_sql(con, catalog, self._card)
        [(last,)] = con.execute(f"SELECT coalesce(system.main.max(position), -1) FROM ({sql})").fetchall()
        end = last + 1
        source = _Source(weakref.ref(con), self._card, sql, end)
        # Reading continues at the position that another connection to the same rows has reached.
        known = [other.position for other in self._sources if (other.sql, other.end) == (sql, end)]
        source.position = max(known, default=0)
        found = source.ahead(con, 0 if known else PRELOADED)
        self._sources = [other for other in self._sources if other.connection() not in (None, con)] + [source]
        return found

    def lookup(self, texts: Sequence[str]) -> Found:
        """Those of the texts that are stored, and some more; none if no database can be queried."""
        for source in reversed(self._sources):
            if source.position >= source.end and not self._always_look_up:
                continue
            try:
                return source.lookup(texts)
            except duckdb.Error as error:
                if interrupted(error):
                    raise
                # The database was closed, detached or dropped, so its texts are encoded again when they are needed.
                self._sources = [other for other in self._sources if other is not source]
        return [], np.zeros((0, self._card.encoder.width), dtype=np.float32)
