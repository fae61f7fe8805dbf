"""Write a file as a draft in the same folder and rename it at the end, so that only complete files appear."""

from __future__ import annotations

import os
from pathlib import Path


def draft_path(target: Path) -> Path:
    """The path of a file until it is complete and renamed: a hidden file of this process in the same folder."""
    return target.with_name(f".{target.name}.{os.getpid()}.tmp")


def log_path(database: Path) -> Path:
    """The write-ahead log of a DuckDB file."""
    return database.with_name(database.name + ".wal")


def remove_draft(draft: Path) -> None:
    """Remove a draft and its log, if they exist.

    A failure to remove them, for example on a disk that has become read-only, is ignored: the error that the caller is
    about to report is more useful.
    """
    for file in (draft, log_path(draft)):
        try:
            file.unlink(missing_ok=True)
        except OSError:
            pass
