"""Reading and declaring schemas: constraints, declarations, their merge, and the checks against the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from relsql.database.connections import transaction
from relsql.errors import DatabaseError, SchemaError
from relsql.schema.checks import check_schema, link_counts
from relsql.schema.declared.declare import declare_link, declare_table, remove_link
from relsql.schema.declared.text import parse_columns, parse_link
from relsql.schema.finding import Finding
from relsql.schema.reading import read_schema
from relsql.schema.tables import Link
from relsql.schema.times.row_times import NO_TIME_COLUMN


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE users (id BIGINT, name VARCHAR, born VARCHAR, score BIGINT)")
        connection.execute("INSERT INTO users VALUES (1, 'a', 'x', 1), (2, 'a', 'y', NULL), (3, 'b', 'z', 3)")
        connection.execute("CREATE TABLE orders (no INTEGER, user_id BIGINT, day DATE, seen TIMESTAMPTZ, epoch BIGINT)")
        connection.execute(
            "INSERT INTO orders VALUES (1, 1, '2020-01-01', NULL, 0), (2, 9, NULL, NULL, 0), (3, NULL, NULL, NULL, 0)"
        )
        yield connection


LINK = Link("orders", ("user_id",), "users", ("id",))


def test_constraints_are_read_and_views_and_other_schemas_are_told_apart(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE parent (a INTEGER, b INTEGER, PRIMARY KEY (a, b))")
    con.execute("CREATE TABLE child (x INTEGER, y INTEGER, FOREIGN KEY (x, y) REFERENCES parent (a, b))")
    con.execute("CREATE SCHEMA other; CREATE TABLE other.users (id INTEGER); CREATE VIEW v AS SELECT 1 AS id")
    schema = read_schema(con)
    assert {"parent", "child", "users", "orders", "other.users"} == set(schema.tables)
    assert schema.table("parent").primary_key == ("a", "b")
    assert schema.links == (Link("child", ("x", "y"), "parent", ("a", "b"), "constraint"),)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("orders(user_id) -> users", Link("orders", ("user_id",), "users", ())),
        (" a ( x , y )->b(p,q) ", Link("a", ("x", "y"), "b", ("p", "q"))),
        ('"my ""t"""("a, (b)") -> stage.users(id)', Link('my "t"', ("a, (b)",), "stage.users", ("id",))),
        ("order lines(order id) -> orders", Link("order lines", ("order id",), "orders", ())),
    ],
)
def test_links_are_parsed(text: str, link: Link) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize("text", ["", "a", "a -> b", "a() -> b", "a(x)", "a(x -> b", "a(x) -> b(y) -> c", "a(x,) -> b"])
def test_other_texts_are_not_links(text: str) -> None:
    with pytest.raises(SchemaError, match="is not a link"):
        parse_link(text)


def test_columns_are_parsed() -> None:
    assert parse_columns("orders(no)") == ("orders", ("no",))
    assert parse_columns('"a(b)"( x , "y z" )') == ("a(b)", ("x", "y z"))
    assert parse_columns("orders()") == ("orders", ())
    with pytest.raises(SchemaError, match="names no columns"):
        parse_columns("orders")


def test_declared_key_and_time_are_kept_apart(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", primary_key=("no",))
    declare_table(con, "memory", "orders", time_column="day", origin="inferred")
    table = read_schema(con).table("orders")
    assert (table.primary_key, table.time_column, table.key_origin) == (("no",), "day", "inferred")
    declare_table(con, "memory", "orders", time_column=NO_TIME_COLUMN)
    table = read_schema(con).table("orders")
    assert (table.primary_key, table.time_column) == (("no",), None)


@pytest.mark.parametrize("column", ["day", "seen"])
def test_dates_and_zoned_times_are_time_columns(con: duckdb.DuckDBPyConnection, column: str) -> None:
    declare_table(con, "memory", "orders", time_column=column)
    assert read_schema(con).table("orders").time_column == column


@pytest.mark.parametrize(
    ("table", "key", "time", "parts"),
    [
        ("user", ("id",), None, ["'user' does not exist", "did you mean 'users'"]),
        ("users", ("idd",), None, ["no column 'idd'", "did you mean 'id'"]),
        ("users", ("name",), None, ["2 of 3 rows share a key", "for example a"]),
        ("users", ("score",), None, ["1 of 3 rows have a NULL"]),
        ("users", ("id", "id"), None, ["names a column twice"]),
        ("users", None, "name", ["has type VARCHAR", "strptime", "--time-column"]),
        ("orders", None, "dya", ["'dya', which is not a column of table 'orders'", "did you mean 'day'"]),
        ("orders", None, "no", ["no of table 'orders' has type INTEGER"]),
    ],
)
def test_wrong_declarations_write_nothing(
    con: duckdb.DuckDBPyConnection, table: str, key: tuple[str, ...] | None, time: str | None, parts: list[str]
) -> None:
    with pytest.raises(SchemaError) as caught:
        declare_table(con, "memory", table, primary_key=key, time_column=time)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)
    assert con.execute("SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'relsql'").fetchone() == (0,)


