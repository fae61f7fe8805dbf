"""Files that appear only when they are complete: they are written beside their place, and renamed at the end."""

from __future__ import annotations

import os
from pathlib import Path


def draft_path(target: Path) -> Path:
    """Where to write a file before it gets its name: a hidden file of this process in the same folder."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def log_path(database: Path) -> Path:
    """The write-ahead log of a DuckDB file."""
    return database.with_name(database.name + ".wal")


def remove_draft(draft: Path) -> None:
    """Remove a draft and its log, if they are there.

    A disk that has become read-only keeps them: the error that the caller is about to report says more than this one.
    """
    for file in (draft, log_path(draft)):
        try:
            file.unlink(missing_ok=True)
        except OSError:
            pass
