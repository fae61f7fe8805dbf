"""Text that terminals and pages show as it is: control characters and the like are escaped."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text with control characters, line ends and lone surrogates escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
