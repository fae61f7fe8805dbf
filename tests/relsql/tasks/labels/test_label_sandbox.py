"""What label queries may not do: a corpus of hostile ones, and one of legitimate ones that must still work."""

from __future__ import annotations

import datetime
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from relsql.database.interrupts import keyboard_interrupts
from relsql.errors import TaskError
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.labels.label_sandbox import DEFAULT_LIMITS, LabelLimits, label_sandbox
from relsql.tasks.labels.label_table import LabelTable, label_table
from relsql.tasks.splits import SPLITS
from relsql.tasks.task import Task

Connection = duckdb.DuckDBPyConnection

QUERIES = Path(__file__).parents[3] / "fixtures" / "label_queries"
SECRET = "spy://secret.csv"
BASE = """(
    SELECT t.timestamp AS day, c.id AS customer, (count(o.day) > 0)::INT AS label
    FROM timestamps t CROSS JOIN customers c
    LEFT JOIN orders o ON o.customer = c.id AND o.day > t.timestamp AND o.day <= t.timestamp + INTERVAL '{timedelta}'
    GROUP BY ALL
)"""
TASK = Task(
    name="buys",
    task_type="binary_classification",
    entity_table="customers",
    entity_col="customer",
    target_col="label",
    time_col="day",
    timedelta="10 days",
    sql=f"SELECT * FROM {BASE}",
    val_timestamp=datetime.datetime(2020, 3, 1),
    test_timestamp=datetime.datetime(2020, 3, 11),
)


def filled(text: str) -> str:
    deep = "(" * 900 + "true" + ")" * 900 + " AND " + " || ".join(["'x'"] * 950) + " <> ''"
    return text.replace("{base}", BASE).replace("{secret}", SECRET).replace("{deep}", deep)


def queries(name: str) -> dict[str, str]:
    """The queries of a fixture by their titles."""
    parts = re.split(r"^--- (.+)\n", (QUERIES / f"{name}.sql").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(filled, parts[2::2]), strict=True))


HOSTILE, LEGITIMATE = queries("hostile"), queries("legitimate")


class Spy(MemoryFileSystem):  # type: ignore[misc]
    """A file system that knows how often anything was looked for or opened in it."""

    protocol = "spy"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    calls = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("spy://", "memory://")))

    def _open(self, *args: Any, **kwargs: Any) -> Any:
        Spy.calls += 1
        return super()._open(*args, **kwargs)

    def info(self, *args: Any, **kwargs: Any) -> Any:
        Spy.calls += 1
        return super().info(*args, **kwargs)

    def glob(self, *args: Any, **kwargs: Any) -> Any:
        Spy.calls += 1
        return super().glob(*args, **kwargs)


