"""Run a function in a forked child process: libraries are loaded only once, and effects stay in the child.

The parent must never open DuckDB, because its threads would be missing in the child.
"""

from __future__ import annotations

import importlib
import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

TIMEOUT_SECONDS = 600.0

LIBRARIES = (
    "exporters.torch_modules",
    "exporters.onnx.export",
    "exporters.sql.model",
    "exporters.sql.weights",
    "relsql.cli",
    "relsql.training.encoder.fit_encoder",
    "relsql.schema.discovery.propose",
    "relsql.training.fitting.fit_network",
    "relsql.publishing.publish",
    "relsql.scoring.refresh",
    "relsql.scoring.score_table",
    "relsql.training.train",
    "relsql.registry.promote",
    "udfs.encoder",
)
"""Modules that the children of all runs need."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: with a value, with the text of an exception, or by a signal."""

    value: Any = None
    error: str | None = None
    signal: int | None = None
    timed_out: bool = False

    @property
    def trouble(self) -> str | None:
        """Why there is no value."""
        if self.timed_out:
            return "did not end in time"
        return self.error or (f"died of {signal.Signals(self.signal).name}" if self.signal else None)


def load_libraries(names: Iterable[str] = LIBRARIES) -> None:
    """Load modules once for all children; none of them opens a database."""
    for name in names:
        importlib.import_module(name)


def in_child(
    function: Callable[[], Any], *, timeout: float = TIMEOUT_SECONDS, kill_after_seconds: float | None = None
) -> Ending:
    """Call a function in a child and wait for it; after `kill_after_seconds` the child is killed with SIGKILL."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _call(function, writing)
    os.close(writing)
    end = time.monotonic() + (timeout if kill_after_seconds is None else kill_after_seconds)
    data, expired = _read(reading, end)
    os.close(reading)
    if expired:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        late = expired and kill_after_seconds is None
        return Ending(signal=os.WTERMSIG(status), timed_out=late)
    return pickle.loads(data) if data else Ending(error=f"left with exit code {os.WEXITSTATUS(status)}")


def value_of(function: Callable[[], Any]) -> Any:
    """The return value of a function called in a child; AssertionError if the child failed."""
    ending = in_child(function)
    assert ending.trouble is None, ending.trouble
    return ending.value


def _call(function: Callable[[], Any], writing: int) -> None:
    try:
        ending = Ending(value=function())
    except BaseException:
        ending = Ending(error=traceback.format_exc())
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(ending))
    finally:
        os._exit(0)


def _read(reading: int, end: float) -> tuple[bytes, bool]:
    """All data until the other side is closed or the time is over."""
    data = b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        chunk = os.read(reading, 1 << 16)
        if not chunk:
            return data, False
        data += chunk
    return data, True
