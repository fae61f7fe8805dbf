"""Spark sessions: one that can score, and one to score in from the command line."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relsql.errors import MissingExtraError, ScoringError, needs_extra

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ZONE = "spark.sql.session.timeZone"
_UTC = ("UTC", "Etc/UTC", "Z", "GMT", "+00:00")
_OLDEST_JAVA = 17
_PORT = 15002


def require_session(session: SparkSession) -> None:
    """Check that a session reads times as relsql does, and that its workers can run the scorer.

    Raises:
        ScoringError: its time zone is not UTC, or its workers run another Python.
    """
    zone = session.conf.get(_ZONE)
    if zone not in _UTC:
        raise ScoringError(
            f"the session's time zone is {zone}",
            expected="UTC, in which relsql compares times",
            fix=f'session.conf.set("{_ZONE}", "UTC")',
        )
    # What runs behind Spark Connect, or on a cluster, is only known there.
    if not type(session).__module__.startswith("pyspark.sql.connect"):
        context = session.sparkContext
        if context.master.startswith("local"):
            _require_python(context.pythonExec)


def _require_python(program: str) -> None:
    """Check that the workers' Python has this version, and has relsql."""
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    code = "import sys; print('%d.%d' % sys.version_info[:2]); import relsql"
    try:
        done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
        found, works = done.stdout.strip(), done.returncode == 0
    except OSError:
        found, works = "", False
    if found != mine or not works:
        problem = f"runs Python {found}" if found and found != mine else "has no relsql" if found else "cannot be run"
        raise ScoringError(
            f"the Python of Spark's workers, '{program}', {problem}",
            expected=f"Python {mine} with relsql",
            fix=f"PYSPARK_PYTHON={sys.executable}, before the session starts",
        )


@contextmanager
def open_session(remote: str | None = None) -> Iterator[SparkSession]:
    """A session of its own, whose time zone is UTC.

    Args:
        remote: the address of a server of Spark Connect, `sc://host:15002`; default: Sail in this process if it is
            installed, else Spark on this machine, which needs Java.

    Raises:
        MissingExtraError: neither is installed. ScoringError: there is no server at the address, or no Java.
    """
    with needs_extra("spark", "scoring on Spark"):
        from pyspark.sql import SparkSession
    with _started(SparkSession, remote) as session:
        session.conf.set(_ZONE, "UTC")
        yield session


@contextmanager
def _started(sessions: type[SparkSession], remote: str | None) -> Iterator[SparkSession]:
    """A session that is stopped at the end, with its engine if that was started for the session."""
    server = None
    if remote is None and importlib.util.find_spec("pysail"):
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer()
        server.start(background=True)
        remote = f"sc://localhost:{server.listening_address[1]}"
    elif remote is not None:
        _require_server(remote)
    active = sessions.getActiveSession() if remote is None else None
    session = active or (sessions.builder.remote(remote).create() if remote else _local_builder().getOrCreate())
    try:
        yield session
    finally:
        if active is None:
            session.stop()
        if server:
            server.stop()


def _local_builder() -> SparkSession.Builder:
    from pyspark.sql import SparkSession

    if not importlib.util.find_spec("py4j"):
        raise MissingExtraError(
            "scoring on Spark needs an engine: pyspark-client has none", fix="pip install pysail, or --remote sc://HOST"
        )
    _require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").config(_ZONE, "UTC")


def _require_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    try:
        done = subprocess.run([java or "java", "-version"], capture_output=True, text=True, check=False)  # noqa: S603
        version = re.search(r'version "(\d+)', done.stderr)
    except OSError:
        version = None
    if version is None or int(version[1]) < _OLDEST_JAVA:
        found = f"Java {version[1]}" if version else f"no Java at '{java}'" if java else "no Java"
        raise ScoringError(
            f"Spark cannot start: there is {found}",
            expected=f"Java {_OLDEST_JAVA} or newer, in JAVA_HOME or PATH",
            fix="apt-get install openjdk-17-jre-headless; or pip install pysail, which needs no Java",
        )


def _require_server(remote: str) -> None:
    address = urlsplit(remote)
    if address.scheme != "sc" or not address.hostname:
        raise ScoringError(f"'{remote}' is not an address of Spark Connect", expected="sc://HOST or sc://HOST:PORT")
    try:
        socket.create_connection((address.hostname, address.port or _PORT), timeout=10).close()
    except OSError as error:
        raise ScoringError(
            f"no server answers at '{remote}': {error.strerror or error}",
            expected="a server of Spark Connect",
            fix="sail spark server --port 15002, or start-connect-server.sh of Spark",
        ) from error
