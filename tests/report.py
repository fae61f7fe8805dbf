"""Tables of long test runs, written into documents."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import duckdb


def write_into(path: Path, name: str, lines: Iterable[str]) -> None:
    """Replace the text between the marks `<!-- NAME -->` and `<!-- end of NAME -->` in a document."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = path.read_text()
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"'{path}' has no marks '{start}' and '{end}'")
    path.write_text(before + "\n".join([start, *lines, end]) + after)


def circumstances() -> str:
    """The time and the machine of a run."""
    return (
        f"{datetime.date.today()}, DuckDB {duckdb.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores."
    )
