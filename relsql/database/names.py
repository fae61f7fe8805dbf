"""Resolve names as DuckDB does. This is the only module that decides what a name refers to.

DuckDB compares names without regard to the case of ASCII letters, quoted or not: `Orders`, `ORDERS` and `"orders"`
are one table, while `É` and `é` are two. A name may be qualified, `schema.table` or `database.schema.table`, and a part
with a dot or a quote in it is written in double quotes. See `docs/decisions/0013-names-and-outputs.md`.
"""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import duckdb

from relsql.errors import DatabaseError, nearest
from relsql.sql_text import ident, qualified

DEFAULT_SCHEMA = "main"

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".]+))\s*(\.|$)')
_NEEDS_QUOTES = re.compile(r'[."]|^\s|\s$')
DUCKDB_SCHEMAS = ("information_schema", "pg_catalog")


def fold(name: str) -> str:
    """A name as DuckDB compares it: two names are the same if and only if this is equal."""
    return name.translate(_FOLDED)


def fold_sql(name: str) -> str:
    """`fold` in SQL, for the expression `name`; `lower()` would also fold letters that DuckDB distinguishes."""
    return f"system.main.translate({name}, '{string.ascii_uppercase}', '{string.ascii_lowercase}')"


def stored_name(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` refers to.

    Returns:
        `name` itself if it is among them, else the only one that differs in case alone. None if no name or several
        names do: with two models `churn` and `Churn`, `CHURN` refers to neither.
    """
    known = set(names)
    if name in known:
        return name
    same = [each for each in known if fold(each) == fold(name)]
    return same[0] if len(same) == 1 else None


def split_name(text: str) -> tuple[str, ...]:
    """Split a qualified name into its parts, without their quotes: `staging."my.table"` has two.

    A part without quotes ends at the next dot and may contain spaces and keywords, so that the command line needs no
    quotes around a name that only SQL would want quoted.

    Raises:
        DatabaseError: a part is empty, or a quote is not closed.
    """
    parts, position = [], 0
    while found := _PART.match(text, position):
        quoted, plain, end = found.groups()
        parts.append(quoted.replace('""', '"') if quoted else plain.strip())
        position = found.end()
        if not end and all(parts):
            return tuple(parts)
    raise DatabaseError(f"'{text}' is not a name", expected='risk, staging.risk or staging."a.name"')


def join_name(*parts: str) -> str:
    """The inverse of `split_name`: parts are quoted only where they have to be."""
    return ".".join(ident(part) if _NEEDS_QUOTES.search(part) else part for part in parts)


def unique_name(stem: str) -> str:
    """A unique name for a relation that exists during one call."""
    return f"{stem}_{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The full name of a relation, spelled as DuckDB stores it where it exists."""

    catalog: str
    schema_name: str
    name: str

    @property
    def key(self) -> str:
        """The name within its database as people write it: `risk`, `staging.risk`, `"my.risk"`."""
        outside = self.schema_name != DEFAULT_SCHEMA
        return join_name(self.schema_name, self.name) if outside else join_name(self.name)

    @property
    def sql(self) -> str:
        """The quoted, qualified name."""
        return qualified(self.catalog, self.schema_name, self.name)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that exists. A temporary one hides relations of the same name in schema main."""

    name: ObjectName
    kind: Literal["table", "view"]
    temporary: bool
    comment: str | None

    def __str__(self) -> str:
        return f"{'temporary ' if self.temporary else ''}{self.kind} '{self.name.key}'"


def stored_catalog(con: duckdb.DuckDBPyConnection, name: str) -> str:
    """The name of an attached database as DuckDB stores it.

    Raises:
        DatabaseError: no such database is attached.
    """
    names = [found for (found,) in con.execute("SELECT database_name FROM system.main.duckdb_databases()").fetchall()]
    found = stored_name(name, names)
    if found is None:
        attached = set(names) - {"system", "temp"}
        raise DatabaseError(f"database '{name}' is not attached", expected=nearest(name, attached))
    return found


def current_catalog(con: duckdb.DuckDBPyConnection) -> str:
    """Name of the connection's current database."""
    # After `USE SHOP` DuckDB returns SHOP, even if the database is stored as `shop`.
    query = "SELECT system.main.current_database(), system.main.list(database_name) FROM system.main.duckdb_databases()"
    # Fetching all rows ends the query; after fetchone() the connection would stay busy.
    [(name, names)] = con.execute(query).fetchall()
    return stored_name(name, names) or str(name)


def resolve(con: duckdb.DuckDBPyConnection, text: str) -> ObjectName:
    """Resolve the name of a relation, whether or not the relation exists; without a schema it means schema main.

    Args:
        con: an open connection.
        text: `risk`, `staging.risk`, `shop.risk` or `shop.staging.risk`, with parts in double quotes where they need
            them.

    Raises:
        DatabaseError: it is not a name, the database or schema does not exist, or it is both a schema and a database.
    """
    *outside, name = split_name(text)
    catalog, schema_name = current_catalog(con), DEFAULT_SCHEMA
    if len(outside) > 2:
        raise DatabaseError(f"'{text}' has {len(outside) + 1} parts", expected="at most database.schema.table")
    if len(outside) == 2:
        catalog = stored_catalog(con, outside[0])
        schema_name = _stored_schema(con, catalog, outside[1], text)
    elif outside:
        catalog, schema_name = _schema_or_catalog(con, catalog, outside[0], text)
    relation = find_relation(con, ObjectName(catalog, schema_name, name))
    return relation.name if relation and not relation.temporary else ObjectName(catalog, schema_name, name)


def _schema_or_catalog(con: duckdb.DuckDBPyConnection, catalog: str, name: str, text: str) -> tuple[str, str]:
    """The database and schema that the first of two parts refers to."""
    catalogs = [
        found for (found,) in con.execute("SELECT database_name FROM system.main.duckdb_databases()").fetchall()
    ]
    database = stored_name(name, catalogs)
    if database is None:
        return catalog, _stored_schema(con, catalog, name, text)
    if stored_name(name, schema_names(con, catalog)):
        raise DatabaseError(
            f"'{text}' is ambiguous: '{name}' is both a schema and a database",
            expected=f"{join_name(catalog, name)}.TABLE or {join_name(database, DEFAULT_SCHEMA)}.TABLE",
        )
    return database, DEFAULT_SCHEMA


def _stored_schema(con: duckdb.DuckDBPyConnection, catalog: str, name: str, text: str) -> str:
    schemas = schema_names(con, catalog)
    found = stored_name(name, schemas)
    if found is None:
        raise DatabaseError(
            f"'{text}' names a schema '{name}', which does not exist in database '{catalog}'",
            expected=nearest(name, schemas),
            fix=f"CREATE SCHEMA {ident(name)}",
        )
    return found


def schema_names(con: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
    """The schemas of a database, without those of DuckDB itself."""
    query = "SELECT schema_name FROM system.main.duckdb_schemas() WHERE database_name = ?"
    return [name for (name,) in con.execute(query, [catalog]).fetchall() if name not in DUCKDB_SCHEMAS]


def find_relation(con: duckdb.DuckDBPyConnection, name: ObjectName) -> Relation | None:
    """The table or view that a name refers to, or the temporary one of this connection that hides it."""
    found = [relation for kind in ("table", "view") for relation in _relations(con, name, kind)]
    return next(iter(sorted(found, key=lambda relation: relation.temporary)), None)


def has_table(con: duckdb.DuckDBPyConnection, catalog: str, schema_name: str, name: str) -> bool:
    """True if the table exists in the database `catalog`."""
    found = _relations(con, ObjectName(catalog, schema_name, name), "table")
    return any(not relation.temporary for relation in found)


def _relations(con: duckdb.DuckDBPyConnection, name: ObjectName, kind: Literal["table", "view"]) -> list[Relation]:
    # lower() also folds letters that DuckDB distinguishes, so the rows that it finds are compared again below.
    query = f"""SELECT database_name, schema_name, {kind}_name, temporary, comment FROM system.main.duckdb_{kind}s()
                WHERE system.main.lower({kind}_name) = system.main.lower(?) AND (database_name = ? OR temporary)"""
    rows = con.execute(query, [name.name, name.catalog]).fetchall()
    found = [Relation(ObjectName(*row[:3]), kind, *row[3:]) for row in rows]
    wanted = fold(name.schema_name), fold(name.name)
    return [each for each in found if (fold(each.name.schema_name), fold(each.name.name)) == wanted]


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro that exists; a scalar macro and a table macro of the same name are two macros.

    `reads_weights` is true if it reads the weights of a published model. This identifies relsql's macros after EXPORT
    DATABASE, which loses comments.
    """

    catalog: str
    schema_name: str
    name: str
    is_table: bool
    comment: str | None = None
    reads_weights: bool = False

    @property
    def sql(self) -> str:
        """The macro as DROP and COMMENT ON expect it: `MACRO TABLE "f1"."main"."predict_dnf_batch"`."""
        return f"MACRO {'TABLE ' if self.is_table else ''}{qualified(self.catalog, self.schema_name, self.name)}"


@dataclass(frozen=True, slots=True)
class Functions:
    """All functions of a connection: names of scalar functions, DuckDB's own included, and macros in schemas `main`."""

    scalars: frozenset[str]
    macros: tuple[Macro, ...]

    def find_macros(self, catalogs: Iterable[str], names: Iterable[str] | None = None) -> list[Macro]:
        """The macros of the given databases (`temp` is one) that have one of `names`; None: all their macros."""
        where, wanted = set(catalogs), None if names is None else {fold(name) for name in names}
        return [m for m in self.macros if m.catalog in where and (wanted is None or fold(m.name) in wanted)]


def read_functions(con: duckdb.DuckDBPyConnection) -> Functions:
    """Read the catalog of functions; this takes about 10 ms."""
    query = """SELECT DISTINCT database_name, schema_name, function_name, function_type, comment,
                   system.main.regexp_matches(coalesce(macro_definition, ''), '[.]"?weights_[0-9a-f]{12}')
               FROM system.main.duckdb_functions()
               WHERE function_type = 'scalar'
                  OR function_type IN ('macro', 'table_macro') AND schema_name = 'main' AND NOT internal"""
    rows = con.execute(query).fetchall()
    macros = [
        Macro(catalog, schema_name, name, kind == "table_macro", comment, reads_weights)
        for catalog, schema_name, name, kind, comment, reads_weights in rows
        if kind != "scalar"
    ]
    return Functions(frozenset(row[2] for row in rows if row[3] == "scalar"), tuple(sorted(macros, key=str)))


def find_macros(con: duckdb.DuckDBPyConnection, catalogs: Iterable[str], names: Iterable[str]) -> list[Macro]:
    """The macros in schema main of the given databases that have one of `names`."""
    return read_functions(con).find_macros(catalogs, names)
