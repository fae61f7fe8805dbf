"""Numbered rows of floats: the newest are kept in memory, older ones in a temporary file."""

from __future__ import annotations

import tempfile
import threading
import weakref
from itertools import pairwise
from typing import IO

import numpy as np

from relsql.errors import DatabaseError
from relsql.typing import FloatArray, IntArray

SPILLED_ROWS = 8_000_000
"""Maximum number of rows in the temporary file: 4 GB for 128 floats each. A row is only missed if a query reads more
texts than this between gathering the row and scoring it."""


class RecentRows:
    """Rows numbered 1, 2, ... in order of arrival; row 0 is all zeros.

    Only one thread at a time may call `append` and `spill`. Any number of threads may call `read` meanwhile.

    Args:
        width: floats in a row.
        spilled_rows: number of the rows moved out of memory that can still be read.
    """

    def __init__(self, width: int, spilled_rows: int = SPILLED_ROWS) -> None:
        self.width = width
        self.oldest = 1
        """The first row in memory."""
        self.end = 1
        """One more than the last row."""
        # A ring buffer: row i is at position (i - 1) % capacity + 1, and row 0 at position 0.
        self._places = np.zeros((1024, width), dtype=np.float32)
        self._spilled_rows = spilled_rows
        self._file: IO[bytes] | None = None
        self._file_lock = threading.Lock()

    def append(self, rows: FloatArray) -> range:
        """Add rows, float32 [n, width]; returns their numbers."""
        added = range(self.end, self.end + len(rows))
        self._reserve(added.stop - self.oldest)
        self._places[_places(np.arange(added.start, added.stop), len(self._places))] = rows
        self.end = added.stop
        return added

    def spill(self, oldest: int) -> None:
        """Move all rows before `oldest` from memory to the file.

        Raises:
            DatabaseError: the file cannot be written; the rows stay in memory.
        """
        if oldest <= self.oldest:
            return
        numbers = np.arange(self.oldest, oldest)
        self._write(numbers, self._places[_places(numbers, len(self._places))])
        # Set after the write: from now on `append` may reuse their positions, see `read`.
        self.oldest = oldest

    def read(self, numbers: IntArray) -> FloatArray:
        """Rows by their numbers, of any shape, float32 [*shape, width].

        Raises:
            DatabaseError: a row is no longer in the file either.
        """
        places = self._places
        found: FloatArray = places[_places(numbers, len(places)) if self.end > len(places) else numbers]
        # `oldest` is checked after the read: if `append` reused a position meanwhile, its row was spilled before that.
        spilled = (numbers > 0) & (numbers < self.oldest) if self.oldest > 1 else None
        if spilled is not None and spilled.any():
            distinct, position = np.unique(numbers[spilled], return_inverse=True)
            found[spilled] = self._read_file(distinct)[position]
        return found

    def _reserve(self, rows: int) -> None:
        if rows < len(self._places):
            return
        grown = np.zeros((max(rows + 1, 2 * len(self._places)), self.width), dtype=np.float32)
        held = np.arange(self.oldest, self.end)
        grown[_places(held, len(grown))] = self._places[_places(held, len(self._places))]
        # Running reads keep the old array, which is no longer written to.
        self._places = grown

    def _write(self, numbers: IntArray, rows: FloatArray) -> None:
        try:
            with self._file_lock:
                if self._file is None:
                    # It has no name where the system supports this, so that a killed process leaves no file behind.
                    self._file = tempfile.TemporaryFile(prefix="relsql-")  # noqa: SIM115
                    weakref.finalize(self, self._file.close)
                for run in _runs(numbers % self._spilled_rows):
                    self._file.seek(4 * self.width * int(numbers[run.start] % self._spilled_rows))
                    self._file.write(rows[run].tobytes())
                # Without the flush a full disk would only be noticed at a later write.
                self._file.flush()
        except OSError as error:
            raise DatabaseError(
                f"embeddings of row texts cannot be moved to a temporary file: {error}",
                expected=f"free disk space in {tempfile.gettempdir()}",
                fix="export TMPDIR=FOLDER, with a folder on a disk with free space",
            ) from error

    def _read_file(self, numbers: IntArray) -> FloatArray:
        """Rows by their numbers, which must be in increasing order."""
        rows = np.empty((len(numbers), self.width), dtype=np.float32)
        with self._file_lock:
            assert self._file is not None
            if numbers[0] < self.oldest - self._spilled_rows:
                raise DatabaseError(
                    f"a query read more than {self._spilled_rows:,} row texts before it scored the first of them",
                    expected="fewer entities in one query",
                    fix="relsql score FILE MODEL, which scores in chunks",
                )
            places = numbers % self._spilled_rows
            for run in _runs(places):
                self._file.seek(4 * self.width * int(places[run.start]))
                content = self._file.read(rows[run].nbytes)
                rows[run] = np.frombuffer(content, dtype=np.float32).reshape(-1, self.width)
        return rows


def _places(numbers: IntArray, length: int) -> IntArray:
    """The positions of rows in a ring buffer of `length` rows."""
    places: IntArray = np.where(numbers > 0, (numbers - 1) % (length - 1) + 1, 0)
    return places


def _runs(places: IntArray) -> list[slice]:
    """Slices of `places` whose values are consecutive."""
    cuts = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
    return [slice(start, stop) for start, stop in pairwise(cuts) if stop > start]
