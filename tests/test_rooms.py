"""The shape of the code: small files, folders that one can look through, and imports that run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("relsql", "udfs", "exporters", "benchmarks")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}

MAX_LINES = 400
MAX_MODULES = 12
"""In a folder, besides `__init__` and `__main__`."""


def imported(path: Path) -> Iterator[str]:
    """The modules that a module imports, also within functions, but not only for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            names = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from names or {node.module} & MODULES.keys()


def test_no_module_is_long() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_folder_has_many_modules() -> None:
    folders = {path.parent for path in MODULES.values()}
    counts = {folder: sum(not path.stem.startswith("__") for path in folder.glob("*.py")) for folder in folders}
    assert {str(folder): count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_imports_have_no_circle() -> None:
    graph = {name: {*imported(path)} - {name} for name, path in MODULES.items()}
    assert any("relsql.gather.row_plan" in found for found in graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError
