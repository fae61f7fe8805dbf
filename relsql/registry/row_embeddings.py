"""Row embeddings stored in the database, one table per model version: `row_embeddings_<identity>`.

With a separate table per version, embeddings are arrays of a fixed size, so that DuckDB reads a few out of many without
decoding the rest (`docs/decisions/0009-row-embeddings.md`), and the table is dropped quickly with its model.

The embedding of a text depends only on the model version, so the table is a cache: a missing text is encoded when a
query reads it. Each row has a digest of its text and embedding, which is checked when the row is read, so that looking
up a few rows only checks these rows. Tables of earlier builds have no digests until `relsql refresh` adds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.digests import Digests, embedding_digests
from relsql.database.relsql_tables import create_schema, has_column, has_relsql_table, relsql_table
from relsql.errors import ArtifactError
from relsql.hints import command
from relsql.registry.cards.card import SEALED_CARD_FORMAT, ModelCard
from relsql.sql_text import literal
from relsql.typing import FloatArray

SHARED_TABLE = "row_embeddings"
"""The table in which earlier builds kept the embeddings of all models. It is still read, but no longer written."""

SEAL_ROWS = 50_000
"""Number of rows that are read and sealed, or checked, at a time."""

_NEW, _SEALS = "relsql_new_embeddings", "relsql_embedding_seals"


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Some stored embeddings.

    Attributes:
        position: int64 [n], see `stored_sql`.
        texts: the texts as stored, None where a text is missing.
        embeddings: float32 [n, width], NaN where an embedding is missing.
        damaged: bool [n], rows whose text and embedding do not match their digest.
    """

    position: npt.NDArray[np.int64]
    texts: list[str]
    embeddings: FloatArray
    damaged: npt.NDArray[np.bool_]

    def require_whole(self, card: ModelCard) -> None:
        """Raise ArtifactError if a row is damaged."""
        if self.damaged.any():
            raise ArtifactError(
                f"row embeddings of model '{card.name}' version {card.version} are damaged: "
                f"{int(self.damaged.sum()):,} of {len(self.damaged):,} that were read",
                expected="embeddings as they were stored",
                fix=command("refresh", "FILE", f"{card.name}@{card.version}"),
            )


def text_hash_sql(text: str) -> str:
    """The key of a row text: its MD5 as UHUGEINT.

    The probability that any two of ten million texts share a key is 1e-25.
    """
    return f"system.main.md5_number({text})"


def _text_key_sql(text_hash: str) -> str:
    """The part of a text's hash that is included in the digest of its embedding: 64 bits, UBIGINT."""
    return f'CAST(system.main."&"({text_hash}, {2**64 - 1}::UHUGEINT) AS UBIGINT)'


def table_name(identity: str) -> str:
    """Name of a model version's table of row embeddings within relsql's schema."""
    return f"row_embeddings_{identity}"


