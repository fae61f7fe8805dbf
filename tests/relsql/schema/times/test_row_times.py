"""Tests of relsql.schema.times.row_times and relations: headers, readings, two clocks, and what refuses them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import duckdb
import pytest

from relsql.errors import SchemaError
from relsql.schema.checks import check_schema
from relsql.schema.declared.declarations import Declarations
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.declared.text import parse_link
from relsql.schema.discovery.propose import apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.relations import relation_sql
from relsql.schema.times.events import time_sql

DAY = datetime.datetime(2024, 5, 6)

SHOP = """
    CREATE TABLE shops (id INTEGER PRIMARY KEY, opened TIMESTAMP);
    INSERT INTO shops VALUES (1, '2020-01-01'), (2, '2021-01-01');
    CREATE TABLE orders (id INTEGER PRIMARY KEY, day VARCHAR, row_time INTEGER, shop INTEGER REFERENCES shops (id));
    INSERT INTO orders VALUES (1, '06.05.2024', 7, 1), (2, 'soon', 7, 1), (3, NULL, 7, 2);
    CREATE TABLE lines (id INTEGER, "order id" INTEGER, loaded TIMESTAMP WITH TIME ZONE, amount INTEGER);
    INSERT INTO lines VALUES (1, 1, '2024-05-01 00:00:00+00', 1), (2, 1, '2024-06-01 02:00:00+02', 2), (3, 1, NULL, 3),
        (4, 2, '2024-05-01 00:00:00+00', 4),
        (5, 9, '2024-05-01 00:00:00+00', 5), (6, NULL, '2024-05-01 00:00:00+00', 6);
    CREATE TABLE notes (line INTEGER, text VARCHAR);
    INSERT INTO notes VALUES (1, 'a'), (6, 'b');
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute(SHOP)
        declare_link(con, "memory", parse_link('lines("order id") -> orders(id)'))
        declare_link(con, "memory", parse_link("notes(line) -> lines(id)"))
        yield con


def times(con: duckdb.DuckDBPyConnection, name: str, key: str = "id") -> dict[int, datetime.datetime | None]:
    table = read_schema(con).table(name)
    return dict(con.execute(f"SELECT {key}, {time_sql(table, 'r')} FROM {relation_sql(table)} r").fetchall())


ORDER_TIME = "strptime(day, '%d.%m.%Y')"


