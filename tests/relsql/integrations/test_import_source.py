"""Importing files and other databases: what becomes of each kind, and failures that leave no file."""

from __future__ import annotations

import datetime
import gzip
import sqlite3
from pathlib import Path

import duckdb
import pytest

from relsql.errors import DatabaseError
from relsql.integrations.import_source import import_source
from relsql.schema.reading import read_schema

STORE = """
    CREATE TABLE customers (id TEXT PRIMARY KEY, name VARCHAR(40), vip BOOLEAN, born DATE, photo BLOB);
    CREATE TABLE orders (
        order_id INTEGER PRIMARY KEY, customer TEXT REFERENCES Customers, placed DATETIME, freight NUMERIC,
        shipped DATETIME, mixed, quantity INT, at TIME, odd_day DATE);
    CREATE TABLE "order lines" (
        "order id" INTEGER, product TEXT, price DECIMAL(10,2), PRIMARY KEY ("order id", product),
        FOREIGN KEY ("order id") REFERENCES orders (order_id));
    CREATE VIEW recent AS SELECT * FROM orders;
    INSERT INTO customers VALUES ('A', 'Zoë', 1, '1990-01-31', x'00ff'), ('B', '', 0, NULL, NULL);
    INSERT INTO orders VALUES
        (1, 'A', '2020-01-01 10:00:00', 1.5, NULL, 1, '', '10:30', '2020-01-01'),
        (2, 'B', '2020-01-02', 2, NULL, 'a', 3, NULL, 'soon'),
        (3, 'gone', '2020-01-03T00:00:00Z', NULL, NULL, 2.5, 4, '23:59:59', NULL);
    INSERT INTO "order lines" VALUES (1, 'pen', 1.25), (1, 'ink', 2), (2, 'pen', 9007199254740993);
"""


def sqlite_file(path: Path, script: str = STORE) -> Path:
    """A SQLite file with the tables of a script."""
    with sqlite3.connect(path) as con:
        con.executescript(script)
    con.close()
    return path


def types(path: Path, table: str) -> dict[str, str]:
    """The types of a table's columns."""
    with duckdb.connect(str(path), read_only=True) as con:
        return {column.name: column.type for column in read_schema(con).table(table).columns}


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with duckdb.connect(str(path), read_only=True) as con:
        return con.execute(sql).fetchall()


def test_sqlite_types_follow_values_and_declarations(tmp_path: Path) -> None:
    target = tmp_path / "store.duckdb"
    report = import_source(str(sqlite_file(tmp_path / "store.sqlite")), target)
    assert report.tables == (("customers", 2), ("order lines", 3), ("orders", 3))
    assert types(target, "customers") == {
        "id": "VARCHAR",
        "name": "VARCHAR",
        "vip": "BOOLEAN",
        "born": "DATE",
        "photo": "BLOB",
    }
    assert types(target, "orders") == {
        "order_id": "BIGINT",
        "customer": "VARCHAR",
        "placed": "TIMESTAMP",
        "freight": "DOUBLE",
        "shipped": "TIMESTAMP",
        "mixed": "VARCHAR",
        "quantity": "BIGINT",
        "at": "TIME",
        "odd_day": "VARCHAR",
    }
    rows = query(target, "SELECT placed, freight, mixed, quantity FROM orders ORDER BY order_id")
    assert rows == [
        (datetime.datetime(2020, 1, 1, 10), 1.5, "1", None),
        (datetime.datetime(2020, 1, 2), 2.0, "a", 3),
        (datetime.datetime(2020, 1, 3), None, "2.5", 4),
    ]
    assert query(target, "SELECT name, photo FROM customers ORDER BY id") == [("Zoë", b"\x00\xff"), ("", None)]
    said = "\n".join(report.problems)
    for problem in (
        "orders(mixed) is text, because it holds values of several types: 1 integer and 1 real and 1 text",
        "orders(quantity): 1 blank texts were read as NULL",
        "orders(odd_day) is declared DATE, but not all values are times",
        "recent is a view or a virtual table, which is left out",
        "orders(customer) -> customers(id): 1 of 3 keys dangle, such as gone",
    ):
        assert problem in said
    assert len(report.problems) == 5


