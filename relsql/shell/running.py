"""Queries that Ctrl-C stops: they run in a thread, while the main thread watches."""

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

    A query that runs in the main thread gets Ctrl-C as an error of whatever function it is in, or late.

    Args:
        con: the connection whose query is interrupted.
        work: what to run.
        progress: is told ten times a second how far the query is, in percent: negative where DuckDB cannot say, 100 at
            the end.

    Raises:
        KeyboardInterrupt: the work was interrupted. Otherwise whatever the work raises.
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
                # Again and again: the next statement may be about to begin.
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
