"""One module defines which rows are visible at a moment, and the rule is the same for every type of time."""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from relsql.schema.tables import Column, Table
from relsql.schema.types import TIME_TYPES
from relsql.schema.visibility import and_visible_sql, opaque_sql, visible_sql, where_visible_sql
from tests.sources import MODULES, ROOT, module_id, string_literals

OWNER = ROOT / "relsql/schema/visibility.py"

TIME = r"(?:\{[^{}]*time_sql[^{}]*\}|[\w{}]*\.(?:t|time)\b|\btime\b)"
MOMENT = r"(?:\{[^{}]*(?:as_of|AS_OF|until|UNTIL|_end|moment)[^{}]*\}|[\w.]*(?:as_of|until)\b)"
COMPARED = re.compile(rf"{TIME}\s*[<>]=?|[<>]=?\s*{TIME}|{MOMENT}\s*[<>]=?|[<>]=?\s*{MOMENT}")


def texts(source: str) -> Iterator[str]:
    """The string literals of a module; the expressions of an f-string are in braces."""
    return string_literals(source, ast.unparse)


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_no_other_place_compares_times_with_moments(path: Path) -> None:
    found = [text for text in texts(path.read_text(encoding="utf-8")) if COMPARED.search(text)]
    # The earliest moments of score jobs, and dates too far away for a FLOAT, are about seeds and not about rows.
    allowed = {"exporters/sql/model.py": 1}
    assert path == OWNER or len(found) <= allowed.get(module_id(path), 0), found


@pytest.mark.parametrize(
    "source",
    [
        """f"WHERE {time_sql(table, 'r')} <= {literal(until)}" """,
        """f"r.time < {source}.{self._end}" """,
        """f"{AS_OF} >= e.t" """,
        """"p.time <= seen.until" """,
    ],
)
def test_another_place_would_be_found(source: str) -> None:
    assert any(COMPARED.search(text) for text in texts(f"a = {source}"))


VALUES = {
    "before": "TIMESTAMP '2020-06-01'",
    "at": "TIMESTAMP '2020-07-01'",
    "after": "TIMESTAMP '2020-07-02'",
    "never known": "NULL",
    "always": "TIMESTAMP '-infinity'",
    "unending": "TIMESTAMP 'infinity'",
}


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
@pytest.mark.parametrize("type_", TIME_TYPES)
def test_rows_up_to_the_end_are_seen(type_: str, zone: str) -> None:
    table = Table("t", (Column("what", "VARCHAR"), Column("at", type_)), (), "at")
    with duckdb.connect() as con:
        try:
            con.execute(f'CREATE TABLE t (what VARCHAR, "at" {type_})')
        except duckdb.Error:
            pytest.skip(f"this DuckDB has no {type_}")
        con.execute("SET TimeZone = 'UTC'")
        for what, value in VALUES.items():
            con.execute(f"INSERT INTO t SELECT '{what}', {value}::{type_}")
        con.execute(f"SET TimeZone = '{zone}'")
        end = "TIMESTAMP '2020-07-01'"
        seen = {
            condition: {what for (what,) in con.execute(f"SELECT what FROM t r {condition}").fetchall()}
            for condition in (
                f"WHERE {visible_sql(table, 'r', end)}",
                f"WHERE true{and_visible_sql(table, 'r', end)}",
                f"WHERE {opaque_sql(visible_sql(table, 'r', end))}",
                where_visible_sql(table, "r", datetime.datetime(2020, 7, 1)),
            )
        }
    assert set(map(frozenset, seen.values())) == {frozenset({"before", "at", "always"})}


def test_rows_of_a_table_without_time_are_always_seen() -> None:
    table = Table("t", (Column("what", "VARCHAR"),))
    assert visible_sql(table, "r", "x") == and_visible_sql(table, "r", "x") == ""
    assert where_visible_sql(table, "r", datetime.datetime(2020, 7, 1)) == ""
