"""The card of a model as Markdown and as HTML. Both render the same blocks, so they always say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import TYPE_CHECKING

from relsql import html
from relsql.printable import printable

if TYPE_CHECKING:
    from relsql.reports.model_card import Card

_VALIDATION = "val_"
"""Names of metrics on validation labels begin with this."""

_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#>+-]")
_HTML = {re.compile(r"&(?=[A-Za-z#])"): "&amp;", re.compile(r"<(?=[A-Za-z/!?])"): "&lt;"}
"""What Markdown may read as markup. Its own gets a backslash; HTML is escaped, because a reader may not know that."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with its caption; `right` are the positions of the right-aligned columns."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """Text whose line breaks are kept."""

    text: str


Block = str | tuple[str, ...] | Grid | Code
"""A paragraph, a list, a table or code."""


def card_sections(card: Card) -> Iterator[tuple[str, list[Block]]]:
    """The sections of a card: title and blocks."""
    yield "Question", [card.question, *_asked(card), Code(card.predict or card.label_sql)]
    yield "Data", _data(card)
    yield "Splits", [Grid("Moments of the labels", ("split", "moments"), list(card.splits.items()))]
    yield "Metrics", _metrics(card)
    yield "Findings", [tuple(map(str, card.findings)) or "Training found nothing doubtful about labels and columns."]
    yield "Intended use", [card.intended_use]
    yield "Limits", [card.limits]
    yield "Identity", list(_identity(card))


def _asked(card: Card) -> Iterator[Block]:
    call = f"{card.functions[0]}(..)"
    active = "the active version" if card.status == "active" else f"a {card.status} version"
    yield (
        f"Task {card.task}: {card.task_type.replace('_', ' ')}, {card.target}, of {card.entity}, {card.horizon}. "
        f"{call} is {active}, {card.version}, trained {card.created:%Y-%m-%d %H:%M} UTC."
    )
    if card.published_version is not None:
        yield (
            f"It is published: anyone who may read the file can call version {card.published_version} in any DuckDB, "
            "without relsql."
        )
    else:
        yield "It is not published: anyone who may read the file can call it through relsql, or publish it in a copy."


def _data(card: Card) -> list[Block]:
    rows = [
        (
            table.name,
            "cannot be read" if table.rows is None else f"{table.rows:,}",
            str(table.columns),
            table.time or "",
            f"{_day(table.first)} to {_day(table.last)}" if table.first else "",
            (table.sha256 or "")[:12],
        )
        for table in card.tables
    ]
    digest = f"One digest of all: {card.data_sha256}." if card.data_sha256 else "A table can no longer be read."
    header = ("table", "rows", "columns", "time", "events", "sha256")
    return [
        "The tables that the model reads, as they are now, with the columns that it may read. A digest changes when a "
        f"row does, or DuckDB's hash function. {digest}",
        Grid("Tables", header, rows, right=(1, 2)),
        "The rows that a score reads:",
        card.paths,
    ]


def _metrics(card: Card) -> list[Block]:
    rows: list[tuple[str, ...]] = []
    chosen: list[tuple[str, ...]] = []
    for name, value in card.metrics.items():
        low, high = card.intervals.get(name, (None, None))
        row = (name, f"{value:.4g}", "" if low is None else f"{low:.4g} .. {high:.4g}")
        (rows if name.startswith(_VALIDATION) else chosen).append(row)
    header = ("metric", "value", "95% interval")
    when = "On the validation labels, before the model was trained on them too"
    return [
        Grid(when, header, rows, right=(1, 2)),
        Grid("What training chose", ("option", "value"), [row[:2] for row in chosen], right=(1,)),
    ]


def _identity(card: Card) -> Iterator[Block]:
    digests = {
        "trained from (data, schema, task, options, code)": card.trained_from or "not recorded",
        "schema": card.schema_sha256,
        "version": card.identity,
        **{f"part {name}": digest for name, digest in card.artifacts.items()},
    }
    yield Grid("Digests, SHA-256", ("of", "digest"), list(digests.items()))
    differences = [(name, f"{value:.2g}") for name, value in card.parity.items()]
    yield Grid(
        "Largest difference between the trained network and what scores", ("part", "difference"), differences, (1,)
    )
    yield Grid("Versions of the software that trained it", ("software", "version"), list(card.versions.items()))


def _day(time: str | None) -> str:
    return str(time or "").removesuffix(" 00:00:00")


def card_markdown(card: Card) -> str:
    """The card as Markdown."""
    parts = [f"# {_plain(f'Model {card.model}, version {card.version}')}"]
    for title, blocks in card_sections(card):
        parts += [f"## {title}", *filter(None, map(_markdown, blocks))]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, str):
        return _plain(block)
    if isinstance(block, tuple):
        return "\n".join(f"- {_plain(item)}" for item in block)
    if isinstance(block, Code):
        longest = max(map(len, re.findall("`+", block.text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}sql\n{cleandoc(block.text)}\n{fence}"
    if not block.rows:
        return ""
    rule = ["---:" if i in block.right else "---" for i in range(len(block.header))]
    lines = [[*map(_plain, row)] for row in block.rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in ([*block.header], rule, *lines))
    return f"{_plain(block.caption)}:\n\n{table}"


def _plain(text: str) -> str:
    shown = _MARKUP.sub(r"\\\g<0>", printable(text))
    for pattern, entity in _HTML.items():
        shown = pattern.sub(entity, shown)
    return shown


def card_html(card: Card, *, level: int = 3) -> str:
    """The card as HTML with headings of this level, without a page around it."""
    return "".join(
        html.element(f"h{level}", html.text(title)) + "".join(map(_html, blocks))
        for title, blocks in card_sections(card)
    )


def _html(block: Block) -> str:
    if isinstance(block, str):
        return html.paragraph(block)
    if isinstance(block, tuple):
        return html.items(block)
    if isinstance(block, Code):
        return html.code(block.text)
    return html.table(block.caption, block.header, block.rows, right=block.right) if block.rows else ""
