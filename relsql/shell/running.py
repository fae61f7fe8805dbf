"""Run queries so that Ctrl-C stops them: the query runs in a thread, and the main thread waits for signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

import duckdb

T = TypeVar("T")

TICK_SECONDS = 0.1
DONE = 100.0


def run_interruptible(
    con: duckdb.DuckDBPyConnection, work: Callable[[], T], progress: Callable[[float], None] = lambda percent: None
) -> T:
    """Run `work`, which queries `con`, so that Ctrl-C interrupts the query. Call it from the main thread.

    If a query runs in the main thread, Ctrl-C arrives late, or as an error of the Python function that it calls.

    Args:
        con: the connection whose query is interrupted.
        work: what to run.
        progress: called ten times a second with the progress in percent: negative if DuckDB does not know it, 100 at
            the end.

    Raises:
        KeyboardInterrupt: the work was interrupted. Other exceptions of `work` are raised unchanged.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    interrupted = False

    def guarded() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        thread = threading.Thread(target=guarded, name="relsql-query")
        thread.start()
        while thread.is_alive():
            if interrupted:
                # Interrupt repeatedly, because an interrupt between two statements does not stop the next one.
                con.interrupt()
            thread.join(TICK_SECONDS)
            progress(con.query_progress() if thread.is_alive() else DONE)
    finally:
        signal.signal(signal.SIGINT, before)
    if errors and interrupted:
        raise KeyboardInterrupt from errors[0]
    if errors:
        raise errors[0]
    return results[0]
