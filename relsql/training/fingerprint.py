"""The fingerprint of a training run: one SHA-256 over data, schema, task, options and code.

Whoever asks for the same model again gets the version that is there. The fingerprint must never miss a change. A false
alarm, such as a DuckDB version with another hash function, costs one training run.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import duckdb
import msgspec

from relsql.database.names import RELSQL_SCHEMA
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema, Table
from relsql.sql import ident
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.version import __version__

TRAINING_ROOMS = (
    *("relsql/schema", "relsql/tasks", "relsql/text", "relsql/gather", "relsql/nn", "relsql/training"),
    "exporters",
)
"""Folders of code that can change a trained model. An edit elsewhere, such as in the server, retrains nothing."""

_PROPOSALS = "relsql/schema/discovery"
"""Proposals end as declarations, which the fingerprint covers as part of the schema."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked to be trained from: its digest, and how many tables and rows are in it."""

    sha256: str
    tables: int
    rows: int


def read_request(con: duckdb.DuckDBPyConnection, catalog: str, task: Task, options: TrainOptions) -> Request:
    """The request for a model of a task, as of the committed rows that `con` sees.

    Counts are all columns of all tables that training may read: those that links connect with the entity table, those
    with a time column, whose first and last event bound the labels, and those that the label query names. Other tables
    do not count, so that scores which are written into the database train nothing anew.

    Args:
        con: a connection to the database.
        catalog: its name.
        task: the task.
        options: all count but `threads`.
    """
    query = label_text(con, catalog, task)
    schema = _part_read(read_schema(con, catalog), task, query)
    contents = {key: _content(con, catalog, table) for key, table in schema.tables.items()}
    chosen = asdict(options)
    # The default thread count depends on the machine, so it is ignored.
    del chosen["threads"]
    parts = {
        "contents": contents,
        "schema": schema,
        "task": replace(task, description=None),
        "label query": query,
        "options": chosen,
        "encoder": _files_digest(Path(options.encoder)),
        "code": _code_digest(),
        "versions": library_versions(),
    }
    digest = hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
    return Request(digest, len(contents), sum(int(content[0]) for content in contents.values()))


def library_versions() -> dict[str, str]:
    """Versions of what decides the result."""
    found = {"python": platform.python_version()}
    libraries = "duckdb torch transformers torch-geometric onnxruntime tokenizers tiktoken pyarrow"
    for package in libraries.split():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def label_text(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> str:
    """The label query, and below it the definitions of all views and macros of the database that it leads to."""
    query = f"""SELECT view_name, sql FROM system.main.duckdb_views()
                WHERE database_name = $catalog AND schema_name <> '{RELSQL_SCHEMA}' AND NOT internal
                UNION ALL
                SELECT function_name, system.main.concat(CAST(parameters AS VARCHAR), macro_definition)
                FROM system.main.duckdb_functions()
                WHERE database_name = $catalog AND function_type IN ('macro', 'table_macro') AND NOT internal
                ORDER BY ALL ASC NULLS LAST"""
    text, rest = task.sql, con.execute(query, {"catalog": catalog}).fetchall()
    while named := [(name, sql) for name, sql in rest if _names(text, name)]:
        text = "\n".join([text, *(sql for _, sql in named)])
        rest = [each for each in rest if each not in named]
    return text


def _part_read(schema: Schema, task: Task, query: str) -> Schema:
    """The tables of a schema that training may read, and the links among them."""
    chosen = {key for key, table in schema.tables.items() if table.time_column or _names(query, table.name)}
    chosen.add(task.entity_table)
    waiting = list(chosen)
    while waiting:
        table = waiting.pop()
        near = {link.parent for link in schema.links_from(table)} | {link.child for link in schema.links_to(table)}
        waiting += near - chosen
        chosen |= near
    tables = {key: table for key, table in schema.tables.items() if key in chosen}
    return Schema(tables, tuple(link for link in schema.links if link.child in chosen))


def _names(text: str, name: str) -> bool:
    """True if SQL may name a relation or macro; a name in a comment or of a column is taken for one."""
    written = re.escape(name.replace('"', '""'))
    return re.search(rf"(?<!\w){written}(?!\w)", text, re.IGNORECASE) is not None


def _content(con: duckdb.DuckDBPyConnection, catalog: str, table: Table) -> tuple[str, ...]:
    """Number of rows, and sum and exclusive or of their 64-bit hashes: the same for the same rows in any order."""
    columns = ", ".join(f"r.{ident(name)}" for name in table.column_names)
    hashes = f"SELECT system.main.hash({columns}) AS h FROM {table.sql(catalog)} r"
    [found] = con.execute(
        f"SELECT system.main.count_star(), system.main.sum(h), system.main.bit_xor(h) FROM ({hashes})"
    ).fetchall()
    return tuple(map(str, found))


@cache
def _code_digest() -> str:
    """SHA-256 of the sources of `TRAINING_ROOMS`: two builds between releases have the same version number."""
    digest = hashlib.sha256(__version__.encode())
    for path, name in training_sources():
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def training_sources() -> list[tuple[Path, str]]:
    """The source files that the fingerprint covers, each with its name from the top level, ordered by name."""
    found = []
    for room in TRAINING_ROOMS:
        package, _, inside = room.partition("/")
        top = Path(str(files(package)))
        for path in (top / inside).rglob("*.py"):
            name = f"{package}/{path.relative_to(top).as_posix()}"
            if not name.startswith(f"{_PROPOSALS}/"):
                found.append((path, name))
    return sorted(found, key=lambda source: source[1])


def _files_digest(folder: Path) -> str | None:
    """SHA-256 of the files of a pre-trained encoder, if it lies in a folder."""
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
