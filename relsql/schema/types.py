"""Classify DuckDB's types as numbers, times or texts. This is the only list of them.

Types are spelled as `duckdb_columns()` spells them.
"""

from __future__ import annotations

import re

INTEGER_TYPES: tuple[str, ...] = tuple(
    prefix + name for name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT") for prefix in ("", "U")
)

BIGNUM = "BIGNUM"
"""Integers without bounds: used for ids in calls, rarely for columns."""

FLOAT_TYPES: tuple[str, ...] = ("FLOAT", "DOUBLE")

ZONED_TYPES: tuple[str, ...] = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
"""Points in time whose text depends on the session's time zone."""

TIME_TYPES: tuple[str, ...] = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", *ZONED_TYPES)
"""Points in time: the types that a time column can have, and whose values become ages."""

TIME_OF_DAY_TYPES: tuple[str, ...] = ("TIME", "TIME_NS", "TIME WITH TIME ZONE")

WHOLE_FLOATS = 2**24
"""A FLOAT holds all integers up to this size, and only some of the larger ones."""

WHOLE_DOUBLES = 2**53
"""All whole numbers below this are different as DOUBLE; from here on, neighbouring numbers can be equal."""

_DECIMAL = re.compile(r"DECIMAL\(\d+,\d+\)")


def is_decimal(type_: str) -> bool:
    """True for DECIMAL of any width and scale; False for lists of DECIMAL."""
    return _DECIMAL.fullmatch(type_) is not None


def is_number(type_: str) -> bool:
    """True for integers, floats and decimals."""
    return type_ in INTEGER_TYPES or type_ in FLOAT_TYPES or is_decimal(type_)


def type_family(type_: str) -> str:
    """Name the types whose values can be compared as keys: all integers are one family, all texts another.

    DOUBLE belongs to the integers, because pandas stores an integer column with missing values as DOUBLE. DuckDB
    compares both as DOUBLE, which is exact below `WHOLE_DOUBLES`. FLOAT is less exact and a family of its own.
    UHUGEINT is a family of its own, because DuckDB compares it with a signed integer as the signed type, and fails for
    values that do not fit.
    """
    if type_ == "DOUBLE" or (type_ in INTEGER_TYPES and type_ != "UHUGEINT"):
        return "integer"
    return "text" if type_ == "VARCHAR" or type_.startswith("ENUM") else type_


def decimal_places(type_: str) -> int | None:
    """The number of decimals that a type keeps (further ones are rounded): 0 for integers, None without a scale."""
    if type_ in INTEGER_TYPES:
        return 0
    return int(type_.removesuffix(")").split(",")[1]) if is_decimal(type_) else None


def id_types(key_type: str) -> tuple[str, ...]:
    """The types of values that may be passed as an id for a key of this type; `DECIMAL(` and `ENUM(` are prefixes.

    Any number is accepted for a numeric key, and any text for a text key. For a key of another type text is accepted
    too, because literals of that type are written as text.
    """
    if is_number(key_type):
        return (*INTEGER_TYPES, BIGNUM, *FLOAT_TYPES, "DECIMAL(")
    if type_family(key_type) == "text":
        return ("VARCHAR", "ENUM(")
    if key_type in TIME_TYPES:
        return (*TIME_TYPES, "VARCHAR")
    return (key_type, *(INTEGER_TYPES if key_type == BIGNUM else ()), "VARCHAR")


def is_class_type(type_: str) -> bool:
    """True for the types whose values can be classes: text, ENUM, BOOLEAN and integers."""
    return type_ in ("VARCHAR", "BOOLEAN", *INTEGER_TYPES) or type_.startswith("ENUM")
