"""Generated SQL for people: no line above 120 characters, one field of a struct a line. Its meaning stays the same."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from relsql.sql_text import literal

WIDTH = 120
"""Only a single literal or name may make a line longer."""

_NEWLINE = "\n"
_INDENT = "    "
_QUOTED = re.compile(r"""--[^\n]*|'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\]{}]|,\s|\sAND\s|\s(?:WHEN|ELSE|FILTER|ORDER|FROM|WHERE)\b|.""", re.DOTALL
)
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_BREAK = "\0"
"""Stands for a line break within a literal or a name, where the text must not be broken."""


def readable(sql: str) -> str:
    """The same statements with long lines broken: at commas first, then at AND, then at the parts of a CASE."""
    protected = _QUOTED.sub(lambda found: found.group().replace("\n", _BREAK), sql)
    lines = [part for line in protected.split("\n") for part in _laid_out(line)]
    return "\n".join(lines).replace(_BREAK, "\n")


def comment_sql(what: str, text: str, *lines: str) -> str:
    """A statement that comments on an object; a long text has line breaks, and `lines` that follow it have none."""
    # Quotes are doubled in a literal.
    wrapped = textwrap.wrap(
        text,
        max(WIDTH // 3, WIDTH - len("IS '';") - text.count("'")),
        expand_tabs=False,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return f"COMMENT ON {what}\nIS {literal(_NEWLINE.join([*wrapped, *lines]))}"


def _laid_out(line: str) -> Iterator[str]:
    if (len(line) <= WIDTH and not _has_wide_struct(line)) or line.lstrip().startswith("--"):
        yield line
        return
    parts = _broken(line)
    if len(parts) == 1:
        yield line
        return
    for part in parts:
        yield from _laid_out(part)


def _has_wide_struct(line: str) -> bool:
    """True if a struct of two fields or more begins and ends in the line."""
    return any(opened == "{" and len(items) > 1 for opened, _, _, items in _groups(line))


def _broken(line: str) -> list[str]:
    """The line in parts: at the outermost place where there is one."""
    indent = line[: len(line) - len(line.lstrip())]
    if not _has_wide_struct(line):
        for separators in (("FROM", "WHERE"), (",",), ("AND",), ("FILTER",), ("WHEN", "ELSE")):
            parts = _split(line, separators)
            if len(parts) > 1:
                deeper = indent if "FROM" in separators else indent + _INDENT
                return [parts[0], *(f"{deeper}{part}" for part in parts[1:])]
    groups = [group for group in _groups(line) if _has_room(group)]
    wide = [group for group in groups if group[0] == "{" and len(group[3]) > 1]
    if not groups:
        return [line]
    # The outermost group; a wide struct first.
    _, start, end, items = min(wide or groups, key=lambda group: group[1])
    comma = "" if items[-1].startswith("ORDER ") else ","
    listed = [f"{indent}{_INDENT}{item}{comma if i < len(items) - 1 else ''}" for i, item in enumerate(items)]
    return [line[: start + 1], *listed, f"{indent}{line[end:]}"]


def _has_room(group: tuple[str, int, int, list[str]]) -> bool:
    """True if breaking a group shortens the line: an empty one, or one short item, stays where it is."""
    items = group[3]
    return len(items) > 1 or (len(items) == 1 and len(items[0]) > WIDTH // 2)


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    """The text split at some of the separators outside of all brackets; keywords begin a part, commas end one."""
    parts, depth, part = [], 0, ""
    ended = text.rstrip()
    end = "," if ended.endswith(",") else ""
    for piece in _TOKEN.findall(ended.removesuffix(",")):
        depth += (piece in _OPENING) - (piece in _CLOSING)
        word = piece.strip()
        if depth == 0 and word in separators and part.strip():
            parts.append(part + ("," if word == "," else ""))
            part = "" if word == "," else f"{word}{piece[-1] if piece[-1].isspace() else ''}"
        else:
            part += piece
    return [*parts, part + end]


def _groups(line: str) -> list[tuple[str, int, int, list[str]]]:
    """The bracketed groups that begin and end in the line: bracket, positions of both ends, items."""
    groups, opened, position = [], [], 0
    for piece in _TOKEN.findall(line):
        if piece in _OPENING:
            opened.append((piece, position))
        elif piece in _CLOSING and opened:
            bracket, start = opened.pop()
            groups.append((bracket, start, position, _items(line[start + 1 : position])))
        position += len(piece)
    return groups


def _items(inner: str) -> list[str]:
    """What stands between brackets: the parts of a window, or comma-separated items."""
    if not inner.strip():
        return []
    window = _split(inner, ("ORDER",))
    return window if len(window) > 1 else [item.removesuffix(",") for item in _split(inner, (",",))]
