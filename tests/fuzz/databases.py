"""Random databases: odd names, every type, composite keys, cycles, self links, NULLs, infinities, empty tables.

Values are computed by DuckDB from the row's number `i`, so that a seed determines a database.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from relsql.database.connections import transaction
from relsql.database.names import current_catalog
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.tables import Link, table_key
from relsql.sql_text import ident, literal, qualified
from relsql.tasks.task import Task

VAL, TEST = datetime.datetime(2022, 6, 1), datetime.datetime(2022, 9, 1)

_KEYWORDS = "select Order time timestamp table group from NULL end window columns rows values default at"
_INNER = (
    "seed self rank as_of id r p p0 n0 c0 d0 k0 t counts hub message entity listed newest moment seen until _seed "
    "_entity _as_of _until time__latest relsql relsql_row relsql_entity relsql_time relsql_result main temp system"
)
"""Words of SQL, and names that relsql's own queries use."""

NAMES = (
    *_KEYWORDS.split(),
    *_INNER.split(),
    *("a", "A b", "naïve", "表", "😀", 'we"ird', "it's", "a.b", "x(y)", "tab\tname", "new\nline", "-- c", "/*", "1st"),
    *(
        "<value>",
        "<table>",
        "$1",
        "{timedelta}",
        "{0}",
        "%s",
        "a;b",
        "ﬁ",
        "ＡＢ",
        "İ",
        "ß",
        "e\u0301",
        "\u202eabc",
        "*",
    ),
    *(" lead", "trail ", "?", ":x", "@", "\\", "''", '""', "#", "[a]", "ÀÉ", "a" * 120),
)

_TEXT = """CASE {h} % 10 WHEN 0 THEN '' WHEN 1 THEN repeat('long ', 2000) WHEN 2 THEN '<value>x<table>'
    WHEN 3 THEN chr(0) || 'nul' WHEN 4 THEN chr(31) || 'sep' WHEN 5 THEN '😀𝔘 é' WHEN 6 THEN NULL WHEN 7 THEN '1e400'
    ELSE 'v' || {h} % 5 END"""
_DOUBLE = """CASE {h} % 9 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN '-inf'::DOUBLE
    WHEN 3 THEN 1e308 WHEN 4 THEN -1e-320 ELSE {h} % 100 / 7.0 END"""
_DAY = "TIMESTAMP '2020-01-01' + to_hours(({h} % 24000)::INTEGER)"
_TIMES = "CASE {h} % 7 WHEN 0 THEN {low} WHEN 1 THEN {high} ELSE CAST({day} AS {type}) END"
_TIME_LIMITS = {
    "DATE": ("DATE '-infinity'", "DATE '9999-12-31'"),
    "TIMESTAMP": ("TIMESTAMP '290000-01-01 (BC)'", "TIMESTAMP 'infinity'"),
    "TIMESTAMP_S": ("TIMESTAMP_S '0001-01-01'", "TIMESTAMP_S '9999-12-31'"),
    "TIMESTAMP_MS": ("TIMESTAMP_MS '0001-01-01'", "TIMESTAMP_MS '9999-12-31'"),
    "TIMESTAMP_NS": ("TIMESTAMP_NS '1700-01-01'", "TIMESTAMP_NS '2262-01-01'"),
    "TIMESTAMPTZ": ("TIMESTAMPTZ '-infinity'", "TIMESTAMPTZ '9999-12-31'"),
}
TIME_TYPES = tuple(_TIME_LIMITS)


def _times(type_: str) -> str:
    low, high = _TIME_LIMITS[type_]
    return _TIMES.replace("{low}", low).replace("{high}", high).replace("{day}", _DAY).replace("{type}", type_)


