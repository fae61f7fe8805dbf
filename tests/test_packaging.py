"""Tests of what is shipped: version, dependencies, packages and the console script."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import relsql

ROOT = Path(__file__).parents[1]
PACKAGES = ("relsql", "udfs", "exporters")
# By extra, what has an environment of its own, of `make test-shells` and `make test-engines`: these pin other versions
# than the rest is tested with.
APART = {"harlequin": {"harlequin"}, "spark": {"pysail", "pyspark-client", "zstandard"}}
TRAINING = {"torch", "transformers", "torch-geometric", "scikit-learn", "pandas", "onnx", "tokenizers"}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower() for requirement in requirements}


def test_version_is_the_newest_of_the_changelog() -> None:
    found = re.search(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found.group(1) == relsql.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_shipped(package: str, pyproject: dict[str, Any]) -> None:
    assert (ROOT / package / "py.typed").is_file()
    assert (ROOT / package / "__init__.py").is_file()
    assert package in pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def test_scoring_needs_no_training_library(pyproject: dict[str, Any]) -> None:
    base = names(pyproject["project"]["dependencies"])
    assert "duckdb" in base
    assert not base & TRAINING
    assert "torch" in names(pyproject["project"]["optional-dependencies"]["train"])


def test_direct_dependencies_are_pinned(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    direct = names(sum(project["optional-dependencies"].values(), project["dependencies"]))
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert direct - set().union(*APART.values()) == pinned


def test_setup_installs_every_extra(pyproject: dict[str, Any]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    installed = ",".join(re.findall(r"'\.\[([a-z,]+)\]'", makefile)).split(",")
    assert {*installed, *APART} == set(pyproject["project"]["optional-dependencies"])
    assert all(re.search(rf"[\t ]{name}\b", makefile) for names in APART.values() for name in names)


def test_console_script_starts_without_training_libraries(pyproject: dict[str, Any]) -> None:
    module, function = pyproject["project"]["scripts"]["relsql"].split(":")
    code = f"""
import sys
from {module} import {function}
assert callable({function})
print(sorted({{"torch", "transformers", "torch_geometric", "sklearn", "pandas", "tokenizers"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
