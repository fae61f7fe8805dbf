"""Stored row embeddings, read as queries come to need them, so that attaching costs the same for any number of them.

A scoring function cannot query the connection that it runs on, but a cursor of it can be queried. The cursor sees
committed rows only, which is no loss: a text has one embedding, stored or not.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from relsql.database.interrupts import interrupted
from relsql.registry.card import ModelCard
from relsql.registry.row_embeddings import read_rows, stored_sql, text_hash_sql
from relsql.typing import FloatArray

PRELOADED = 50_000
"""Texts that are read at attach: all of a small database, a few hundredths of a second of a large one."""

FURTHER = 10
"""So many stored texts are read ahead with each one looked up: who scores everything soon has everything, and who
scores a few entities never holds more than some multiple of what they need."""

_ASKED = "relsql_asked"

Found = tuple[list[str], FloatArray]
"""Texts and their embeddings, float32 [n, width]."""


@dataclass(slots=True)
class _Source:
    """The stored embeddings of one database.

    Attributes:
        connection: it is not kept alive, so that the file is closed when its user lets go of it.
        card: of the model whose embeddings they are.
        sql: what is stored, see `stored_sql`.
        end: one more than the last position.
        position: all rows before it were read.
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
        """Of these texts those that are stored, and some more.

        Raises:
            duckdb.Error: the connection is closed, or the database is gone from it. ArtifactError: a row is damaged.
        """
        con = self.connection()
        if con is None:
            raise duckdb.ConnectionException("the connection is gone")
        with con.cursor() as cursor:
            cursor.register(_ASKED, pa.table({"text": pa.array(texts, pa.string())}))
            found = self._fetch(cursor, f"text_hash IN (SELECT {text_hash_sql('text')} FROM {_ASKED})")
            more = self.ahead(cursor, FURTHER * len(texts))
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
        self._ask_always = False

    def ask_again(self) -> None:
        """Texts that were read may be asked for again, since some were forgotten; nothing is read ahead any more."""
        self._ask_always = True
        for source in self._sources:
            source.position = source.end

    def attach(self, con: duckdb.DuckDBPyConnection, catalog: str) -> Found:
        """Look texts up in this database from now on; returns the first that are stored, if they are new.

        Raises:
            ArtifactError: one of them is damaged.
        """
        sql = stored_sql(con, catalog, self._card)
        [(last,)] = con.execute(f"SELECT coalesce(system.main.max(position), -1) FROM ({sql})").fetchall()
        end = last + 1
        source = _Source(weakref.ref(con), self._card, sql, end)
        # Another connection to the same rows goes on where they were read to.
        known = [other.position for other in self._sources if (other.sql, other.end) == (sql, end)]
        source.position = max(known, default=0)
        found = source.ahead(con, 0 if known else PRELOADED)
        self._sources = [other for other in self._sources if other.connection() not in (None, con)] + [source]
        return found

    def lookup(self, texts: Sequence[str]) -> Found:
        """Of these texts those that are stored, and some more; none when no database can be asked."""
        for source in reversed(self._sources):
            if source.position >= source.end and not self._ask_always:
                continue
            try:
                return source.lookup(texts)
            except duckdb.Error as error:
                if interrupted(error):
                    raise
                # Closed, detached or dropped since: what it held is encoded on the spot.
                self._sources = [other for other in self._sources if other is not source]
        return [], np.zeros((0, self._card.encoder.width), dtype=np.float32)
