"""Tests that light modules stay light: importing them loads no training library.

Packages that may load one are those that the import contract of pyproject.toml leaves out.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDS_ITS_HOST = {"relsql.dbt", "relsql.integrations.dbt", "relsql.integrations.harlequin"}
"""Imported only by programs with separate environments, in which their tests run."""
HEAVY = ("torch", "transformers", "torch_geometric", "scipy", "sklearn", "pandas", "tokenizers")


def light_rooms() -> list[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    [rooms] = [contract["source_modules"] for contract in contracts if contract["name"].startswith("Torch is imported")]
    return [str(room) for room in rooms]


def light_modules() -> list[str]:
    paths = sorted(path for package in ("relsql", "udfs") for path in (ROOT / package).rglob("*.py"))
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    rooms = light_rooms()
    inside = [name for name in modules if any(f"{name}.".startswith(f"{room}.") for room in rooms)]
    return [name for name in inside if name not in NEEDS_ITS_HOST and not name.endswith("__main__")]


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


def test_modules_outside_training_are_light() -> None:
    modules = light_modules()
    assert len(modules) > 80
    assert {"udfs.scorer", "relsql.gather.sql.query", "relsql.cli.commands.training"} <= set(modules)
    assert loaded_by(modules) == ""


def test_a_training_module_would_be_noticed() -> None:
    pytest.importorskip("torch")
    assert loaded_by(["relsql.errors", "relsql.nn.graph_network"]).startswith("relsql.nn.graph_network loads torch")


def test_every_public_name_is_there() -> None:
    pytest.importorskip("torch")
    code = "import relsql; print(*(getattr(relsql, name).__name__ for name in relsql.__all__))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "read_schema" in result.stdout.split()