def test_dangling_and_null_keys_are_allowed_and_counted(con: duckdb.DuckDBPyConnection) -> None:
    counts = declare_link(con, "memory", LINK)
    assert (counts.rows, counts.null_keys, counts.dangling, counts.example) == (3, 1, 1, "9")
    assert read_schema(con).links == (LINK,)
    declare_link(con, "memory", LINK)
    assert read_schema(con).links == (LINK,)


def test_keys_of_two_columns_are_compared_and_counted_as_pairs(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE lines (no INTEGER, line INTEGER, item VARCHAR)")
    con.execute("INSERT INTO lines VALUES (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c')")
    con.execute("CREATE TABLE notes (no INTEGER, line INTEGER)")
    con.execute("INSERT INTO notes VALUES (1, 1), (1, NULL), (NULL, 2), (NULL, NULL), (2, 2), (3, 1)")
    counts = declare_link(con, "memory", Link("notes", ("no", "line"), "lines", ("no", "line")))
    assert (counts.rows, counts.null_keys, counts.dangling, counts.example) == (6, 3, 2, "2, 2")
    with pytest.raises(SchemaError, match="3 of 6 rows have a NULL in it"):
        declare_table(con, "memory", "notes", primary_key=("no", "line"))
    with pytest.raises(SchemaError, match="'line' is INTEGER, but 'item' is VARCHAR"):
        declare_link(con, "memory", Link("notes", ("no", "line"), "lines", ("no", "item")))


def test_parent_columns_default_to_the_primary_key(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaError, match="'users' has no primary key"):
        declare_link(con, "memory", parse_link("orders(user_id) -> users"))
    declare_table(con, "memory", "users", primary_key=("id",))
    declare_link(con, "memory", parse_link("orders(user_id) -> users"))
    assert read_schema(con).links == (LINK,)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("orders(user_id) -> users(name)", "'user_id' is BIGINT, but 'name' is VARCHAR"),
        ("users(name) -> users(born)", ""),
        ("users(born) -> users(name)", "2 of 3 rows of 'users' share a key"),
        ("users(id) -> users(id)", "points from each row to itself"),
        ("orders(user_id, no) -> users(id)", "pairs 2 with 1 columns"),
        ("orders(user) -> users(id)", "did you mean 'user_id'"),
        ("orders(user_id) -> user(id)", "did you mean 'users'"),
    ],
)
def test_links_are_checked(con: duckdb.DuckDBPyConnection, text: str, part: str) -> None:
    if not part:
        assert declare_link(con, "memory", parse_link(text)).dangling == 3
        return
    with pytest.raises(SchemaError) as caught:
        declare_link(con, "memory", parse_link(text))
    assert part in str(caught.value)
    assert read_schema(con).links == ()


def test_integers_of_any_width_may_be_linked(con: duckdb.DuckDBPyConnection) -> None:
    declare_link(con, "memory", Link("users", ("score",), "orders", ("no",)))
    assert len(read_schema(con).links) == 1


def test_a_removed_declared_link_is_deleted(con: duckdb.DuckDBPyConnection) -> None:
    declare_link(con, "memory", LINK)
    remove_link(con, "memory", LINK)
    assert read_schema(con).links == ()
    assert con.execute("SELECT count(*) FROM relsql.schema_links").fetchone() == (0,)
    with pytest.raises(SchemaError, match="does not exist"):
        remove_link(con, "memory", LINK)


