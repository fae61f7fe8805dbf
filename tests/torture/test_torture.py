"""A small part of the sweep, the same in every run; `make torture` makes the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.commands import COMMANDS
from tests.torture.faults import FAULTS, Counter, compiler

PART = ("init", "train, first version", "score --into --changed-only", "promote", "publish")
TRIES = 8


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="faults need Linux and a C compiler (cc)")
def test_commands_keep_their_guarantees_under_every_fault() -> None:
    chosen = [word for name in PART for word in ("--command", name)]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.torture", *chosen, "--tries", str(TRIES), "--workers", "1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
    assert f"{TRIES} tries" in ended.stdout


def test_every_command_that_writes_is_tried() -> None:
    from relsql.cli import cli

    reading = {
        "inspect",
        "task",
        "evaluate",
        "leakcheck",
        "explain",
        "importance",
        "card",
        "sql",
        "shell",
        "serve",
        "models",
        "selftest",
    }
    # They write no database, only a folder or a file, as a draft that is renamed.
    beside = {"pretrain", "report", "spark-score"}
    assert {command.arguments[0] for command in COMMANDS.values()} == cli.commands.keys() - reading - beside
    assert set(PART) < COMMANDS.keys()
    assert {fault.counter for fault in FAULTS.values()} == set(Counter)
