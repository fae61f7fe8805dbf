"""relsql works offline: onnxruntime records and sends nothing about its sessions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import MODULES, ROOT, module_id

SCORE = "import duckdb, sys, relsql; relsql.attach(duckdb.connect(sys.argv[1], read_only=True))"


@pytest.mark.parametrize("script", [SCORE, "import udfs.components", "import exporters.onnx.export"])
def test_no_telemetry_is_recorded(shop_with_model: Path, tmp_path: Path, script: str) -> None:
    if "exporters" in script:
        pytest.importorskip("torch")
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment = inherited | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", script, str(shop_with_model)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [file for file in tmp_path.rglob("*") if "onnxruntime" in file.name.lower()]


def test_only_one_module_imports_onnxruntime() -> None:
    direct = re.compile(r"^\s*(?:import onnxruntime|from onnxruntime)\b", re.MULTILINE)
    found = [module_id(path) for path in MODULES if direct.search(path.read_text(encoding="utf-8"))]
    assert found == ["relsql/registry/components/onnx_runtime.py"]
