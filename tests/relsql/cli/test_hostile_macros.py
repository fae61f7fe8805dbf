"""Macros with the names of all of DuckDB's functions change nothing that a command prints or stores."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from relsql.database.sources.external_access import allowed_files, close_external_access
from tests.fuzz.hostile import create_hostile_macros
from tests.relsql.cli.commands import Run

LINE = (
    "PREDICT COUNT(orders.*, 0, 30, days) = 0 FOR EACH customers.customer_id WHERE COUNT(orders.*, -INF, 0, days) > 0"
)
COMMANDS = [
    ("task", "FILE", LINE),
    ("inspect", "FILE"),
    ("drift", "FILE", "churn"),
    ("card", "FILE", "churn"),
    ("score", "FILE", "churn", "--into", "risk", "--as-of", "2022-10-01", "--keep-history"),
    ("refresh", "FILE", "churn"),
    ("export", "FILE", "churn", "--output", "bundle"),
]
"""In an order in which each has something to do."""

STORED = ("relsql.models", "relsql.predictions", "relsql.drift", "risk")


def functions() -> list[str]:
    """The names of DuckDB's functions, aggregates and operators among them."""
    query = """SELECT DISTINCT function_name FROM duckdb_functions()
               WHERE function_type IN ('scalar', 'aggregate', 'window', 'macro') ORDER BY ALL"""
    with duckdb.connect() as con:
        return [name for (name,) in con.execute(query).fetchall()]


def twin(path: Path) -> Path:
    """A copy of the same name that has the macros."""
    found = path.parent / "twin" / path.name
    found.parent.mkdir()
    shutil.copy(path, found)
    with duckdb.connect(str(found)) as con:
        assert len(create_hostile_macros(con, functions())) > 500
    return found


def said(text: str) -> str:
    """What was printed, without times and folders."""
    return re.sub(r"\d+\.\d+ ?s\b|seconds=\S+", "", text).replace("/twin/", "/")


def test_no_command_calls_a_macro_of_the_database(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = twin(shop)
    for command in COMMANDS:
        results = []
        for path in (shop, hostile):
            monkeypatch.chdir(path.parent)
            results.append(run(*[str(path) if part == "FILE" else part for part in command]))
        plain, other = results
        assert (plain.exit_code, said(plain.stdout)) == (other.exit_code, said(other.stdout)), command
        assert plain.exit_code in (0, 1) and said(plain.stderr) == said(other.stderr), command
    with duckdb.connect(str(shop)) as con:
        con.execute(f"ATTACH '{hostile}' AS twin")
        for table in STORED:
            columns = [name for name, *_ in con.execute(f"DESCRIBE {table}").fetchall()]
            kept = ", ".join(name for name in columns if name not in ("scored_at", "computed"))
            mine, theirs = (
                f"SELECT {kept} FROM {name}" for name in (table, f"twin.{table if '.' in table else 'main.' + table}")
            )
            assert con.execute(f"SELECT count(*) FROM {table}").fetchall() > [(0,)]
            assert con.execute(f"({mine}) EXCEPT ALL ({theirs})").fetchall() == []


def test_the_proposals_for_a_schema_are_the_same(run: Run, bare_shop: Path) -> None:
    results = [run("init", path, "--yes", "--verbose") for path in (bare_shop, twin(bare_shop))]
    assert {result.exit_code for result in results} == {0}
    assert said(results[0].stderr) == said(results[1].stderr)


def test_no_macro_opens_a_file() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE MACRO list_value(a) AS system.main.list_value('/etc/passwd')")
        close_external_access(con, ["/tmp/orders.csv"])
        assert "/etc/passwd" not in allowed_files(con)
        with pytest.raises(duckdb.PermissionException):
            con.execute("FROM read_text('/etc/passwd')")