def stored_sql(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str:
    """A query for the stored rows: position, text_hash, text, embedding FLOAT[width], digest; texts are distinct.

    `position` numbers the rows in the order of storage, with gaps where rows were removed. `digest` is NULL if an
    earlier build stored the embeddings, and 0, which is never a valid digest, where it is missing. The format of the
    card says whether that build stored digests: a column that was dropped is damage.
    """
    unsealed = "NULL::UBIGINT" if card.format < SEALED_CARD_FORMAT else "0::UBIGINT"
    name = table_name(card.identity)
    if has_relsql_table(con, catalog, name):
        digest = "coalesce(digest, 0)" if has_column(con, catalog, name, "digest") else unsealed
        source = relsql_table(con, catalog, name)
        return f"SELECT rowid AS position, text_hash, text, embedding, {digest} AS digest FROM {source}"
    width = card.encoder.width
    if card.format >= SEALED_CARD_FORMAT or not has_relsql_table(con, catalog, SHARED_TABLE):
        return (
            "SELECT NULL::BIGINT AS position, NULL::UHUGEINT AS text_hash, NULL::VARCHAR AS text, "
            f"NULL::FLOAT[{width}] AS embedding, NULL::UBIGINT AS digest WHERE false"
        )
    columns = f"{text_hash_sql('text')} AS text_hash, text, CAST(embedding AS FLOAT[{width}]) AS embedding"
    return (
        f"SELECT rowid AS position, {columns}, NULL::UBIGINT AS digest FROM {relsql_table(con, catalog, SHARED_TABLE)} "
        f"WHERE {_shared_rows(card)} AND system.main.len(embedding) = {width}"
    )


def read_rows(con: duckdb.DuckDBPyConnection, sql: str, where: str, card: ModelCard) -> StoredRows:
    """The stored rows that meet a condition, each checked; `sql` is the result of `stored_sql`.

    An embedding without a digest only has to be finite.
    """
    hashed = f"SELECT *, {text_hash_sql('text')} AS hash FROM ({sql}) WHERE {where}"
    columns = f"position, text, embedding, digest, {_text_key_sql('hash')} AS text_key"
    columns += ", text_hash IS NOT DISTINCT FROM hash AS found_by_text"
    rows = con.sql(f"SELECT {columns} FROM ({hashed})").to_arrow_table()
    embeddings, gone = _matrix(rows.column("embedding").combine_chunks(), card.encoder.width)
    texts, digest = rows.column("text"), rows.column("digest")
    # With `arrow_lossless_conversion` Booleans arrive as bytes.
    gone |= np.asarray(texts.is_null()) | ~np.asarray(rows.column("found_by_text")).astype(bool)
    if digest.null_count:
        gone |= ~np.isfinite(embeddings).all(axis=1)
    else:
        keys = np.asarray(rows.column("text_key").fill_null(0), dtype=np.uint64)
        gone |= embedding_digests(card.identity, keys, embeddings) != np.asarray(digest, dtype=np.uint64)
    return StoredRows(np.asarray(rows.column("position"), dtype=np.int64), texts.to_pylist(), embeddings, gone)


def _matrix(column: pa.FixedSizeListArray, width: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Embeddings as float32 [n, width], and which of them are missing."""
    gone = np.asarray(column.is_null())
    if column.type.list_size != width:
        return np.zeros((len(column), width), dtype=np.float32), np.ones(len(column), dtype=bool)
    if column.null_count:
        # `flatten` skips lists that are NULL.
        column = column.fill_null(pa.scalar([float("nan")] * width, column.type))
    return np.asarray(column.flatten(), dtype=np.float32).reshape(-1, width), gone


def create_table(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str:
    """Create the table of a model version if it does not exist, and return its qualified name.

    Embeddings that an earlier build stored are moved into it and get digests. The caller owns the transaction.
    """
    name = table_name(card.identity)
    table = relsql_table(con, catalog, name)
    if not has_relsql_table(con, catalog, name):
        earlier = stored_sql(con, catalog, card)
        create_schema(con, catalog)
        con.execute(
            f"CREATE TABLE {table} AS SELECT text_hash, text, embedding, digest FROM ({earlier}) ORDER BY position ASC"
        )
        if has_relsql_table(con, catalog, SHARED_TABLE):
            con.execute(f"DELETE FROM {relsql_table(con, catalog, SHARED_TABLE)} WHERE {_shared_rows(card)}")
    elif has_column(con, catalog, name, "digest"):
        return table
    else:
        con.execute(f"ALTER TABLE {table} ADD COLUMN digest UBIGINT")
    _seal_table(con, table, card)
    return table


def _seal_table(con: duckdb.DuckDBPyConnection, table: str, card: ModelCard) -> None:
    """Add the digests to a table that has none yet; rows that are damaged are removed."""
    sql = f"SELECT rowid AS position, text_hash, text, embedding, NULL::UBIGINT AS digest FROM {table}"
    for rows in stored_rows(con, sql, card):
        kept = ~rows.damaged
        if not kept.all():
            _delete(con, table, rows.position[rows.damaged])
        keys = _text_keys(con, [text for text, keep in zip(rows.texts, kept, strict=True) if keep])
        digests = embedding_digests(card.identity, keys, rows.embeddings[kept])
        con.register(_SEALS, pa.table({"position": rows.position[kept], "digest": digests}))
        try:
            con.execute(f"UPDATE {table} SET digest = s.digest FROM {_SEALS} s WHERE {table}.rowid = s.position")
        finally:
            con.unregister(_SEALS)


def remove_damaged(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> int:
    """Check all stored embeddings of a model version and remove the damaged ones; returns their number.

    Like any missing embeddings they are encoded again. The caller owns the transaction.
    """
    if not has_relsql_table(con, catalog, table_name(card.identity)):
        return 0
    table, sql = relsql_table(con, catalog, table_name(card.identity)), stored_sql(con, catalog, card)
    found = [rows.position[rows.damaged] for rows in stored_rows(con, sql, card)]
    positions = np.concatenate([np.zeros(0, dtype=np.int64), *found])
    _delete(con, table, positions)
    return len(positions)


def check_embeddings(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> bool:
    """Check all stored embeddings of a model version; returns False if they have no digests.

    Raises:
        ArtifactError: some embeddings are damaged.
    """
    name = table_name(card.identity)
    if not has_relsql_table(con, catalog, name):
        return card.format >= SEALED_CARD_FORMAT or not has_relsql_table(con, catalog, SHARED_TABLE)
    for rows in stored_rows(con, stored_sql(con, catalog, card), card):
        rows.require_whole(card)
    return has_column(con, catalog, name, "digest")


def stored_rows(con: duckdb.DuckDBPyConnection, sql: str, card: ModelCard, where: str = "true") -> Iterator[StoredRows]:
    """The stored rows that meet a condition in the order of storage, at most `SEAL_ROWS` at a time, each checked.

    `sql` is the result of `stored_sql`.
    """
    after = -1
    while True:
        # Each chunk starts where the last one ended: positions have gaps, and those of rows that an open transaction
        # added begin at 2^55.
        chunk = f"SELECT position FROM ({sql}) WHERE position > {after} ORDER BY position ASC LIMIT {SEAL_ROWS}"
        [(end,)] = con.execute(f"SELECT system.main.max(position) FROM ({chunk})").fetchall()
        if end is None:
            return
        yield read_rows(con, sql, f"position > {after} AND position <= {end} AND {where}", card)
        after = end


def _delete(con: duckdb.DuckDBPyConnection, table: str, positions: npt.NDArray[np.int64]) -> None:
    if not len(positions):
        return
    con.register(_SEALS, pa.table({"position": positions}))
    try:
        con.execute(f"DELETE FROM {table} WHERE rowid IN (SELECT position FROM {_SEALS})")
    finally:
        con.unregister(_SEALS)


def _text_keys(con: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> Digests:
    """Hashes of texts as `read_rows` computes them."""
    con.register(_SEALS, pa.table({"text": pa.array(texts, pa.string())}))
    try:
        query = f"SELECT {_text_key_sql(text_hash_sql('text'))} AS key FROM {_SEALS}"
        keys = con.sql(query).to_arrow_table().column("key")
    finally:
        con.unregister(_SEALS)
    return np.asarray(keys, dtype=np.uint64)


def add_embeddings(
    con: duckdb.DuckDBPyConnection, table: str, card: ModelCard, texts: Sequence[str], embeddings: FloatArray
) -> None:
    """Append texts that are not stored yet, with their embeddings, float32 [n, width]. The caller owns the transaction.

    `table` is the result of `create_table`.
    """
    if not len(texts):
        return
    digests = embedding_digests(card.identity, _text_keys(con, texts), embeddings)
    arrays = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    rows = pa.table({"text": pa.array(texts, pa.string()), "embedding": arrays, "digest": digests})
    con.register(_NEW, rows)
    try:
        query = f"SELECT {text_hash_sql('text')}, text, embedding, digest FROM {_NEW}"
        con.execute(f"INSERT INTO {table} (text_hash, text, embedding, digest) {query}")
    finally:
        con.unregister(_NEW)


def drop_embeddings(
    con: duckdb.DuckDBPyConnection, catalog: str, model: str, version: int | None = None, *, keep: str | None = None
) -> None:
    """Remove the embeddings of one version of a model, or of all versions except the one with the identity `keep`.

    The caller owns the transaction.
    """
    models = relsql_table(con, catalog, "models")
    query = f"SELECT sha256 FROM {models} WHERE name = ? AND version = coalesce(?, version)"
    for (identity,) in con.execute(query, [model, version]).fetchall():
        if identity != keep:
            con.execute(f"DROP TABLE IF EXISTS {relsql_table(con, catalog, table_name(identity))}")
    if has_relsql_table(con, catalog, SHARED_TABLE):
        rows = "model = ? AND version = coalesce(?, version)"
        con.execute(f"DELETE FROM {relsql_table(con, catalog, SHARED_TABLE)} WHERE {rows}", [model, version])


def _shared_rows(card: ModelCard) -> str:
    """The condition for the rows of the shared table that belong to a model version."""
    return f"model = {literal(card.name)} AND version = {card.version}"
