"""The contents of a folder in a comparable form: two runs of a command leave equal states.

Times, random names and digests that depend on them are left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from relsql.sql_text import ident, qualified

VOLATILE = re.compile(
    r"created|activated|started|updated|published|request|job|run_id|seconds|identity|relsql_version|sql_difference"
    r"|scored_at|computed|.*sha256|.*digest.*"
)
"""Columns of relsql's tables, and fields of cards, whose values differ from run to run."""

_SHARED_BY_PARTS = re.compile(r"(^|/)\.prepared-[0-9a-f]{16}/")
"""What `relsql shard-score` has computed for the parts that are missing; it is complete or absent."""

LEFT_OUT = ("runs",)
"""Tables of relsql that record attempts."""

PER_VERSION = ("row_embeddings_", "weights_", "texts_")
"""Prefixes of the names of tables that belong to one version; the names end with its digest."""

SCORE_COLUMNS = {"score", "status", "evidence", "as_of", "version"}
TOLERANCE = 1e-6


@dataclass(slots=True)
class Contents:
    """The contents of a database file.

    Attributes:
        problems: inconsistencies, which must never exist.
        tables: digests of the user's tables.
        score_tables: rows of the tables of scores, by key.
        models: the status of each version: `churn@1`.
        embeddings: embeddings of the texts, by version.
        scores: scores of every entity, by model.
        stored: everything else in relsql's schema, and views and macros.
    """

    problems: list[str] = field(default_factory=list)
    tables: dict[str, Any] = field(default_factory=dict)
    score_tables: dict[str, dict[Any, Any]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    embeddings: dict[str, dict[int, Any]] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """The contents of a folder: databases, other files as rows or digests, and temporary files that were left."""

    databases: dict[str, Contents] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    drafts: list[str] = field(default_factory=list)


def read_state(folder: Path) -> State:
    """Read everything in a folder; opening a database replays its log."""
    state = State()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if _SHARED_BY_PARTS.search(name):
            continue
        if path.name.startswith(".") or ".tmp" in name:
            state.drafts.append(re.sub(r"\d+", "N", name))
        elif path.suffix == ".duckdb":
            state.databases[name] = read_contents(path)
        elif path.suffix in (".parquet", ".csv") and path.parent in (folder, folder / "scores"):
            state.files[name] = _rows(path)
        elif path.suffix != ".wal":
            state.files[name] = path.read_bytes()
    return state


def alike(a: Any, b: Any) -> bool:
    """True if two values are equal except for the last bits of numbers."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= TOLERANCE or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


def read_contents(path: Path) -> Contents:
    """Read a database file, with the scores of its models."""
    from relsql.database.names import current_catalog

    found = Contents()
    with duckdb.connect(str(path)) as con:
        catalog = current_catalog(con)
        names = _read_models(con, catalog, found)
        query = """SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT temporary
                   ORDER BY ALL"""
        for schema, table in con.execute(query, [catalog]).fetchall():
            source = qualified(catalog, schema, table)
            if schema == "relsql":
                _read_stored(con, source, table, names, found)
            elif _column_names(con, source) >= SCORE_COLUMNS:
                rows = con.execute(f"SELECT * REPLACE (as_of::VARCHAR AS as_of) FROM {source}").fetchall()
                found.score_tables[table] = {row[0]: row[1:] for row in rows}
                if len(rows) != len(found.score_tables[table]):
                    found.problems.append(f"table {table} holds an entity twice")
            else:
                found.tables[f"{schema}.{table}"] = _digest(con, source)
        _read_views(con, catalog, names, found)
        _check_jobs(con, catalog, found)
    return found


def _read_models(con: duckdb.DuckDBPyConnection, catalog: str, found: Contents) -> dict[str, str]:
    """Models, their cards and their scores; returns the versions by the digest that names their tables."""
    from relsql.errors import RelsqlError
    from relsql.registry.function_names import predict_name
    from relsql.registry.models import read_artifacts, read_card, read_models
    from udfs.attach import attach

    names, active = {}, []
    for model in read_models(con, catalog):
        version = f"{model.name}@{model.version}"
        names[model.sha256] = version
        found.models[version] = model.status
        try:
            card = read_card(con, catalog, model.name, model.version)
            read_artifacts(con, catalog, card)
        except RelsqlError as error:
            found.problems.append(f"{version}: {error}")
            continue
        if card.identity != model.sha256:
            found.problems.append(f"{version}: the card has another digest than its row")
        active += [card] if model.status == "active" else []
    for name in {version.split("@")[0] for version in found.models}:
        statuses = [status for version, status in found.models.items() if version.split("@")[0] == name]
        if statuses.count("active") != 1:
            found.problems.append(f"model {name}: {statuses.count('active')} versions are active, not one")
    if active and not found.problems:
        attach(con)
    for card in active if not found.problems else ():
        key = ident(card.entity.primary_key[0])
        call = f"{predict_name(card.name)}({key}, as_of := TIMESTAMP '{card.trained_until}')"
        scores = con.execute(f"SELECT {key}, {call} FROM {card.entity.sql(catalog)} ORDER BY 1").fetchall()
        found.scores[card.name] = scores
        if not any(score is not None for _, score in scores) or any(score != score for _, score in scores):
            found.problems.append(f"model {card.name} gives no scores")
    return names


def _read_stored(
    con: duckdb.DuckDBPyConnection, source: str, table: str, names: Mapping[str, str], found: Contents
) -> None:
    """One table of relsql's schema."""
    version = next((names[identity] for identity in names if table.endswith(f"_{identity}")), None)
    if version is None and table.startswith(PER_VERSION):
        found.problems.append(f"table relsql.{table} belongs to no model")
    elif version and table.startswith("row_embeddings_"):
        rows = con.execute(f"SELECT text_hash, text, embedding FROM {source}").fetchall()
        found.embeddings[version] = {key: [text, list(embedding)] for key, text, embedding in rows}
        if len(rows) != len({row[0] for row in rows}):
            found.problems.append(f"table relsql.{table} holds a text twice")
    elif version:
        found.stored[f"{table.rpartition('_')[0]}_{version}"] = _digest(con, source)
    elif table not in LEFT_OUT:
        columns = [name for name in sorted(_column_names(con, source)) if not VOLATILE.fullmatch(name)]
        select = ", ".join(f"sha256({ident(c)}) AS {c}" if c == "bytes" else f"{ident(c)}::VARCHAR" for c in columns)
        rows = con.execute(f"SELECT {select} FROM {source} ORDER BY ALL").fetchall()
        found.stored[table] = [dict(zip(columns, map(_settled, row), strict=True)) for row in rows]
        if table == "artifacts":
            found.problems += [
                f"artefact {row['name']} belongs to no model"
                for row in found.stored[table]
                if f"{row['model']}@{row['version']}" not in found.models
            ]


def _settled(value: str | None) -> Any:
    """A value without the parts that differ from run to run; cards are JSON."""
    if value is None or not value.startswith("{"):
        return value
    try:
        fields = json.loads(value)
    except ValueError:
        return value
    return {name: field for name, field in fields.items() if not VOLATILE.fullmatch(name)}


def _read_views(con: duckdb.DuckDBPyConnection, catalog: str, names: Mapping[str, str], found: Contents) -> None:
    """Views and macros; either all of those of plain SQL exist, or none."""
    query = """SELECT view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal
               UNION SELECT function_name FROM duckdb_functions() WHERE database_name = ? AND NOT internal"""
    objects = sorted(name for (name,) in con.execute(query, [catalog, catalog]).fetchall())
    for identity, version in names.items():
        objects = [name.replace(identity, version) for name in objects]
    published = {row["model"] for row in found.stored.get("publications", ())}
    for model in {version.split("@")[0] for version in found.models} | published:
        macros = [name for name in objects if re.fullmatch(f"predict_{model}(_full|_batch)?", name)]
        if len(macros) != (3 if model in published else 0):
            found.problems.append(f"model {model} has the macros {macros}")
    leftovers = [name for name in (*objects, *found.stored) if re.match(r"(new_)?(weights|texts)_", name)]
    if leftovers and not published:
        found.problems.append(f"nothing is published, but there are {leftovers}")
    found.stored["views and macros"] = objects


def _check_jobs(con: duckdb.DuckDBPyConnection, catalog: str, found: Contents) -> None:
    """Check that the counts of a job agree with its table."""
    for job in found.stored.get("score_jobs", ()):
        rows = found.score_tables.get(job["target"])
        if rows is None:
            found.problems.append(f"the job of table {job['target']} has no table")
        elif job["changed_only"] == "false" and len(rows) != int(job["entities"]):
            found.problems.append(f"table {job['target']} holds {len(rows)} rows, its job says {job['entities']}")


def _column_names(con: duckdb.DuckDBPyConnection, source: str) -> set[str]:
    return {row[0] for row in con.execute(f"DESCRIBE {source}").fetchall()}


def _digest(con: duckdb.DuckDBPyConnection, source: str) -> Any:
    return con.execute(f"SELECT count(*), sum(hash(t)::HUGEINT)::VARCHAR, bit_xor(hash(t)) FROM {source} t").fetchall()


def _rows(path: Path) -> Any:
    with duckdb.connect() as con:
        return con.execute(f"SELECT * REPLACE (as_of::VARCHAR AS as_of) FROM '{path}' ORDER BY ALL").fetchall()
