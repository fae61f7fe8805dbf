"""What keeps a session from scoring is said before a job starts, in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relsql.errors import ScoringError
from relsql.spark import sessions


class Conf:
    def __init__(self, zone: str) -> None:
        self.zone = zone

    def get(self, name: str) -> str:
        assert name == "spark.sql.session.timeZone"
        return self.zone


class Context:
    def __init__(self, python: str, master: str = "local[2]") -> None:
        self.pythonExec, self.master = python, master


class Session:
    def __init__(self, zone: str = "UTC", python: str = sys.executable, master: str = "local[2]") -> None:
        self.conf, self.sparkContext = Conf(zone), Context(python, master)


def refused(session: Session) -> str:
    with pytest.raises(ScoringError) as error:
        sessions.require_session(session)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def program(folder: Path, body: str) -> str:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def test_a_session_that_can_score() -> None:
    sessions.require_session(Session())  # type: ignore[arg-type]
    sessions.require_session(Session("Etc/UTC"))  # type: ignore[arg-type]


def test_another_time_zone() -> None:
    assert 'session.conf.set("spark.sql.session.timeZone", "UTC")' in refused(Session("Europe/Berlin"))


def test_workers_of_another_python(tmp_path: Path) -> None:
    found = refused(Session(python=program(tmp_path, "echo 3.9")))
    assert "runs Python 3.9" in found and f"PYSPARK_PYTHON={sys.executable}" in found


def test_workers_without_relsql(tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "has no relsql" in refused(Session(python=program(tmp_path, f"echo {version}; exit 1")))


def test_workers_that_cannot_be_run(tmp_path: Path) -> None:
    assert "cannot be run" in refused(Session(python=str(tmp_path / "absent")))


def test_workers_elsewhere_are_not_tried(tmp_path: Path) -> None:
    sessions.require_session(Session(python=str(tmp_path / "absent"), master="yarn"))  # type: ignore[arg-type]


@pytest.mark.parametrize("old", [None, 'openjdk version "11.0.2" 2019-01-15'])
def test_no_java(old: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if old:
        (tmp_path / "bin").mkdir()
        java = tmp_path / "bin" / "java"
        java.write_text(f"#!/bin/sh\necho '{old}' >&2\n")
        java.chmod(0o755)
    with pytest.raises(ScoringError, match="Java 11" if old else "no Java") as error:
        sessions._require_java()
    assert "pip install pysail" in str(error.value)


@pytest.mark.parametrize("remote", ["localhost:15002", "http://localhost", "sc://"])
def test_no_address(remote: str) -> None:
    with pytest.raises(ScoringError, match="is not an address of Spark Connect"):
        sessions._require_server(remote)


def test_no_server() -> None:
    with pytest.raises(ScoringError, match="no server answers at 'sc://localhost:1'"):
        sessions._require_server("sc://localhost:1")
