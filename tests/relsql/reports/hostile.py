"""Names that try to become markup, and a check that none has."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import strategies as st

ATTACKS = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--",
    "]]><script>alert(1)</script>",
    "</title></style></pre></table><iframe src=//evil.example>",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "`</code><script>",
    "```\n<script>alert(1)</script>",
    "$\\frac{1}{2}$",
    "&lt;script&gt;",
    "a|b\n<b>c",
    "\x00\x1b[31m\u202e\ufeff",
    "表🏎️<x>",
)
HOSTILE = st.one_of(
    st.sampled_from(ATTACKS),
    st.lists(st.one_of(st.sampled_from(ATTACKS), st.text(max_size=5)), min_size=1, max_size=3).map("".join),
)

_DANGEROUS = frozenset(("script", "img", "iframe", "object", "embed", "link", "base", "form", "a", "b", "x"))


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def elements(page: str) -> tuple[set[str], set[str]]:
    """The names of all elements and attributes of a page."""
    parser = _Elements()
    parser.feed(page)
    parser.close()
    return parser.tags, parser.attributes


def require_harmless(page: str, honest: str | None) -> None:
    """No element or attribute that runs or loads anything, and none that an honest page has not."""
    tags, attributes = elements(page)
    assert not tags & _DANGEROUS, tags & _DANGEROUS
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "srcset")], attributes
    if honest is not None:
        known, given = elements(honest)
        assert tags <= known and attributes <= given
