"""Write results to stdout and notes to stderr."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import click

from relsql.hints import command, with_file
from relsql.printable import printable
from relsql.schema.finding import Finding

Cells = Sequence[str | None]
"""One row of a result as text; None is NULL."""

_FILE = "relsql.file"

_NEEDS_QUOTES = frozenset(',"\r\n')


class DatabasePath(click.Path):
    """The type of the argument FILE: what the command prints then names the path, see `with_path`."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path, which is kept for messages."""
        path = super().convert(value, param, ctx)
        if ctx is not None:
            ctx.meta[_FILE] = path
        return path


def with_path(message: str) -> str:
    """The message, whose commands name the path of FILE instead of `FILE`, if this command was given one."""
    ctx = click.get_current_context(silent=True)
    file = ctx.meta.get(_FILE) if ctx else None
    return message if file is None else with_file(message, file)


def note(message: str) -> None:
    """Write a line for people to stderr."""
    click.echo(with_path(message), err=True)


def note_findings(findings: Iterable[Finding]) -> None:
    """Write findings to stderr, in short where `relsql inspect` shows them in full."""
    shown = tuple(findings)
    for finding in shown:
        note(finding.short if finding.inspected else str(finding))
    if any(finding.inspected for finding in shown):
        note(f"more on these warnings, and what to do: {command('inspect', 'FILE')}")


def can_ask() -> bool:
    """True if stdin is a terminal, so that the user can answer a question."""
    return sys.stdin.isatty()


def write_json(value: object) -> None:
    """Write a value as one indented JSON document; dataclasses become objects, times become ISO strings."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_as_json))


def write_table(header: Sequence[str], rows: Iterable[Cells], right: Collection[int] = ()) -> None:
    """Write all rows as columns of fixed width; `right` are the positions of the right-aligned columns."""
    lines = [[_printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        cells = (_padded(cell, width, i in right) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        click.echo("  ".join(cells).rstrip())


def write_csv(header: Sequence[str], rows: Iterable[Cells]) -> None:
    """Write CSV: NULL is an empty field, an empty string is `""`."""
    for row in (header, *rows):
        click.echo(",".join(map(_csv_field, row)))


def write_json_rows(header: Sequence[str], rows: Iterable[Cells]) -> None:
    """Write an array with one JSON object per row; the cells are already JSON."""
    keys = [json.dumps(name, ensure_ascii=False) for name in header]
    separator = "["
    for row in rows:
        pairs = (f"{key}: {_json_cell(cell)}" for key, cell in zip(keys, row, strict=True))
        click.echo(f"{separator}{{{', '.join(pairs)}}}", nl=False)
        separator = ",\n "
    click.echo("[]" if separator == "[" else "]")


def number(value: float | int | None) -> str:
    """A metric in readable form: four digits, or `-`."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_json(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    return str(value)


def _printable(cell: str | None) -> str:
    return "NULL" if cell is None else printable(cell)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in ("W", "F") for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _padded(text: str, width: int, right: bool) -> str:
    pad = " " * (width - _width(text))
    return pad + text if right else text + pad


def _csv_field(cell: str | None) -> str:
    if cell is None:
        return ""
    quoted = cell == "" or cell != cell.strip() or not _NEEDS_QUOTES.isdisjoint(cell)
    return '"' + cell.replace('"', '""') + '"' if quoted else cell


def _json_cell(cell: str | None) -> str:
    # JSON cannot represent these values.
    return "null" if cell in (None, "NaN", "Infinity", "-Infinity") else str(cell)
