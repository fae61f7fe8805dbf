"""Tests that light modules stay light: importing them loads no training library.

The modules that may load one are those named in the import contracts of pyproject.toml.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDS_ITS_HOST = {"relsql.dbt", "relsql.integrations.dbt", "relsql.integrations.harlequin"}
"""Imported by programs that have environments of their own, where tests import them."""
HEAVY = ("torch", "transformers", "torch_geometric", "scipy", "sklearn", "pandas", "tokenizers")


def training_modules() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    ignored = [line for contract in contracts for line in contract.get("ignore_imports", ())]
    return {source for source, target in (line.split(" -> ") for line in ignored) if target == "*"}


def light_modules(package: str) -> list[str]:
    paths = sorted((ROOT / package).rglob("*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    left_out = training_modules() | NEEDS_ITS_HOST
    return [name for name in modules if name not in left_out and not name.endswith("__main__")]


def loaded_by(modules: list[str]) -> str:
    """Import `modules` one after the other in a new process; return the first that loads a heavy one, or ''."""
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
    heavy = [m for m in {HEAVY!r} if m in sys.modules]
    if heavy:
        print(name, "loads", *heavy)
        break
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("package", ["relsql", "udfs"])
def test_package_import_is_light(package: str) -> None:
    assert loaded_by([package]) == ""


@pytest.mark.parametrize("package", ["relsql", "udfs"])
def test_modules_outside_training_are_light(package: str) -> None:
    modules = light_modules(package)
    assert package in modules
    assert loaded_by(modules) == ""


def test_a_training_module_would_be_noticed() -> None:
    pytest.importorskip("torch")
    assert "relsql.nn.graph_network" in training_modules()
    assert loaded_by(["relsql.errors", "relsql.nn.graph_network"]).startswith("relsql.nn.graph_network loads torch")
