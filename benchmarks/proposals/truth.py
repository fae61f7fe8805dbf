"""Schemas whose keys, links and time columns are known, as databases without any of them.

Generated schemas are SQL files in `benchmarks/data/schemas`, with the truth in comments: `key:`, `link:` and `time:`,
where alternatives are separated by `or`; `also:` marks proposals that are right but need not be found. The folder
`held_out` holds schemas that nobody looked at while the rules for proposals were written. The truth of RelBench data
sets is in their manifests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from benchmarks.data.problems import dataset_folder
from relsql.sql_text import ident, literal

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
KINDS = ("key", "link", "time")

# `pick` draws a number below n, the same in every run. A row number draws for one column,
# with a text after it for others.
_MACROS = """
    CREATE TEMP MACRO pick(seed, n) AS (hash(seed) % n::UBIGINT)::INTEGER;
    CREATE TEMP MACRO letter(code) AS chr(code::INTEGER);
"""
_TRUTH = re.compile(r"^-- (key|link|time|also): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Truth:
    """What a schema holds, as texts such as `a(b)` and `a(b) -> c(d)`; one of several alternatives has to be found."""

    name: str
    expected: dict[str, tuple[tuple[str, ...], ...]]
    also: frozenset[str]


def generated_schemas(*, held_out: bool) -> tuple[str, ...]:
    """Names of the generated schemas, sorted: those that were tuned on, or those that were held out."""
    folder = SCHEMAS / "held_out" if held_out else SCHEMAS
    return tuple(sorted(file.stem for file in folder.glob("*.sql")))


def load_generated(con: duckdb.DuckDBPyConnection, name: str) -> Truth:
    """Create the tables of a generated schema in an empty database; returns what they hold."""
    [file] = SCHEMAS.rglob(f"{name}.sql")
    text = file.read_text()
    con.execute(_MACROS)
    con.execute(text)
    return parse_truth(name, text)


def parse_truth(name: str, text: str) -> Truth:
    """What the comments of a schema say that it holds."""
    found = _TRUTH.findall(text)
    also = frozenset(rest for kind, rest in found if kind == "also")
    return Truth(name, {kind: tuple(tuple(r.split(" or ")) for k, r in found if k == kind) for kind in KINDS}, also)


def load_dataset(con: duckdb.DuckDBPyConnection, name: str) -> Truth:
    """Create the tables of a RelBench data set, without its keys and links; returns what the manifest says.

    Raises:
        DatabaseError: there is no such data set.
    """
    folder = dataset_folder(name)
    tables = yaml.safe_load((folder / "manifest.yaml").read_text())["tables"]
    for table in tables:
        con.execute(
            f"CREATE TABLE {ident(table)} AS FROM read_parquet({literal(str(folder / 'db' / table))} || '.parquet')"
        )
    keys = [f"{table}({spec['pkey']})" for table, spec in tables.items() if spec["pkey"]]
    times = [f"{table}({spec['time_col']})" for table, spec in tables.items() if spec["time_col"]]
    links = [
        f"{table}({column}) -> {parent}({tables[parent]['pkey']})"
        for table, spec in tables.items()
        for column, parent in spec["fkeys"].items()
    ]
    named = zip(KINDS, (keys, links, times), strict=True)
    return Truth(name, {kind: tuple((text,) for text in texts) for kind, texts in named}, frozenset())
