"""All errors that relsql raises on purpose.

    RelsqlError                  base: catch this one
    ├── DatabaseError            the DuckDB file: missing, locked, read-only, not a database, disk full
    ├── SchemaError              tables, keys, links or time columns that do not fit the data
    ├── TaskError                a task definition or its label query
    ├── TrainingError            training cannot start or continue
    ├── ModelError               unknown model or version
    │   └── SchemaDriftError     the tables changed since the model was trained
    ├── ArtifactError            a stored artefact is missing, damaged or too new
    ├── ExportError              an ONNX component could not be written
    │   └── ParityError          it was written, but disagrees with torch
    ├── ScoringError             a score cannot be computed
    ├── ServingError             the server cannot start
    └── MissingExtraError        an optional dependency is not installed

A message has up to three parts, on one line: what is wrong with which object, what was expected, and the
command that fixes it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

_LINE_BREAK = re.compile(r"\s*[\r\n]\s*")
"""What a fix has in one line instead of. Its spaces stay, because they may be those of a name in a command."""


class RelsqlError(Exception):
    """Base of all relsql errors.

    Args:
        problem: what is wrong, naming the object.
        expected: what was expected, for example the valid names.
        fix: the command or call that fixes it.
    """

    def __init__(self, problem: str, *, expected: str | None = None, fix: str | None = None) -> None:
        self.problem = " ".join(problem.split())
        self.expected = expected
        self.fix = fix
        parts = [self.problem.rstrip(".")]
        if expected:
            parts.append(f"Expected: {' '.join(expected.split()).rstrip('.')}")
        if fix:
            parts.append(f"Fix: {_LINE_BREAK.sub(' ', fix).strip()}")
        super().__init__(". ".join(parts))


class DatabaseError(RelsqlError):
    """The DuckDB file cannot be opened, read or written."""


class SchemaError(RelsqlError):
    """Tables, keys, links or time columns do not fit the data."""


class TaskError(RelsqlError):
    """A task definition or its label query is not usable."""


class TrainingError(RelsqlError):
    """Training cannot start or continue."""


class ModelError(RelsqlError):
    """The model or version does not exist."""


class SchemaDriftError(ModelError):
    """The tables changed since the model was trained."""


class ArtifactError(RelsqlError):
    """A stored artefact is missing, damaged or written by a newer relsql."""


class ExportError(RelsqlError):
    """An ONNX component could not be written."""


class ParityError(ExportError):
    """An ONNX component disagrees with the torch module it was exported from."""


class ScoringError(RelsqlError):
    """A score cannot be computed."""


class ServingError(RelsqlError):
    """The server cannot start."""


class MissingExtraError(RelsqlError):
    """An optional dependency is not installed."""

    @classmethod
    def for_extra(cls, extra: str, needed_by: str) -> MissingExtraError:
        """Build the error for `needed_by`, which needs the optional dependencies of `extra`."""
        return cls(f"{needed_by} needs the optional '{extra}' dependencies", fix=f"pip install 'relsql[{extra}]'")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Describe the valid names, the nearest match to `name` first: `did you mean 'dnf'? One of: dnf, top3`."""
    names = sorted(valid)
    if not names:
        return "none exist yet"
    match = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if match:
        original = next(n for n in names if n.lower() == match[0])
        return f"did you mean '{original}'? One of: {listed}"
    return f"one of: {listed}"


@contextmanager
def needs_extra(extra: str, needed_by: str) -> Iterator[None]:
    """Turn a failed import in the block into an error that says which extra to install.

    Raises:
        MissingExtraError: a module outside relsql cannot be imported.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("relsql", "udfs", "exporters"):
            raise
        raise MissingExtraError.for_extra(extra, needed_by) from error


def train_extra(needed_by: str) -> AbstractContextManager[None]:
    """`needs_extra` for the training libraries."""
    return needs_extra("train", needed_by)