TYPES = {
    **{
        name: "({h} % 100)::" + name for name in ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")
    },
    "BIGINT": "CASE WHEN {h} % 9 = 0 THEN -9223372036854775808 ELSE ({h} % 100000)::BIGINT END",
    "UBIGINT": "18446744073709551615 - {h} % 7",
    "HUGEINT": "{h}::HUGEINT * 1000003",
    "UHUGEINT": "{h}::UHUGEINT",
    "DECIMAL(4,1)": "({h} % 1000 / 10)::DECIMAL(4,1)",
    "DECIMAL(38,10)": "({h} % 1000)::DECIMAL(38,10)",
    "FLOAT": "(" + _DOUBLE.replace("1e308", "3e38") + ")::FLOAT",
    "DOUBLE": _DOUBLE,
    "BOOLEAN": "{h} % 2 = 0",
    "VARCHAR": _TEXT,
    "BLOB": "'\\xAA\\x00'::BLOB || ({h} % 5)::VARCHAR::BLOB",
    "BIT": "CASE {h} % 2 WHEN 0 THEN '1010'::BIT ELSE '1'::BIT END",
    "UUID": "md5(i::VARCHAR)::UUID",
    "INTERVAL": "CASE WHEN {h} % 9 = 0 THEN INTERVAL '-1 month' ELSE to_days(({h} % 400)::INTEGER) END",
    "TIME": "TIME '00:00:00' + to_seconds(({h} % 86400)::BIGINT)",
    "TIMETZ": "CASE {h} % 2 WHEN 0 THEN '01:02:03+05'::TIMETZ ELSE '24:00:00-11:30'::TIMETZ END",
    "TIME_NS": "(TIME '00:00:00' + to_seconds(({h} % 86400)::BIGINT))::TIME_NS",
    **{name: _times(name) for name in TIME_TYPES},
    "ENUM('x', 'y''z', 'W')": "['x', 'y''z', 'W'][1 + ({h} % 3)::INTEGER]",
    "INTEGER[]": "CASE {h} % 4 WHEN 0 THEN [] ELSE [1, NULL, ({h} % 3)::INTEGER] END",
    "VARCHAR[]": "['a', NULL, 'v' || {h} % 3]",
    "INTEGER[][]": "[[1], NULL, [({h} % 3)::INTEGER]]",
    "INTEGER[3]": "[1, NULL, ({h} % 3)::INTEGER]",
    "FLOAT[3]": "[1, 'nan'::FLOAT, {h} % 3]",
    "VARCHAR[2]": "['long ' || repeat('x', 30), 'v' || {h} % 3]",
    "INTEGER[2][2]": "[[1, 2], [3, ({h} % 3)::INTEGER]]",
    "INTEGER[2][]": "[[1, ({h} % 3)::INTEGER]]",
    'STRUCT(a INTEGER, "b c" VARCHAR)': "{{'a': ({h} % 3)::INTEGER, 'b c': 'q'}}",
    "STRUCT(a FLOAT[3])": "{{'a': [1, 2, {h} % 3]::FLOAT[3]}}",
    "STRUCT(a DOUBLE[2], t TIMESTAMPTZ)[]": "[{{'a': [1, {h} % 3], 't': TIMESTAMPTZ '2020-01-01 00:00:00+00'}}]",
    "MAP(VARCHAR, INTEGER)": "MAP {{'k': ({h} % 3)::INTEGER}}",
    "MAP(VARCHAR, FLOAT[2])": "MAP {{'k': [1, {h} % 3]::FLOAT[2]}}",
    **{
        f"UNION(n INTEGER, {other})": f"CASE {{h}} % 2 WHEN 0 THEN 7::{union} ELSE {value}::{union} END"
        for other, value in (("s VARCHAR", "'u'::VARCHAR"), ("a FLOAT[2]", "[1, 2]::FLOAT[2]"))
        for union in (f"UNION(n INTEGER, {other})",)
    },
    "JSON": "'{{\"a\": ' || {h} % 3 || '}}'",
}
"""Types, each with an expression over `{h}`, a hash of the row's number."""

COMPOSITE_ENTITIES_FROM = 5_000
"""From this seed on, the key of every fourth entity has two columns. Databases of smaller seeds stay as they are,
because some of them have found bugs."""

