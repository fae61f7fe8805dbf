"""Inferring schemas: known data sets without their constraints, and small schemas with misleading columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from relsql.errors import SchemaError
from relsql.schema.declared.declare import declare_table, remove_link
from relsql.schema.discovery.propose import KeyProposal, SchemaProposal, apply_proposal, infer_schema
from relsql.schema.reading import read_schema
from relsql.schema.times.row_times import NO_TIME_COLUMN

DATA_SETS = ("rel-f1", "rel-grants", "rel-retail")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def _infer(con: duckdb.DuckDBPyConnection, *statements: str) -> SchemaProposal:
    for statement in statements:
        con.execute(statement)
    return infer_schema(con)


def _keys(proposal: SchemaProposal) -> dict[str, tuple[str, ...]]:
    return {key.table: key.columns for key in proposal.keys}


def _links(proposal: SchemaProposal) -> set[str]:
    return {str(found.link) for found in proposal.links}


def _times(proposal: SchemaProposal) -> dict[str, str | None]:
    return {time.table: time.column for time in proposal.times}


def _load(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    for file in sorted((folder / "db").glob("*.parquet")):
        con.execute(f"CREATE TABLE \"{file.stem}\" AS FROM '{file}'")


@pytest.mark.parametrize("name", DATA_SETS)
def test_real_data_sets_are_recovered_exactly(con: duckdb.DuckDBPyConnection, data_dir: Path, name: str) -> None:
    yaml = pytest.importorskip("yaml")
    tables = yaml.safe_load((data_dir / name / "manifest.yaml").read_text())["tables"]
    _load(con, data_dir / name)
    proposal = infer_schema(con)
    assert _keys(proposal) == {table: (spec["pkey"],) for table, spec in tables.items()}
    expected = {(table, column, parent) for table, spec in tables.items() for column, parent in spec["fkeys"].items()}
    assert {(p.link.child, p.link.child_columns[0], p.link.parent) for p in proposal.links} == expected
    found = {table: column for table, column in _times(proposal).items() if column}
    assert found == {table: spec["time_col"] for table, spec in tables.items() if spec["time_col"]}
    apply_proposal(con, "memory", proposal)
    schema = read_schema(con)
    assert len(schema.links) == len(expected) and {link.origin for link in schema.links} == {"inferred"}
    assert infer_schema(con).links == () and infer_schema(con).keys == ()


def test_a_birth_date_is_known_from_the_events_too(con: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    _load(con, data_dir / "rel-f1")
    con.execute("ALTER TABLE drivers RENAME COLUMN dob TO d1")
    (time,) = [time for time in infer_schema(con).times if time.table == "drivers"]
    assert time.column is None
    assert "first event" in time.evidence and "years later" in time.evidence


EMPLOYEES = """CREATE TABLE employees AS SELECT i AS id, CASE WHEN i > 0 THEN i // 5 END AS manager_id,
               i * 7 AS salary FROM range(100) r(i)"""


def test_self_references(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(con, EMPLOYEES)
    assert _keys(proposal) == {"employees": ("id",)}
    assert _links(proposal) == {"employees(manager_id) -> employees(id)"}
    assert "1 rows NULL" in proposal.links[0].evidence


def test_role_names_and_scores(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE teams AS SELECT i AS team_id, 'team ' || i AS name FROM range(30) r(i)",
        """CREATE TABLE games AS SELECT i AS game_id, i % 30 AS home_team_id, (i + 7) % 30 AS away_team_id,
           i % 5 AS home_score, i % 7 AS attendance FROM range(500) r(i)""",
    )
    assert _links(proposal) == {"games(home_team_id) -> teams(team_id)", "games(away_team_id) -> teams(team_id)"}


def test_composite_keys_and_links_to_them(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE students AS SELECT i AS student_id FROM range(100) r(i)",
        "CREATE TABLE courses AS SELECT i AS course_id FROM range(40) r(i)",
        """CREATE TABLE enrollments AS SELECT s AS student_id, c AS course_id, (s + c) % 5 AS grade
           FROM range(100) a(s), range(40) b(c) WHERE (s + c) % 3 = 0""",
        """CREATE TABLE submissions AS SELECT row_number() OVER () AS submission_id, student_id, course_id
           FROM enrollments, range(2)""",
    )
    assert _keys(proposal)["enrollments"] == ("student_id", "course_id")
    assert "submissions(student_id, course_id) -> enrollments(student_id, course_id)" in _links(proposal)
    apply_proposal(con, "memory", proposal)
    assert read_schema(con).table("enrollments").primary_key == ("student_id", "course_id")


def test_line_numbers_complete_a_key(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE orders AS SELECT i AS order_no FROM range(300) r(i)",
        """CREATE TABLE order_lines AS SELECT o AS order_no, l AS line_no, o % 17 AS quantity
           FROM range(300) a(o), range(3) b(l)""",
    )
    assert _keys(proposal)["order_lines"] == ("order_no", "line_no")
    assert _links(proposal) == {"order_lines(order_no) -> orders(order_no)"}


def test_small_integers_are_not_linked_by_their_values(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        """CREATE TABLE big AS SELECT i AS big_id, i % 10 AS status, i % 137 AS kind_id, i % 100 AS driver_number,
           i % 60 AS laps, i % 150 AS driver_age FROM range(10000) r(i)""",
        "CREATE TABLE drivers AS SELECT i AS driver_id, i % 199 AS number FROM range(200) r(i)",
        "CREATE TABLE laps AS SELECT i AS lap_id, i % 200 AS driver_id, i % 12 AS num_drivers FROM range(5000) r(i)",
    )
    assert _links(proposal) == {"laps(driver_id) -> drivers(driver_id)"}


PARENTS = {
    "scoring": "CREATE TABLE scoring AS SELECT i AS score_id, i * 3.5 AS yards FROM range(1, 1001) r(i)",
    "shops": "CREATE TABLE shops AS SELECT i AS shop_id, 'shop ' || i AS name FROM range(1, 4) r(i)",
    "statuses": "CREATE TABLE statuses AS SELECT i AS status_id, 'is ' || i AS label FROM range(1, 6) r(i)",
    "answers": "CREATE TABLE answers AS SELECT i AS answer_id, ['no', 'yes'][1 + i] AS label FROM range(2) r(i)",
    "ratings": "CREATE TABLE ratings AS SELECT i AS rating_id, i % 5 AS stars FROM range(1, 5001) r(i)",
    "weeks": "CREATE TABLE weeks AS SELECT i AS week_id, i * 7 AS days FROM range(1, 501) r(i)",
    "customers": "CREATE TABLE customers AS SELECT i AS customer_id, i * 1.5 AS worth FROM range(1, 1001) r(i)",
    "days": "CREATE TABLE calendars AS SELECT i AS calendar_id, i % 7 AS weekday FROM range(1, 3001) r(i)",
    "employees": "CREATE TABLE bosses AS SELECT i AS boss_id FROM range(0, 300) r(i)",
    "countries": "CREATE TABLE countries AS SELECT chr((65 + i)::INTEGER) || 'X' AS country FROM range(26) r(i)",
    "shippers": "CREATE TABLE shippers AS SELECT i AS shipper_id, i * 1.5 AS fee FROM range(1, 7) r(i)",
    "drivers": "CREATE TABLE drivers AS SELECT i AS driver_id, i * 1.5 AS wage FROM range(1, 901) r(i)",
    "products": "CREATE TABLE products AS SELECT i * 37 AS product_id FROM range(1, 2001) r(i)",
}

CHILD_COLUMNS = [
    # (parent, column, its value in row i of 5,000, whether it is a link)
    ("scoring", "scoring", "i % 2", False),
    ("scoring", "scoring", "1", False),
    ("scoring", "scoring", "1 + i % 5", False),
    ("scoring", "scoring", "i % 12", False),
    ("scoring", "scoring", "18 + i % 70", False),
    ("scoring", "scoring", "CASE WHEN i % 3 = 0 THEN 1 END", False),
    ("scoring", "scoring", "1 + i % 1000", True),
    ("scoring", "scoring", "1 + hash(i) % 1000", True),
    ("scoring", "scoring", "1 + (i % 60) * 16", True),
    ("scoring", "scoring_id", "1 + i % 5", True),
    ("scoring", "score_id", "i % 900 + 1", True),
    ("shops", "shop", "2 + i % 2", True),
    ("shops", "shop", "1 + i % 3", True),
    ("shops", "shop", "i % 2", False),
    ("shops", "shop_id", "1 + i % 2", True),
    ("shops", "shop_id", "1", True),
    ("statuses", "status", "1 + i % 5", True),
    ("statuses", "status", "2 + i % 2", True),
    ("statuses", "status", "i % 2", False),
    ("statuses", "status_id", "1 + i % 3", True),
    ("answers", "answer", "i % 2", True),
    ("ratings", "rating", "1 + i % 5", False),
    ("ratings", "rating", "1 + i % 10", False),
    ("ratings", "rating_id", "1 + i % 4000", True),
    ("weeks", "week", "1 + i % 18", False),
    ("weeks", "week", "1 + i % 52", False),
    ("weeks", "week", "1 + i % 490", True),
    ("customers", "customer", "i % 2", False),
    ("customers", "customer", "1 + hash(i) % 999", True),
    ("customers", "customer", "1 + hash(i % 50) % 999", True),
    ("customers", "customer", "1 + i % 400", True),
    ("customers", "customer_id", "CASE WHEN i < 2 THEN 7 + i END", True),
    ("customers", "customers", "1 + i % 40", False),
    ("days", "calendar", "1 + i % 31", False),
    ("days", "calendar", "1 + i % 2900", True),
    ("employees", "boss", "i % 2", False),
    ("employees", "boss", "hash(i) % 300", True),
    ("employees", "boss_id", "i % 3", True),
    ("countries", "country", "chr((65 + i % 2)::INTEGER) || 'X'", True),
    ("countries", "country", "CASE WHEN i % 2 = 0 THEN 'Y' ELSE 'N' END", False),
    ("shippers", "ship_via", "1 + i % 3", True),
    ("shippers", "shipped_by", "1 + i % 6", True),
    ("shippers", "ship_via", "i % 2", False),
    ("shippers", "ship_via", "1 + i % 9", False),
    ("shippers", "ship_days", "1 + i % 6", False),
    ("drivers", "driven_by", "1 + hash(i) % 900", True),
    ("drivers", "driven_by", "1 + i % 5", False),
    ("products", "product", "37 * (1 + i % 5)", True),
    ("products", "product", "1 + i % 5", False),
]


@pytest.mark.parametrize(("parent", "column", "value", "is_link"), CHILD_COLUMNS)
def test_links_are_distinguished_from_codes(
    con: duckdb.DuckDBPyConnection, parent: str, column: str, value: str, is_link: bool
) -> None:
    child = f"""CREATE TABLE visits AS SELECT i AS visit_id, {value} AS {column}, i * 0.37 AS cost
                FROM range(5000) r(i)"""
    proposal = _infer(con, PARENTS[parent], child)
    found = {link.link.child_columns for link in proposal.links if link.link.child == "visits"}
    assert found == ({(column,)} if is_link else set())


def test_a_flag_with_a_role_name_is_not_a_link_to_the_table_itself(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE staff AS SELECT i AS id, i % 2 AS manager, (i % 3 = 0)::INTEGER AS original FROM range(90) r(i)",
        "CREATE TABLE notes AS SELECT i AS id, (i * 7) % 90 AS parent, i % 4 AS previous FROM range(90) r(i)",
    )
    assert _links(proposal) == {"notes(parent) -> notes(id)"}


def test_few_keys_of_many_make_a_link_less_sure(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(PARENTS["customers"])
    few, all_ = (
        _infer(con, f"CREATE OR REPLACE TABLE visits AS SELECT {value} AS customer_id FROM range(5000) r(i)")
        for value in ("1 + i % 3", "1 + i % 999")
    )
    assert few.links[0].confidence < 0.7 < all_.links[0].confidence
    assert "0% of the keys used" in few.links[0].evidence


def test_values_alone_speak_for_links_of_sparse_keys(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE accounts AS SELECT md5(i::VARCHAR) AS id, i * 7919 AS code FROM range(100) r(i)",
        "CREATE TABLE notes AS SELECT i AS note_id, md5((i % 100)::VARCHAR) AS owner_id FROM range(900) r(i)",
    )
    assert _links(proposal) == {"notes(owner_id) -> accounts(id)"}
    assert proposal.links[0].confidence == 0.9
    con.execute("CREATE TABLE shelves AS SELECT i AS id, (i % 100) * 7919 AS owner_id FROM range(500) r(i)")
    con.execute("CREATE TABLE halls AS SELECT i * 7919 AS id FROM range(100) r(i)")
    unsure = [each for each in infer_schema(con).links if each.link.child == "shelves"]
    assert [str(each.link) for each in unsure] == ["shelves(owner_id) -> halls(id)"] and unsure[0].confidence == 0.5


def test_one_to_one_tables_are_linked_in_one_direction(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE alpha AS SELECT i AS person_id FROM range(100) r(i)",
        "CREATE TABLE beta AS SELECT i AS person_id FROM range(60) r(i)",
        "CREATE TABLE driver AS SELECT i AS driver_id FROM range(100) r(i)",
        "CREATE TABLE driver_details AS SELECT i AS driver_id, 'x' AS bio FROM range(100) r(i)",
        "CREATE TABLE parts AS SELECT i AS id FROM range(100) r(i)",
        "CREATE TABLE bolts AS SELECT i AS id FROM range(100) r(i)",
    )
    assert _links(proposal) == {"beta(person_id) -> alpha(person_id)", "driver_details(driver_id) -> driver(driver_id)"}


def test_odd_names_views_and_empty_tables(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        'CREATE TABLE "SELECT" AS SELECT i AS "ID" FROM range(50) r(i)',
        """CREATE TABLE "My ""Orders"" Ω" AS SELECT i AS "Order ID", i % 50 AS "select id", i % 9 AS "GROUP",
           date '2020-01-01' + i::INTEGER AS "the 'day'" FROM range(200) r(i)""",
        'CREATE VIEW seen AS SELECT * FROM "SELECT"',
        "CREATE TABLE empty_things (thing_id INTEGER, empty_thing_id INTEGER, note VARCHAR, select_id BIGINT)",
        "CREATE TABLE nothing (x STRUCT(a INTEGER), y INTEGER[], z BLOB)",
    )
    assert _keys(proposal) == {
        'My "Orders" Ω': ("Order ID",),
        "SELECT": ("ID",),
        "empty_things": ("empty_thing_id",),
    }
    assert _links(proposal) == {'My "Orders" Ω(select id) -> SELECT(ID)', "empty_things(select_id) -> SELECT(ID)"}
    assert _times(proposal) == {'My "Orders" Ω': "the 'day'"}
    certainty = [(key.evidence, key.confidence) for key in proposal.keys]
    certainty += [(link.evidence, link.confidence) for link in proposal.links]
    assert all(confidence <= 0.5 for evidence, confidence in certainty if "is empty" in evidence)
    apply_proposal(con, "memory", proposal)
    assert read_schema(con).table('My "Orders" Ω').time_column == "the 'day'"


def test_upper_case_and_foreign_key_prefixes(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE DIM_CUSTOMERS AS SELECT i * 3 AS CUSTOMER_KEY FROM range(50) r(i)",
        """CREATE TABLE FACT_SALES AS SELECT i AS SALE_ID, (i % 50) * 3 AS FK_CUSTOMER, (i % 40) * 3 AS CUST_ID
           FROM range(500) r(i)""",
    )
    assert _keys(proposal) == {"DIM_CUSTOMERS": ("CUSTOMER_KEY",), "FACT_SALES": ("SALE_ID",)}
    assert _links(proposal) == {
        "FACT_SALES(FK_CUSTOMER) -> DIM_CUSTOMERS(CUSTOMER_KEY)",
        "FACT_SALES(CUST_ID) -> DIM_CUSTOMERS(CUSTOMER_KEY)",
    }


def test_tables_of_another_schema_are_linked_among_themselves(con: duckdb.DuckDBPyConnection) -> None:
    statements = ["CREATE SCHEMA stage"]
    for prefix in ("", "stage."):
        statements.append(f"CREATE TABLE {prefix}users AS SELECT i AS id FROM range(50) r(i)")
        statements.append(f"CREATE TABLE {prefix}logins AS SELECT i AS id, i % 50 AS user_id FROM range(90) r(i)")
    links = _links(_infer(con, *statements))
    assert links == {"logins(user_id) -> users(id)", "stage.logins(user_id) -> stage.users(id)"}


def test_floats_times_and_sentences_are_not_keys(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        """CREATE TABLE m AS SELECT i / 7 AS m_id, timestamp '2020-01-01' + interval (i) hour AS id,
           'a sentence with a number ' || i AS key, i AS amount FROM range(100) r(i)""",
        "CREATE TABLE n AS SELECT CASE WHEN i > 0 THEN i END AS id, i % 99 AS n_id FROM range(100) r(i)",
    )
    assert _keys(proposal) == {}


def test_the_events_own_time_is_chosen(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        """CREATE TABLE orders AS SELECT i AS order_id, timestamp '2022-05-01' AS loaded_at,
           date '2021-02-01' + (i % 200)::INTEGER AS due_date, date '2021-01-01' + (i % 200)::INTEGER AS order_date,
           CASE WHEN i % 3 = 0 THEN timestamp '2021-03-01' + interval (i) minute END AS shipped_at,
           date '2021-01-02' + (i % 200)::INTEGER AS updated_at FROM range(300) r(i)""",
    )
    assert _times(proposal) == {"orders": "order_date"}
    assert "preferred to" in proposal.times[0].evidence


ACCOUNTS = (
    "CREATE TABLE accounts AS SELECT i AS id, timestamp '2020-01-01' + interval (i) day AS {} FROM range(99) r(i)"
)
EVENTS = """CREATE TABLE events AS SELECT i AS id, i % 99 AS account_id,
            timestamp '2020-01-03' + interval (i % 99) day + interval ({} * i) hour AS ts FROM range(900) r(i)"""


def test_registration_dates_of_entities_are_kept(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(con, ACCOUNTS.format("x"), EVENTS.format(1))
    assert _times(proposal) == {"accounts": "x", "events": "ts"}
    assert "agrees with the first events of 99 rows" in next(t.evidence for t in proposal.times if t.table[0] == "a")


def test_dates_after_the_events_are_not_the_entitys_time(con: duckdb.DuckDBPyConnection) -> None:
    late = ACCOUNTS.format("x").replace("2020-01-01", "2020-08-01")
    proposal = _infer(con, late, EVENTS.format(1))
    assert _times(proposal) == {"accounts": None, "events": "ts"}
    assert "100 % of 99 rows have events before it" in "".join(time.evidence for time in proposal.times)


def test_what_is_known_is_left_alone(con: duckdb.DuckDBPyConnection) -> None:
    _infer(con, ACCOUNTS.format("x"), EVENTS.format(1))
    apply_proposal(con, "memory", infer_schema(con))
    declare_table(con, "memory", "accounts", time_column=NO_TIME_COLUMN)
    remove_link(con, "memory", read_schema(con).links[0])
    assert read_schema(con).links == ()
    assert infer_schema(con) == SchemaProposal()


def test_nothing_is_written_by_inference_or_by_a_wrong_proposal(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(con, EMPLOYEES)
    wrong = replace(proposal, keys=(*proposal.keys, KeyProposal("employees", ("nope",), "", 1.0)))
    with pytest.raises(SchemaError, match="nope"):
        apply_proposal(con, "memory", wrong)
    assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchone() == (0,)


def test_large_columns_are_sampled(con: duckdb.DuckDBPyConnection) -> None:
    proposal = _infer(
        con,
        "CREATE TABLE items AS SELECT i * 2 AS item_id FROM range(400000) r(i)",
        "CREATE TABLE sales AS SELECT i AS sale_id, i * 2 AS item_id FROM range(400000) r(i)",
    )
    (found,) = proposal.links
    values = int(found.evidence.split("% of ")[1].split(" distinct")[0].replace(",", ""))
    assert 50_000 < values < 150_000


def test_a_database_without_tables(con: duckdb.DuckDBPyConnection) -> None:
    assert infer_schema(con) == SchemaProposal()