@dataclass
class Room:
    """A database full of traps, and what it was like before."""

    con: Connection
    schema: Schema
    called: list[object]

    def labels(self, sql: str = TASK.sql, split: Any = "train", **options: Any) -> LabelTable:
        return label_table(self.con, "memory", self.schema, replace(TASK, sql=sql), split, **options)

    def state(self) -> dict[str, Any]:
        """All that a query might change: rows, the catalog, sequences, settings, the session, files, calls."""
        con = self.con
        tables = con.execute(
            """SELECT concat_ws('.', '"' || database_name || '"', '"' || schema_name || '"', '"' || table_name || '"')
               FROM duckdb_tables() ORDER BY ALL"""
        ).fetchall()
        found: dict[str, Any] = {
            name: con.execute(f"SELECT count(*), sum(hash(t)) FROM {name} t").fetchall() for (name,) in tables
        }
        for what in (
            "sql FROM duckdb_views() WHERE NOT internal",
            "sequence_name, last_value FROM duckdb_sequences()",
            "function_name, macro_definition FROM duckdb_functions() WHERE NOT internal",
            "database_name, type_name FROM duckdb_types() WHERE NOT internal",
            "database_name, schema_name FROM duckdb_schemas() WHERE NOT internal",
            "database_name, path FROM duckdb_databases()",
            "extension_name FROM duckdb_extensions() WHERE loaded OR installed",
            "name, value FROM duckdb_settings()",
            "name, value FROM duckdb_variables()",
            "name FROM duckdb_prepared_statements()",
            "current_schema() AS s, getvariable('mine') AS v",
        ):
            found[what] = con.execute(f"SELECT {what.replace(' FROM', ' FROM', 1)} ORDER BY ALL").fetchall()
        files = {name: len(file.getvalue()) for name, file in Spy.store.items()}
        return found | {"files": files, "reads": Spy.calls, "calls": list(self.called)}


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    called: list[object] = []

    def callback(value: int) -> int:
        called.append(value)
        return value

    with duckdb.connect() as con:
        files = Spy()
        files.pipe("/secret.csv", b"a,b\n1,launch code\n")
        con.register_filesystem(files)
        con.create_function("callback", callback, ["INTEGER"], "INTEGER")
        con.execute(filled((QUERIES / "setup.sql").read_text()))
        con.execute("ATTACH ':memory:' AS elsewhere; CREATE TABLE elsewhere.main.secrets AS SELECT 1 AS code")
        con.execute("CREATE TEMP TABLE mine AS SELECT 1 AS x; SET TimeZone = 'Asia/Tokyo'; SET VARIABLE mine = 7")
        con.execute('PREPARE prepared_before AS SELECT 1; USE "Sta ging"')
        schema = read_schema(con)
        timed = {key: replace(schema.tables[key], time_column="day") for key in ("orders", "Sta ging.visits")}
        yield Room(con, replace(schema, tables=schema.tables | timed), called)


REASONS = (
    r"not one SELECT|statements|a part of the kind|reads '|reads current|calls |takes a sample|has the |Parser Error"
)


def test_the_corpus_is_large() -> None:
    assert len(HOSTILE) >= 70 and len(LEGITIMATE) >= 20


@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_query_is_refused_and_changes_nothing(room: Room, title: str) -> None:
    endless = title.startswith("endless")
    reasons = "took more than 0.5 seconds" if endless else f"{REASONS}|nested too deeply"
    program_variable = room.schema  # Looked up by DuckDB in the frames of the program, were it allowed to.
    before = room.state()
    with pytest.raises(TaskError, match=reasons) as caught:
        room.labels(HOSTILE[title], limits=LabelLimits(timeout_seconds=0.5) if endless else DEFAULT_LIMITS)
    assert room.state() == before
    message = str(caught.value)
    assert "\n" not in message and "launch code" not in message and len(message) < 2000
    assert program_variable is room.schema


@pytest.mark.parametrize("title", LEGITIMATE)
def test_a_legitimate_query_gives_the_labels_that_duckdb_gives(room: Room, title: str) -> None:
    before = room.state()
    found = {split: room.labels(LEGITIMATE[title], split).table for split in SPLITS}
    assert room.state() == before
    with room.con.cursor() as cursor:
        # Without any cut, as of test, run by hand.
        cursor.execute("USE memory.main; CREATE TEMP TABLE timestamps AS SELECT TIMESTAMP '2020-03-11' AS timestamp")
        cursor.execute(f"CREATE TEMP TABLE result AS {LEGITIMATE[title].replace('{timedelta}', TASK.timedelta)}")
        expected = cursor.execute(
            "SELECT customer, day, label::INT FROM result WHERE label IS NOT NULL ORDER BY ALL"
        ).fetchall()
    rows = list(zip(*(found["test"][name].to_pylist() for name in ("entity", "as_of", "label")), strict=True))
    assert sorted(rows) == expected and len(rows) >= 2
    assert found["train"].num_rows > found["val"].num_rows > 0


