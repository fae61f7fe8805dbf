"""Tests of what identifies the code of a run (benchmarks.accuracy.build)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.accuracy import build
from benchmarks.accuracy.build import Build, current_build


@pytest.fixture(autouse=True)
def uncached() -> Iterator[None]:
    for each in (current_build, build._commit):
        each.cache_clear()
    yield
    for each in (current_build, build._commit):
        each.cache_clear()


def test_the_code_of_a_row_is_that_which_can_change_its_scores() -> None:
    relsql = {name for name, _ in build._sources("relsql")}
    baseline = {name for name, _ in build._sources("rdl")}
    assert {"relsql/training/fitting/loop.py", "udfs/scorer.py", "exporters/onnx/export.py"} < relsql
    assert {"benchmarks/accuracy/rows/rdl.py", "benchmarks/accuracy/graph/sampling.py"} < baseline
    assert relsql & {"benchmarks/accuracy/rows/default.py"} and not relsql & baseline


def test_an_edit_changes_the_code_of_its_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {row: current_build(row).code for row in ("relsql", "rdl")}
    assert current_build("rdl@some/encoder").code == before["rdl"]
    edited = tmp_path / "loop.py"
    edited.write_text("edited = True\n")
    sources = build.training_sources
    monkeypatch.setattr(
        build,
        "training_sources",
        lambda: [(edited if n == "relsql/training/fitting/loop.py" else p, n) for p, n in sources()],
    )
    current_build.cache_clear()
    after = {row: current_build(row).code for row in before}
    assert after["relsql"] != before["relsql"] and after["rdl"] == before["rdl"]


@pytest.mark.parametrize(
    ("log", "status", "commit"),
    [("abc1234", "", "abc1234"), ("abc1234", " M relsql/sql_text.py", "abc1234+"), ("", "", "unknown")],
)
def test_a_commit_says_whether_files_differ_from_it(
    log: str, status: str, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_git", lambda command, *rest: log if command == "log" else status)
    assert current_build("relsql").commit == commit


def test_without_git_the_commit_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = current_build("relsql")
    assert found.commit == "unknown" and found.code
    assert str(Build()) == "unknown at unknown, code unknown"
