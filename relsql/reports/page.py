"""A self-contained page: no scripts, no requests, no fonts to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relsql import html
from relsql.database.drafts import draft_path, is_taken, remove_draft
from relsql.errors import DatabaseError
from relsql.hints import command
from relsql.schema.picture import STYLE as SCHEMA_STYLE

MARK = '<meta name="generator" content="relsql report">'
"""The mark within the first `MARKED` bytes of every page: only files that have it are replaced."""

MARKED = 1_000

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser itself refuses scripts and requests, whatever a name in the page says."""

_STYLE = """
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, header { max-width: 76rem; margin: 0 auto; padding: 0 1.25rem; }
main > section { padding-bottom: 1rem; }
h1 { font-size: 1.7rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--faint); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
h4 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, li, figcaption { max-width: 46rem; overflow-wrap: anywhere; }
.lead { font-size: 1.15rem; }
.muted, figcaption, caption { color: var(--muted); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; list-style: none; padding: 0; }
a { color: var(--accent); }
figure { margin: 1rem 0; }
figcaption { font-size: .9rem; }
.drawn { overflow-x: auto; }
.drawn .schema { max-width: none; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; width: max-content; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--faint); }
thead th { color: var(--muted); font-weight: 600; }
tbody th { font-weight: 500; }
td, tbody th { overflow-wrap: break-word; max-width: 26rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: var(--box); border: 1px solid var(--faint); border-radius: 5px; padding: .75rem; overflow-x: auto; }
code { font: .85rem/1.45 ui-monospace, monospace; }
.warning { border-left: 4px solid var(--second); padding-left: .75rem; }
.bar { display: block; }
.bar .up { fill: var(--accent); } .bar .down { fill: var(--second); }
.bar .zero { stroke: var(--line); } .bar .range { stroke: var(--ink); stroke-width: 1.5; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print {
  body { font-size: 10pt; } main, header { max-width: none; padding: 0; } nav { display: none; }
  h2, h3, h4 { break-after: avoid; } figure, tr, pre { break-inside: avoid; }
  .scroll, .drawn, pre { overflow: visible; } pre { white-space: pre-wrap; }
  table { font-size: 8pt; width: auto; }
  td, tbody th { overflow-wrap: anywhere; min-width: 4em; } thead { break-after: avoid; }
  caption { break-after: avoid; } .bar { width: 100px; } .drawn svg.schema, .drawn svg.chart { max-width: 100%; }
  .grid { grid-template-columns: 1fr 1fr; }
}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page: its heading and markup; a part without markup is left out."""

    title: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section], *, style: str = "") -> str:
    """A whole page.

    Args:
        title: its title, escaped here.
        lead: a sentence below the title.
        sections: its parts in order.
        style: a style sheet in addition to that of pages and pictures of schemas.
    """
    shown = [section for section in sections if section.body]
    anchors = [section.title.lower().replace(" ", "-") for section in shown]
    links = [
        html.element("li", html.element("a", html.text(section.title), href=f"#{anchor}"))
        for section, anchor in zip(shown, anchors, strict=True)
    ]
    contents = html.element("nav", html.element("ul", *links), aria_label="Sections") if len(shown) > 1 else ""
    bodies = [
        html.element("section", html.element("h2", html.text(section.title), id=anchor), section.body)
        for section, anchor in zip(shown, anchors, strict=True)
    ]
    heading = html.element("header", html.element("h1", html.text(title)), html.element("p", html.text(lead)), contents)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{MARK}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.text(title)}</title>\n"
        f"<style>{html.colours(':root')}{_STYLE}{SCHEMA_STYLE}{style}</style>\n</head>\n"
        f"<body>\n{heading}\n{html.element('main', *bodies)}\n</body>\n</html>\n"
    )


def require_writable_page(path: Path, again: str, *, overwrite: bool) -> None:
    """Check that a page may be written to a path; `again` is the command that replaces an earlier one.

    Raises:
        DatabaseError: the file exists and `overwrite` is false, relsql did not write it, or its folder does not exist.
    """
    if is_taken(path):
        if not _is_page(path):
            raise DatabaseError(
                f"file '{path}' exists and was not written by {command('report')}",
                expected="the name of a new file, or of an earlier report together with --overwrite",
            )
        if not overwrite:
            raise DatabaseError(
                f"file '{path}' exists",
                expected="a new name",
                fix=again,
            )
    elif not path.parent.is_dir():
        raise DatabaseError(f"file '{path}' cannot be written", expected="the path of a file in an existing folder")


def write_page(path: Path, content: str, again: str, *, overwrite: bool) -> None:
    """Write a page as a draft beside its path and rename it; errors are those of `require_writable_page`."""
    draft = draft_path(path)
    try:
        draft.write_text(content, encoding="utf-8")
        require_writable_page(path, again, overwrite=overwrite)  # Another process may have written it meanwhile.
        draft.replace(path)
    except OSError as error:
        raise DatabaseError(f"file '{path}' cannot be written: {error.strerror}") from error
    finally:
        remove_draft(draft)


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(MARKED)
    except OSError:
        return False