def test_sqlite_keys_are_declared(tmp_path: Path) -> None:
    target = tmp_path / "store.duckdb"
    report = import_source(str(sqlite_file(tmp_path / "store.db")), target)
    assert report.declared_links == ("order lines(order id) -> orders(order_id)", "orders(customer) -> customers(id)")
    with duckdb.connect(str(target), read_only=True) as con:
        schema = read_schema(con)
    assert schema.table("order lines").primary_key == ("order id", "product")
    assert schema.table("customers").primary_key == ("id",)
    assert {(str(link), link.origin) for link in schema.links} == {(text, "declared") for text in report.declared_links}


def test_sqlite_keys_that_the_data_do_not_allow_are_problems(tmp_path: Path) -> None:
    script = """
        CREATE TABLE a (id TEXT PRIMARY KEY, n INTEGER);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (n), c INTEGER REFERENCES nowhere (id));
        INSERT INTO a VALUES (NULL, 1), (NULL, 1);
        INSERT INTO b VALUES (1, 1, 1);
    """
    report = import_source(str(sqlite_file(tmp_path / "x.sqlite", script)), tmp_path / "x.duckdb")
    assert report.declared_links == () and len(report.problems) == 3
    assert query(tmp_path / "x.duckdb", "SELECT count(*) FROM a, b") == [(2,)]


def test_a_large_sqlite_table_comes_in_batches(tmp_path: Path) -> None:
    script = """
        CREATE TABLE t (i INTEGER PRIMARY KEY, v REAL, s TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250001)
        INSERT INTO t SELECT i, i / 2, 'row ' || i FROM n;
    """
    import_source(str(sqlite_file(tmp_path / "t.sqlite", script)), tmp_path / "t.duckdb")
    [found] = query(tmp_path / "t.duckdb", "SELECT count(*), sum(i), sum(v), count(DISTINCT s) FROM t")
    assert found == (250_001, 250_001 * 250_002 // 2, sum(i // 2 for i in range(250_002)), 250_001)


def write_rows(folder: Path) -> None:
    """A folder with a file of each kind, and a folder of parts."""
    (folder / "events").mkdir(parents=True)
    (folder / "people.csv").write_text("id,name,born\n1,Ada,1815-12-10\n2,,\n")
    (folder / "places.csv.gz").write_bytes(gzip.compress(b"id;town\n1;Ulm\n"))
    (folder / "notes.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": 2, "text": null}\n')
    (folder / "README.md").write_text("no table")
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT 1 AS id, TIMESTAMP '2020-01-01' AS at) TO '{folder / 'one.parquet'}'")
        for part in range(3):
            con.execute(f"COPY (SELECT {part} AS id) TO '{folder / 'events' / f'part-{part}.parquet'}'")


def test_a_folder_becomes_a_table_for_each_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows")
    seen: list[tuple[str, int, int]] = []
    target = tmp_path / "rows.duckdb"
    report = import_source(str(tmp_path / "rows"), target, progress=lambda *step: seen.append(step))
    assert report.tables == (("events", 3), ("notes", 2), ("one", 1), ("people", 2), ("places", 1))
    assert seen[0] == ("events", 0, 5) and len(seen) == 5
    assert types(target, "people") == {"id": "BIGINT", "name": "VARCHAR", "born": "DATE"}
    assert types(target, "one") == {"id": "INTEGER", "at": "TIMESTAMP"}
    assert query(target, "FROM places") == [(1, "Ulm")]


@pytest.mark.parametrize("name", ["people.csv", "one.parquet", "notes.jsonl", "places.csv.gz"])
def test_a_single_file_becomes_a_table(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "rows")
    report = import_source(str(tmp_path / "rows" / name), tmp_path / "new.duckdb")
    assert [table for table, _ in report.tables] == [name.split(".")[0]]


