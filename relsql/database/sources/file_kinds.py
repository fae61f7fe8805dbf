"""The kind of a file, by its first bytes and its name: a DuckDB database, or one that can be imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from relsql.hints import command

FileKind = Literal["DuckDB", "SQLite", "Parquet", "CSV", "JSON"]

_MAGIC: dict[bytes, FileKind] = {b"SQLite format 3\0": "SQLite", b"PAR1": "Parquet"}
_SUFFIXES: dict[str, FileKind] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "CSV"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "JSON"),
    **dict.fromkeys((".parquet", ".pq"), "Parquet"),
}
_COMPRESSED = (".gz", ".zst")


def file_kind(path: Path) -> FileKind | None:
    """The kind of data in a regular file; None if neither its first bytes nor its name show it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if start[8:12] == b"DUCK":
        return "DuckDB"
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None) or kind_by_name(path)


def kind_by_name(path: Path) -> FileKind | None:
    """The kind of rows in a file, by its name."""
    return _SUFFIXES.get(Path(_without_compression(path)).suffix.lower())


def table_name(path: Path) -> str:
    """The name of the table that a file of rows becomes: its name without suffixes."""
    return Path(_without_compression(path)).stem


def _without_compression(path: Path) -> str:
    return path.stem if path.suffix.lower() in _COMPRESSED else path.name


def import_command(path: Path) -> str:
    """The command that imports a file or folder into a DuckDB file."""
    return command("import", path, f"{table_name(path)}.duckdb")
