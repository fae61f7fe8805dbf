"""A server that ends by itself is started again; one that cannot start, or is asked to stop, is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import cast

import duckdb
import pytest

from relsql.integrations.server import Server
from relsql.integrations.server_process import _ALLOCATOR, PARENT, RESTART, keep_serving

SCRIPT = """#!/bin/sh
echo run >> {log}
[ "$DUCKDB_JE_MALLOC_CONF $RELSQL_TOKEN ${parent}" = "{allocator} secret {pid}" ] || exit 3
n=$(wc -l < {log})
{steps}
"""


def run_server(folder: Path, monkeypatch: pytest.MonkeyPatch, steps: str) -> tuple[int, list[str], list[str], int]:
    """Keep a shell script in the place of relsql serving: its code, what it showed and told, and its runs."""
    log, program = folder / "log", folder / "python"
    program.write_text(
        SCRIPT.format(
            log=log, allocator=_ALLOCATOR["DUCKDB_JE_MALLOC_CONF"], parent=PARENT, pid=os.getpid(), steps=steps
        )
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr("relsql.integrations.server_process._PAUSE_SECONDS", 0.0)
    shown: list[str] = []
    told: list[str] = []
    code = keep_serving(["serve"], {"RELSQL_TOKEN": "secret"}, shown.append, told.append)
    return code, shown, told, len(log.read_text().splitlines())


def test_a_server_that_crashes_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = f"echo ATTACH; [ $n = 1 ] && kill -9 $$; [ $n = 2 ] && exit {RESTART}; [ $n = 3 ] && exit 1; exit 0"
    code, shown, told, runs = run_server(tmp_path, monkeypatch, steps)
    assert (code, shown, runs) == (0, ["ATTACH"], 4)
    assert [line.partition(";")[0] for line in told] == [
        "restarting, because the server ended with code -9",
        "restarting, because the server ended with code 1",
    ]


@pytest.mark.parametrize(("steps", "code"), [("exit 1", 1), ("exit 2", 2), ("kill -9 $$", 1), ("exit 0", 0)])
def test_a_server_that_cannot_start_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str, code: int
) -> None:
    assert run_server(tmp_path, monkeypatch, steps) == (code, [], [], 1)


def test_a_server_that_is_asked_to_stop_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = "echo ATTACH; kill -TERM $PPID; sleep 20 & wait"
    assert run_server(tmp_path, monkeypatch, steps) == (1, ["ATTACH"], [], 1)


class Failing:
    """A connection that can no longer be used."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def execute(self, *_: object) -> Failing:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (duckdb.FatalException("database has been invalidated"), "DuckDB closed the database after an internal error"),
        (duckdb.OutOfMemoryException("at this moment"), None),
        (MemoryError(), None),
    ],
)
def test_a_closed_database_is_noticed(error: Exception, reason: str | None) -> None:
    for seconds in (None, 5):
        con = cast("duckdb.DuckDBPyConnection", Failing(error))
        assert Server(con, "quack:127.0.0.1:1", "token", "shop", (), 1, seconds).reason_to_restart() == reason


def test_an_open_database_serves_on(con: duckdb.DuckDBPyConnection) -> None:
    assert Server(con, "quack:127.0.0.1:1", "token", "shop", (), 1, None).reason_to_restart() is None
