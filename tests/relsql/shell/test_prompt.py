"""The prompt, typed at through a pipe."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from relsql.shell.completion import Names
from relsql.shell.prompt import Prompt, history_path

NAMES = Names(
    keywords=("from", "select"),
    reserved=frozenset({"from", "select"}),
    functions=("count",),
    table_functions=("range",),
    models=("predict_churn", "predict_churn_batch"),
    columns={"customers": ("customer_id", "name"), "orders": ("order_id", "amount")},
    schemas={"main": ("customers", "orders")},
)


@contextmanager
def typing(keys: str, history: Path | None = None, *, tabs_complete: bool = True) -> Iterator[Prompt]:
    """A prompt that receives `keys`; where Tabs complete something, the next key waits for it."""

    def type_keys() -> None:
        before_tabs = keys.split("\t") if tabs_complete else [keys]
        for typed in before_tabs[:-1]:
            pipe.send_text(typed)
            _wait_for(lambda typed=typed: buffer.text.endswith(typed))
            text = buffer.text
            pipe.send_text("\t")
            _wait_for(lambda text=text: buffer.text != text or _offers_a_choice(buffer))
        pipe.send_text(before_tabs[-1])

    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        prompt = Prompt(lambda: NAMES, history)
        buffer = prompt.buffer
        typist = threading.Thread(target=type_keys)
        typist.start()
        yield prompt
        typist.join()


def _offers_a_choice(buffer: Buffer) -> bool:
    return buffer.complete_state is not None and len(buffer.complete_state.completions) > 1


def _wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_a_statement_takes_lines_until_its_semicolon() -> None:
    with typing("SELECT ';'\nFROM orders\n;\nSELECT 2;\n.help\n") as prompt:
        assert prompt.read() == "SELECT ';'\nFROM orders\n;"
        assert prompt.read() == "SELECT 2;"
        assert prompt.read() == ".help"


def test_lines_are_edited() -> None:
    left, end, backspace = "\x1b[D", "\x05", "\x7f"
    with typing(f"SELEC 1{left}{left}T{end}2{backspace};\n") as prompt:
        assert prompt.read() == "SELECT 1;"


def test_an_earlier_line_of_a_statement_is_edited() -> None:
    up, end, enter_at_the_end = "\x1b[A", "\x05", "\x1b[B\x05\n"
    with typing(f"SELECT 1\nFROM orders;{up}{end}, 2{enter_at_the_end}") as prompt:
        assert prompt.read() == "SELECT 1, 2\nFROM orders;"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("SELECT predict_churn_\t1);", "SELECT predict_churn_batch(1);"),
        ("SELECT 1; SELECT * FROM cus\t;", "SELECT 1; SELECT * FROM customers;"),
        (".mod\t", ".models"),
    ],
)
def test_tab_completes(typed: str, text: str) -> None:
    with typing(typed + "\n") as prompt:
        assert prompt.read() == text


def test_tab_changes_nothing_where_there_is_nothing_to_complete() -> None:
    with typing("SELECT o.am\t FROM orders o;\n", tabs_complete=False) as prompt:
        assert prompt.read() == "SELECT o.am FROM orders o;"


def test_enter_takes_a_completion_before_it_runs_anything() -> None:
    with typing("SELECT * FROM \t\t\n;\n") as prompt:
        assert prompt.read() == "SELECT * FROM customers;"


def test_ctrl_c_and_ctrl_d() -> None:
    with typing("SELECT wrong\x03SELECT 1;\n\x04") as prompt:
        with pytest.raises(KeyboardInterrupt):
            prompt.read()
        assert prompt.read() == "SELECT 1;"
        with pytest.raises(EOFError):
            prompt.read()


def test_history_is_kept_for_the_next_shell_and_is_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "state" / "relsql" / "history"
    with typing("SELECT 1\n+ 1;\n", path) as prompt:
        prompt.read()
    with typing("\x1b[A\n", path) as prompt:
        assert prompt.read() == "SELECT 1\n+ 1;"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder", encoding="utf-8")
    with typing("SELECT 1;\n", tmp_path / "state" / "history") as prompt:
        assert prompt.read() == "SELECT 1;"


def test_history_lies_in_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == tmp_path / "relsql" / "history"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert history_path() == tmp_path / ".local" / "state" / "relsql" / "history"
