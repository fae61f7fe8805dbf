"""The faults, and the preloaded library that makes them happen at the n-th operation of a process (`faults.c`)."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")


class Counter(IntEnum):
    """What is counted to find the n-th operation; the library counts the first five, in its order."""

    CHANGES = 0  # files written, grown, created, renamed, removed, flushed
    WRITES = 1
    SYNCS = 2
    READS = 3
    ALLOCATIONS = 4  # of 64 KiB or more
    REPORTS = 5  # calls of a command's progress, which come at the start and the end of each phase
    MILLISECONDS = 6
    RUNS = 7  # one


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault at the n-th count of a counter; `code` is its number in the library, 0 for other faults."""

    name: str
    counter: Counter
    code: int


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", Counter.CHANGES, 1),
        Fault("torn write", Counter.WRITES, 2),
        Fault("disk full", Counter.CHANGES, 3),  # from the n-th on
        Fault("I/O error", Counter.CHANGES, 4),  # the n-th only
        Fault("failed sync", Counter.SYNCS, 5),
        Fault("failed read", Counter.READS, 6),
        Fault("short write", Counter.WRITES, 7),  # half is written, and the caller is told so: no error
        Fault("no memory", Counter.ALLOCATIONS, 8),
        Fault("kill in phase", Counter.REPORTS, 0),
        Fault("kill in time", Counter.MILLISECONDS, 0),
        Fault("read-only disk", Counter.RUNS, 9),
        Fault("read-only folder", Counter.RUNS, 10),  # its files can be written, but none made or removed
    )
}


def compiler() -> str | None:
    """A C compiler, if the faults are supported, which is on Linux with glibc."""
    return (shutil.which("cc") or shutil.which("gcc")) if sys.platform == "linux" else None


def compile_library(folder: Path) -> Path:
    """Build the library in a folder."""
    command = compiler()
    if command is None:
        raise RuntimeError("faults need Linux and a C compiler (cc)")
    library = folder / "faults.so"
    subprocess.run([command, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def is_preloaded() -> bool:
    """True in a process that was started with the library."""
    return hasattr(ctypes.CDLL(None), "fault_arm")


def environment(library: Path, fault: Fault | None = None, at: int = 0, folder: Path | None = None) -> dict[str, str]:
    """The environment of a process with the library, armed from its start if there is a fault."""
    armed = {"RELSQL_FAULT": str(fault.code), "RELSQL_FAULT_AT": str(at)} if fault else {}
    return {**os.environ, **armed, "RELSQL_FAULT_FOLDER": str(folder or ""), "LD_PRELOAD": str(library)}


def arm(fault: Fault | None, at: int, folder: Path) -> None:
    """Arm a fault in this process for the n-th count from now on; None only counts."""
    ctypes.CDLL(None).fault_arm(fault.code if fault else 0, ctypes.c_long(at), os.fsencode(f"{folder}/"))


def disarm() -> Mapping[Counter, int]:
    """Disarm faults in this process, and return the counts."""
    library = ctypes.CDLL(None)
    library.fault_disarm()
    library.fault_count.restype = ctypes.c_long
    return {counter: int(library.fault_count(int(counter))) for counter in Counter if counter <= Counter.ALLOCATIONS}
