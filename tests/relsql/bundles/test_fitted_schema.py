"""Tables that are not those of training are refused, with what differs and how to declare it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import msgspec
import pytest

import relsql
from relsql.bundles.bundle import read_bundle
from relsql.bundles.fitted_schema import fitted_schema
from relsql.errors import RelsqlError, SchemaDriftError
from relsql.registry.cards.card import ModelCard
from relsql.schema.declared.declarations import Declarations
from relsql.schema.reading import read_schema
from relsql.schema.value_tables import declare_value_table, parse_value_table
from tests.odd_data import LINKS, create_market
from tests.shop import contents

Connection = duckdb.DuckDBPyConnection


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DROP TABLE visits", "table visits is missing"),
        ("ALTER TABLE orders DROP COLUMN note", "column orders.note is missing"),
        ("ALTER TABLE orders RENAME COLUMN note TO remark", "column orders.note is missing"),
        ("ALTER TABLE orders ALTER COLUMN amount TYPE FLOAT", "column orders.amount is FLOAT, was DOUBLE"),
        ("ALTER TABLE visits RENAME TO calls", "table visits is missing"),
        ("UPDATE relsql.schema_tables SET primary_key = NULL WHERE table_name = 'shops'", "the key of shops is ()"),
        (
            "UPDATE relsql.schema_tables SET primary_key = ['product_id'] WHERE table_name = 'lines'",
            "the key of lines is (product_id), was (line_id)",
        ),
        (
            "UPDATE relsql.schema_tables SET time_column = NULL WHERE table_name = 'orders'",
            "the time of orders is none, was ordered_at",
        ),
        (
            "UPDATE relsql.schema_tables SET time_column = 'born' WHERE table_name = 'customers'",
            "the time of customers is born, was joined",
        ),
        ("DELETE FROM relsql.schema_links WHERE child_table = 'visits'", "the link visits(customer_id) -> customers"),
    ],
)
def test_other_tables_are_refused_and_nothing_is_changed(
    exported: Path, other: Connection, change: str, problem: str
) -> None:
    other.execute(change)
    before = contents(other)
    with pytest.raises(SchemaDriftError) as caught:
        relsql.import_model(other, exported)
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert contents(other) == before


def test_the_fix_declares_what_is_missing(exported: Path, tmp_path: Path) -> None:
    import shlex

    from click.testing import CliRunner

    from relsql.cli import cli

    path = tmp_path / "bare.duckdb"
    with duckdb.connect(str(path)) as con:
        create_market(con)
        con.execute("DROP SCHEMA relsql CASCADE")
        with pytest.raises(SchemaDriftError) as caught:
            relsql.import_model(con, exported)
    fix = str(caught.value).split("Fix: relsql ")[1].replace("FILE", str(path), 1)
    done = CliRunner().invoke(cli, shlex.split(fix))
    assert done.exit_code == 0, done.stderr
    with duckdb.connect(str(path)) as con:
        assert relsql.import_model(con, exported).version == 1


def test_names_in_another_case_are_the_same_tables(exported: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as con:
        create_market(con, links=())
        con.execute("ALTER TABLE shops RENAME TO SHOPS; ALTER TABLE customers RENAME COLUMN name TO Name")
        Declarations.parse(primary_keys=["SHOPS(shop_id)"], links=LINKS).store(con, "x")
        relsql.import_model(con, exported)
        relsql.attach(con)
        assert len(con.execute("SELECT predict_churn(customer_id) FROM customers").fetchall()) == 30


def test_other_tables_and_columns_of_the_file_do_not_matter(exported: Path, other: Connection) -> None:
    other.execute("CREATE TABLE more (x INTEGER PRIMARY KEY); ALTER TABLE orders ADD COLUMN extra INTEGER")
    assert relsql.import_model(other, exported).version == 1


LINES = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, day VARCHAR, loaded TIMESTAMP, team VARCHAR);
    CREATE TABLE lines (line INTEGER PRIMARY KEY, order_id INTEGER, other_id INTEGER, loaded TIMESTAMP);
    INSERT INTO orders VALUES (1, '2020-01-01', '2020-01-02', 'a'), (2, '2020-02-01', '2020-02-02', 'b');
    INSERT INTO lines VALUES (1, 1, 2, '2020-01-03'), (2, 2, 1, '2020-02-03');
"""


def card_of(card: ModelCard, con: Connection) -> ModelCard:
    return msgspec.structs.replace(card, schema=read_schema(con), paths=())


def declared(*times: str, known: Sequence[str] = (), links: Sequence[str] = ()) -> Connection:
    con = duckdb.connect()
    con.execute(LINES)
    links = ["lines(order_id) -> orders", *links]
    Declarations.parse(time_columns=times, known_columns=known, links=links).store(con, "memory")
    return con


DAY, HEADER = "orders(strptime(day, '%Y-%m-%d'))", "lines(orders)"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ((DAY, HEADER), (DAY,)),
        ((DAY, HEADER), ("orders(loaded)", HEADER)),
        ((DAY, HEADER), ("orders(try_strptime(day, '%Y-%m-%d'))", HEADER)),
        ((DAY, HEADER), (DAY, "lines(loaded)")),
        ((), (DAY,)),
    ],
)
def test_times_have_to_be_computed_in_the_same_way(
    exported: Path, mine: tuple[str, ...], theirs: tuple[str, ...]
) -> None:
    card = read_bundle(exported).card
    with declared(*mine) as old, declared(*theirs) as new:
        trained = card_of(card, old)
        assert fitted_schema(old, "memory", trained).links == trained.schema.links
        with pytest.raises(SchemaDriftError, match="the time of (lines|orders) is|computed|column"):
            fitted_schema(new, "memory", trained)


def test_the_second_clock_and_the_link_of_a_header_count(exported: Path) -> None:
    card = read_bundle(exported).card
    with declared(DAY, HEADER, known=["lines(loaded)"]) as old, declared(DAY, HEADER) as new:
        fitted_schema(old, "memory", card_of(card, old))
        for trained, found in ((old, new), (new, old)):
            with pytest.raises(SchemaDriftError, match="the time of lines"):
                fitted_schema(found, "memory", card_of(card, trained))


def test_sql_of_a_bundle_is_compared_and_never_run(exported: Path) -> None:
    """The SQL of a time comes from the file, so a bundle cannot bring its own."""
    card = read_bundle(exported).card
    with declared(DAY, HEADER) as con:
        trained = card_of(card, con)
        orders = trained.schema.tables["orders"]
        assert orders.row_time is not None
        for evil in ("(SELECT error('run'))", orders.row_time.expression + " "):
            tables = trained.schema.tables | {
                "orders": msgspec.convert(
                    msgspec.to_builtins(orders) | {"row_time": {"text": "day", "expression": evil}}, type(orders)
                )
            }
            forged = msgspec.structs.replace(trained, schema=type(trained.schema)(tables, trained.schema.links))
            with pytest.raises(SchemaDriftError, match="the time of orders"):
                fitted_schema(con, "memory", forged)


def test_tables_of_values_have_to_be_of_the_same_columns(exported: Path) -> None:
    card = read_bundle(exported).card
    with declared("orders(loaded)") as one, declared("orders(loaded)") as two:
        for con, column in ((one, "team"), (two, "day")):
            declare_value_table(con, "memory", read_schema(con), parse_value_table(f"teams=orders({column})"))
        trained = card_of(card, one)
        assert fitted_schema(one, "memory", trained).tables["teams"].values_of
        with pytest.raises(RelsqlError, match="teams has other values than it had"):
            fitted_schema(two, "memory", trained)