def test_an_expression_reads_what_it_can_and_the_rest_is_unknown(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", time_column=ORDER_TIME)
    assert times(con, "orders") == {1: DAY, 2: None, 3: None}
    table = read_schema(con).table("orders")
    assert (table.time_column, table.time_text) == ("row_time_", ORDER_TIME)
    [finding] = [each for each in check_schema(con, "memory", read_schema(con)) if each.object == "orders"]
    assert "2 of 3 rows have no time" in finding.message and "never visible" in finding.message


def test_the_name_of_a_text_column_is_declared_with_its_reading(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("UPDATE orders SET day = '26.05.2024' WHERE id > 1")
    declare_table(con, "memory", "orders", time_column="DAY")
    assert read_schema(con).table("orders").time_text == "try_strptime(\"day\", '%d.%m.%Y')"
    assert times(con, "orders")[1] == DAY


def test_a_number_of_the_header_is_no_time(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaError, match=r"is orders.row_time, which has type INTEGER.*Fix: .*'lines\(orders\)'"):
        declare_table(con, "memory", "lines", time_column="orders.row_time")


@pytest.mark.parametrize("text", ["orders", '"order id" -> orders', "main.orders"])
def test_a_line_has_the_time_of_its_header(con: duckdb.DuckDBPyConnection, text: str) -> None:
    declare_table(con, "memory", "orders", time_column=ORDER_TIME)
    declare_table(con, "memory", "lines", time_column=text)
    assert times(con, "lines") == {1: DAY, 2: DAY, 3: DAY, 4: None, 5: None, 6: None}


def test_over_two_links(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", time_column="shops.opened")
    declare_table(con, "memory", "lines", time_column="orders")
    declare_table(con, "memory", "notes", time_column="lines")
    assert times(con, "notes", "line") == {1: datetime.datetime(2020, 1, 1), 6: None}
    # Each table keeps its own rows and columns.
    assert read_schema(con).table("notes").stored_names == ("line", "text")


def test_a_row_counts_when_it_happened_and_was_known(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", time_column=ORDER_TIME)
    declarations = Declarations.parse(time_columns=["lines(orders)"], known_columns=["lines(loaded)"])
    assert declarations.store(con, "memory") == [
        "lines(orders) is the time column",
        "lines(orders, known loaded) is the time column",
    ]
    known = {1: DAY, 2: datetime.datetime(2024, 6, 1), 3: None, 4: None, 5: None, 6: None}
    assert times(con, "lines") == known
    declare_table(con, "memory", "lines", known_column="")
    assert times(con, "lines")[2] == DAY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("now()", r"now\(\) is not a function of DuckDB whose result depends on its arguments alone"),
        ("random()::TIMESTAMP", r"random\(\)"),
        ("current_date", "current_date"),
        ("(SELECT max(opened) FROM shops)", "contains a subquery"),
        ("max(amount)", r"max\(\)"),
        ("row_number() OVER ()", "contains a window"),
        ("loaded FROM lines --", "more than one expression"),
        ("loaded, amount", "more than one expression"),
        ("shops.opened + INTERVAL 1 DAY", "table 'shops' has no column 'opened . INTERVAL 1 DAY'"),
        ("orders.day || loaded", "table 'orders' has no column"),
        ("amount + 1", "has type INTEGER"),
        ("shops.opened", "cannot take its time from 'shops': it has no link to it"),
        ("orders.dya", "no column 'dya'"),
        ("orders", "which has none"),
        ("notes", "the time of table 'lines' is that of 'notes', which has none"),
        ("lines", "depends on itself"),
        ("](", "cannot be computed for each row"),
    ],
)
def test_other_times_are_refused_and_nothing_is_stored(con: duckdb.DuckDBPyConnection, text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        declare_table(con, "memory", "lines", time_column=text)
    assert read_schema(con).table("lines").time_column is None


def test_a_macro_of_the_user_is_not_met(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE MACRO strptime(a, b) AS TIMESTAMP '1999-01-01'")
    declare_table(con, "memory", "orders", time_column=ORDER_TIME)
    assert times(con, "orders")[1] == DAY
    con.execute("CREATE MACRO fake(a) AS TIMESTAMP '1999-01-01'")
    with pytest.raises(SchemaError, match=r"fake\(\)"):
        declare_table(con, "memory", "orders", time_column="fake(day)")


def test_a_time_that_no_longer_fits_is_an_error_and_never_no_time(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", time_column=ORDER_TIME)
    declare_table(con, "memory", "lines", time_column="orders")
    con.execute("ALTER TABLE lines RENAME loaded TO loaded_at")
    con.execute("CREATE TABLE orders2 AS SELECT id, row_time, shop FROM orders")
    con.execute("DROP TABLE orders; ALTER TABLE orders2 RENAME TO orders")
    schema = read_schema(con)
    assert schema.table("orders").time_column is not None
    errors = [each for each in check_schema(con, "memory", schema) if each.severity == "error"]
    assert any(each.object == "orders" and "cannot be computed any more" in each.message for each in errors)
    with pytest.raises(SchemaError):
        times(con, "orders")


READINGS = {
    "iso": ("VARCHAR", "strftime(t, '%Y-%m-%d %H:%M:%S')"),
    "iso_t": ("VARCHAR", "strftime(t, '%Y-%m-%dT%H:%M:%SZ')"),
    "german": ("VARCHAR", "strftime(t, '%d.%m.%Y %H:%M')"),
    "us": ("VARCHAR", "strftime(t, '%m/%d/%Y')"),
    "words": ("VARCHAR", "strftime(t, '%b %d, %Y')"),
    "twitter": ("VARCHAR", "strftime(t, '%a %b %d %H:%M:%S +0000 %Y')"),
    "mail": ("VARCHAR", "strftime(t, '%a, %d %b %Y %H:%M:%S +0130')"),
    "log": ("VARCHAR", "strftime(t, '%d/%b/%Y:%H:%M:%S -0700')"),
    "ctime": ("VARCHAR", "strftime(t, '%a %b %d %H:%M:%S %Y')"),
    "to_the_second": ("VARCHAR", "strftime(t, '%Y%m%d%H%M%S')"),
    "number_to_the_second": ("BIGINT", "strftime(t, '%Y%m%d%H%M%S')::BIGINT"),
    "compact": ("INTEGER", "strftime(t, '%Y%m%d')::INTEGER"),
    "short": ("INTEGER", "strftime(t, '%y%m%d')::INTEGER"),
    "short_text": ("VARCHAR", "strftime(t, '%y%m%d 00:00:00')"),
    "seconds": ("BIGINT", "epoch(t)::BIGINT"),
    "float_seconds": ("DOUBLE", "epoch(t) + 0.25"),
    "millis": ("BIGINT", "epoch_ms(t)"),
    "micros": ("BIGINT", "epoch_us(t)"),
    "nanos": ("BIGINT", "epoch_ns(t)"),
    "year": ("INTEGER", "year(t)"),
}


@pytest.mark.parametrize("kind", READINGS)
def test_init_proposes_the_reading_of_a_time(kind: str) -> None:
    type_, sql = READINGS[kind]
    name = "season_year" if kind == "year" else "created_at"
    with duckdb.connect() as con:
        days = 365 if kind == "year" else 1.0371
        con.execute(f"CREATE TABLE events (id INTEGER, {ident(name)} {type_}, amount INTEGER)")
        con.execute(
            f"INSERT INTO events SELECT i, {sql}, i * 7919 % 100000 FROM ("
            f"SELECT i, TIMESTAMP '1990-01-01' + to_seconds((i * {days * 86400})::BIGINT) AS t FROM range(30) r(i))"
        )
        apply_proposal(con, "memory", infer_schema(con))
        table = read_schema(con).table("events")
        assert table.row_time is not None, kind
        [(wrong,)] = con.execute(
            f"SELECT count(*) FILTER (WHERE abs(date_diff('hour', {time_sql(table, 'r')}, "
            f"TIMESTAMP '1990-01-01' + to_seconds((id * {days * 86400})::BIGINT))) > {9000 if kind == 'year' else 24}) "
            f"FROM {relation_sql(table)} r"
        ).fetchall()
        assert wrong == 0
        if kind == "year":
            # A row of a year is known when the year is over, not when it begins.
            assert con.execute(f"SELECT min({time_sql(table, 'r')}) FROM {relation_sql(table)} r").fetchone() == (
                datetime.datetime(1991, 1, 1),
            )


def ident(name: str) -> str:
    return f'"{name}"'


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("startYear", "CASE WHEN i % 9 = 0 THEN '\\N' ELSE (1990 + i % 30)::VARCHAR END", "2020-01-01"),
        ("period", "(2010 + i // 12 % 3) * 100 + 1 + i % 12", "2013-01-01"),
        ("batch_no", "strftime(DATE '2010-01-01' + i::INTEGER, '%Y%m')::INTEGER", None),
        ("released", "left((DATE '2010-01-01' + i::INTEGER)::VARCHAR, [4, 7, 10][1 + i % 3])", "2011-01-01"),
        ("term_name", "['Spring', 'Summer', 'Fall'][1 + i % 3] || ' ' || (2010 + i % 9)", "2019-01-01"),
        ("term", "(2010 + i % 9) || ['-winter', ' FALL Semester'][1 + i % 2]", "2019-04-01"),
        ("quarter", "'Q' || (1 + i % 3) || ' ' || (2010 + i % 9)", "2018-10-01"),
        ("label", "strftime(DATE '2010-01-31' + i::INTEGER, '%b %Y')", "2011-02-01"),
        ("season", "(2010 + i % 9) || '/' || (11 + i % 9)", "2020-01-01"),
        ("album", "['Winter Songs', 'Fall', 'Live'][1 + i % 3] || ' ' || (2010 + i % 9)", None),
        ("phone", "(2010 + i % 9) || '-' || (1000 + i)", None),
        ("zip", "(10000 + i * 97 % 80000)::VARCHAR", None),
        ("year_code", "(1990 + i % 30)::VARCHAR || 'x'", None),
    ],
)
def test_months_and_years_are_read_as_their_ends(name: str, values: str, expected: str | None) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS SELECT 3 * i AS amount, {values} AS {ident(name)} FROM range(360) r(i)")
        apply_proposal(con, "memory", infer_schema(con))
        table = read_schema(con).table("t")
        if expected is None:
            assert table.time_column is None
            return
        last = con.execute(f"SELECT max({time_sql(table, 'r')})::DATE::VARCHAR FROM {relation_sql(table)} r").fetchone()
        assert last == (expected,)


@pytest.mark.parametrize("column", ["customer_number", "phone", "zip", "amount"])
def test_numbers_that_look_like_times_are_no_times(column: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS SELECT i AS id, 1600000000 + i * 997 AS {column} FROM range(200) r(i)")
        assert infer_schema(con).times == ()


def test_a_date_and_a_time_of_day_are_one_time() -> None:
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE games AS SELECT i AS id, DATE '2024-01-01' + i::INTEGER AS date, "
            "CASE WHEN i = 3 THEN NULL ELSE '18:30' END AS kickoff_time FROM range(20) r(i)"
        )
        apply_proposal(con, "memory", infer_schema(con))
        found = times(con, "games")
    assert found[0] == datetime.datetime(2024, 1, 1, 18, 30)
    assert found[3] == datetime.datetime(2024, 1, 4, 23, 59, 59)


def test_ambiguous_days_and_months_are_proposed_with_little_confidence() -> None:
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE t AS SELECT i AS id, '0' || 1 + i % 9 || '/0' || 1 + i // 9 || '/2024' AS day "
            "FROM range(60) r(i)"
        )
        [time] = infer_schema(con).times
    assert time.confidence < 0.8 and "would fit as well" in time.evidence
