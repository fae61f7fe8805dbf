"""A session's `default_order` and `default_null_order` change nothing: no ORDER BY leaves its direction open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import MODULES, module_id, string_literals

VARIABLE = "{}"


def order_clauses(source: str) -> Iterator[str]:
    """The text after each ORDER BY in a module's strings, without docstrings; values in f-strings are `{}`."""
    for text in string_literals(source):
        yield from re.split(r"ORDER BY\s+", text)[1:]


def open_keys(text: str) -> list[str]:
    """The keys without a direction of the ORDER BY that `text` starts with. Variables include their direction."""
    keys, depth = [""], 0
    for part in re.findall(r"[(),\n]|\bLIMIT\b|(?:(?!\bLIMIT\b)[^(),\n])+", text):
        depth += {"(": 1, ")": -1}.get(part, 0)
        if depth < 0 or (not depth and part in ("\n", "LIMIT")):
            break
        if part == "," and not depth:
            keys.append("")
        else:
            keys[-1] += part
    return [key.strip() for key in keys if not re.search(r"\b(ASC|DESC)\b", key) and key.strip() != VARIABLE]


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_every_order_by_states_its_direction(path: Path) -> None:
    found = {clause: open_keys(clause) for clause in order_clauses(path.read_text(encoding="utf-8"))}
    assert not {clause: keys for clause, keys in found.items() if keys}


def test_an_open_order_is_found() -> None:
    source = 'A = "SELECT 1 ORDER BY a ASC, b LIMIT 2"\nB = f"SELECT md5({x}) OVER (ORDER BY f(a, b)) FROM t"\n'
    assert [key for clause in order_clauses(source) for key in open_keys(clause)] == ["b", "f(a, b)"]
