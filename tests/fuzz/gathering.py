"""The rows that a plan reads, gathered on every route and compared bit by bit."""

from __future__ import annotations

import datetime
import zlib
from typing import Any

import duckdb
import pyarrow as pa

from relsql.database.queries.sealed import sealed
from relsql.gather.sql.latest_rows import AS_OF, ENTITY, LatestRows
from relsql.gather.sql.query import Gather
from relsql.gather.sql.seeds import all_seeds_sql, call_parameters, call_seed_sql
from relsql.schema.entity_keys import key_known_sql, key_parts, key_sql
from relsql.sql_text import ident, literal
from relsql.training.plan import Plan
from udfs.functions import create_arrow_function

TEXT_FUNCTION = "relsql_fuzz_text"
_ENTITY = f"CAST({ENTITY} AS VARCHAR)"
"""Keys as text, because Python does not have all types of keys."""

Gathered = dict[str, str]
"""The gathered rows by seed, both as text."""


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
        self.ids = ", ".join(f"id{i}" for i in range(len(self.entity.primary_key)))
        self.gather = Gather(LatestRows(plan.rows, catalog), TEXT_FUNCTION)
        create_arrow_function(con, TEXT_FUNCTION, _text_number, ["VARCHAR"], "INTEGER")

    def queries(self, moments: list[datetime.datetime]) -> dict[str, str]:
        """The query of each route; those of calls are the body of a macro."""
        indexed = frozenset(
            (key, column) for key, table in self.gather.plan.schema.tables.items() for column in table.column_names
        )
        many = self.gather.for_seeds("moments")
        call = self.gather.for_seeds("call")
        queries = {
            "all": self.gather.query(self._seeds(moments)),
            "many moments": many.query(self._seeds(moments)),
            "call": self._call(call),
            "call by index": self._call(self.gather.for_seeds("call", indexed=indexed)),
        }
        return {route: sealed(query) for route, query in queries.items()}

    def read(self, moments: list[datetime.datetime]) -> dict[str, Gathered]:
        """The rows that each route gathers, for all visible entities at each moment.

        The SQL around the queries of the routes calls no functions, because the database may have macros of any name.
        """
        times = ", ".join(f"({literal(moment)})" for moment in moments)
        found = {}
        for route, query in self.queries(moments).items():
            if not route.startswith("call"):
                columns = ", ".join(f"{ident(name)}" for name in self.gather.qualified_columns())
                found[route] = self._rows(f"SELECT {_ENTITY}, {AS_OF}, {columns} FROM ({query})")
                continue
            self._create_call(query)
            every = self._rows(
                f"SELECT {_ENTITY}, {AS_OF}, relsql_fuzz_call({self.ids}, as_of := {AS_OF})\n"
                f"FROM ({self._entities_sql()}) e,\n"
                f"    (VALUES {times}) m({AS_OF})"
            )
            # A call for an entity that is not visible reads nothing.
            found[route] = {seed: row for seed, row in every.items() if seed in found["all"]}
        return found

    def one_by_one(self, moment: datetime.datetime, count: int) -> Gathered:
        """The rows that single calls gather, for some entities."""
        self._create_call(self.queries([moment])["call"])
        found: Gathered = {}
        for row in range(count):
            call = f"relsql_fuzz_call({self.ids}, as_of := {literal(moment)})"
            found |= self._rows(f"SELECT {_ENTITY}, {literal(moment)}, {call} FROM ({self._entities_sql(row)})")
        return found

    def _entities_sql(self, row: int | None = None) -> str:
        """The entities, all or that of one row: the key, and each of its parts."""
        parts = (f"{part} AS id{i}" for i, part in enumerate(key_parts(self.entity, key_sql(self.entity)).values()))
        where = "" if row is None else f" AND rowid = {row}"
        columns = f"{key_sql(self.entity)} AS {ENTITY}, {', '.join(parts)}"
        return sealed(f"SELECT {columns} FROM {self.source} WHERE {key_known_sql(self.entity)}{where}")

    def _create_call(self, query: str) -> None:
        self.con.execute(
            f"CREATE OR REPLACE TEMP MACRO relsql_fuzz_call({call_parameters(self.entity)}) AS (\n{query}\n)"
        )

    def _seeds(self, moments: list[datetime.datetime]) -> str:
        parts = [all_seeds_sql(self.entity, self.gather.rows, literal(moment)) for moment in moments]
        return " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts)

    def _call(self, gather: Gather) -> str:
        fields = ", ".join(f"{ident(name)}: {column}" for name, column in gather.qualified_columns().items())
        return gather.query(
            call_seed_sql(self.entity, gather.rows), select=f"CASE WHEN seed._given THEN {{{fields}}} END AS f"
        )

    def _rows(self, query: str) -> Gathered:
        """The rows of a query for entity, moment, and what is gathered: as columns, or as one struct of them."""
        found = {}
        for entity, moment, *gathered in self.con.execute(query).fetchall():
            parts = gathered[0].values() if isinstance(gathered[0], dict) else gathered
            found[f"{entity} at {moment}"] = repr([*map(_settled, parts)])
        return found


def _settled(value: Any) -> Any:
    """Rows ordered by rank; no two rows have the same rank."""
    return sorted(value, key=lambda row: row["rank"]) if isinstance(value, list) else value


def _text_number(texts: pa.Array) -> pa.Array:
    """A hash of a text that is the same in every process."""
    numbers = [0 if text is None else zlib.crc32(text.encode()) & 0x7FFFFFFF for text in texts.to_pylist()]
    return pa.array(numbers, pa.int32())
