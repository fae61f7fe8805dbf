"""What a plan reads, gathered on every route and told apart to the bit."""

from __future__ import annotations

import datetime
import zlib
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from relsql.gather import Gather
from relsql.latest import AS_OF, ENTITY
from relsql.plan import Plan
from relsql.seed_sql import all_seeds_sql, call_seed_sql
from relsql.sql import ident, literal
from udfs.functions import create_arrow_function

TEXT_FUNCTION = "relsql_fuzz_text"

Gathered = dict[str, str]
"""What is read of each seed, by the seed, both as text."""


class Routes:
    """The routes of the gather for one plan: for all entities at a moment, at many moments, and per call.

    Args:
        con: an open connection.
        catalog: database that holds the tables.
        plan: what is read.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, catalog: str, plan: Plan) -> None:
        self.con = con
        self.entity = plan.schema.table(plan.task.entity_table)
        self.source = self.entity.sql(catalog)
        self.key = ident(self.entity.primary_key[0])
        self.gather = Gather(catalog, plan.schema, plan.paths, plan.inputs, TEXT_FUNCTION)
        create_arrow_function(con, TEXT_FUNCTION, _text_number, ["VARCHAR"], "INTEGER")

    def queries(self, moments: list[datetime.datetime]) -> dict[str, str]:
        """The query of each route; those of calls are the body of a macro."""
        indexed = frozenset(
            (key, column) for key, table in self.gather.schema.tables.items() for column in table.column_names
        )
        many = replace(self.gather, many_moments=True)
        call = replace(self.gather, per_call=True)
        return {
            "all": self.gather.query(self._seeds(moments)),
            "many moments": many.query(self._seeds(moments)),
            "call": self._call(call),
            "call by index": self._call(replace(call, indexed=indexed)),
        }

    def read(self, moments: list[datetime.datetime]) -> dict[str, Gathered]:
        """What each route gathers: of all entities that are visible, at each moment."""
        found = {}
        for route, query in self.queries(moments).items():
            if not route.startswith("call"):
                found[route] = self._rows(query, [ENTITY, AS_OF, *self.gather.columns()])
                continue
            self.con.execute(f"CREATE OR REPLACE TEMP MACRO relsql_fuzz_call(id, as_of := NULL) AS (\n{query}\n)")
            times = ", ".join(map(literal, moments))
            calls = (
                f"SELECT CAST(e.{self.key} AS VARCHAR) AS {ENTITY}, m.t AS {AS_OF}, relsql_fuzz_call(e.{self.key}, as_of := m.t) AS f "
                f"FROM {self.source} e, (SELECT unnest([{times}]) AS t) m WHERE e.{self.key} IS NOT NULL"
            )
            columns = ", ".join(f"f[{literal(name)}] AS {ident(name)}" for name in self.gather.columns())
            every = self._rows(f"SELECT {ENTITY}, {AS_OF}, {columns} FROM ({calls})", None)
            # A call for an entity that is not visible reads nothing.
            found[route] = {seed: row for seed, row in every.items() if seed in found["all"]}
        return found

    def one_by_one(self, moment: datetime.datetime, count: int) -> Gathered:
        """What single calls gather, for some entities."""
        query = self.queries([moment])["call"]
        self.con.execute(f"CREATE OR REPLACE TEMP MACRO relsql_fuzz_call(id, as_of := NULL) AS (\n{query}\n)")
        columns = ", ".join(f"f[{literal(name)}] AS {ident(name)}" for name in self.gather.columns())
        call = f"relsql_fuzz_call(k, as_of := {literal(moment)})"
        found: Gathered = {}
        for row in range(count):
            entity = f"SELECT {self.key} AS k FROM {self.source} WHERE rowid = {row} AND {self.key} IS NOT NULL"
            calls = f"SELECT CAST(k AS VARCHAR), {literal(moment)}, {call} AS f FROM ({entity})"
            found |= self._rows(f"SELECT * EXCLUDE (f), {columns} FROM ({calls})", None)
        return found

    def _seeds(self, moments: list[datetime.datetime]) -> str:
        parts = [all_seeds_sql(self.entity, self.gather, literal(moment)) for moment in moments]
        return " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts)

    def _call(self, gather: Gather) -> str:
        fields = ", ".join(f"{ident(name)}: {column}" for name, column in gather.qualified_columns().items())
        return gather.query(
            call_seed_sql(self.entity, gather), select=f"CASE WHEN seed._given THEN {{{fields}}} END AS f"
        )

    def _rows(self, query: str, columns: list[str] | None) -> Gathered:
        if columns:
            # Python's own types of keys are not always there: those of zoned times need another library.
            query = f"SELECT * REPLACE (CAST({ENTITY} AS VARCHAR) AS {ENTITY}) FROM ({query})"
        rows = self.con.execute(query)
        names = columns or [description[0] for description in rows.description or ()]
        found = {}
        for entity, moment, *gathered in rows.fetchall():
            parts = zip(names[2:], gathered, strict=True)
            found[f"{entity} at {moment}"] = repr([(name, _settled(part)) for name, part in parts])
        return found


def _settled(value: Any) -> Any:
    """Rows in the order of their rank, which is each row's own."""
    return sorted(value, key=lambda row: row["rank"]) if isinstance(value, list) else value


def _text_number(texts: pa.Array) -> pa.Array:
    """A number that texts have in every process."""
    numbers = [0 if text is None else zlib.crc32(text.encode()) & 0x7FFFFFFF for text in texts.to_pylist()]
    return pa.array(numbers, pa.int32())
