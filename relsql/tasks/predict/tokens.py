"""The words and signs of a line, and errors that point at one of its characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relsql.errors import TaskError
from relsql.hints import see
from relsql.sql_text import ident

MAX_CHARACTERS = 10_000
"""The maximum length of a line. A longer question is better written as a label query."""

_SHOWN = 30
"""Characters of the line that a message shows on each side of the place it points at."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<name>"(?:[^"]|"")+")
      | (?P<text>'(?:[^']|'')*')
      | (?P<sign><=|>=|<>|!=|[-+*/%=<>(),.;@])""",
    re.DOTALL | re.VERBOSE,
)
_UNCLOSED = {"'": "a text in single quotes", '"': "a name in double quotes", "/*": "a comment"}


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a line.

    Attributes:
        kind: `word`, `name` (in double quotes), `text` (in single quotes), `number`, `sign`, or `end`.
        text: as it is written.
        at: the position of its first character.
    """

    kind: str
    text: str
    at: int

    @property
    def end(self) -> int:
        """The position after its last character."""
        return self.at + len(self.text)

    @property
    def keyword(self) -> str:
        """The word in upper case; the sign itself; empty for names, texts and numbers."""
        return self.text.upper() if self.kind in ("word", "sign") else ""

    @property
    def value(self) -> str:
        """A name or a text without its quotes."""
        if self.kind not in ("name", "text"):
            return self.text
        quote = self.text[0]
        return self.text[1:-1].replace(quote * 2, quote)


def tokens_of(line: str) -> list[Token]:
    """The tokens of a line, without spaces and comments; the last one is of the kind `end`.

    Raises:
        TaskError: the line is too long, or a character begins nothing.
    """
    if len(line) > MAX_CHARACTERS:
        raise line_error(
            line,
            MAX_CHARACTERS,
            f"the line has {len(line):,} characters",
            f"at most {MAX_CHARACTERS:,}, or a query in sql",
        )
    return [*scan(line), Token("end", "", len(line.rstrip()))]


def scan(line: str) -> Iterator[Token]:
    """The tokens of a line one by one, without the `end`; what follows those that are read is not checked.

    Raises:
        TaskError: a character begins nothing.
    """
    at = 0
    while at < len(line):
        found = _TOKEN.match(line, at)
        if found is None:
            opened = next((what for quote, what in _UNCLOSED.items() if line.startswith(quote, at)), None)
            problem = f"{opened} is not closed" if opened else f"{line[at]!r} means nothing here"
            raise line_error(line, at, problem, "names, numbers, texts in single quotes, and the signs of SQL")
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found.group(), at)
        at = found.end()


def line_error(line: str, at: int, problem: str, expected: str, fix: str | None = None) -> TaskError:
    """An error about a place in a line: the message quotes the line around it, with a `^` before its first character.

    Args:
        line: the line.
        at: the position that it is about.
        problem: what is wrong there.
        expected: what could stand there.
        fix: what to do; default: correct the line.
    """
    before, after = line[max(0, at - _SHOWN) : at], line[at : at + _SHOWN]
    quoted = f"{'..' if at > _SHOWN else ''}{before}^{after}{'..' if at + _SHOWN < len(line) else ''}"
    return TaskError(
        f"{problem}, at character {at + 1} of the line: {quoted}",
        expected=expected,
        fix=fix or f"correct the line ({see('predict')})",
    )


def quoted_name(text: str) -> str:
    """A name as a line writes it: in double quotes unless it is a plain word."""
    return text if re.fullmatch(r"[^\W\d][\w$]*", text) and text.upper() not in RESERVED else ident(text)


RESERVED = frozenset(
    (
        *("PREDICT", "FOR", "EACH", "WHERE", "ASSUMING", "VIA", "AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ILIKE"),
        *("IS", "NULL", "TRUE", "FALSE"),
    )
)
"""Words of the language: a table or column of such a name stands in double quotes."""
