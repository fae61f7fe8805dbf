"""Random databases for tests of the gather query."""

from __future__ import annotations

import os
from typing import Any

import pytest

from relsql.schema.tables import Column, Link, Schema, Table
from tests.relsql.gather.sql.answers import DAYS
from tests.relsql.gather.sql.reference import Database, Row

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

LETTERS = ("a", "b", "c")
ODD_NAMES = (
    "results", "results_top", "results top", "seed", "self", "entity", "select", "Größe", "表", 'a"b', "a'b", "r",
    "p0", "hubs", "latest", "counts", "until", "key", "rank", "2020", "line\nbreak", "as_of", "id", "_entity", "x" * 70,
)  # fmt: skip
ODD_COLUMNS = (
    "_entity", "_as_of", "_until", "r", "key", "rank", "top", "counts", "w0", "hub0", "self.x", "ORDER", "seed", "t",
    "k0", "rowid",
)  # fmt: skip


@st.composite
def databases(draw: Any) -> tuple[Database, str]:
    names = draw(st.lists(st.sampled_from(ODD_NAMES), min_size=2, max_size=4, unique_by=str.lower))
    tables: dict[str, Table] = {}
    links: list[Link] = []
    odd = {name: draw(st.sampled_from(ODD_COLUMNS)) for name in names}
    kinds = {name: draw(st.sampled_from(["one", "one", "two", "none"])) for name in names}
    kinds[names[0]] = "one"
    timed = {name: draw(st.booleans()) for name in names}
    keys = {"one": ("pk",), "two": ("pk", "pk 2"), "none": ()}
    for name in names:
        columns = [
            Column("pk", "INTEGER"),
            Column("pk 2", "INTEGER"),
            Column("u", draw(st.sampled_from(["INTEGER", "INTEGER", "DOUBLE"]))),
            Column("value", "DOUBLE"),
        ]
        columns += [Column("letter", "VARCHAR")]
        # A column that only its name makes dangerous; as `rowid` it would hide the key of a table without one.
        columns += [] if odd[name] == "rowid" and kinds[name] == "none" else [Column(odd[name], "INTEGER")]
        columns += [Column("time", "TIMESTAMP")] if timed[name] else []
        pairs = draw(st.lists(st.sampled_from([names[0], *names]), max_size=3))
        for i, parent in enumerate(pairs):
            # Links point at the primary key, or at another unique column.
            target = keys[kinds[parent]] if kinds[parent] != "none" and draw(st.integers(0, 3)) else ("u",)
            own = tuple(f"fk{i} {j}" for j in range(len(target)))
            # pandas makes DOUBLE of integers where some are missing.
            columns += [Column(c, draw(st.sampled_from(["INTEGER", "INTEGER", "DOUBLE"]))) for c in own]
            links.append(Link(name, own, parent, target))
        tables[name] = Table(name, tuple(columns), keys[kinds[name]], "time" if timed[name] else None)
    rows = {name: draw(_rows(tables[name])) for name in names}
    return Database(Schema(tables, tuple(links)), rows), names[0]


@st.composite
def _rows(draw: Any, table: Table) -> list[Row]:
    count = draw(st.integers(0, 7))
    keys = draw(st.permutations(range(count)))
    rows = []
    for i, key in enumerate(keys):
        row: Row = dict.fromkeys(table.column_names)
        for name in table.column_names:
            # Foreign keys: NULL, existing and dangling ones.
            row[name] = draw(st.sampled_from([None, 0, 0, 1, 1, 2, 3, 99]))
        row |= {
            # Of a key of two columns only the pair is unique.
            "pk": key // len(table.primary_key or "1"),
            "pk 2": key % 2,
            "u": key,
            "value": draw(st.sampled_from([None, float(i), 0.5])),
            "letter": draw(st.sampled_from([None, *LETTERS])),
        }
        for name in table.column_names:
            if name.endswith(" 1"):
                row[name] = draw(st.sampled_from([None, 0, 1, 1]))
        if table.time_column:
            row["time"] = draw(st.sampled_from([None, *DAYS[:3]]))
        rows.append(row)
    return rows


def random_examples(share: float) -> Any:
    return hypothesis.settings(
        max_examples=max(1, round(share * int(os.environ.get("RELSQL_GATHER_EXAMPLES", "25")))),
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
