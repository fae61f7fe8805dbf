"""`relsql serve`, called by DuckDB's plain command line. `make test-shells` runs this."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.serving import wheel_binary

ROOT = Path(__file__).parents[2]
DUCKDB = Path(sys.executable).parent / "duckdb"
SCORES = "SELECT customer_id, predict_churn(customer_id) AS risk FROM customers ORDER BY customer_id"


@dataclass(frozen=True, slots=True)
class Client:
    """DuckDB's plain command line, attached to a server as `r`."""

    attach: str

    def run(self, sql: str) -> subprocess.CompletedProcess[str]:
        binaries = [wheel_binary(name, duckdb.__version__) for name in ("httpfs", "quack")]
        load = "".join(f"LOAD '{binary}'; " for binary in binaries)
        return subprocess.run([DUCKDB, "-json", "-c", f"{load}{self.attach} {sql}"], capture_output=True, text=True)

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query that the server runs."""
        done = self.run(f"FROM r.query($q${query}$q$)")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def error(self, query: str) -> str:
        done = self.run(f"FROM r.query($q${query}$q$)")
        assert done.returncode != 0, done.stdout
        return done.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relsql", "serve", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@contextmanager
def serving(*args: object, stop: signal.Signals = signal.SIGINT) -> Iterator[Client]:
    """A server until the block ends; then it stops as it should."""
    process = server(*args, "--port", free_port())
    try:
        assert process.stdout is not None
        yield Client(process.stdout.readline())
    finally:
        process.send_signal(stop)
        _, notes = process.communicate(timeout=30)
    assert (process.returncode, notes.splitlines()[-1]) == (0, "stopped")


@pytest.fixture(scope="module")
def client(shop_with_model: Path) -> Iterator[Client]:
    with serving(shop_with_model) as attached:
        yield attached


def test_scores_are_those_of_python(client: Client, shop_with_model: Path) -> None:
    with relsql.connect(shop_with_model, read_only=True) as con:
        expected = [{"customer_id": key, "risk": risk} for key, risk in con.execute(SCORES).fetchall()]
    assert client.rows(SCORES) == expected


def test_batches_tables_and_row_texts(client: Client) -> None:
    assert client.rows("SELECT count(score) AS n FROM predict_churn_batch(as_of := TIMESTAMP '2022-06-01')") == [
        {"n": 60}
    ]
    assert client.rows("SELECT row_text_shops(s) AS text FROM shops s LIMIT 1")[0]["text"].startswith("<table>shops")
    done = client.run("CREATE TABLE here AS FROM r.query('FROM predict_churn_batch()'); SELECT count(*) AS n FROM here")
    assert json.loads(done.stdout) == [{"n": 60}]
    assert json.loads(client.run("SELECT count(*) AS n FROM r.shops").stdout) == [{"n": 3}]


def test_clients_read_the_file_and_nothing_else(client: Client) -> None:
    assert "read-only mode" in client.error("DELETE FROM shop.orders")
    assert "disabled by configuration" in client.error("FROM read_text('/etc/hostname')")
    assert "locked" in client.error("SET enable_external_access = true")


def test_a_client_needs_the_token(client: Client) -> None:
    before, _, after = client.attach.partition("TOKEN '")
    stranger = Client(f"{before}TOKEN 'x{after}")
    assert "Authentication failed" in stranger.error("SELECT 1")


def test_a_port_that_is_taken_is_told(shop: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        _, notes = server(shop, "--port", port).communicate(timeout=30)
    assert notes.startswith(f"relsql: error: cannot listen on 127.0.0.1, port {port}")


def test_clients_write_where_they_may_and_scores_follow(shop: Path) -> None:
    with serving(shop, "--read-write", stop=signal.SIGTERM) as client:
        before = client.rows("SELECT predict_churn(1) AS risk")
        client.rows("INSERT INTO shop.orders VALUES (999999, 1, 50, 'gift', TIMESTAMP '2022-12-20 12:00')")
        assert client.rows("SELECT predict_churn(1) AS risk") != before
    with duckdb.connect(str(shop), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM orders WHERE order_id = 999999").fetchall() == [(1,)]
        assert con.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]


def test_a_file_may_be_called_like_a_database_of_duckdbs_own(shop: Path, tmp_path: Path) -> None:
    with serving(shop.rename(tmp_path / "memory.duckdb")) as client:
        assert len(client.rows(SCORES)) == 60
