"""Cases in which `relsql serve` cannot start; `tests/shells` tests a running server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from relsql.errors import DatabaseError, ServingError
from relsql.integrations.server import is_loopback, serve

ROOT = Path(__file__).parents[3]
TOKEN = "a token that is long enough"


def relsql_serve(home: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run `relsql serve` without installed extensions."""
    command = [sys.executable, "-m", "relsql", "serve", *map(str, args)]
    environment = os.environ | {"HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60)


def test_without_the_extension_the_error_says_what_to_install(shop: Path, tmp_path: Path) -> None:
    done = relsql_serve(tmp_path, shop)
    assert (done.returncode, done.stdout) == (1, "")
    version = duckdb.__version__
    assert done.stderr == (
        f"relsql: error: relsql serve needs DuckDB's extension httpfs, which is not installed for DuckDB {version}. "
        "Expected: INSTALL httpfs in DuckDB, or the wheel duckdb-extension-httpfs of the same version. "
        "Fix: pip install duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 duckdb-extension-quack==1.5.5\n"
    )


def test_the_network_is_served_only_if_asked_for(shop: Path, tmp_path: Path) -> None:
    done = relsql_serve(tmp_path, shop, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "other machines can reach 0.0.0.0; if that is intended, add --allow-network" in done.stderr
    done = relsql_serve(tmp_path, shop, "--host", "0.0.0.0", "--allow-network")
    assert done.stderr.startswith("warning: other machines can reach 0.0.0.0; the token, the queries and the data are")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_addresses(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_short_token_is_refused(shop: Path) -> None:
    with (
        pytest.raises(ServingError, match="the token has 6 characters. Expected: at least 16"),
        serve(shop, token="secret"),
    ):
        pass


def test_a_monotonous_token_is_refused(shop: Path) -> None:
    with (
        pytest.raises(ServingError, match="the token has 2 different characters. Expected: at least 8"),
        serve(shop, token="ab" * 20),
    ):
        pass


def test_a_missing_file_is_reported_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="does not exist"), serve(tmp_path / "none.duckdb", token=TOKEN):
        pass
