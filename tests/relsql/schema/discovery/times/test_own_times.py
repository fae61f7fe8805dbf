"""A row's own time is preferred to the time of the row that it points at, unless both appear together."""

from __future__ import annotations

import duckdb
import pytest

from relsql.schema.discovery.propose import infer_schema

USERS = """
    CREATE TABLE users (id INTEGER PRIMARY KEY, created_at TIMESTAMP);
    INSERT INTO users SELECT i, TIMESTAMP '2021-01-01' + to_hours(i::INTEGER) FROM range(60) t(i);"""
ORDERS = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, ordered_at TIMESTAMP);
    INSERT INTO orders SELECT i, TIMESTAMP '2021-01-01' + to_hours((9 * i)::INTEGER) FROM range(1000) t(i);"""
LATER = "TIMESTAMP '2021-01-04' + to_hours((9 * i)::INTEGER)"


def times(con: duckdb.DuckDBPyConnection) -> dict[str, tuple[str | None, float]]:
    return {each.table: (each.column, each.confidence) for each in infer_schema(con, "memory").times}


@pytest.mark.parametrize("name", ["paid", "approved", "returned_at", "shipped_date", "dialled"])
def test_rows_that_come_long_after_their_parents_have_their_own_time(con: duckdb.DuckDBPyConnection, name: str) -> None:
    con.execute(USERS)
    con.execute("CREATE TABLE payments (user_id INTEGER REFERENCES users (id), amount DOUBLE)")
    con.execute(f"ALTER TABLE payments ADD COLUMN {name} TIMESTAMP")
    con.execute(f"INSERT INTO payments SELECT hash(i) % 60, i % 7, {LATER} FROM range(2000) t(i)")
    assert times(con)["payments"][0] == name
    assert times(con)["payments"][1] >= 0.8


def test_a_date_without_an_end_in_a_few_rows_changes_nothing(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(USERS)
    con.execute("CREATE TABLE payments (user_id INTEGER REFERENCES users (id), paid TIMESTAMP, amount DOUBLE)")
    con.execute(f"INSERT INTO payments SELECT hash(i) % 60, {LATER}, i % 7 FROM range(2000) t(i)")
    con.execute("INSERT INTO payments VALUES (6, '9999-12-31', 1)")
    assert times(con)["payments"][0] == "paid"


def test_refunds_of_few_orders_have_their_own_time(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(ORDERS)
    con.execute("CREATE TABLE refunds (order_id INTEGER REFERENCES orders (id), approved DATE, amount DOUBLE)")
    con.execute(
        "INSERT INTO refunds SELECT id, ordered_at + to_days((9 + hash(id) % 50)::INTEGER), id % 7 FROM orders "
        "WHERE id % 4 = 0"
    )
    assert times(con)["refunds"] == ("approved", 0.8)


def test_lines_that_come_with_their_order_have_its_time(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(ORDERS)
    con.execute("CREATE TABLE order_lines (order_id INTEGER REFERENCES orders (id), delivered DATE, price DOUBLE)")
    con.execute(
        "INSERT INTO order_lines SELECT id, ordered_at + to_days((1 + hash(id) % 9)::INTEGER), k "
        "FROM orders, range(2) t(k)"
    )
    assert times(con)["order_lines"][0] == "orders.ordered_at"


def test_epoch_numbers_are_proposed_whatever_their_name(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(USERS)
    con.execute("CREATE TABLE stays (user_id INT REFERENCES users (id), admission BIGINT, discharge BIGINT, los INT)")
    con.execute(
        f"INSERT INTO stays SELECT hash(i) % 60, epoch({LATER}), epoch_ms({LATER}) + 1000, i % 5 FROM range(500) t(i)"
    )
    column, confidence = times(con)["stays"]
    assert (column and "admission" in column) or (column and "discharge" in column)
    con.execute("ALTER TABLE stays DROP discharge")
    column, confidence = times(con)["stays"]
    assert column and "admission" in column
    assert confidence == 0.8, "nothing but times is distinct, of ten digits, and before now"


@pytest.mark.parametrize(
    "values",
    [
        "1000000000 + i",  # serial numbers
        "1000000000 + 7 * i",
        "1000000000 + (hash(i) % 8999999999)::BIGINT",  # phone numbers
        "1300000000 + (hash(i) % 90)::BIGINT * 1000000",  # amounts in cents
        "650000000 + (hash(i) % 300000000)::BIGINT",  # ids of nine digits
        "640000000000 + (hash(i) % 300000000000)::BIGINT",  # barcodes
        "1900000000 + (hash(i) % 90000000)::BIGINT",  # later than now
    ],
)
def test_other_large_numbers_are_no_sure_times(con: duckdb.DuckDBPyConnection, values: str) -> None:
    con.execute(f"CREATE TABLE stays AS SELECT i % 60 AS guest, {values} AS extra, i % 5 AS los FROM range(3000) t(i)")
    assert all(confidence < 0.8 or column is None for column, confidence in times(con).values())


@pytest.mark.parametrize("factor", [1, 1000])
def test_an_epoch_number_is_not_sure_beside_a_time(con: duckdb.DuckDBPyConnection, factor: int) -> None:
    epoch = f"(1500000000 + (hash(i) % 90000000)::BIGINT) * {factor}"
    con.execute(f"CREATE TABLE stays AS SELECT {epoch} AS t, i % 5 AS los FROM range(3000) r(i)")
    assert times(con)["stays"][1] == 0.8
    con.execute("ALTER TABLE stays ADD COLUMN due DATE")
    con.execute("UPDATE stays SET due = DATE '2023-01-01' + los::INTEGER")
    assert times(con)["stays"][1] < 0.8


@pytest.mark.parametrize("name", ["receiptdate", "receipt_date", "commitDate"])
def test_lines_with_later_dates_have_the_time_of_their_order(con: duckdb.DuckDBPyConnection, name: str) -> None:
    con.execute(
        f"""CREATE TABLE orders AS SELECT i AS order_id, DATE '2024-01-01' + i::INTEGER AS order_date
                FROM range(300) r(i);
            CREATE TABLE lines AS SELECT i // 2 AS order_id, i % 2 AS line_number, i % 7 AS quantity,
                DATE '2024-01-01' + (i // 2 + 5 + i % 30)::INTEGER AS "{name}" FROM range(600) r(i);
            CREATE TABLE receipts AS SELECT i AS receipt_id, DATE '2024-01-01' + i::INTEGER AS receipt_date
                FROM range(300) r(i)"""
    )
    found = {each.table: each.column for each in infer_schema(con).times}
    assert found == {"orders": "order_date", "lines": "orders.order_date", "receipts": "receipt_date"}


@pytest.mark.parametrize("parent", ["students", "customers", "dim_player", "accounts"])
def test_what_somebody_does_over_the_years_has_not_the_time_of_that_person(
    con: duckdb.DuckDBPyConnection, parent: str
) -> None:
    """An enrolment of 2019 would be seen from the student's first year on."""
    key = f"{parent.removeprefix('dim_').removesuffix('s')}_id"
    con.execute(
        f"""CREATE TABLE {parent} AS SELECT i AS {key}, DATE '2015-01-01' + i::INTEGER AS joined_on
                FROM range(300) r(i);
            CREATE TABLE profiles AS SELECT i AS {key}, 'text ' || i AS about FROM range(300) r(i);
            CREATE TABLE courses AS SELECT i AS course_id, 'course ' || i AS title FROM range(40) r(i);
            CREATE TABLE enrolments AS SELECT i // 8 AS {key}, i % 40 AS course_id, i % 5 AS grade
                FROM range(2400) r(i)"""
    )
    found = {each.table: each.column for each in infer_schema(con).times}
    assert found == {parent: "joined_on", "profiles": f"{parent}.joined_on"}


def test_rows_have_the_time_of_their_term(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE terms AS SELECT i AS term_id, ['Spring', 'Fall'][1 + i % 2] || ' ' || (2010 + i // 2) AS name
               FROM range(20) r(i);
           CREATE TABLE students AS SELECT i AS student_id, 2010 + i // 30 AS entry_year FROM range(300) r(i);
           CREATE TABLE sections AS SELECT i AS section_id, i // 10 AS term_id, i % 7 AS room FROM range(200) r(i);
           CREATE TABLE enrolments AS SELECT i % 300 AS student_id, i % 200 AS section_id, i % 5 AS grade
               FROM range(2400) r(i)"""
    )
    found = {each.table: each.column for each in infer_schema(con).times}
    assert (found["sections"], found["enrolments"]) == ("terms", "sections")


def test_a_season_is_not_known_at_its_end_where_its_games_have_times(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """CREATE TABLE seasons AS SELECT i AS season_id, (2015 + i) || '/' || (16 + i) AS name FROM range(4) r(i);
           CREATE TABLE matches AS SELECT i AS match_id, i // 100 AS season_id,
               TIMESTAMP '2015-08-01' + to_days((i // 100 * 365 + i % 100)::INTEGER) AS played_at FROM range(400) r(i)
        """
    )
    assert {each.table: each.column for each in infer_schema(con).times} == {"seasons": None, "matches": "played_at"}