def test_a_removed_constraint_stays_away_until_declared_again(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (pid INTEGER REFERENCES p (id))")
    link = parse_link("c(pid) -> p")
    remove_link(con, "memory", link)
    assert read_schema(con).links == ()
    assert con.execute("SELECT removed FROM relsql.schema_links").fetchall() == [(True,)]
    declare_link(con, "memory", link)
    assert [known.origin for known in read_schema(con).links] == ["constraint"]
    assert con.execute("SELECT count(*) FROM relsql.schema_links").fetchone() == (0,)


def test_a_declared_link_holds_though_a_link_of_its_former_name_was_removed(con: duckdb.DuckDBPyConnection) -> None:
    declare_link(con, "memory", replace(LINK, origin="inferred"))
    remove_link(con, "memory", LINK)
    con.execute('ALTER TABLE orders RENAME COLUMN user_id TO "USER_ID"')
    assert read_schema(con).links == ()
    declare_link(con, "memory", LINK)
    assert read_schema(con).links == (replace(LINK, child_columns=("USER_ID",)),)


def test_the_fingerprint_depends_on_every_part_but_not_on_order(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "users", primary_key=("id",))
    declare_table(con, "memory", "orders", time_column="day")
    declare_link(con, "memory", LINK)
    schema = read_schema(con)
    users, orders = schema.table("users"), schema.table("orders")
    others = [
        replace(schema, tables={"users": users, "orders": replace(orders, time_column="seen")}),
        replace(schema, tables={"users": replace(users, primary_key=()), "orders": orders}),
        replace(schema, tables={"users": replace(users, columns=users.columns[:-1]), "orders": orders}),
        replace(
            schema, tables={"users": replace(users, columns=(*users.columns, orders.columns[0])), "orders": orders}
        ),
        replace(schema, links=()),
        replace(schema, links=(replace(LINK, child_columns=("no",)),)),
        replace(schema, links=(replace(LINK, parent_columns=("score",)),)),
    ]
    assert len({found.fingerprint() for found in (schema, *others)}) == 1 + len(others)
    turned = replace(schema, tables={"orders": orders, "users": replace(users, columns=users.columns[::-1])})
    assert turned.fingerprint() == schema.fingerprint()


def test_declarations_follow_the_callers_transaction(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SchemaError), transaction(con):
        declare_link(con, "memory", LINK)
        declare_table(con, "memory", "users", primary_key=("name",))
    assert read_schema(con).links == ()


@pytest.mark.parametrize("column", ["orders.user_id", "users.id", "ORDERS.DAY"])
def test_a_hidden_column_takes_its_key_time_and_links_along(con: duckdb.DuckDBPyConnection, column: str) -> None:
    declare_table(con, "memory", "users", primary_key=("id",))
    declare_table(con, "memory", "orders", time_column="day")
    declare_link(con, "memory", LINK)
    table, _, name = column.partition(".")
    schema = read_schema(con).without_columns(((table, name),))
    assert name.lower() not in schema.table(table).column_names
    assert schema.links == ((LINK,) if name == "DAY" else ())
    assert schema.table("users").primary_key == (() if name == "id" else ("id",))
    assert schema.table("orders").time_column == (None if name == "DAY" else "day")


def test_odd_identifiers_work_everywhere(con: duckdb.DuckDBPyConnection) -> None:
    con.execute('CREATE TABLE "Ord""er s" ("Key É" INTEGER, "select" INTEGER, "a\'b" DATE)')
    con.execute("""INSERT INTO "Ord""er s" VALUES (1, NULL, '2020-01-01'), (2, 1, NULL), (3, 8, NULL)""")
    declare_table(con, "memory", 'Ord"er s', primary_key=("Key É",), time_column="a'b")
    declare_link(con, "memory", parse_link('"Ord""er s"(select) -> "Ord""er s"'))
    schema = read_schema(con)
    (link,) = schema.links
    assert link_counts(con, "memory", schema, link).dangling == 1
    messages = [finding.message for finding in check_schema(con, "memory", schema) if finding.severity == "warning"]
    assert any("2 of 3 rows have no time" in message for message in messages)


def test_read_only_databases_are_refused(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "a.duckdb")).execute("CREATE TABLE t (id INTEGER)").close()
    with (
        duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as con,
        pytest.raises(DatabaseError, match="read-only"),
    ):
        declare_table(con, "a", "t", primary_key=("id",))


