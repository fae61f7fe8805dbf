"""The size of an installation: what is counted, and how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.speed import install_size
from benchmarks.speed.install_size import folder_sizes


def test_packages_count_once_and_installers_do_not(tmp_path: Path) -> None:
    sizes = {"duckdb": 300_000, "numpy": 100_000, "numpy-2.0.dist-info": 5_000, "pip": 900_000, "pip-23.dist-info": 10}
    for name, size in sizes.items():
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_bytes(os.urandom(size))
    (tmp_path / "numpy" / "same").hardlink_to(tmp_path / "numpy" / "inner" / "file")
    found = folder_sizes(tmp_path)
    assert list(found) == ["duckdb", "numpy", "numpy-2.0.dist-info"]
    assert all(sizes[name] <= size < sizes[name] + 40_000 for name, size in found.items())


@pytest.mark.parametrize(("package", "exit_code"), [("numpy", 0), ("torch", 1)])
def test_the_command_names_the_target_and_refuses_torch(
    package: str, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages" / package).mkdir(parents=True)
    monkeypatch.setattr(install_size, "install", lambda folder: tmp_path / "packages")
    found = CliRunner().invoke(install_size.main, ["--out", str(tmp_path / "out" / "install.json")])
    assert "scoring install, MB: target <= 450, measured 0.0" in found.stdout and found.exit_code == exit_code
    assert ("scoring installs torch" in found.stderr) == bool(exit_code)
    assert (tmp_path / "out" / "install.json").exists()
