"""The gather query as a correlated scalar macro, whose arguments are named like the query's own names."""

from __future__ import annotations

import datetime

import duckdb
import pytest

from relsql.gather.sql.query import Gather
from relsql.sql_text import ident
from tests.relsql.gather.sql.answers import DAYS, TEXT_LENGTH, every_column, seeds_sql
from tests.relsql.gather.sql.reference import Seed

MACRO_SEED = "SELECT id AS _entity, CAST(as_of AS TIMESTAMP) AS _as_of"
INNER_NAMES = (
    "_entity", "_as_of", "r", "seed", "self", "p0", "key", "rank", "id", "as_of", "c", "h", "hubs", "top", "counts",
)  # fmt: skip


def order_independent(name: str, column: str) -> str:
    """One text of a gathered column; unlike a list it can be compared, sorted and stored."""
    if "__" in name:
        return f"CAST({column} AS VARCHAR)"
    return f"array_to_string(list_sort(list_transform({column}, lambda x: CAST(x AS VARCHAR))), ';')"


@pytest.fixture
def macro(con: duckdb.DuckDBPyConnection, shop_gather: Gather) -> dict[tuple[int, datetime.datetime], str]:
    """Macro `f(id, as_of)`, and what the batch form answers for each seed."""
    texts = [order_independent(name, column) for name, column in shop_gather.qualified_columns().items()]
    select = f"concat_ws('|', {', '.join(texts)})"
    call = shop_gather.for_seeds("call", indexed=every_column(shop_gather))
    con.execute(f"CREATE MACRO f(id, as_of) AS ({call.query(MACRO_SEED, select)})")
    seeds: list[Seed] = [(key, as_of) for key in range(6) for as_of in (DAYS[0], DAYS[2])]
    con.execute(TEXT_LENGTH)
    query = shop_gather.query(seeds_sql(seeds, "INTEGER"), f"seed._entity, seed._as_of, {select}")
    batch = {(row[0], row[1]): row[2] for row in con.execute(query).fetchall()}
    assert len(set(batch.values())) > 4
    for name in INNER_NAMES:
        con.execute(f"CREATE TABLE {ident('t ' + name)} ({ident(name)} INTEGER, moment TIMESTAMP, answer VARCHAR)")
        con.executemany(f"INSERT INTO {ident('t ' + name)} VALUES (?, ?, NULL)", [list(seed) for seed in seeds])
    return batch


@pytest.mark.parametrize("name", INNER_NAMES)
def test_macro_arguments_named_like_inner_names(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str], name: str
) -> None:
    table, column = ident("t " + name), ident(name)
    answers = {
        (k, t): a for k, t, a in con.execute(f"SELECT {column}, moment, f({column}, moment) FROM {table}").fetchall()
    }
    assert answers == macro
    # The table under the inner alias, too; the argument as an expression.
    query = f"SELECT {column}, moment, f({column} + 0, moment) FROM {table} AS {column}"
    assert {(k, t): a for k, t, a in con.execute(query).fetchall()} == macro


def test_macro_in_where_join_order_by_and_update(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str]
) -> None:
    wanted = macro[2, DAYS[2]]
    matching = sorted(seed for seed, answer in macro.items() if answer == wanted)
    query = 'SELECT key, moment FROM "t key" WHERE f(key, moment) = ? ORDER BY ALL'
    assert con.execute(query, [wanted]).fetchall() == matching
    query = 'SELECT a.key, a.moment FROM "t key" a JOIN (SELECT ? AS w) b ON f(a.key, a.moment) = b.w ORDER BY ALL'
    assert con.execute(query, [wanted]).fetchall() == matching
    ordered = con.execute('SELECT key, moment FROM "t key" ORDER BY f(key, moment), key, moment').fetchall()
    assert ordered == sorted(macro, key=lambda seed: (macro[seed], *seed))
    con.execute('UPDATE "t key" SET answer = f(key, moment)')
    assert {(k, t): a for k, t, a in con.execute('SELECT * FROM "t key"').fetchall()} == macro


def test_macro_with_subqueries_and_constants_as_arguments(
    con: duckdb.DuckDBPyConnection, macro: dict[tuple[int, datetime.datetime], str]
) -> None:
    query = "SELECT f((SELECT max(id) - 3 FROM shop.main.customers), (SELECT TIMESTAMP '2020-01-03'))"
    assert con.execute(query).fetchall() == [(macro[2, DAYS[2]],)]
    assert con.execute("SELECT f(2, '2020-01-03'), f(2, DATE '2020-01-03')").fetchall() == [(macro[2, DAYS[2]],) * 2]
