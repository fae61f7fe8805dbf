"""`relsql sql`: output formats, reading and writing, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from relsql.errors import RelsqlError
from tests.relsql.cli.commands import Run


def test_sql_prints_all_rows(run: Run, bare_shop: Path) -> None:
    result = run("sql", bare_shop, "SELECT i AS n, 'x' || i AS name FROM range(200) t(i) ORDER BY i DESC")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["  n  name", "---  ----", "199  x199"] and len(lines) == 202


def test_sql_table_shows_null_control_characters_and_wide_text(run: Run, bare_shop: Path) -> None:
    result = run("sql", bare_shop, "SELECT NULL::VARCHAR AS a, E'two\\nlines' AS b, '日本' AS c, 1 AS d")
    assert result.stdout.splitlines() == [
        "a     b           c     d",
        "----  ----------  ----  -",
        "NULL  two\\nlines  日本  1",
    ]


def test_sql_csv_is_exact(run: Run, bare_shop: Path) -> None:
    query = "SELECT 1 AS a, 2 AS A, 3 AS a, 'x,\"y' AS t, '' AS e, NULL AS n, 0.1::FLOAT AS f, 0.1 + 0.2::DOUBLE AS d"
    result = run("sql", bare_shop, query, "--format", "csv")
    assert result.stdout == 'a,A,a,t,e,n,f,d\n1,2,3,"x,""y","",,0.1,0.30000000000000004\n'


def test_sql_json_is_exact(run: Run, bare_shop: Path) -> None:
    query = """SELECT 9007199254740993 AS i, 0.1::DOUBLE AS d, 'a"b' AS t, NULL AS n, 'nan'::DOUBLE AS x,
               [1, NULL] AS l, {'k': 'NaN'} AS s, 'NaN' AS text, DATE '2020-02-29' AS day FROM range(2)"""
    rows = json.loads(run("sql", bare_shop, query, "--format", "json").stdout)
    row = {"i": 9007199254740993, "d": 0.1, "t": 'a"b', "n": None, "x": None, "l": [1, None]}
    assert rows == [row | {"s": {"k": "NaN"}, "text": "NaN", "day": "2020-02-29"}] * 2
    assert json.loads(run("sql", bare_shop, "SELECT 1 WHERE false", "--format", "json").stdout) == []


def test_sql_opens_for_writing_only_to_write(run: Run, bare_shop: Path) -> None:
    bare_shop.chmod(0o444)
    with duckdb.connect(str(bare_shop), read_only=True):
        assert run("sql", bare_shop, "SELECT count(*) AS n FROM orders").stdout.splitlines()[-1] == "400"
        for query in (
            "FROM orders LIMIT 1",
            "WITH a AS (SELECT 1) FROM a",
            "DESCRIBE orders",
            "VALUES (1)",
            "SHOW TABLES",
        ):
            assert run("sql", bare_shop, query).exit_code == 0, query
    bare_shop.chmod(0o644)
    assert run("sql", bare_shop, "CREATE TABLE t (x INTEGER)").stdout == ""
    inserted = run("sql", bare_shop, "INSERT INTO t VALUES (1), (2)")
    assert (inserted.stdout, inserted.stderr) == ("", "2 rows\n")
    assert run("sql", bare_shop, "INSERT INTO t VALUES (7) RETURNING x").stdout.splitlines()[-1] == "7"
    pivoted = run("sql", bare_shop, "PIVOT t ON x USING count(*)")
    assert pivoted.stdout.splitlines()[0] == "1  2  7"


def test_sql_read_only_refuses_to_write(run: Run, bare_shop: Path) -> None:
    result = run("sql", "--read-only", bare_shop, "DELETE FROM orders")
    assert result.exit_code == 1 and "--read-write" in result.stderr
    assert run("sql", bare_shop, "SELECT count(*) AS n FROM orders").stdout.splitlines()[-1] == "400"


def test_sql_errors_are_one_line_without_excerpt(run: Run, bare_shop: Path) -> None:
    for query in ("SELECT * FROM order_", "SELEC 1", "SELECT 'a'::INTEGER"):
        result = run("sql", bare_shop, query)
        assert (result.exit_code, result.stdout) == (1, "") and result.stderr.count("\n") == 1
        assert result.stderr.startswith("relsql: error: ") and "LINE 1" not in result.stderr


def test_sql_explains_an_unknown_scoring_function(run: Run, bare_shop: Path) -> None:
    for query in ("SELECT predict_dnf(1)", "FROM predict_dnf_batch()"):
        result = run("sql", bare_shop, query)
        assert (
            result.exit_code == 1 and f"relsql models {bare_shop}" in result.stderr and "relsql train" in result.stderr
        )


def test_sql_reads_stdin_and_prints_plans(run: Run, bare_shop: Path) -> None:
    assert run("sql", bare_shop, "-", stdin="SELECT 42 AS n -- the end\n").stdout == " n\n--\n42\n"
    assert len(run("sql", bare_shop, "EXPLAIN SELECT 1").stdout.splitlines()) > 3


def test_all_errors_of_relsql_are_reported(run: Run, bare_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RelsqlError("what is wrong", expected="this", fix="do that")

    monkeypatch.setattr("relsql.cli.inspection.inspect", fail)
    assert run("inspect", bare_shop).stderr == "relsql: error: what is wrong. Expected: this. Fix: do that\n"
