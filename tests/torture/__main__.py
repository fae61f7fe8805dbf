"""`python -m tests.torture`: sweep over commands and faults; exit code 1 if anything did not hold."""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.children import LIBRARIES, load_libraries
from tests.report import circumstances, write_into
from tests.torture.commands import COMMANDS
from tests.torture.faults import FAULTS, compile_library, compiler, environment, is_preloaded
from tests.torture.report import Tally
from tests.torture.sweep import Outcome, Sweep, Try


def main() -> int:
    """Run the sweep that the command line asks for."""
    chosen = _arguments()
    if compiler() is None:
        print("torture needs Linux and a C compiler (cc): nothing was tried", file=sys.stderr)
        return 2
    if is_preloaded():
        return _sweep(chosen, chosen.keep)
    root = chosen.keep or Path(tempfile.mkdtemp(prefix="relsql-torture-", dir=_fast_folder()))
    root.mkdir(parents=True, exist_ok=True)
    try:
        # The library has to be preloaded when the process starts.
        command = [sys.executable, "-m", "tests.torture", *sys.argv[1:], "--keep", str(root)]
        return subprocess.run(command, env=environment(compile_library(root)), check=False).returncode
    finally:
        if not chosen.keep:
            shutil.rmtree(root, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--command", action="append", choices=COMMANDS, help="only this command; several times")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this fault; several times")
    parser.add_argument("--at", type=int, help="only this moment")
    parser.add_argument("--tries", type=int, help="maximum number of tries")
    parser.add_argument("--minutes", type=float, help="maximum time after the preparation")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order of the tries")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and keep what was prepared")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table between the marks of FILE")
    return parser.parse_args()


def _fast_folder() -> str | None:
    """A folder in memory if there is one, because syncs to a disk would take most of the time."""
    memory = Path("/dev/shm")
    return str(memory) if not os.environ.get("TMPDIR") and os.access(memory, os.W_OK) else None


def _sweep(chosen: argparse.Namespace, root: Path) -> int:
    load_libraries(
        [
            *LIBRARIES,
            "relbench",
            "relsql.evaluation.baseline",
            "relsql.demo",
            "relsql.evaluation.evaluate",
            "relsql.integrations.import_relbench",
        ]
    )
    started = time.monotonic()
    commands, faults = chosen.command or [*COMMANDS], chosen.fault or [*FAULTS]
    sweep = Sweep(root, commands, faults, chosen.workers)
    sweep.prepare()
    print(f"prepared {len(commands)} commands in {time.monotonic() - started:.0f} s", file=sys.stderr)
    tries = sweep.tries(chosen.seed)
    if chosen.at:
        tries = (Try(command, fault, chosen.at) for command in commands for fault in faults)
    tally, tried = Tally(commands, faults), time.monotonic()
    for outcome in sweep.outcomes(
        itertools.islice(tries, chosen.tries), seconds=60 * chosen.minutes if chosen.minutes else None
    ):
        tally.add(outcome)
        _show(outcome, tally)
    minutes = (time.monotonic() - tried) / 60
    lines = [*tally.lines(), "", f"{tally.summary()}, in {minutes:.0f} minutes. Seed {chosen.seed}, {circumstances()}"]
    print("\n".join([*tally.failure_lines(), *lines]))
    if chosen.report:
        write_into(chosen.report, "table of python -m tests.torture", lines)
    return 1 if tally.failures or not tally.tries else 0


def _show(outcome: Outcome, tally: Tally) -> None:
    if outcome.problems:
        print(f"FAILED {outcome.made}: {'; '.join(outcome.problems)[:1000]}", file=sys.stderr, flush=True)
    elif tally.tries.total() % 200 == 0:
        print(tally.summary(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
