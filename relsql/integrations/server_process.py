"""Run the server in a process of its own, and start another one when that process ends.

A statement can end DuckDB in ways that no check foresees: an internal error closes the database for everybody, a lack
of memory may abort the process, and DuckDB 1.5 cannot interrupt a statement of quack. Clients then ATTACH again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

PARENT = "RELSQL_SERVER_OF"
"""Environment variable of the process that serves: the id of the process that started it."""

RESTART = 75
"""Exit code of a process that asks for another one in its place."""

_PAUSE_SECONDS = 1.0
_ALLOCATOR = {"DUCKDB_JE_MALLOC_CONF": "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0"}
"""By default, DuckDB's allocator keeps the address space of memory that it frees. It counts towards the limit of the
process, so one statement that used much memory would leave nothing for other clients."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def parent_of_server() -> int | None:
    """The process that started this one in order to serve; None in the one that the user started."""
    found = os.environ.get(PARENT, "")
    return int(found) if found.isdecimal() else None


def keep_serving(
    arguments: Sequence[str], environment: Mapping[str, str], show: Callable[[str], None], note: Callable[[str], None]
) -> int:
    """Run a command of relsql that serves, and start it again until it is asked to stop.

    A process that ends before it serves is not started again.

    Args:
        arguments: the command and its arguments.
        environment: variables that it gets besides those of this process.
        show: prints the line by which the first process says that it serves.
        note: prints notes.

    Returns:
        The exit code of the last process; 1 if a signal ended it.
    """
    command = [sys.executable, "-m", "relsql", *arguments]
    has_served = False
    with tempfile.TemporaryDirectory(prefix="relsql-serve-") as folder, _stop_requests() as stop:
        variables = {**os.environ, **_ALLOCATOR, **environment, PARENT: str(os.getpid()), "TMPDIR": folder}
        while True:
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=variables, text=True) as process:  # noqa: S603
                stop.watch(process)
                assert process.stdout is not None
                line = process.stdout.readline().rstrip("\n")
                if line and not has_served:
                    show(line)
                    has_served = True
                code = process.wait()
            if not line or code == 0 or stop.requested:
                return code if code >= 0 else 1
            if code != RESTART:
                note(f"restarting, because the server ended with code {code}; clients have to ATTACH again")
            time.sleep(_PAUSE_SECONDS)


class _Stop:
    """Forwards the signals that ask to stop to the process that serves, and remembers that one has arrived."""

    def __init__(self) -> None:
        self.requested = False
        self._process: subprocess.Popen[str] | None = None

    def watch(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if self.requested:
            process.terminate()

    def receive(self, number: int, _: object) -> None:
        self.requested = True
        if self._process is not None:
            self._process.send_signal(number)


@contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Receive SIGINT (Ctrl-C) and SIGTERM in the block."""
    stop = _Stop()
    before = {kind: signal.signal(kind, stop.receive) for kind in _SIGNALS}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
