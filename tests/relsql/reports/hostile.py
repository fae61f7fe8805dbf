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


class Elements(HTMLParser):
    """The elements of a page, and the attributes of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.found}

    @property
    def attributes(self) -> set[str]:
        return {name for _, attributes in self.found for name in attributes}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def require_harmless(page: str, honest: str | None) -> None:
    """No element or attribute that runs or loads anything, and none that an honest page has not."""
    read = Elements(page)
    assert not read.tags & _DANGEROUS, read.tags & _DANGEROUS
    assert not [name for name in read.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    if honest is not None:
        known = Elements(honest)
        assert read.tags <= known.tags and read.attributes <= known.attributes
