"""Stop runs of components that take too long.

A file from somebody else may contain a component that uses allowed operators only and still computes for hours. One
thread watches all runs of the process, because a timer for each run would cost more than the run of a small component.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from relsql.errors import ScoringError
from relsql.registry.components.onnx_runtime import onnxruntime

_LOOK_SECONDS = 0.1
"""How often the thread looks at the runs."""

_IDLE_LOOKS = 100
"""The thread ends after this many looks without a run; the next run starts another one."""


@dataclass(eq=False, slots=True)
class _Run:
    """A run of a component: when it must have ended, and whether it was stopped."""

    deadline: float
    options: onnxruntime.RunOptions
    stopped: bool = False


class Watchdog:
    """Stops runs at their deadline. It may be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: set[_Run] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, seconds: float) -> Iterator[onnxruntime.RunOptions]:
        """The options of one run, which is stopped if the block takes longer.

        onnxruntime stops between two operators; a running operator is always finished.

        Raises:
            ScoringError: the run was stopped.
        """
        run = _Run(time.monotonic() + seconds, onnxruntime.RunOptions())
        with self._lock:
            self._runs.add(run)
            # After a fork, the thread of the parent is not alive in the child.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._look, name="relsql-watchdog", daemon=True)
                self._thread.start()
        try:
            yield run.options
        except Exception as error:
            if not run.stopped:
                raise
            raise ScoringError(
                f"a component of the model has not ended after {seconds:g} seconds",
                expected=f"each run of a component to take less than {seconds:g} seconds",
                fix="relsql train FILE TASK --name NAME, if the model came with a file from somebody else",
            ) from error
        finally:
            with self._lock:
                self._runs.discard(run)

    def _look(self) -> None:
        idle = 0
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                idle = 0 if self._runs else idle + 1
                if idle > _IDLE_LOOKS:
                    self._thread = None
                    return
                now = time.monotonic()
                for run in self._runs:
                    if now >= run.deadline:
                        run.stopped = run.options.terminate = True
