"""Which values are ids: for every type of key, a value of every type."""

from __future__ import annotations

import duckdb
import pytest

from relsql.gather.sql.seeds import id_sql
from relsql.schema.tables import Column, Table

Connection = duckdb.DuckDBPyConnection

WHOLE = (
    *(f"7::{kind}" for kind in ("TINYINT", "USMALLINT", "INTEGER", "BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT")),
    *("7::BIGNUM", "7.0", "7::DECIMAL(18,0)", "7.000::DECIMAL(38,37)", "7::FLOAT", "7::DOUBLE"),
)
NO_KEYS = (
    *("1.6", "6.9999999999", "1.6::DOUBLE", "6.5::FLOAT", "'nan'::DOUBLE", "'infinity'::DOUBLE", "1e300"),
    *("9007199254740993.5", "'170141183460469231731687303715884105727'::HUGEINT", "2::DOUBLE ^ 63"),
    "99999999999999999999::BIGNUM",
)
NO_NUMBERS = (
    *("'7'", "'x'", "'7'::JSON", "true", "DATE '2020-01-01'", "TIMESTAMP '2020-01-01'", "INTERVAL 7 DAY", "'7'::BLOB"),
    *("{'customer_id': 7}", "row(7)", "[7]", "MAP {7: 7}", "uuid()", "'7'::ENUM('7')", "7::VARIANT"),
    "7::UNION(number INTEGER)",
)


def as_key(con: Connection, key_type: str, value: str) -> object:
    """What an id is as a key of a table `customers`."""
    table = Table("customers", (Column("customer_id", key_type),), ("customer_id",))
    return con.execute(f"SELECT {id_sql(table, 'customer_id', 'id')} FROM (SELECT {value} AS id)").fetchall()[0][0]


@pytest.mark.parametrize("value", WHOLE)
@pytest.mark.parametrize("key_type", ["TINYINT", "BIGINT", "HUGEINT", "UHUGEINT", "DECIMAL(18,0)", "DOUBLE"])
def test_every_number_that_is_whole_is_an_id(con: Connection, key_type: str, value: str) -> None:
    assert con.execute("SELECT ?::VARCHAR::DOUBLE", [as_key(con, key_type, value)]).fetchall() == [(7.0,)]


@pytest.mark.parametrize("value", NO_KEYS)
def test_a_number_that_is_no_key_is_not_rounded_to_one(con: Connection, value: str) -> None:
    assert as_key(con, "BIGINT", value) is None
    column = f"(SELECT unnest([NULL, {value}]) LIMIT 1 OFFSET 1)"
    assert as_key(con, "BIGINT", column) is None


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key_type", ["BIGINT", "UHUGEINT", "DECIMAL(18,0)", "DOUBLE"])
def test_an_id_of_another_type_is_named(con: Connection, key_type: str, value: str) -> None:
    [(named,)] = con.execute(f"SELECT typeof({value})").fetchall()
    with pytest.raises(duckdb.Error) as error:
        as_key(con, key_type, value)
    said = str(error.value)
    assert f"a value of type {named} is not an id of customers" in said
    assert f"CAST(id AS {key_type})" in said


@pytest.mark.parametrize(
    ("key_type", "value", "key"),
    [
        ("VARCHAR", "'7'", "7"),
        ("VARCHAR", "'a'::ENUM('a', 'b')", "a"),
        ("ENUM('a', 'b')", "'b'", "b"),
        ("ENUM('a', 'b')", "'c'", None),
        ("DATE", "'2020-01-02'", "2020-01-02"),
        ("TIMESTAMP", "DATE '2020-01-02'", "2020-01-02 00:00:00"),
        ("UUID", "'6f1b6c1e-3c70-4ba5-a4a4-3c5a3e0b0b0b'", "6f1b6c1e-3c70-4ba5-a4a4-3c5a3e0b0b0b"),
        ("UUID", "'no uuid'", None),
        ("DECIMAL(4,1)", "1.5", "1.5"),
        ("DECIMAL(4,1)", "1.55::DOUBLE", None),
        ("DECIMAL(4,1)", "1.55", None),
        ("BIGNUM", "7::HUGEINT", "7"),
        ("FLOAT", "1.5", "1.5"),
    ],
)
def test_keys_of_other_types(con: Connection, key_type: str, value: str, key: str | None) -> None:
    found = as_key(con, key_type, value)
    assert (None if found is None else str(found)) == key


@pytest.mark.parametrize("value", ["7", "{'a': 7}", "true", "[7]"])
def test_an_id_of_another_type_for_a_text_key(con: Connection, value: str) -> None:
    with pytest.raises(duckdb.Error, match="is not an id of customers. Expected: a value of customer_id, VARCHAR"):
        as_key(con, "VARCHAR", value)


@pytest.mark.parametrize("value", ["NULL", "NULL::VARCHAR", "NULL::BIGINT", "NULL::STRUCT(a INTEGER)"])
def test_an_id_that_is_null_is_null_whatever_its_type(con: Connection, value: str) -> None:
    assert as_key(con, "BIGINT", value) is None