KEY_TYPES = {
    "INTEGER": "({x})::INTEGER",
    "SMALLINT": "({x})::SMALLINT",
    "BIGINT": "({x})::BIGINT * 1000000007",
    "UBIGINT": "18446744073709551615 - ({x})::UBIGINT",
    "HUGEINT": "(({x})::HUGEINT - 5) * 170141183460469",
    "DECIMAL(18,3)": "(({x}) / 8)::DECIMAL(18,3)",
    "DOUBLE": "({x}) / 3.0",
    "VARCHAR": "'k-' || ({x})",
    "BLOB": "('b' || ({x}))::BLOB",
    "UUID": "md5(({x})::VARCHAR)::UUID",
    "DATE": "DATE '1990-01-01' + ({x})::INTEGER",
    "TIMESTAMP": "TIMESTAMP '1990-01-01' + to_seconds(({x})::BIGINT)",
    "TIMESTAMPTZ": "(TIMESTAMP '1990-01-01' + to_seconds(({x})::BIGINT))::TIMESTAMPTZ",
    "BOOLEAN": "({x}) = 0",
}
"""Types of keys, each with an expression over `{x}`, the number of the row that has the key."""


@dataclass(slots=True)
class Reference:
    """Columns of a table that hold keys of another one."""

    columns: tuple[str, ...]
    parent: RandomTable


@dataclass(slots=True)
class RandomTable:
    """A table to create: its columns as (name, type, expression), its key, its time and its foreign keys."""

    schema_name: str
    name: str
    rows: int
    columns: list[tuple[str, str, str]] = field(default_factory=list)
    key: tuple[str, ...] = ()
    key_types: tuple[str, ...] = ()
    time: str | None = None
    references: list[Reference] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    @property
    def sql(self) -> str:
        """Its qualified name."""
        return qualified(self.schema_name, self.name)


@dataclass(frozen=True, slots=True)
class RandomDatabase:
    """What was created, and a task over it."""

    tables: tuple[RandomTable, ...]
    task: Task


def create_database(con: duckdb.DuckDBPyConnection, seed: int) -> RandomDatabase:
    """Create the database of a seed in the current one, and declare its keys, times and links.

    Raises:
        RelsqlError: the drawn keys, times or links cannot be declared.
    """
    rng = random.Random(seed)
    con.execute("SET TimeZone = 'UTC'")
    tables = _draw_tables(con, rng, seed)
    for table in tables:
        _create(con, rng, table)
    catalog = current_catalog(con)
    with transaction(con):
        for table in tables:
            key = table_key(table.schema_name, table.name)
            declare_table(con, catalog, key, primary_key=table.key, time_column=table.time or "")
        for table in tables:
            for reference in table.references:
                declare_link(con, catalog, _link(table, reference))
    return RandomDatabase(tuple(tables), _task(rng, tables[0]))


def _draw_tables(con: duckdb.DuckDBPyConnection, rng: random.Random, seed: int) -> list[RandomTable]:
    types = _known_types(con)
    schemas = ["main", *(["other one"] if rng.random() < 0.3 else [])]
    taken: set[tuple[str, str]] = set()
    tables = []
    for number in range(rng.randint(2, 5)):
        schema = rng.choice(schemas)
        name = _name(rng, {name for where, name in taken if where == schema})
        taken.add((schema, name.casefold()))
        rows = rng.choice([12, 25, 40]) if number == 0 else rng.choice([0, 1, 30, 120, 120, 250])
        table = RandomTable(schema, name, rows)
        _draw_key(rng, table, is_entity=number == 0, composite_entity=seed >= COMPOSITE_ENTITIES_FROM and seed % 4 == 0)
        if number == 1 or rng.random() < (0.4 if number == 0 else 0.7):
            _draw_time(rng, table, seed * 10 + number, is_entity=number == 0)
        for position in range(rng.randint(0, 4)):
            _draw_column(rng, table, types, seed * 100 + number * 10 + position)
        tables.append(table)
    _draw_references(rng, tables, seed)
    return tables


