"""Which code made a run: runs of different code must not be averaged without saying so."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import relsql
from benchmarks.accuracy.rows import DEFAULT, PRETRAINED
from relsql.training.fingerprint import training_sources

_ROOT = Path(__file__).parents[2]
_ROWS = Path(__file__).parent / "rows"
_OWN_ROWS = {DEFAULT: [_ROWS / "default.py"], PRETRAINED: [_ROWS / "default.py", _ROWS / "pretrained.py"]}
_PACKAGES = ("relsql", "udfs", "exporters", "benchmarks")


@dataclass(frozen=True)
class Build:
    """The code of a run.

    Attributes:
        version: relsql's version.
        commit: the last commit of the code, with a `+` if files differ from it.
        code: digest of the sources that can change the row's scores; empty if it is not known.
    """

    version: str = "unknown"
    commit: str = "unknown"
    code: str = ""

    def __str__(self) -> str:
        return f"{self.version} at {self.commit}, code {self.code or 'unknown'}"


@cache
def current_build(row: str) -> Build:
    """The build of a row, given by its name in `ROWS`, with or without an encoder."""
    digest = hashlib.sha256()
    for name, path in sorted(_sources(row.partition("@")[0])):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return Build(relsql.__version__, _commit(), digest.hexdigest()[:8])


def _sources(row: str) -> Iterator[tuple[str, Path]]:
    """relsql's rows depend on what trains and scores models; for the others the code of all rows is taken."""
    if row in _OWN_ROWS:
        yield from ((name, path) for path, name in training_sources())
        folders, single = [_ROOT / "udfs"], _OWN_ROWS[row]
    else:
        folders, single = [_ROWS, _ROWS.parent / "graph"], []
    for path in [*single, *(path for folder in folders for path in folder.rglob("*.py"))]:
        if single or path not in _OWN_ROWS[PRETRAINED]:
            yield path.relative_to(_ROOT).as_posix(), path


@cache
def _commit() -> str:
    """The last commit that changed code, so that editing a page does not make a new build."""
    commit = _git("log", "-1", "--format=%h", "--", *_PACKAGES)
    if not commit:
        return "unknown"
    return f"{commit}+" if _git("status", "--porcelain", "--", *_PACKAGES) else commit


def _git(*arguments: str) -> str:
    """What git prints; empty outside of a repository, or without git."""
    try:
        done = subprocess.run(["git", "-C", _ROOT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
