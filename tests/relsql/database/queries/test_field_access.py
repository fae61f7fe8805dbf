"""Accesses to fields and slices become calls, and mean the same."""

from __future__ import annotations

import duckdb
import pytest

from relsql.database.queries.sealed import sealed

ROWS = "WITH a AS (SELECT {'id': {'x': 1}, 'It''s': 'é'} AS r, [1, 2, 3] AS l, 5 AS n, MAP {'k': 7} AS m)\n"

QUERIES = [
    "SELECT a.r.id FROM a",
    "SELECT r.id.x, a.r.id.x AS y, n, a.n AS n2 FROM a",
    'SELECT r."It\'s" FROM a',
    "SELECT l[1:2], l[2:], l[1] AS first, m['k'] AS k FROM a",
    "SELECT ({'k': 3}).k, (SELECT max(i) FROM range(3) g(i) WHERE g.i < a.r.id.x) AS m FROM a",
    "SELECT list_transform([r], lambda w: w.id.x + a.n) AS found FROM a",
    "SELECT r.id.x, count(*) FROM a GROUP BY r.id.x ORDER BY a.r.id.x",
    "SELECT x.r.id AS one, r.id AS other FROM a x JOIN (SELECT 5 AS n) y USING (n)",
    "SELECT * REPLACE (a.r.id AS r) FROM a",
    # The alias of a table is preferred to a column of its name.
    "SELECT r.n FROM a r",
    "SELECT id FROM (SELECT r.id FROM a UNION ALL SELECT r.id FROM a)",
    "SELECT V.i FROM (VALUES (1)) v(i)",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_sealed_query_means_the_same(con: duckdb.DuckDBPyConnection, query: str) -> None:
    expected, found = con.sql(ROWS + query), con.sql(sealed(ROWS + query))
    assert found.fetchall() == expected.fetchall()
    named = [name for name in expected.columns if "(" not in name and "[" not in name]
    assert [name for name in found.columns if name in named] == named


@pytest.mark.parametrize("query", [each for each in QUERIES if "[1]" not in each])
def test_macros_of_the_functions_behind_accesses_change_nothing(con: duckdb.DuckDBPyConnection, query: str) -> None:
    expected = con.sql(ROWS + query).fetchall()
    for name in ("struct_extract", "array_slice", "struct_pack", "list_value"):
        con.execute(f"CREATE MACRO {name}(a, b := 1, c := 1) AS 'hostile'")
    assert con.sql(sealed(ROWS + query)).fetchall() == expected
