"""Time one piece of work in a process of its own, with the memory it takes."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a piece of work takes.

    Attributes:
        cold_seconds: the first time in its process, what it needs to get ready included.
        warm_seconds: median of the times after that.
        entities: number of entities that are scored each time.
        peak_bytes: largest resident memory of the process.
    """

    cold_seconds: float
    warm_seconds: float
    entities: int
    peak_bytes: int

    @property
    def entities_per_second(self) -> float:
        """Warm throughput."""
        return self.entities / self.warm_seconds


ENOUGH_SECONDS = 60.0
"""After so long, work is not repeated once more."""

Result = TypeVar("Result")

Work = Callable[[], int]
"""Does the work once; returns the number of entities scored."""


def timed(prepare: Callable[..., Work], *arguments: object, repeats: int) -> Timing:
    """Run `prepare(*arguments)`, and what it returns 1 + `repeats` times, in a new process; slow work less often.

    Both have to be picklable: functions of a module and plain values.
    """
    return in_new_process(measured, prepare, arguments, repeats)


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of a module with plain values in a new process that shares nothing with this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measured(prepare: Callable[..., Work], arguments: tuple[object, ...], repeats: int) -> Timing:
    """`timed` in this process. Work is repeated until that took `ENOUGH_SECONDS`, `repeats` times at most."""
    start = time.perf_counter()
    work = prepare(*arguments)
    entities = work()
    cold = time.perf_counter() - start
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < ENOUGH_SECONDS:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Timing(cold, statistics.median(seconds) if seconds else cold, entities, peak_bytes())


def reset_peak() -> bool:
    """Make `peak_bytes` count from now on; False where the system cannot and goes on counting from the start."""
    try:
        # See proc_pid_clear_refs(5).
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Largest resident memory of this process so far, or since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        # What `getrusage` says on Linux includes the parent's memory at the time of the fork.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
