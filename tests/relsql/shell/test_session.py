"""The shell without a terminal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from relsql.errors import DatabaseError
from relsql.shell.session import Quit, Session

SLOW = "SELECT count(*) FROM range(10_000_000) a(i), range(10_000_000) b(j) WHERE hash(i, j) % 7 = 0;"


@pytest.fixture
def session(shop: Path) -> Iterator[Session]:
    with closing(duckdb.connect(str(shop))) as con:
        session = Session(con)
        session.attach()
        yield session


def results(session: Session, text: str) -> list[str]:
    return [output.text for output in session.run(text) if output.is_result]


def notes(session: Session, text: str) -> list[str]:
    return [output.text for output in session.run(text) if not output.is_result]


def value(session: Session, query: str) -> str:
    """The only value of a box."""
    (box,) = results(session, query)
    return box.splitlines()[-2].strip("│ ")


@pytest.fixture
def interrupt(session: Session) -> Iterator[None]:
    """Ctrl-C, half a second after the session is ready."""
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.cancel()
    timer.join()


def test_duckdb_draws_the_result(session: Session) -> None:
    (box,) = results(session, "SELECT i, i % 2 = 0 AS even FROM range(3) t(i);")
    assert box.splitlines()[0].startswith("┌") and box.splitlines()[1].strip("│").split("│")[1].strip() == "even"


def test_long_results_show_their_ends(session: Session) -> None:
    (box,) = results(session, "FROM range(1000);")
    assert "999" in box and "40 shown" in box and len(box.splitlines()) < 60


def test_wide_results_fit_the_terminal(shop: Path) -> None:
    with closing(duckdb.connect(str(shop))) as con:
        (box,) = results(Session(con, width=lambda: 90), "SELECT repeat('x', 500) AS a, 1 AS b;")
    assert max(map(len, box.splitlines())) <= 90


def test_what_a_statement_did_is_a_note(session: Session) -> None:
    text = (
        "CREATE TABLE t (\"Count\" INTEGER, s VARCHAR); INSERT INTO t VALUES (1, ';'), (2, 'b'); UPDATE t SET s = 'c'"
    )
    assert results(session, text) == []
    assert value(session, "SELECT \"Count\" FROM t WHERE s = 'c' ORDER BY 1 LIMIT 1;") == "1"
    assert len(results(session, "INSERT INTO t VALUES (3, 'd') RETURNING s;")) == 1
    assert "3" in results(session, "PIVOT t ON s USING count(*);")[0]
    assert "╭" in results(session, "EXPLAIN FROM t;")[0] or "┌" in results(session, "EXPLAIN FROM t;")[0]


def test_scores_see_the_transaction(session: Session) -> None:
    before = value(session, "SELECT predict_churn(1);")
    new = "BEGIN; INSERT INTO orders VALUES (999999, 1, 50, 'gift', TIMESTAMP '2022-12-20 12:00');"
    assert results(session, new) == []
    assert value(session, "SELECT predict_churn(1);") != before
    assert results(session, "ROLLBACK;") == []
    assert value(session, "SELECT predict_churn(1);") == before


def test_an_error_ends_the_text_and_not_the_session(session: Session) -> None:
    outputs = session.run("SELECT 1; SELECT nonsense; CREATE TABLE never (i INTEGER);")
    assert next(outputs).is_result
    with pytest.raises(duckdb.BinderException, match="nonsense"):
        next(outputs)
    assert value(session, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'never';") == "0"


def test_variables_of_the_program_are_not_tables(session: Session) -> None:
    with pytest.raises(duckdb.CatalogException, match="statement"):
        results(session, "FROM statement;")


@pytest.mark.usefixtures("interrupt")
def test_ctrl_c_stops_the_query_and_keeps_the_session(session: Session) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        results(session, SLOW)
    assert time.monotonic() - started < 10
    assert value(session, "SELECT 42;") == "42"


def test_progress_runs_up_to_the_end(shop: Path) -> None:
    seen: list[float] = []
    with closing(duckdb.connect(str(shop))) as con:
        session = Session(con, progress=seen.append)
        results(session, "SELECT count(*) FROM range(30_000_000) t(i) WHERE hash(i) % 7 = 0;")
    assert seen[-1] == 100.0 and seen == sorted(seen)


def test_names_of_an_aborted_transaction_are_those_from_before(session: Session) -> None:
    results(session, "CREATE TABLE t (i INTEGER PRIMARY KEY); INSERT INTO t VALUES (1); BEGIN;")
    known = session.names()
    with pytest.raises(duckdb.ConstraintException):
        results(session, "INSERT INTO t VALUES (1);")
    assert session.names() == known and "t" in known.columns


# Dot commands


def test_help_names_every_command(session: Session) -> None:
    (text,) = results(session, ".help")
    assert all(name in text for name in (".attach", ".help", ".models", ".quit", ".read", ".tables"))


def test_tables_are_the_users(session: Session) -> None:
    results(session, "CREATE VIEW big AS FROM orders WHERE amount > 50;")
    (box,) = results(session, ".tables")
    assert "orders" in box and "view" in box and "artifacts" not in box


def test_models_are_listed(session: Session, tmp_path: Path) -> None:
    assert "predict_churn" in results(session, ".models")[0]
    with closing(duckdb.connect(str(tmp_path / "empty.duckdb"))) as con:
        assert notes(Session(con), ".models") == ["no models yet: relsql train FILE TASK --name NAME"]


def test_read_runs_a_script(session: Session, tmp_path: Path) -> None:
    script = tmp_path / "a script.sql"
    script.write_text("-- a comment\n.models\nSELECT\n  7 AS x\n;\nSELECT 8 AS y", encoding="utf-8")
    models, first, second = results(session, f".read '{script}'")
    assert "predict_churn" in models and "7" in first and "8" in second
    with pytest.raises(DatabaseError, match=r"none\.sql' cannot be read"):
        results(session, ".read none.sql")


def test_attach_makes_models_of_another_database_callable(shop: Path) -> None:
    with closing(duckdb.connect()) as con:
        session = Session(con)
        session.attach()
        with pytest.raises(duckdb.CatalogException):
            results(session, "SELECT predict_churn(1);")
        results(session, f"ATTACH '{shop}' AS shop (READ_ONLY);")
        with pytest.raises(DatabaseError, match="did you mean 'shop'"):
            results(session, ".attach shp")
        assert "predict_churn" in notes(session, ".attach shop")[0]
        assert float(value(session, "SELECT predict_churn(1);")) > 0


def test_quit_and_what_does_not_exist(session: Session) -> None:
    with pytest.raises(Quit):
        results(session, ".quit")
    with pytest.raises(DatabaseError, match=r"command '\.table' does not exist.*did you mean '\.tables'"):
        results(session, ".table")
    with pytest.raises(DatabaseError, match=r"is not how \.read is called.*\.read FILE"):
        results(session, ".read")
