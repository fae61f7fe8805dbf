"""HTML and SVG as text. Every name and value of a user goes through `text`, and so cannot become markup."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from inspect import cleandoc

from relsql.printable import printable

LIGHT = {
    "paper": "#ffffff",
    "box": "#f6f8fa",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#848d97",
    "faint": "#d0d7de",
    "accent": "#0b5cad",
    "second": "#a63c00",
}
DARK = {
    "paper": "#14171a",
    "box": "#1f2429",
    "ink": "#e6e8ea",
    "muted": "#a3abb3",
    "line": "#7f8891",
    "faint": "#3a424a",
    "accent": "#79b8ff",
    "second": "#ffa657",
}
"""Colours by their use: `ink` on `paper` or `box`; text in `muted`, `accent` and `second` has a contrast above 4.5."""


def colours(selector: str) -> str:
    """A style sheet that gives a part of a page the colours as variables, light or dark, on paper always light."""
    light, dark = ("".join(f"--{name}:{value};" for name, value in each.items()) for each in (LIGHT, DARK))
    return f"{selector} {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ {selector} {{ {dark} }} }}\n"


def text(value: object) -> str:
    """A value as the text of an element or of an attribute in double quotes; control characters are escaped."""
    return html.escape(printable(str(value)), quote=True)


def element(tag: str, *content: str, **attributes: object) -> str:
    """An element around markup. Attributes are escaped; `class_` is `class`, `aria_label` is `aria-label`."""
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return f"<{tag}{given}>{''.join(content)}</{tag}>"


def paragraph(value: str) -> str:
    """A text as a paragraph."""
    return element("p", text(value))


def code(value: str) -> str:
    """A text that keeps its lines, such as SQL; the keyboard reaches its box, because it may scroll."""
    shown = "\n".join(map(text, cleandoc(value).splitlines()))
    return element("pre", element("code", shown), tabindex=0)


def items(values: Iterable[str]) -> str:
    """Texts as a list; empty if there are none."""
    found = [element("li", text(value)) for value in values]
    return element("ul", *found) if found else ""


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, right: Collection[int] = ()) -> str:
    """Values as a table, the first of each row as its header.

    Args:
        caption: what the table holds.
        header: names of the columns.
        rows: a value may be `Markup`, which is used as it is; any other is escaped.
        right: positions of the right-aligned columns.
    """
    aligned = [{"class_": "number"} if i in right else {} for i in range(len(header))]
    head = element(
        "tr", *(element("th", text(name), scope="col", **how) for name, how in zip(header, aligned, strict=True))
    )
    body = []
    for first, *rest in rows:
        cells = [element("th", _cell(first), scope="row", **aligned[0])]
        cells += [element("td", _cell(cell), **how) for cell, how in zip(rest, aligned[1:], strict=True)]
        body.append(element("tr", *cells))
    whole = element("table", element("caption", text(caption)), element("thead", head), element("tbody", *body))
    # A wide table scrolls in its own box, which the keyboard must reach.
    return element("div", whole, class_="scroll", role="region", aria_label=caption, tabindex=0)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _cell(value: object) -> str:
    return value if isinstance(value, Markup) else "" if value is None else text(value)
