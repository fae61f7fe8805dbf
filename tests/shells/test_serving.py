"""`relsql serve`, called by DuckDB's plain command line. `make test-shells` runs this."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

import relsql
from relsql.database.sources.extensions import wheel_binary
from tests.statements import attacks, queries

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


def python_client(attach: str) -> duckdb.DuckDBPyConnection:
    """A connection with a separate session at the server, as `r`."""
    con = duckdb.connect()
    for name in ("httpfs", "quack"):
        con.execute(f"LOAD '{wheel_binary(name, duckdb.__version__)}'")
    con.execute(attach)
    return con


def remote(con: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return con.execute(f"FROM r.query($q${query}$q$)").fetchall()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relsql", "serve", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@contextmanager
def serving(*args: object, port: int | None = None, stop: signal.Signals = signal.SIGINT) -> Iterator[Client]:
    """A server that runs until the block ends; then it has to stop cleanly."""
    process = server(*args, "--port", port or free_port())
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


def test_an_attack_changes_nothing_for_others(shop: Path) -> None:
    port = free_port()
    digest = hashlib.sha256(shop.read_bytes()).hexdigest()
    with serving(shop, port=port) as client:
        victim, attacker = python_client(client.attach), python_client(client.attach)
        before = remote(victim, SCORES)
        assert len(before) == 60
        for statement in attacks():
            with pytest.raises(duckdb.Error) as refused:
                remote(attacker, statement.replace("9494", str(port)))
            assert "Could not connect" not in str(refused.value), statement
            assert remote(victim, SCORES) == before, statement
        assert remote(attacker, SCORES) == before
        assert remote(python_client(client.attach), SCORES) == before
    assert hashlib.sha256(shop.read_bytes()).hexdigest() == digest
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", 9595)):
        pass


def test_attached_tables_of_a_client_cannot_be_changed(client: Client) -> None:
    for statement in [
        "INSERT INTO r.shops VALUES (9, 'x')",
        "CREATE TABLE r.mine (i INTEGER)",
        "CREATE TABLE r.mine AS SELECT 1 AS i",
        "CREATE OR REPLACE VIEW r.customers AS SELECT 1 AS customer_id",
        "DROP TABLE r.customers",
        "DROP VIEW r.customers",
    ]:
        assert client.run(statement).returncode != 0, statement


@pytest.mark.parametrize("query", queries())
def test_queries_that_read_are_answered(client: Client, query: str) -> None:
    assert remote(python_client(client.attach), query)


def test_refusals_give_a_reason(client: Client) -> None:
    assert "relsql serve refuses this statement: it calls read_text" in client.error("FROM read_text('/etc/hostname')")
    assert "it is not a query. Expected: one SELECT, EXPLAIN, SHOW or DESCRIBE" in client.error("DETACH shop")


def test_a_statement_without_an_end_does_not_keep_the_server(shop: Path) -> None:
    everything = ", ".join(f"orders o{n}" for n in range(6))
    endless = f"SELECT count(*) FROM {everything} WHERE o0.amount + o1.amount + o2.amount + o3.amount < 0"
    with serving(shop, "--max-seconds", 2) as client:
        before = remote(python_client(client.attach), SCORES)
        with pytest.raises(duckdb.Error):
            remote(python_client(client.attach), endless)
        assert until_answered(lambda: remote(python_client(client.attach), SCORES)) == before


def text_of(length: int) -> str:
    """A query of a text of ten to the power of `length` characters, of allowed functions only."""
    query = "SELECT 'a' || shop_id AS x FROM shops"
    for _ in range(length):
        query = f"SELECT {' || '.join(['x'] * 10)} AS x FROM ({query})"
    return f"SELECT max(length(x)) FROM ({query})"


def test_a_client_that_takes_all_memory_fails_and_the_others_get_their_answers(shop: Path) -> None:
    with serving(shop, "--memory-limit", "1GB") as client:
        before = remote(python_client(client.attach), SCORES)
        victim, attacker = python_client(client.attach), python_client(client.attach)
        assert remote(attacker, text_of(3)) == [(2000,)]
        with ThreadPoolExecutor(1) as pool:
            attack = pool.submit(remote, attacker, text_of(9))
            answers = 0
            while not attack.done() or not answers:
                assert remote(victim, SCORES) == before
                answers += 1
            with pytest.raises(duckdb.Error, match="Failed to allocate|Out of Memory"):
                attack.result()
        assert remote(attacker, SCORES) == before


def test_what_a_statement_took_is_free_for_others_afterwards(shop: Path) -> None:
    with serving(shop, "--memory-limit", "1GB") as client:
        victim, attacker = python_client(client.attach), python_client(client.attach)
        before = remote(victim, SCORES)
        for _ in range(3):
            for statement in (text_of(9), text_of(8)):
                with suppress(duckdb.Error):
                    remote(attacker, statement)
                assert until_answered(lambda: remote(victim, SCORES)) == before


def server_of(process: int) -> int:
    """The process that serves, which another one started; Linux says which one it is."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def until_answered(ask: Callable[[], list[Any]], seconds: int = 60) -> list[Any]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except duckdb.Error:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def test_a_server_that_is_ended_is_started_again_and_never_left_alone(shop: Path) -> None:
    process = server(shop, "--port", free_port())
    assert process.stdout is not None
    attach = process.stdout.readline()
    before = remote(python_client(attach), SCORES)
    first = server_of(process.pid)
    os.kill(first, signal.SIGSEGV)
    assert until_answered(lambda: remote(python_client(attach), SCORES)) == before
    second = server_of(process.pid)
    assert second != first
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{second}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_client_needs_the_token(client: Client) -> None:
    before, _, after = client.attach.partition("TOKEN '")
    stranger = Client(f"{before}TOKEN 'x{after}")
    assert "Authentication failed" in stranger.error("SELECT 1")
    assert client.rows("SELECT 1 AS one") == [{"one": 1}]


def test_a_port_that_is_taken_is_reported(shop: Path) -> None:
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
        client.rows("UPDATE shop.orders SET amount = 51 WHERE order_id = 999999")
        assert client.rows("SELECT amount FROM orders WHERE order_id = 999999")[0]["amount"] == 51
        client.rows("INSERT INTO shop.orders VALUES (999998, 1, 50, 'gift', TIMESTAMP '2022-12-20 12:00')")
        client.rows("DELETE FROM shop.orders WHERE order_id = 999998")
        port = client.attach.partition("127.0.0.1:")[2].partition("'")[0]
        attacker, before = python_client(client.attach), client.rows(SCORES)
        for statement in attacks():
            with pytest.raises(duckdb.Error):
                remote(attacker, statement.replace("9494", port))
        assert client.rows(SCORES) == before
    with duckdb.connect(str(shop), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM orders WHERE order_id = 999999").fetchall() == [(1,)]
        assert con.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]


def test_a_file_may_be_called_like_a_database_of_duckdbs_own(shop: Path, tmp_path: Path) -> None:
    with serving(shop.rename(tmp_path / "memory.duckdb")) as client:
        assert len(client.rows(SCORES)) == 60