def test_findings_of_a_sound_schema(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("DELETE FROM orders WHERE no > 1")
    declare_table(con, "memory", "users", primary_key=("id",))
    declare_table(con, "memory", "orders", time_column="day")
    declare_link(con, "memory", LINK)
    [finding] = check_schema(con, "memory", read_schema(con))
    assert finding.object == "users" and "all its rows count at every as_of" in finding.message
    assert "score may hold what became known later" in finding.message
    declare_table(con, "memory", "users", time_column=NO_TIME_COLUMN)
    assert check_schema(con, "memory", read_schema(con)) == []


def test_findings_when_the_data_have_changed(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "users", primary_key=("id",))
    declare_table(con, "memory", "orders", time_column="day")
    declare_link(con, "memory", LINK)
    con.execute("CREATE TABLE gone (id INTEGER)")
    declare_table(con, "memory", "gone", primary_key=("id",))
    con.execute("INSERT INTO users VALUES (1, 'again', NULL, NULL), (NULL, NULL, NULL, NULL); DROP TABLE gone")
    con.execute("CREATE TABLE alone (id INTEGER)")
    findings = check_schema(con, "memory", read_schema(con))
    assert [finding.severity for finding in findings] == ["error", "error", "warning", "warning", "info"]
    text = "\n".join(map(str, findings))
    assert "2 of 5 rows share a key (for example 1) and 1 of 5 rows have a NULL" in text
    assert "2 of 3 rows have no time in 'day'" in text
    assert "gone: is declared, but does not exist" in text
    assert findings[-1] == Finding("info", "alone", "is linked to no other table, so no model reads it")


def test_a_retyped_time_column_and_dangling_keys_are_found(con: duckdb.DuckDBPyConnection) -> None:
    declare_table(con, "memory", "orders", time_column="day")
    declare_link(con, "memory", LINK)
    con.execute("ALTER TABLE orders ALTER COLUMN day TYPE VARCHAR")
    findings = check_schema(con, "memory", read_schema(con))
    assert "has type VARCHAR" in findings[0].message and findings[0].severity == "error"
    dangling = next(each for each in findings if each.object == str(LINK))
    assert "1 of 3 keys are in no row of 'users' (for example 9); 1 more are NULL" in dangling.message


def test_links_in_another_order_of_their_columns_are_one_link(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE lines (no INTEGER, line INTEGER, PRIMARY KEY (no, line))")
    con.execute("CREATE TABLE notes (a INTEGER, b INTEGER, FOREIGN KEY (a, b) REFERENCES lines (no, line))")
    permuted = Link("NOTES", ("b", "a"), "lines", ("line", "NO"))
    [link] = read_schema(con).links
    assert link.same_columns(permuted) and not link.same_columns(Link("notes", ("a", "b"), "lines", ("line", "no")))
    declare_link(con, "memory", permuted)
    assert read_schema(con).links == (link,)
    remove_link(con, "memory", permuted)
    assert read_schema(con).links == ()
    declare_link(con, "memory", permuted)
    assert read_schema(con).links == (link,)


def test_a_link_without_parent_columns_is_written_without_parentheses() -> None:
    assert str(parse_link("orders(user_id) -> users")) == "orders(user_id) -> users"


@pytest.mark.parametrize(("value", "allowed"), [(2**53 - 1, True), (2**53, False)])
def test_doubles_link_to_integers_that_they_can_hold(con: duckdb.DuckDBPyConnection, value: int, allowed: bool) -> None:
    con.execute(f"CREATE TABLE big AS SELECT unnest([1, {value}]) AS id")
    con.execute("CREATE TABLE small AS SELECT unnest([1, 0.5, 'NaN'::DOUBLE, NULL]) AS big_id")
    link = Link("small", ("big_id",), "big", ("id",))
    if allowed:
        assert declare_link(con, "memory", link).dangling == 2
        return
    with pytest.raises(SchemaError, match=r"1 values of 'big.id' .*too large.*ALTER COLUMN \"big_id\" TYPE BIGINT"):
        declare_link(con, "memory", link)


VIEWS = {
    "SELECT DISTINCT item FROM lines": True,
    "SELECT item, min(day) AS day, upper(item) AS big FROM lines GROUP BY ALL": True,
    "SELECT i AS item FROM range(5) r(i)": True,
    "SELECT mine(item) AS item FROM lines": False,
    "SELECT item, random() AS r FROM lines": False,
    "SELECT item, current_setting('home_directory') AS r FROM lines": False,
    "SELECT content AS item FROM read_text('notes.txt')": False,
}
"""Views of which something is declared, and whether a connection that may open no files reads them."""


@pytest.mark.parametrize("query", VIEWS)
def test_a_declared_view_is_read_without_files_if_it_needs_none(tmp_path: Path, query: str) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        (tmp_path / "notes.txt").write_text("a", encoding="utf-8")
        query = query.replace("notes.txt", str(tmp_path / "notes.txt"))
        con.execute("CREATE TABLE lines AS SELECT 'item ' || i AS item, DATE '2024-01-01' AS day FROM range(5) r(i)")
        con.execute(f"CREATE MACRO mine(x) AS x || 'a'; CREATE VIEW items AS {query}")
        declare_table(con, "shop", "items", primary_key=("item",))
    with duckdb.connect(str(tmp_path / "shop.duckdb"), config={"enable_external_access": "false"}) as con:
        schema = read_schema(con)
        findings = {each.object: each.message for each in check_schema(con, "shop", schema)}
    is_read = VIEWS[query.replace(str(tmp_path) + "/", "")]
    assert ("items" in schema.tables) is is_read
    assert ("over files" in findings.get("items", "")) is ("read_text" in query)
    assert ("calls a macro" in findings.get("items", "")) is (not is_read and "read_text" not in query)


CASTS = {
    ("VARCHAR", "'7'", "INTEGER"): "TYPE INTEGER",
    ("VARCHAR", "'7a'", "INTEGER"): None,
    ("UUID", "'6b0a7f8e-2a53-4f0e-9f0c-0a3d8f4b5c6d'", "INTEGER"): None,
    ("UUID", "'6b0a7f8e-2a53-4f0e-9f0c-0a3d8f4b5c6d'", "VARCHAR"): "TYPE VARCHAR",
}


@pytest.mark.parametrize(("type_", "value", "parent"), CASTS)
def test_only_a_cast_that_the_values_allow_is_advised(
    con: duckdb.DuckDBPyConnection, type_: str, value: str, parent: str
) -> None:
    con.execute(f"CREATE TABLE persons (id {parent} PRIMARY KEY); CREATE TABLE calls (uid {type_})")
    con.execute(f"INSERT INTO calls VALUES ({value}), (NULL)")
    with pytest.raises(SchemaError, match="columns of one type") as caught:
        declare_link(con, "memory", Link("calls", ("uid",), "persons", ("id",)))
    fix, advised = str(caught.value.fix), CASTS[type_, value, parent]
    assert (advised in fix) if advised else fix.startswith("relsql inspect FILE persons")
    if advised:
        con.execute(fix)


def test_a_declared_view_over_files_that_may_not_be_opened_is_not_called_missing(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as con:
        con.execute(f"COPY (SELECT 1 AS id) TO '{tmp_path / 'orders.parquet'}'")
        con.execute(f"CREATE VIEW orders AS SELECT * FROM '{tmp_path / 'orders.parquet'}'")
        declare_table(con, "shop", "orders", primary_key=("id",))
    config = {"enable_external_access": "false"}
    with duckdb.connect(str(tmp_path / "shop.duckdb"), config=config) as con:
        [found] = check_schema(con, "shop", read_schema(con))
    assert (found.severity, found.object) == ("info", "orders")
    assert "relsql train reads those that the view names" in found.message