def _known_types(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The types that exist in this version of DuckDB."""
    known = []
    for type_ in TYPES:
        try:
            con.execute(f"SELECT CAST(NULL AS {type_})")
        except duckdb.Error:
            continue
        known.append(type_)
    return known


def _name(rng: random.Random, used: Iterable[str]) -> str:
    taken = set(used)
    while True:
        name = rng.choice(NAMES) + (rng.choice(["2", "_x", "Z", "__rows"]) if rng.random() < 0.2 else "")
        if name.casefold() not in taken:
            return name


def _column(rng: random.Random, table: RandomTable, type_: str, expression: str) -> str:
    name = _name(rng, table.used)
    table.used.add(name.casefold())
    table.columns.append((name, type_, expression))
    return name


def _draw_key(rng: random.Random, table: RandomTable, *, is_entity: bool, composite_entity: bool) -> None:
    # The text of a zoned time depends on the session, and tests identify entities by the texts of their keys.
    unfit = {"TIMESTAMPTZ" if is_entity else "", "BOOLEAN" if table.rows > 1 else ""}
    kinds = [kind for kind in KEY_TYPES if kind not in unfit]
    composite = composite_entity if is_entity else rng.random() < 0.25
    parts = ["i // 7", "i % 7"] if composite else ["i"]
    table.key_types = tuple(rng.choice(kinds) for _ in parts)
    names = []
    for kind, part in zip(table.key_types, parts, strict=True):
        names.append(_column(rng, table, kind, KEY_TYPES[kind].format(x=part)))
    table.key = tuple(names)


def _draw_time(rng: random.Random, table: RandomTable, seed: int, *, is_entity: bool) -> None:
    type_ = rng.choice(TIME_TYPES)
    hours = 20_000 if is_entity else 21_000
    moment = f"CAST(TIMESTAMP '2021-01-01 03:00:00' + to_hours((hash(i, {seed}) % {hours})::INTEGER) AS {type_})"
    if not is_entity:
        odd, often = rng.choice(_TIME_LIMITS[type_]), rng.choice([53, 10**9])
        moment = f"""CASE WHEN hash(i, {seed}, 9) % 97 = 0 THEN NULL
            WHEN hash(i, {seed}, 8) % {often} = 0 THEN {odd} ELSE {moment} END"""
    table.time = _column(rng, table, type_, moment)


def _draw_column(rng: random.Random, table: RandomTable, types: list[str], seed: int) -> None:
    type_ = rng.choice(types)
    expression = TYPES[type_].format(h=f"hash(i, {seed})")
    if rng.random() < 0.3:
        expression = f"CASE WHEN hash(i, {seed}, 77) % 3 > 0 THEN {expression} END"
    _column(rng, table, type_, "NULL" if rng.random() < 0.05 else expression)


def _draw_references(rng: random.Random, tables: list[RandomTable], seed: int) -> None:
    """Table 1 references the entities; other tables reference any table, including themselves and in cycles."""
    pairs = [(tables[1], tables[0])]
    for table in tables[2:]:
        pairs += [(table, parent) for parent in rng.sample(tables, rng.randint(0, 2))]
    if rng.random() < 0.25:
        pairs.append((tables[0], rng.choice(tables)))
    for number, (child, parent) in enumerate(pairs):
        _draw_reference(rng, child, parent, seed * 100 + number)


def _draw_reference(rng: random.Random, child: RandomTable, parent: RandomTable, seed: int) -> None:
    # One more than there are rows, so that some keys dangle. Most rows reference one hub.
    hub = rng.random() < 0.15
    which = f"(hash(i, {seed}, 4) % {max(1, parent.rows) + 1})::BIGINT"
    which = f"CASE WHEN hash(i, {seed}, 6) % 10 > 0 THEN 0 ELSE {which} END" if hub else which
    parts = [which] if len(parent.key) == 1 else [f"({which}) // 7", f"({which}) % 7"]
    columns = []
    for kind, part in zip(parent.key_types, parts, strict=True):
        value = KEY_TYPES[kind].format(x=part)
        columns.append(
            _column(rng, child, kind, f"CASE WHEN hash(i, {seed}, {len(columns)}) % 11 > 0 THEN {value} END")
        )
    child.references.append(Reference(tuple(columns), parent))


def _create(con: duckdb.DuckDBPyConnection, rng: random.Random, table: RandomTable) -> None:
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {ident(table.schema_name)}")
    columns = rng.sample(table.columns, len(table.columns))
    select = ", ".join(f"CAST({expression} AS {type_}) AS {ident(name)}" for name, type_, expression in columns)
    con.execute(f"CREATE TABLE {table.sql} AS SELECT {select} FROM range({table.rows}) g(i)")
    if rng.random() < 0.3:
        con.execute(f"ALTER TABLE {table.sql} ADD PRIMARY KEY ({', '.join(map(ident, table.key))})")


def _link(child: RandomTable, reference: Reference) -> Link:
    parent = reference.parent
    return Link(
        table_key(child.schema_name, child.name),
        reference.columns,
        table_key(parent.schema_name, parent.name),
        parent.key,
        "declared",
    )


def _task(rng: random.Random, entity: RandomTable) -> Task:
    is_binary = rng.random() < 0.5
    keys = {f"the entity {i}" if i else "the entity": f"e.{ident(name)}" for i, name in enumerate(entity.key)}
    label = f"hash(e.{ident(entity.key[-1])}::VARCHAR, t.timestamp)"
    label = f"({label} % 2)::INTEGER" if is_binary else f"({label} % 1000) / 7.0"
    return Task(
        name=f"task of {entity.name}",
        task_type="binary_classification" if is_binary else "regression",
        entity_table=table_key(entity.schema_name, entity.name),
        entity_col=", ".join(keys),
        target_col="the label",
        time_col="ts",
        timedelta="60 days",
        val_timestamp=VAL,
        test_timestamp=TEST,
        sql=f"""SELECT t.timestamp AS ts, {", ".join(f"{key} AS {ident(name)}" for name, key in keys.items())},
                    {label} AS "the label"
                FROM timestamps t, {entity.sql} e""",
    )


def change_later_rows(
    con: duckdb.DuckDBPyConnection, database: RandomDatabase, moment: datetime.datetime, seed: int
) -> None:
    """Add, change and delete rows whose time is after a moment; rows that are visible at it do not change."""
    for table in database.tables:
        if table.time is None:
            continue
        time = f"TRY_CAST({ident(table.time)} AS TIMESTAMP)"
        late = f"({time} > {literal(moment)})"
        type_ = next(kind for name, kind, _ in table.columns if name == table.time)
        later = f"CAST({literal(moment)} + to_days((1 + hash(rowid) % 90)::INTEGER) AS {type_})"
        con.execute(f"DELETE FROM {table.sql} WHERE {late} AND hash(rowid, {seed}) % 3 = 0")
        for name, _, _ in table.columns:
            if name not in (*table.key, table.time):
                con.execute(f"UPDATE {table.sql} SET {ident(name)} = NULL WHERE {late} AND hash(rowid, 2) % 2 = 0")
        con.execute(f"UPDATE {table.sql} SET {ident(table.time)} = {later} WHERE {late} AND hash(rowid, 3) % 2 = 0")
        _add_rows(con, table, later, seed)


def _add_rows(con: duckdb.DuckDBPyConnection, table: RandomTable, later: str, seed: int) -> None:
    """Copies of rows under new keys, at later times."""
    keys = ", ".join(
        f"{KEY_TYPES[kind].format(x='(rowid + 1000)::BIGINT')} AS {ident(name)}"
        for name, kind in zip(table.key, table.key_types, strict=True)
        if kind != "BOOLEAN"
    )
    replaced = f"{keys}, {later} AS {ident(table.time or '')}" if keys else f"{later} AS {ident(table.time or '')}"
    if keys:
        con.execute(
            f"INSERT INTO {table.sql} SELECT * REPLACE ({replaced}) FROM {table.sql} WHERE hash(rowid, {seed}) % 4 = 0"
        )
