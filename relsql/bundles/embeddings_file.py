"""Row embeddings as a Parquet file with the columns `text` and `embedding`, in the order in which they are stored.

The file has neither compression nor dictionaries. They would hardly make embeddings smaller, and without them a file
from somebody else needs no more memory than its size on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from relsql.bundles.folder import BundleFolder
from relsql.bundles.manifest import EMBEDDINGS, damaged
from relsql.registry.row_embeddings import StoredRows
from relsql.typing import FloatArray

BATCH_ROWS = 8_192
"""Rows that are read at a time."""

_ENCODINGS = {"PLAIN", "RLE"}


def write_embeddings(file: BinaryIO, width: int, parts: Iterable[StoredRows]) -> int:
    """Write row embeddings of a width to a file; returns their number."""
    schema, rows = _schema(width), 0
    options = {"compression": "NONE", "use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(file, schema, **options) as writer:
        for part in parts:
            flat = pa.array(np.ascontiguousarray(part.embeddings).ravel(), pa.float32())
            embeddings = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("embedding").type)
            writer.write_table(pa.table([pa.array(part.texts, pa.string()), embeddings], schema=schema))
            rows += len(part.texts)
    return rows


def read_embeddings(folder: BundleFolder, width: int) -> Iterator[tuple[list[str], FloatArray]]:
    """The row embeddings of a bundle in parts: texts and their embeddings, float32 [n, width].

    Raises:
        ArtifactError: the file is damaged, or has other columns, sizes or values than a bundle's.
    """
    with folder.opened(EMBEDDINGS) as file, _parquet_errors(folder.path):
        parquet = pq.ParquetFile(file)
        problem = _problem(parquet, folder, width)
        if problem:
            raise damaged(folder.path, f"its file '{EMBEDDINGS}' {problem}")
        for batch in parquet.iter_batches(BATCH_ROWS):
            # Arrow checks that texts are valid UTF-8 only when it is asked to.
            batch.validate(full=True)
            texts, vectors = batch.column("text"), batch.column("embedding")
            embeddings = np.asarray(vectors.flatten(), dtype=np.float32).reshape(-1, width)
            if texts.null_count or len(embeddings) != len(texts) or not np.isfinite(embeddings).all():
                raise damaged(folder.path, f"its file '{EMBEDDINGS}' has texts or numbers that are missing")
            yield texts.to_pylist(), embeddings


def _problem(parquet: pq.ParquetFile, folder: BundleFolder, width: int) -> str | None:
    """What is wrong with the metadata of the file, which determine how much memory it needs."""
    found, stored = parquet.metadata, parquet.schema_arrow
    if not stored.equals(_schema(width)):
        return "has other columns than text and embedding, or another width than the card says"
    columns = [found.row_group(i).column(j) for i in range(found.num_row_groups) for j in range(found.num_columns)]
    if any(x.compression != "UNCOMPRESSED" or not _ENCODINGS.issuperset(x.encodings) for x in columns):
        return "is compressed"
    if found.num_rows != folder.manifest.texts or found.num_rows * 4 * width > folder.manifest.files[EMBEDDINGS].bytes:
        return f"has {found.num_rows:,} rows, not the {folder.manifest.texts:,} of the manifest"
    return None


def _schema(width: int) -> pa.Schema:
    embedding = pa.list_(pa.field("element", pa.float32(), nullable=False), width)
    fields = [("text", pa.string()), ("embedding", embedding)]
    return pa.schema([pa.field(name, type_, nullable=False) for name, type_ in fields])


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise damaged(path, f"its file '{EMBEDDINGS}' cannot be read: {reason}") from error
