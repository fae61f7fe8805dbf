"""Measure the time and memory of one piece of work in a separate process."""

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
        cold_seconds: the first run in its process, including preparation.
        warm_seconds: median of the later runs.
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
"""Work is no longer repeated after this time."""

Result = TypeVar("Result")

Work = Callable[[], int]
"""Does the work once; returns the number of entities scored."""


def timed(prepare: Callable[..., Work], *arguments: object, repeats: int) -> Timing:
    """Run `prepare(*arguments)` in a new process, and then the returned work 1 + `repeats` times; slow work less often.

    `prepare` and `arguments` have to be picklable: module-level functions and plain values.
    """
    return in_new_process(measured, prepare, arguments, repeats)


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a module-level function with plain values in a new process that shares no state with this one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measured(prepare: Callable[..., Work], arguments: tuple[object, ...], repeats: int) -> Timing:
    """`timed` in this process. The work is repeated at most `repeats` times, and until `ENOUGH_SECONDS` have passed."""
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
    """Reset `peak_bytes`; False if the system cannot, so that it keeps counting from the start of the process."""
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
        # The value of `getrusage` on Linux includes the parent's memory at the time of the fork.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
