"""A schema as a picture: tables as boxes, links as lines from the foreign key to the row that it points at.

Tables are placed in columns by their distance from the central table, counted in links. A link therefore joins
neighbouring columns, or two tables of one column. Colours are CSS variables of the page (see `STYLE`), so the picture
follows the light or dark mode of the page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relsql import html
from relsql.printable import printable

if TYPE_CHECKING:
    from relsql.schema.tables import Link, Schema, Table

WIDTH, LINE, PAD = 190, 17, 8
GAP_X, GAP_Y = 80, 22
BEND, ROOM = 38, 34
"""How far a line runs from a box before it turns, and the space at the right for lines within one column."""

LONGEST = 23
"""Characters of a name that fit into a box."""

STYLE = """
.schema { max-width: 100%; height: auto; }
.schema text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.schema .name { font-weight: 600; }
.schema .detail { font-size: 11px; fill: var(--muted); }
.schema rect { fill: var(--box); stroke: var(--line); }
.schema .centre rect { stroke: var(--accent); stroke-width: 2.5; }
.schema path { fill: none; stroke: var(--line); stroke-width: 1.3; }
.schema circle { fill: var(--line); }
.schema .unread rect { fill: none; stroke-dasharray: 4 3; }
.schema .unread text { fill: var(--muted); }
"""
"""The style sheet of pictures. It needs the colours of `relsql.html.colours`."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw.

    Attributes:
        schema: the tables and links.
        centre: `Table.key` of the table in the centre; default: the one with the most links.
        read: the tables that a model reads; others are dashed; None: all.
        rows: number of rows by `Table.key`, where it is known.
    """

    schema: Schema
    centre: str | None = None
    read: frozenset[str] | None = None
    rows: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Box:
    """The place of a table: its upper left corner, and its height, in pixels."""

    x: int
    y: int
    height: int
    column: int

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def schema_svg(picture: Picture) -> str:
    """The picture as an SVG element, whose title and description say in words what it shows."""
    schema = picture.schema
    centre = _busiest(schema) if picture.centre is None else picture.centre
    columns = _columns(schema, centre)
    boxes = _boxes(picture, columns)
    width = max((box.x + WIDTH for box in boxes.values()), default=0) + ROOM + PAD
    height = max((box.y + box.height for box in boxes.values()), default=0) + PAD
    lines = _lines([link for link in schema.links if {link.child, link.parent} <= boxes.keys()], boxes)
    drawn = [_table(picture, schema.table(key), box, centre) for key, box in boxes.items()]
    return html.element(
        "svg",
        html.element("title", html.text(_title(picture, centre))),
        *lines,
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        class_="schema",
        role="img",
        aria_label=describe(picture),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def schema_html(schema: Schema) -> str:
    """The picture with its style sheet, for a page that does not have the style sheet, such as a notebook."""
    style = html.element("style", f"{html.colours('.schema')}{STYLE}")
    return style + schema_svg(Picture(schema))


def describe(picture: Picture) -> str:
    """The tables and links of a picture in words."""
    tables = ", ".join(picture.schema.tables)
    links = "; ".join(map(str, picture.schema.links)) or "none"
    return f"Tables: {tables or 'none'}. Links: {links}."


def _title(picture: Picture, centre: str | None) -> str:
    return "No tables" if centre is None else f"Tables and links around {centre}"


def _busiest(schema: Schema) -> str | None:
    def links(key: str) -> int:
        return len(schema.links_to(key)) + len(schema.links_from(key))

    return max(schema.tables, key=links, default=None)


def _columns(schema: Schema, centre: str | None) -> list[list[str]]:
    """The tables by their distance from the centre.

    Tables that no path of links joins to the centre are spread over the columns, below the others.
    """
    near: dict[str, set[str]] = {key: set() for key in schema.tables}
    for link in schema.links:
        if link.child in near and link.parent in near:
            near[link.child].add(link.parent)
            near[link.parent].add(link.child)
    waiting, seen, columns = ([] if centre is None else [centre]), {centre}, []
    while waiting:
        columns.append(waiting)
        before = {key: place for place, key in enumerate(waiting)}
        found = {key for each in waiting for key in near[each]} - seen
        # Each table is placed near the tables that it is linked to, because then few lines cross.
        waiting = sorted(found, key=lambda key: (_mean([before[each] for each in near[key] if each in before]), key))
        seen |= found
    rest = [key for key in schema.tables if key not in seen]
    if rest and columns:
        width = max(3, len(columns))
        columns += [[] for _ in range(width - len(columns))]
        for place, key in enumerate(rest):
            columns[place % width].append(key)
    return columns


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def _boxes(picture: Picture, columns: list[list[str]]) -> dict[str, _Box]:
    heights = {
        key: 2 * PAD + LINE * (1 + len(_details(picture, picture.schema.table(key))))
        for each in columns
        for key in each
    }
    tall = [sum(heights[key] + GAP_Y for key in column) - GAP_Y for column in columns]
    boxes = {}
    for number, column in enumerate(columns):
        y = PAD + (max(tall) - tall[number]) // 2
        for key in column:
            boxes[key] = _Box(PAD + number * (WIDTH + GAP_X), y, heights[key], number)
            y += heights[key] + GAP_Y
    return boxes


def _details(picture: Picture, table: Table) -> list[str]:
    rows = picture.rows.get(table.key)
    found = ["" if rows is None else f"{rows:,} rows"]
    found += [f"key {', '.join(table.primary_key)}"] if table.primary_key else []
    found += [f"time {table.time_text}"] if table.time_text else []
    return [_short(text) for text in found if text]


def _short(text: str) -> str:
    """A text, cut where it would leave its box; wide characters count twice."""
    shown, width = "", 0
    for character in printable(text):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > LONGEST:
            return f"{shown}…"
        shown += character
    return shown


def _table(picture: Picture, table: Table, box: _Box, centre: str | None) -> str:
    classes = ["centre"] if table.key == centre else []
    classes += ["unread"] if picture.read is not None and table.key not in picture.read else []
    texts = [("name", _short(table.key)), *(("detail", text) for text in _details(picture, table))]
    written = [
        html.element("text", html.text(text), class_=kind, x=PAD, y=PAD + 12 + LINE * place)
        for place, (kind, text) in enumerate(texts)
    ]
    shape = html.element("rect", x=2, y=2, width=WIDTH - 4, height=box.height - 4, rx=5)
    title = html.element("title", html.text(f"{table.key}: {', '.join(table.column_names)}"))
    inner = html.element("svg", title, shape, *written, x=box.x, y=box.y, width=WIDTH, height=box.height)
    return html.element("g", inner, class_=" ".join(["table", *classes]))


def _lines(links: Sequence[Link], boxes: Mapping[str, _Box]) -> Iterator[str]:
    """A curve for each link, from child to parent, which ends in a dot at the parent."""
    ends = [_sides(boxes[link.child], boxes[link.parent]) for link in links]
    at: dict[tuple[int, str], int] = {}
    for key, box in boxes.items():
        for side in ("left", "right"):
            # Lines leave a box in the order of the boxes that they go to, so that few cross.
            met = [
                (boxes[other].middle, number, end)
                for number, link in enumerate(links)
                for end, mine, other in (("child", link.child, link.parent), ("parent", link.parent, link.child))
                if mine == key and ends[number][end == "parent"] == side
            ]
            for place, (_, number, end) in enumerate(sorted(met)):
                at[number, end] = box.y + box.height * (place + 1) // (len(met) + 1)
    for number, link in enumerate(links):
        places = [(boxes[link.child], ends[number][0], "child"), (boxes[link.parent], ends[number][1], "parent")]
        (x0, y0, bend0), (x1, y1, bend1) = (
            (box.x + (WIDTH if side == "right" else 0), at[number, end], BEND if side == "right" else -BEND)
            for box, side, end in places
        )
        curve = html.element("path", d=f"M{x0} {y0} C{x0 + bend0} {y0} {x1 + bend1} {y1} {x1} {y1}")
        dot = html.element("circle", cx=x1, cy=y1, r=3.5)
        yield html.element("g", html.element("title", html.text(link)), curve, dot, class_="link")


def _sides(child: _Box, parent: _Box) -> tuple[str, str]:
    """The sides at which a link leaves the child and meets the parent."""
    if child.column == parent.column:
        return "right", "right"
    return ("right", "left") if child.column < parent.column else ("left", "right")