def test_a_late_row_decides_the_type_of_a_column(tmp_path: Path) -> None:
    rows = "".join(f"{i}\n" for i in range(50_000))
    (tmp_path / "late.csv").write_text(f"code\n{rows}x17\n")
    import_source(str(tmp_path / "late.csv"), tmp_path / "new.duckdb")
    assert types(tmp_path / "new.duckdb", "late") == {"code": "VARCHAR"}


def test_a_duckdb_file_is_copied_whole(tmp_path: Path) -> None:
    source = tmp_path / "source.duckdb"
    with duckdb.connect(str(source)) as con:
        con.execute("""
            CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a INTEGER REFERENCES a (id));
            CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS one; CREATE VIEW v AS FROM a;
            INSERT INTO a VALUES (1); INSERT INTO b VALUES (1), (1);
        """)
    report = import_source(str(source), tmp_path / "copy.duckdb")
    assert report.tables == (("a", 1), ("b", 2), ("s.t", 1))
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as con:
        assert [str(link) for link in read_schema(con).links] == ["b(a) -> a(id)"]
        assert con.execute("FROM v").fetchall() == [(1,)]


def failing(folder: Path) -> dict[str, tuple[str, str]]:
    """Sources that cannot be imported, each with what is said."""
    (folder / "empty").mkdir()
    (folder / "mixed" / "t").mkdir(parents=True)
    (folder / "mixed" / "t" / "a.csv").write_text("x\n1\n")
    (folder / "mixed" / "t" / "b.json").write_text('{"x": 1}')
    (folder / "twice").mkdir()
    (folder / "twice" / "T.csv").write_text("x\n1\n")
    (folder / "twice" / "t.json").write_text('{"x": 1}')
    (folder / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (folder / "broken.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "broken.json").write_text('{"a": ')
    none = sqlite_file(folder / "none.sqlite", "CREATE VIEW v AS SELECT 1")
    return {
        "missing": (str(folder / "nowhere.csv"), "does not exist"),
        "an empty folder": (str(folder / "empty"), "has no CSV, Parquet or JSON files"),
        "a folder of several kinds": (str(folder / "mixed"), "has files of several kinds"),
        "two files of one table": (str(folder / "twice"), "would both be the table 't'"),
        "broken parquet": (str(folder / "broken.parquet"), "import into .* failed"),
        "broken json": (str(folder / "broken.json"), "import into .* failed"),
        "broken sqlite": (str(folder / "broken.sqlite"), "SQLite file .* cannot be read"),
        "sqlite without tables": (str(none), "has no tables"),
        "no data": (str(folder / "photo.jpg"), "is not a file that relsql can import"),
        "postgres": ("postgresql://ada:secret@127.0.0.1:1/none", "Postgres database"),
    }


def test_failures_leave_no_file_and_no_password(tmp_path: Path) -> None:
    sources = failing(tmp_path)
    before = sorted(file.name for file in tmp_path.iterdir())
    for name, (source, said) in sources.items():
        with pytest.raises(DatabaseError, match=said) as error:
            import_source(source, tmp_path / "new.duckdb")
        assert "secret" not in str(error.value), name
        assert sorted(file.name for file in tmp_path.iterdir()) == before, name


def test_an_existing_file_is_replaced_only_when_asked_and_complete(tmp_path: Path) -> None:
    target = tmp_path / "t.duckdb"
    (tmp_path / "t.csv").write_text("x\n1\n")
    import_source(str(tmp_path / "t.csv"), target)
    with pytest.raises(DatabaseError, match="exists already"):
        import_source(str(tmp_path / "t.csv"), target)
    (tmp_path / "u.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DatabaseError, match="failed"):
        import_source(str(tmp_path / "u.parquet"), target, overwrite=True)
    assert query(target, "FROM t") == [(1,)]
    with pytest.raises(DatabaseError, match="into itself"):
        import_source(str(target), target, overwrite=True)
    (tmp_path / "t.csv").write_text("x\n2\n")
    import_source(str(tmp_path / "t.csv"), target, overwrite=True)
    assert query(target, "FROM t") == [(2,)]
