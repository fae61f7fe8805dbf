"""The server's checks of each client."""

from __future__ import annotations

import logging
import threading
import time

import duckdb
import pyarrow as pa
import pytest

from relsql.integrations import client_access
from relsql.integrations.client_access import Authenticator, Authorizer
from relsql.integrations.statement_check import StatementCheck, Writable, builtin_functions

TOKEN = "a token that is long enough"


@pytest.fixture
def authorizer(con: duckdb.DuckDBPyConnection) -> Authorizer:
    return Authorizer(StatementCheck(builtin_functions(con), writable=Writable("shop", "relsql")))


def test_a_query_runs_as_it_is(authorizer: Authorizer) -> None:
    answer = authorizer(pa.array(["a", "b"]), pa.array(["SELECT 1", "FROM orders"]))
    assert answer.to_pylist() == ["SELECT 1", "FROM orders"]
    assert authorizer(pa.array([], pa.string()), pa.array([], pa.string())).to_pylist() == []


def test_a_refused_statement_becomes_an_error(authorizer: Authorizer, con: duckdb.DuckDBPyConnection) -> None:
    replacement = authorizer.replacement("SELECT getenv('it''s'); --")
    assert replacement is not None
    with pytest.raises(duckdb.Error, match="relsql serve refuses this statement: it calls getenv"):
        con.execute(replacement)
    for sql in ["SELECT 'a' || getenv('''; DROP TABLE t; --')", 'DROP TABLE "\'; SELECT 1; --"']:
        replacement = authorizer.replacement(sql)
        assert replacement is not None
        assert [statement.type.name for statement in con.extract_statements(replacement)] == ["SELECT"]


def test_rows_that_are_appended_elsewhere_are_refused_by_null(authorizer: Authorizer) -> None:
    assert authorizer.replacement('INSERT INTO "main"."customers" VALUES (NULL)') is None
    assert authorizer.replacement('INSERT INTO "shop"."orders" VALUES (NULL)') is not None


def test_the_right_token_is_not_delayed_by_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_access, "DELAY_SECONDS", 3.0)
    knows = Authenticator(TOKEN).knows
    guesses = [threading.Thread(target=knows, args=(f"guess {n}",)) for n in range(client_access.MAX_DELAYED + 20)]
    for guess in guesses:
        guess.start()
    started = time.monotonic()
    assert knows(TOKEN)
    assert time.monotonic() - started < 1.5
    for guess in guesses:
        guess.join()


@pytest.mark.parametrize("given", ["", "x", TOKEN + "x", TOKEN[:-1], TOKEN.upper(), None, "ä\0"])
def test_wrong_tokens_wait(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    authenticator = Authenticator(TOKEN)
    assert authenticator(pa.array(["s"]), pa.array([given], pa.string()), pa.array([TOKEN])).to_pylist() == [False]
    assert waits == [client_access.DELAY_SECONDS]


def test_wrong_tokens_are_logged_without_the_token_in_few_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    authenticator = Authenticator(TOKEN)
    with caplog.at_level(logging.WARNING, "relsql.serve"):
        for _ in range(100):
            assert not authenticator.knows("a guess")
        clock[0] = 60.0
        assert not authenticator.knows("a guess")
    assert [record.message for record in caplog.records] == ["a wrong token", "a wrong token (and 99 more before)"]
