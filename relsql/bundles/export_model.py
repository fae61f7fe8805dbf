"""Write a model into a folder, a bundle that `relsql.bundles.import_model` puts into another file.

Everything is written into a draft beside the folder, which is renamed when all of it is on the disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import duckdb

from relsql.bundles.card_files import split_card
from relsql.bundles.embeddings_file import write_embeddings
from relsql.bundles.folder import open_bundle
from relsql.bundles.manifest import EMBEDDINGS, MANIFEST, FileEntry, write_manifest
from relsql.database.cursors import task_cursor
from relsql.database.drafts import drafted_folder, is_taken
from relsql.database.engine_errors import first_line
from relsql.database.interrupts import keyboard_interrupts
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError, RelsqlError
from relsql.hints import command
from relsql.registry.cards.card import ModelCard
from relsql.registry.cards.schema_drift import check_drift
from relsql.registry.models import active_card, read_artifacts
from relsql.registry.row_embeddings import StoredRows, stored_rows, stored_sql
from relsql.schema.reading import read_schema
from relsql.scoring.refresh import TEXTS, collect_texts


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """Result of an export.

    Attributes:
        model, version: the model version that was exported.
        path: the folder.
        files: number of its files.
        bytes: their size.
        texts: row embeddings in it.
        missing: texts of rows that have no stored embedding yet, and are therefore not in it.
    """

    model: str
    version: int
    path: str
    files: int
    bytes: int
    texts: int
    missing: int


def export_model(
    con: duckdb.DuckDBPyConnection, model: str, path: str | Path, *, overwrite: bool = False
) -> ExportedModel:
    """Write a version of a model into a new folder: components, tokenizer, card, schema, plan, row embeddings.

    Row embeddings are those of the texts that committed rows have now. Nothing is written to the database.

    Args:
        con: a connection whose current database holds the model; it may be read-only.
        model: its name, or a version of it, `dnf@2`.
        path: the folder, which appears when it is complete.
        overwrite: replace the folder if it is a bundle, and has nothing else in it.

    Raises:
        DatabaseError: the folder exists and may not be replaced, or cannot be written. ModelError: there is no such
            model or version. SchemaDriftError: its tables changed. ArtifactError: it is damaged.
    """
    catalog, folder = current_catalog(con), Path(path)
    card = active_card(con, catalog, model)
    _require_replaceable(folder, card, overwrite)
    check_drift(card, read_schema(con, catalog))
    contents = {**split_card(card), **read_artifacts(con, catalog, card)}
    with task_cursor(con, catalog) as cursor, keyboard_interrupts(), _drafted(folder, card, overwrite) as draft:
        _, texts = collect_texts(cursor, catalog, card)
        files = {name: _write(draft / name, content) for name, content in contents.items()}
        files[EMBEDDINGS], stored = _write_embeddings(cursor, catalog, card, draft / EMBEDDINGS)
        manifest = _write(draft / MANIFEST, write_manifest(card.name, card.version, stored, files))
    size = sum(entry.bytes for entry in (manifest, *files.values()))
    return ExportedModel(card.name, card.version, str(folder), len(files) + 1, size, stored, texts - stored)


def _write(path: Path, content: bytes) -> FileEntry:
    with _synced(path) as file:
        file.write(content)
    return FileEntry(len(content), hashlib.sha256(content).hexdigest())


def _write_embeddings(
    con: duckdb.DuckDBPyConnection, catalog: str, card: ModelCard, path: Path
) -> tuple[FileEntry, int]:
    """Write the stored embeddings of the texts in `TEXTS`; returns their number."""
    read = f"text_hash IN (SELECT text_hash FROM {TEXTS})"
    with _synced(path) as file:
        parts = stored_rows(con, stored_sql(con, catalog, card), card, read)
        rows = write_embeddings(file, card.encoder.width, (_whole(part, card) for part in parts))
    with path.open("rb") as written:
        return FileEntry(path.stat().st_size, hashlib.file_digest(written, "sha256").hexdigest()), rows


def _whole(rows: StoredRows, card: ModelCard) -> StoredRows:
    rows.require_whole(card)
    return rows


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file whose content is on the disk when the block ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _drafted(folder: Path, card: ModelCard, overwrite: bool) -> Iterator[Path]:
    """A draft of the bundle, see `drafted_folder`.

    Raises:
        DatabaseError: it cannot be written, or `folder` exists by now.
    """
    try:
        with drafted_folder(folder, partial(_require_replaceable, folder, card, overwrite)) as draft:
            yield draft
    except OSError as error:
        raise DatabaseError(f"folder '{folder}' cannot be written: {first_line(error)}") from error


def _require_replaceable(folder: Path, card: ModelCard, overwrite: bool) -> None:
    """Check that a folder does not exist, or is a whole bundle that may be replaced.

    Raises:
        DatabaseError: it is something else, or may not be replaced, or there is no folder to put it in.
    """
    if not folder.name or not folder.parent.is_dir():
        raise DatabaseError(f"'{folder}' cannot be created", expected="the path of a new folder in an existing one")
    if not is_taken(folder):
        return
    if not overwrite:
        raise DatabaseError(
            f"'{folder}' exists already",
            expected="the path of a new folder, or --overwrite",
            fix=command("export", "FILE", f"{card.name}@{card.version}", "--output", folder, "--overwrite"),
        )
    try:
        if folder.is_symlink():
            raise DatabaseError(f"'{folder}' is a link")
        open_bundle(folder)
    except RelsqlError as error:
        raise DatabaseError(
            f"'{folder}' is not replaced: {error.problem}",
            expected="a whole bundle with nothing else in it, or the path of a new folder",
        ) from error
