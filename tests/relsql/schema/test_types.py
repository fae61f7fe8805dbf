"""Types of one family can be compared as keys, whatever their values."""

from __future__ import annotations

from itertools import product

import duckdb
import pytest

from relsql.schema.types import INTEGER_TYPES, WHOLE_DOUBLES, is_number, type_family

BITS = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63, "HUGEINT": 127}


def largest(type_: str) -> int:
    return int(2 ** (BITS[type_.removeprefix("U")] + type_.startswith("U")) - 1)


@pytest.mark.parametrize(("one", "other"), [*product(INTEGER_TYPES, INTEGER_TYPES)])
def test_keys_of_one_family_can_be_joined(one: str, other: str) -> None:
    if type_family(one) != type_family(other):
        assert "UHUGEINT" in (one, other)
        return
    with duckdb.connect() as con:
        for table, type_ in (("a", one), ("b", other)):
            con.execute(f"CREATE TABLE {table} AS SELECT unnest([1, {largest(type_)}::{type_}])::{type_} AS key")
        joined = con.execute("SELECT count(*) FROM a JOIN b ON a.key = b.key").fetchall()
    assert joined == [(1 + (largest(one) == largest(other)),)]


@pytest.mark.parametrize("type_", INTEGER_TYPES)
def test_whole_doubles_are_compared_with_integers_exactly(type_: str) -> None:
    if type_ == "UHUGEINT":
        assert type_family(type_) != type_family("DOUBLE")
        return
    assert type_family(type_) == type_family("DOUBLE") != type_family("FLOAT")
    near = min(largest(type_), WHOLE_DOUBLES - 1)
    with duckdb.connect() as con:
        con.execute("CREATE TABLE a (key DOUBLE)")
        con.execute(f"INSERT INTO a VALUES (1), ({near}), ({near - 1}), (0.5), ('NaN'), (NULL)")
        con.execute(f"CREATE TABLE b AS SELECT unnest([1, {near}])::{type_} AS key")
        assert con.execute("SELECT count(*) FROM a JOIN b ON a.key = b.key").fetchall() == [(2,)]


@pytest.mark.parametrize("type_", ["INTEGER", "UHUGEINT", "FLOAT", "DECIMAL(18,3)"])
def test_numbers(type_: str) -> None:
    assert is_number(type_)


@pytest.mark.parametrize("type_", ["DECIMAL(18,3)[]", "INTEGER[]", "VARCHAR", "DATE", "STRUCT(a DECIMAL(3,1))"])
def test_other_types_are_not_numbers(type_: str) -> None:
    assert not is_number(type_)
