"""The sweep: tries of commands with faults at chosen operations, and their results."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.children import in_child, value_of
from tests.torture.checks import Undisturbed, after_fault, after_second_run
from tests.torture.commands import COMMANDS, Bases
from tests.torture.faults import FAULTS, Counter
from tests.torture.running import Result, run
from tests.torture.state import State, read_state


@dataclass(frozen=True, slots=True)
class Try:
    """A command, a fault, and the count at which it happens, from 1."""

    command: str
    fault: str
    at: int

    def __str__(self) -> str:
        return f"python -m tests.torture --command '{self.command}' --fault '{self.fault}' --at {self.at}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a try: how the command ended (`killed`, `failed`, `succeeded`), and the violated guarantees."""

    made: Try
    ended: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """A run of a command without a fault, and its counts of operations."""

    undisturbed: Undisturbed
    counts: Mapping[Counter, int]


class Sweep:
    """Tries of some commands and faults, in folders below `root`."""

    def __init__(self, root: Path, commands: Sequence[str], faults: Sequence[str], workers: int) -> None:
        self.bases = Bases(root)
        self.commands, self.faults, self.workers = commands, faults, workers
        self.known: dict[str, Known] = {}

    def prepare(self) -> None:
        """Create the folders to start from, and record each command's effect without a fault."""
        for name in self.commands:
            self.bases.folder(COMMANDS[name].base)
        with multiprocessing.get_context("fork").Pool(self.workers) as pool:
            self.known = dict(zip(self.commands, pool.map(self._learn, self.commands, chunksize=1), strict=True))

    def tries(self, seed: int) -> Iterator[Try]:
        """All tries, the first ones spread over commands and faults; the order depends on the seed alone."""
        cells = [
            (command, self.faults[(i + shift + seed) % len(self.faults)])
            for shift in range(len(self.faults))
            for i, command in enumerate(self.commands)
        ]
        moments = {}
        for command, fault in cells:
            counted = range(1, self.known[command].counts[FAULTS[fault].counter] + 1)
            moments[command, fault] = random.Random(f"{seed} {command} {fault}").sample(counted, len(counted))
        while any(moments.values()):
            for command, fault in cells:
                if moments[command, fault]:
                    yield Try(command, fault, moments[command, fault].pop())

    def outcomes(self, tries: Iterator[Try], *, seconds: float | None = None) -> Iterator[Outcome]:
        """Make tries until there are no more or the time is over."""
        end = None if seconds is None else time.monotonic() + seconds
        until = (made for made in tries if end is None or time.monotonic() < end)
        with multiprocessing.get_context("fork").Pool(self.workers) as pool:
            for batch in _batches(until, 8 * self.workers):
                yield from pool.imap_unordered(self.outcome, batch)

    def outcome(self, made: Try) -> Outcome:
        """Make one try."""
        command, fault = COMMANDS[made.command], FAULTS[made.fault]
        known = self.known[made.command].undisturbed
        with _Copy(self.bases, command.base) as folder:
            arguments = command.in_folder(folder)
            result = run(arguments, folder, self.bases.trained, fault, made.at)
            state = in_child(lambda: read_state(folder))
            if state.trouble:
                return Outcome(made, _ended(result), (f"the file is not to be read: {state.trouble}",))
            problems = list(after_fault(result, state.value, known))
            second = run(arguments, folder, self.bases.trained)
            state = in_child(lambda: read_state(folder))
            if state.trouble:
                problems.append(f"after the second run, the file is not to be read: {state.trouble}")
            else:
                problems += after_second_run(second, state.value, known, killed=result.signal is not None)
        return Outcome(made, _ended(result), tuple(problems))

    def _learn(self, name: str) -> Known:
        command = COMMANDS[name]
        with _Copy(self.bases, command.base) as folder:
            before = value_of(lambda: read_state(folder))
            arguments = command.in_folder(folder)
            first = run(arguments, folder, self.bases.trained)
            assert first.exit_code == 0, f"{name}: {first.stderr}"
            after: State = value_of(lambda: read_state(folder))
            problems = [problem for contents in after.databases.values() for problem in contents.problems]
            assert not problems and not after.drafts, f"{name}: {problems} {after.drafts}"
            again = run(arguments, folder, self.bases.trained)
            after_again = value_of(lambda: read_state(folder))
        return Known(Undisturbed(before, after, after_again, again), first.counts)


class _Copy:
    """A copy of a base, which is removed at the end."""

    def __init__(self, bases: Bases, base: str) -> None:
        self.source, self.folder = bases.folder(base), bases.root / f"try-{os.getpid()}"

    def __enter__(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.source, self.folder)
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _ended(result: Result) -> str:
    if result.signal is not None:
        return "killed"
    return "succeeded" if result.exit_code == 0 else "failed"


def _batches(tries: Iterator[Try], size: int) -> Iterator[list[Try]]:
    batch: list[Try] = []
    for made in tries:
        batch.append(made)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
