"""Ctrl-C: what counts as an interruption, and how it reaches Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPT_MARKERS = ("KeyboardInterrupt", "Query interrupted", "INTERRUPT")
"""Ctrl-C in a query arrives as a DuckDB error; in a scoring function it arrives as an error about that function."""


def interrupted(error: BaseException) -> bool:
    """True for Ctrl-C, also when it arrives through DuckDB as an error of another class."""
    # Compared by module name, so that reporting a failure does not import DuckDB.
    from_duckdb = type(error).__module__.partition(".")[0] in ("duckdb", "_duckdb")
    return isinstance(error, KeyboardInterrupt) or (
        (from_duckdb or isinstance(error, RuntimeError)) and any(marker in str(error) for marker in _INTERRUPT_MARKERS)
    )


@contextmanager
def keyboard_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C, also where DuckDB turns it into an error of another class."""
    try:
        yield
    except BaseException as error:
        if interrupted(error):
            raise KeyboardInterrupt from error
        raise
