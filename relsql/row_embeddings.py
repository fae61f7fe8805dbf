"""Row embeddings stored in the database, one table per model version: `relsql.row_embeddings_<identity>`.

A table of its own lets embeddings be arrays of a fixed size, of which DuckDB reads a few out of many without decoding
the rest (`docs/decisions/0009-row-embeddings.md`), and goes with its model in no time.

The embedding of a text depends on the model version alone, so that the table is only a cache: whatever it lacks is
encoded when a query meets it.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from relsql.blocks import FloatArray
from relsql.card import ModelCard
from relsql.schema import RELSQL_SCHEMA, has_relsql_table
from relsql.sql import literal, qualified
from relsql.store import create_schema, relsql_table

SHARED_TABLE = "row_embeddings"
"""Where builds before these tables kept the embeddings of all models. It is read, no longer written."""

_NEW = "relsql_new_embeddings"


def text_hash_sql(text: str) -> str:
    """The key of a row text: its MD5 as UHUGEINT.

    Among ten million texts some two share one with probability 1e-25.
    """
    return f"system.main.md5_number({text})"


def table_name(identity: str) -> str:
    """Name of the table of a model version, within schema `relsql`."""
    return f"row_embeddings_{identity}"


def stored_sql(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str:
    """A query of what is stored: position, text_hash, text, embedding FLOAT[width]; texts are distinct.

    `position` numbers the rows in the order of storage, with gaps where rows were removed.
    """
    if has_relsql_table(con, catalog, table_name(card.identity)):
        source = qualified(catalog, RELSQL_SCHEMA, table_name(card.identity))
        return f"SELECT rowid AS position, text_hash, text, embedding FROM {source}"
    width = card.encoder.width
    if not has_relsql_table(con, catalog, SHARED_TABLE):
        return (
            "SELECT NULL::BIGINT AS position, NULL::UHUGEINT AS text_hash, NULL::VARCHAR AS text, "
            f"NULL::FLOAT[{width}] AS embedding WHERE false"
        )
    columns = f"{text_hash_sql('text')} AS text_hash, text, CAST(embedding AS FLOAT[{width}]) AS embedding"
    return (
        f"SELECT rowid AS position, {columns} FROM {relsql_table(catalog, SHARED_TABLE)} "
        f"WHERE {_shared_rows(card)} AND len(embedding) = {width}"
    )


def create_table(con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard) -> str:
    """Create the table of a model version, unless there is one, and return its qualified name.

    Embeddings that an earlier build stored move into it. The caller owns the transaction.
    """
    table = qualified(catalog, RELSQL_SCHEMA, table_name(card.identity))
    if not has_relsql_table(con, catalog, table_name(card.identity)):
        earlier = stored_sql(con, catalog, card)
        create_schema(con, catalog)
        con.execute(f"CREATE TABLE {table} AS SELECT text_hash, text, embedding FROM ({earlier}) ORDER BY position")
        if has_relsql_table(con, catalog, SHARED_TABLE):
            con.execute(f"DELETE FROM {relsql_table(catalog, SHARED_TABLE)} WHERE {_shared_rows(card)}")
    return table


def add_embeddings(con: duckdb.DuckDBPyConnection, table: str, texts: Sequence[str], embeddings: FloatArray) -> None:
    """Append texts that are not stored yet, with their embeddings, float32 [n, width]. The caller owns the transaction.

    `table` is what `create_table` returned.
    """
    if not len(texts):
        return
    arrays = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    con.register(_NEW, pa.table({"text": pa.array(texts, pa.string()), "embedding": arrays}))
    try:
        con.execute(f"INSERT INTO {table} SELECT {text_hash_sql('text')}, text, embedding FROM {_NEW}")
    finally:
        con.unregister(_NEW)


def drop_embeddings(
    con: duckdb.DuckDBPyConnection, catalog: str, model: str, version: int | None = None, *, keep: str | None = None
) -> None:
    """Remove the embeddings of one version of a model, or of all but the version with the identity `keep`.

    The caller owns the transaction.
    """
    query = f"SELECT sha256 FROM {relsql_table(catalog, 'models')} WHERE name = ? AND version = coalesce(?, version)"
    for (identity,) in con.execute(query, [model, version]).fetchall():
        if identity != keep:
            con.execute(f"DROP TABLE IF EXISTS {qualified(catalog, RELSQL_SCHEMA, table_name(identity))}")
    if has_relsql_table(con, catalog, SHARED_TABLE):
        rows = "model = ? AND version = coalesce(?, version)"
        con.execute(f"DELETE FROM {relsql_table(catalog, SHARED_TABLE)} WHERE {rows}", [model, version])


def _shared_rows(card: ModelCard) -> str:
    """Which rows of the shared table are those of a model version."""
    return f"model = {literal(card.name)} AND version = {card.version}"
