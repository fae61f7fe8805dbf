"""The terminal of the shell, built on prompt_toolkit: multi-line editing, colours, completion and history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import PostgresLexer
from pygments.token import Keyword, Name

from relsql.shell.completion import Names, suggest
from relsql.shell.session import COMMANDS
from relsql.statements.parse import KEYWORDS
from relsql.statements.split import is_complete, split_statements

_FIRST = "relsql> "
_NEXT = "   ...> "


class Prompt:
    """Reads statements from a terminal.

    Args:
        names: returns the names that can be completed now; called before each statement.
        history: the file of the input history, or None to keep the history in memory.
    """

    def __init__(self, names: Callable[[], Names], history: Path | None) -> None:
        self._names = names
        self._completer = SqlCompleter(names())
        self._session: PromptSession[str] = PromptSession(
            _FIRST,
            multiline=True,
            prompt_continuation=_NEXT,
            lexer=PygmentsLexer(StatementLexer),
            completer=self._completer,
            complete_while_typing=False,
            history=_history(history),
            key_bindings=_key_bindings(),
        )

    @property
    def buffer(self) -> Buffer:
        """The text that is being typed, and its completions."""
        return self._session.default_buffer

    def read(self) -> str:
        """Read a dot command, or statements of which the last one ends with `;`.

        Raises:
            KeyboardInterrupt: Ctrl-C. EOFError: Ctrl-D on an empty line.
        """
        self._completer.names = self._names()
        return self._session.prompt()


class StatementLexer(PostgresLexer):  # type: ignore[misc]
    """The lexer of SQL, which also knows the words of statements about models."""

    def get_tokens_unprocessed(self, text: str, *args: Any) -> Iterator[tuple[int, Any, str]]:
        """Positions, kinds and texts of the tokens."""
        for position, kind, word in super().get_tokens_unprocessed(text, *args):
            yield position, Keyword if kind in Name and word.upper() in KEYWORDS else kind, word


class SqlCompleter(Completer):
    """Completes names in the statement at the cursor, and dot commands."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The completions at the cursor of a document."""
        text = document.text_before_cursor
        if text.startswith("."):
            for command in COMMANDS:
                if command.startswith(text):
                    yield Completion(command, -len(text))
            return
        _, before = split_statements(text)
        for suggestion in suggest(before, document.text_after_cursor.partition(";")[0], self.names):
            yield Completion(suggestion.text, -suggestion.length, display_meta=suggestion.kind)


def history_path() -> Path:
    """The file of the shell's input history, in the user's state folder."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        state = Path.home() / ".local" / "state"
    return state / "relsql" / "history"


def _history(path: Path | None) -> History:
    """The history in a file that only the user can read, or in memory if the file cannot be created."""
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("ab"):
            return FileHistory(str(path))
    except OSError:
        return InMemoryHistory()


def _key_bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        elif is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys
