"""`relsql shell`: scripts in a separate process, the prompt through a pipe."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from relsql.cli.commands.prompts.shell import converse
from relsql.cli.progress import QueryProgress
from relsql.shell.session import Session

ROOT = Path(__file__).parents[3]


def shell(*args: object, stdin: str = "", script: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", script] if script else ["-m", "relsql"]
    command = [sys.executable, *start, "shell", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, cwd=ROOT)


def test_a_script_on_stdin(shop: Path) -> None:
    script = """.models
BEGIN;
CREATE TABLE risks AS SELECT customer_id, predict_churn(customer_id) AS risk
FROM customers; -- all of them
SELECT count(risk) AS scored FROM risks;
ROLLBACK;
SELECT count(*) AS left_over FROM duckdb_tables() WHERE table_name = 'risks'"""
    done = shell(shop, stdin=script)
    assert (done.returncode, done.stderr) == (0, "60 rows\n")
    assert "predict_churn" in done.stdout
    values = [line.strip("│ ") for line in done.stdout.splitlines()]
    assert values[values.index("scored") + 3] == "60"
    assert values[values.index("left_over") + 3] == "0"


def test_a_script_as_an_option_ends_at_its_first_error(shop: Path) -> None:
    done = shell(shop, "-c", "SELECT 1 AS one; SELECT predict_chrn(1);\nCREATE TABLE never (i INTEGER)")
    assert done.returncode == 1
    assert "one" in done.stdout
    assert done.stderr.startswith("relsql: error: function 'predict_chrn' does not exist. Expected: did you mean 'pre")
    with duckdb.connect(str(shop), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'never'").fetchall() == [(0,)]


def test_read_only_does_not_write_and_shares_the_file(shop: Path) -> None:
    with duckdb.connect(str(shop), read_only=True):
        done = shell(shop, "--read-only", "-c", "SELECT predict_churn(1); DELETE FROM orders")
    assert done.returncode == 1
    assert "churn" in done.stdout and "read-only" in done.stderr


def test_scripts_load_neither_the_terminal_nor_torch(shop: Path) -> None:
    script = """
import sys
from relsql.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded", *sorted({"torch", "transformers", "prompt_toolkit", "pygments"} & set(sys.modules)), file=sys.stderr)
"""
    assert shell(shop, "-c", "SELECT predict_churn(1)", script=script).stderr == "loaded\n"


def test_a_terminal_without_the_extra_shows_how_to_install_it(shop: Path) -> None:
    script = """
import sys
sys.modules["prompt_toolkit"] = None
sys.stdin.isatty = lambda: True
from relsql.cli import main
main()
"""
    done = shell(shop, script=script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "relsql: error: relsql shell at a terminal needs the optional 'shell' dependencies. "
        "Fix: pip install 'relsql[shell]'\n"
    )


def test_the_shell_starts_although_a_model_cannot_be_used(
    shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with (
        duckdb.connect(str(shop)) as con,
        create_pipe_input() as keys,
        create_app_session(input=keys, output=DummyOutput()),
    ):
        con.execute("ALTER TABLE orders RENAME amount TO price")
        keys.send_text("SELECT 42 AS answer;\n\x04")
        converse(Session(con), shop)
    out, err = capsys.readouterr()
    assert "answer" in out
    assert err.startswith("models are not attached: the tables changed since model 'churn' was trained")


def test_the_prompt_goes_on_after_errors(
    shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with (
        duckdb.connect(str(shop)) as con,
        create_pipe_input() as keys,
        create_app_session(input=keys, output=DummyOutput()),
    ):
        keys.send_text("SELECT nonsense;\nSELEC\x03.nonsense\n.read 'open\nSELECT predict_churn(1) AS risk;\n\x04")
        converse(Session(con), shop)
    out, err = capsys.readouterr()
    assert "risk" in out
    notes = err.splitlines()
    assert "predict_churn" in notes[0]
    assert any(line.startswith("Binder Error:") and "nonsense" in line for line in notes)
    assert any("command '.nonsense' does not exist" in line for line in notes)
    assert any("No closing quotation" in line for line in notes)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_how_far_a_long_query_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with QueryProgress() as progress:
        progress(-1.0)
        progress(10.0)
        assert terminal.getvalue() == ""
        time.sleep(0.6)
        progress(35.0)
        assert " 35% |" in terminal.getvalue()
        progress(100.0)
        assert terminal.getvalue().endswith("\r")