HOSTILE_FIELDS: dict[str, dict[str, Any]] = {
    "timedelta ends its text": {"timedelta": "10 days'; DELETE FROM orders; --"},
    "timedelta calls": {"timedelta": "10 days' + to_days(nextval('tickets')) + INTERVAL '1 day"},
    "timedelta reads": {"timedelta": f"10 days' + (SELECT 1 FROM read_text('{SECRET}')) + INTERVAL '0 days"},
    "timedelta comments": {"timedelta": "10 days' GROUP BY ALL) -- "},
    "entity column": {"entity_col": """customer" FROM read_text('x') --"""},
    "time column": {"time_col": """day", nextval('tickets') AS "x"""},
    "target column": {"target_col": """label"; DELETE FROM orders; --"""},
    "entity table": {"entity_table": "customers; DELETE FROM orders"},
    "name": {"name": "x'; DELETE FROM orders; --", "sql": "DELETE FROM orders"},
    "hidden column": {"remove_columns": (("orders", """day"; DELETE FROM orders; --"""),), "sql": "SELECT 1"},
}


@pytest.mark.parametrize("changes", HOSTILE_FIELDS.values(), ids=HOSTILE_FIELDS)
@pytest.mark.parametrize("allow_external", [False, True])
def test_the_other_fields_of_a_task_are_text(room: Room, changes: dict[str, Any], allow_external: bool) -> None:
    before = room.state()
    with pytest.raises(TaskError) as caught:
        label_table(
            room.con, "memory", room.schema, replace(TASK, **changes), "train", limits=LabelLimits(allow_external)
        )
    assert room.state() == before and "\n" not in str(caught.value)


# With allow_external


def test_allow_external_reads_but_does_not_write(room: Room) -> None:
    trusted = LabelLimits(allow_external=True)
    reads = Spy.calls
    for title in ("read_text", "a file as a table", "a view that reads a file", "read_text in a scalar subquery"):
        assert room.labels(HOSTILE[title], limits=trusted).table.num_rows
    assert Spy.calls > reads
    called = len(room.called)
    assert room.labels(HOSTILE["a function of the calling program"], limits=trusted).table.num_rows
    assert len(room.called) > called
    assert room.labels(HOSTILE["another database"], limits=trusted).table.num_rows
    before = room.state()
    kinds = r"^(insert|delete|update|merge|truncate|create|drop|alter|copy|attach|set|two|end|nextval|setval|use)\b"
    writing = [title for title in HOSTILE if re.match(kinds, title)]
    assert len(writing) > 35
    for title in writing:
        with pytest.raises(TaskError) as caught:
            room.labels(HOSTILE[title], limits=trusted)
        assert "\n" not in str(caught.value)
    assert room.state() == before


def test_the_transaction_alone_refuses_writes(room: Room) -> None:
    before = room.state()
    for sql in ("DELETE FROM orders", "CREATE TABLE stolen (x INT)", "SELECT nextval('tickets')", "DROP VIEW leak"):
        with label_sandbox(room.con, "memory", TASK) as cursor, pytest.raises(duckdb.Error, match="read-only mode"):
            cursor.execute(sql).fetchall()
    with label_sandbox(room.con, "memory", TASK) as cursor:
        cursor.execute("CREATE TEMP TABLE stolen AS SELECT 1")
    assert room.state() == before


# The user's connection, and time


def test_an_open_transaction_is_left_open(room: Room) -> None:
    con = room.con
    con.execute("BEGIN; INSERT INTO memory.main.customers VALUES (50, 'mine')")
    number = con.execute("SELECT txid_current()").fetchall()
    room.labels()
    for title in ("delete in a CTE", "nextval", "read_text", "endless recursion", "commit"):
        with pytest.raises(TaskError):
            room.labels(HOSTILE[title], limits=LabelLimits(timeout_seconds=0.5))
    assert con.execute("SELECT txid_current()").fetchall() == number
    assert con.execute("SELECT count(*) FROM memory.main.customers").fetchall() == [(5,)]
    con.execute("ROLLBACK")
    assert con.execute("SELECT count(*) FROM memory.main.customers").fetchall() == [(4,)]


