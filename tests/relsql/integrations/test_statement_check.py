"""Which statements of clients may run."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relsql.integrations.statement_check import MAX_STATEMENT_BYTES, StatementCheck, Writable, builtin_functions
from tests.statements import attacks, queries

MODELS = ["predict_churn", "predict_churn_full", "predict_churn_batch", "row_text_shops", "row_text_customers"]

with duckdb.connect() as _con:
    FUNCTIONS = builtin_functions(_con).with_models(MODELS)
READS = StatementCheck(FUNCTIONS)
WRITES = StatementCheck(FUNCTIONS, writable=Writable("shop", "relsql"))

OF_ANOTHER_SCHEMA = StatementCheck(FUNCTIONS, writable=Writable("shop", "My schema"))
"""relsql's tables are not in schema relsql, which is then the user's."""

FORBIDDEN_CALLS = [
    "quack_stop('x')",
    "quack_active_connections()",
    "read_text('/etc/passwd')",
    "glob('*')",
    "query('SELECT 1')",
    "duckdb_settings()",
    "whoami()",
    "range(1000)",
]
FORBIDDEN_VALUES = [
    "nextval('s')",
    "getenv('HOME')",
    "current_setting('threads')",
    "relsql_authorize('a', 'b')",
    "write_log('x')",
    "sleep_ms(1000)",
    "shop.main.predict_churn(1)",
    "MAIN.Nextval('s')",
]
WRITING = [
    "INSERT INTO shop.shops VALUES (9, 'x') RETURNING *",
    "DELETE FROM shop.orders RETURNING *",
    "UPDATE shop.orders SET amount = 0 RETURNING *",
]
STATEMENTS = [
    "DROP VIEW customers",
    "DETACH shop",
    "SET threads = 1",
    "CALL quack_stop('x')",
    "COPY t TO 'x'",
    "LOAD x",
]

# Places for a query and places for a value, which hypothesis nests to any depth.
AROUND_QUERY = [
    "SELECT * FROM ({})",
    "WITH a AS ({}) SELECT * FROM a",
    "SELECT (SELECT count(*) FROM ({}))",
    "SELECT 1 UNION ALL SELECT count(*) FROM ({})",
    "SELECT * FROM customers WHERE customer_id IN (SELECT 1 FROM ({}))",
    "SELECT * FROM customers c, LATERAL ({}) x",
    "FROM customers ORDER BY (SELECT count(*) FROM ({})) LIMIT 1",
    "SELECT list_transform([1], lambda x: x + (SELECT count(*) FROM ({})))",
    "FROM customers LIMIT (SELECT count(*) FROM ({}))",
    "SELECT count(*) FILTER (WHERE EXISTS ({})) OVER () FROM customers",
    "DESCRIBE {}",
    "EXPLAIN ANALYZE {}",
]
AROUND_VALUE = [
    "SELECT {}",
    "SELECT 1 ORDER BY {}",
    "SELECT CASE WHEN {} IS NULL THEN 1 END",
    "SELECT max({}) OVER (PARTITION BY 1) FROM customers",
    "SELECT * REPLACE ({} AS customer_id) FROM customers",
    "SELECT [x FOR x IN [1] IF {} IS NULL]",
    "SELECT count(*) FROM customers GROUP BY ALL HAVING {} IS NULL",
    "FROM customers a JOIN customers b ON {} IS NULL",
    "VALUES ({})",
    "SELECT struct_pack(a := {})",
    "SELECT predict_churn({})",
    "FROM predict_churn_batch(as_of := {})",
    "SELECT ({})::VARCHAR COLLATE NOCASE",
]


def nested(query: str, places: list[str]) -> str:
    """The query within each place; DESCRIBE and EXPLAIN only outermost."""
    for place in places:
        starts = query.startswith(("DESCRIBE", "EXPLAIN"))
        query = query if starts else place.format(query)
    return query


@pytest.mark.parametrize("sql", attacks())
def test_attacks_are_refused(sql: str) -> None:
    assert READS.refusal(sql) is not None
    assert WRITES.refusal(sql) is not None


@pytest.mark.parametrize("sql", queries())
def test_queries_are_let_through(sql: str) -> None:
    assert READS.refusal(sql) is None
    assert WRITES.refusal(sql) is None


@settings(deadline=None)
@given(st.sampled_from(FORBIDDEN_CALLS), st.lists(st.sampled_from(AROUND_QUERY), max_size=4))
def test_a_forbidden_table_is_found_anywhere(call: str, places: list[str]) -> None:
    refusal = READS.refusal(nested(f"SELECT * FROM {call}", places))
    assert refusal is not None
    assert refusal.found == f"it calls {call.partition('(')[0]}"


@settings(deadline=None)
@given(
    st.sampled_from(FORBIDDEN_VALUES),
    st.sampled_from(AROUND_VALUE),
    st.lists(st.sampled_from(AROUND_QUERY), max_size=3),
)
def test_a_forbidden_function_is_found_anywhere(call: str, place: str, places: list[str]) -> None:
    refusal = READS.refusal(nested(place.format(call), places))
    assert refusal is not None
    assert refusal.found.lower() == f"it calls {call.partition('(')[0]}".lower()


@settings(deadline=None)
@given(
    st.sampled_from(WRITING),
    st.lists(st.sampled_from(AROUND_QUERY), max_size=3),
    st.sampled_from([READS, WRITES]),
)
def test_a_query_that_writes_is_refused_anywhere(write: str, places: list[str], check: StatementCheck) -> None:
    assert check.refusal(nested(f"WITH gone AS ({write}) SELECT * FROM gone", places)) is not None


@settings(deadline=None)
@given(
    st.sampled_from(queries()), st.sampled_from(STATEMENTS), st.sampled_from([";", " ; ", ";\n", ";;"]), st.booleans()
)
def test_a_second_statement_is_refused(query: str, other: str, between: str, first: bool) -> None:
    query = query.removesuffix(";").partition(" -- ")[0]
    both = f"{other}{between}{query}" if first else f"{query}{between}{other}"
    assert READS.refusal(both) is not None
    assert WRITES.refusal(both) is not None


@settings(deadline=None)
@given(
    st.sampled_from([sql for sql in queries() if "FROM" in sql]), st.lists(st.sampled_from(AROUND_QUERY), max_size=3)
)
def test_a_query_is_let_through_wherever_it_stands(query: str, places: list[str]) -> None:
    if query.startswith(("SELECT", "FROM", "WITH")) and " -- " not in query:
        places = [place for place in places if not place.startswith(("DESCRIBE", "EXPLAIN"))]
        assert READS.refusal(nested(query, places)) is None


@settings(deadline=None)
@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    refusal = READS.refusal(text)
    assert refusal is None or refusal.found


WRITABLE = [
    "INSERT INTO shop.shops VALUES (9, 'x')",
    'insert into shop.main.orders(order_id, "amount") select order_id, amount from orders',
    "INSERT INTO \"Shop\".shops WITH a AS (SELECT 9, 'x') FROM a",
    "UPDATE shop.orders SET amount = amount * 2, product = 'x' WHERE order_id = 1",
    "UPDATE shop.orders SET amount = c.customer_id FROM customers c WHERE c.customer_id = 1",
    "DELETE FROM shop.orders WHERE order_id IN (SELECT 1)",
    "DELETE FROM shop.orders;",
]
NOT_WRITABLE = [
    "DELETE FROM customers",
    "DELETE FROM other.orders",
    "DELETE FROM shop.relsql.models",
    "DELETE FROM shop.relsql .models",
    "DELETE FROM shop.relsql/**/.models",
    "DELETE FROM shop.RelSQL.models WHERE true",
    'UPDATE shop."relsql".models SET status = 1',
    "UPDATE shop.relsql\n.models SET status = 1",
    "INSERT INTO shop.relsql.models VALUES (1)",
    "INSERT INTO shop.orders SELECT * FROM quack_stop('x')",
    "INSERT INTO shop.orders VALUES (getenv('x'))",
    "INSERT INTO shop.orders VALUES (1); DROP VIEW customers",
    "INSERT INTO shop.orders WITH d AS (DELETE FROM shop.relsql.models RETURNING *) SELECT * FROM d",
    "UPDATE shop.orders SET amount = nextval('s')",
    "DELETE FROM shop.orders WHERE (SELECT count(*) FROM read_text('x')) > 0",
    "EXPLAIN ANALYZE DELETE FROM shop.orders",
    "/**/ DELETE FROM shop.orders",
]


@pytest.mark.parametrize("sql", WRITABLE)
def test_rows_change_only_where_they_may(sql: str) -> None:
    assert WRITES.refusal(sql) is None
    assert READS.refusal(sql) is not None


@pytest.mark.parametrize("sql", NOT_WRITABLE)
def test_nothing_else_is_written(sql: str) -> None:
    assert WRITES.refusal(sql) is not None


def test_a_refusal_says_what_is_expected() -> None:
    assert str(READS.refusal("SELECT getenv('HOME')")) == (
        "it calls getenv. Expected: functions of models, and DuckDB functions that only compute"
    )
    assert str(READS.refusal("DETACH shop")) == "it is not a query. Expected: one SELECT, EXPLAIN, SHOW or DESCRIBE"


def test_long_deep_and_odd_texts_are_refused() -> None:
    assert READS.refusal("SELECT '" + "x" * MAX_STATEMENT_BYTES + "'") is not None
    assert READS.refusal("SELECT 1\0; DETACH shop") is not None
    assert READS.refusal("SELECT " + "(" * 5000 + "1" + ")" * 5000) is not None
    assert READS.refusal("") is not None


def test_the_schema_of_relsqls_tables_is_not_written_whatever_its_name() -> None:
    assert OF_ANOTHER_SCHEMA.refusal('UPDATE shop."mY SCHEMA".models SET name = NULL') is not None
    assert OF_ANOTHER_SCHEMA.refusal("UPDATE shop.relsql.notes SET line = 1") is None
    assert WRITES.refusal("UPDATE shop.Relsql.notes SET line = 1") is not None
