"""The project's own sources, for tests that hold a rule for all of them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted(path for room in ("relsql", "udfs", "exporters") for path in (ROOT / room).rglob("*.py"))


def module_id(path: Path) -> str:
    """The path of a module from the top level."""
    return str(path.relative_to(ROOT))


def string_literals(source: str, shown: Callable[[ast.expr], str] = lambda expression: "") -> Iterator[str]:
    """The string literals of a module without docstrings; the expressions of an f-string are in braces, as `shown`."""
    tree = ast.parse(source)
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    passed_over |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (
                str(part.value) if isinstance(part, ast.Constant) else f"{{{shown(part.value)}}}"
                for part in node.values
                if isinstance(part, (ast.Constant, ast.FormattedValue))
            )
            yield "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield node.value
