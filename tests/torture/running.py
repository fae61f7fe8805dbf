"""Run one command of relsql in a child, with a fault at its n-th moment."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from tests.children import in_child
from tests.torture.faults import Counter, Fault, arm, disarm
from tests.torture.trained import quick_training


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: with an exit code, or by a signal. `counts` exist only if it was not killed."""

    exit_code: int | None
    stderr: str
    signal: int | None = None
    timed_out: bool = False
    counts: Mapping[Counter, int] = field(default_factory=dict)


def run(arguments: list[str], folder: Path, trained: Path, fault: Fault | None = None, at: int = 0) -> Result:
    """Run `relsql ARGUMENTS` in a child.

    Args:
        arguments: arguments of the command line.
        folder: only operations on files in it count.
        trained: where the outcome of training is kept, see `trained.py`.
        fault: the fault; None: operations are only counted.
        at: the count of the fault's counter at which it happens, from 1.
    """
    kill_after = at / 1000 if fault and fault.counter == Counter.MILLISECONDS else None
    with tempfile.TemporaryFile() as output:
        ending = in_child(
            lambda: _command(arguments, folder, trained, fault, at, output.fileno()), kill_after_seconds=kill_after
        )
        output.seek(0)
        stderr = output.read().decode(errors="replace").replace(f"{folder}/", "")
    if ending.value is None:
        died = None if ending.error else ending.signal
        return Result(None if died else 1, stderr + (ending.error or ""), died, ending.timed_out)
    exit_code, counts = ending.value
    return Result(exit_code, stderr, counts=counts)


def _command(
    arguments: list[str], folder: Path, trained: Path, fault: Fault | None, at: int, output: int
) -> tuple[int, Mapping[Counter, int]]:
    """Run what `python -m relsql` runs, with its output in a file."""
    from relsql.cli import cli

    nothing = os.open(os.devnull, os.O_RDWR)
    for file, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(file, target)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    kill_at = at if fault and fault.counter == Counter.REPORTS else 0
    with quick_training(trained), _counted_reports(kill_at) as reports:
        started = time.perf_counter()
        arm(fault, at, folder)
        try:
            cli.main(args=arguments, prog_name="relsql")
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException:
            disarm()
            traceback.print_exc()
            code = 1
        counts = disarm()
        milliseconds = int(1000 * (time.perf_counter() - started))
    return code, {**counts, Counter.REPORTS: reports[0], Counter.MILLISECONDS: milliseconds, Counter.RUNS: 1}


@contextmanager
def _counted_reports(kill_at: int) -> Iterator[list[int]]:
    """Count the calls of a command's progress, and kill the process at one of them."""
    from relsql.cli.progress import PhaseProgress

    count, call = [0], PhaseProgress.__call__

    def counting(self: PhaseProgress, phase: str, fraction: float, metrics: dict[str, float]) -> None:
        count[0] += 1
        if count[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        call(self, phase, fraction, metrics)

    with mock.patch.object(PhaseProgress, "__call__", counting):
        yield count