def test_a_limit_that_is_not_reached_stops_nothing(room: Room) -> None:
    threads = threading.active_count()
    with label_sandbox(room.con, "memory", TASK, LabelLimits(timeout_seconds=1e9)) as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
    assert threading.active_count() == threads


def test_the_limit_holds_between_statements_too(room: Room) -> None:
    started = time.perf_counter()
    with (
        pytest.raises(TaskError, match=r"took more than 0.1 seconds.*--label-timeout"),
        label_sandbox(room.con, "memory", TASK, LabelLimits(timeout_seconds=0.1)) as cursor,
    ):
        time.sleep(0.5)
        cursor.execute(f"SELECT sum(i) FROM range({10**12}) t(i)").fetchall()
    assert time.perf_counter() - started < 20


def test_ctrl_c_passes(room: Room) -> None:
    before = room.state()
    with pytest.raises(KeyboardInterrupt), label_sandbox(room.con, "memory", TASK):
        raise KeyboardInterrupt
    with label_sandbox(room.con, "memory", TASK) as cursor, pytest.raises(duckdb.InterruptException):
        threading.Timer(0.3, cursor.interrupt).start()
        cursor.execute(f"SELECT sum(i) FROM range({10**12}) t(i)").fetchall()
    assert room.state() == before


def test_a_real_ctrl_c_stops_a_running_query(room: Room) -> None:
    before = room.state()
    timer = threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), keyboard_interrupts():
        room.labels(HOSTILE["endless recursion"], limits=LabelLimits(timeout_seconds=120))
    timer.join()
    assert room.state() == before


def test_generated_columns_do_not_write_either(con: Connection) -> None:
    con.execute(filled((QUERIES / "setup.sql").read_text()).split("-- Harmless")[0])
    con.execute("CREATE TABLE tricky (id INT, n AS (nextval('tickets'))); INSERT INTO tricky (id) VALUES (1)")
    before = con.execute("SELECT last_value FROM duckdb_sequences()").fetchall()
    schema = read_schema(con)
    schema = replace(schema, tables=schema.tables | {"orders": replace(schema.tables["orders"], time_column="day")})
    task = replace(TASK, sql=filled("SELECT b.*, n FROM {base} b, tricky"))
    with pytest.raises(TaskError, match="read-only mode") as caught:
        label_table(con, "memory", schema, task, "train")
    assert "\n" not in str(caught.value)
    assert con.execute("SELECT last_value FROM duckdb_sequences()").fetchall() == before


# Names


@pytest.mark.parametrize(
    "name",
    ["relsql_result", "RELSQL_Result", "relsql_known", "relsql_labels", "Relsql_cut_0", "relsql_result_", "TimeStamps"],
)
@pytest.mark.parametrize("kind", ["table", "view"])
def test_tables_may_have_any_name(con: Connection, name: str, kind: str) -> None:
    con.execute(filled((QUERIES / "setup.sql").read_text()).split("-- Harmless")[0])
    con.execute(f'CREATE TABLE "{name}" AS FROM orders' if kind == "table" else f'CREATE VIEW "{name}" AS FROM orders')
    schema = read_schema(con)
    keys = ["orders", "Sta ging.visits", *([name] if kind == "table" else [])]
    schema = replace(
        schema, tables=schema.tables | {key: replace(schema.tables[key], time_column="day") for key in keys}
    )
    plain = label_table(con, "memory", schema, TASK, "train").table
    assert plain.num_rows == 24
    visits = """SELECT b.* FROM {base} b WHERE EXISTS (FROM "Sta ging".visits)"""
    assert label_table(con, "memory", schema, replace(TASK, sql=filled(visits)), "train").table.equals(plain)
    if name.lower() != "timestamps":
        named = replace(TASK, sql=TASK.sql.replace("JOIN orders", f'JOIN "{name.upper()}"'))
        assert label_table(con, "memory", schema, named, "train").table.equals(plain)
