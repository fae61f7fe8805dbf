"""The fingerprint of a training run: one SHA-256 over data, schema, task, options and code.

Training the same model again returns the existing version. The fingerprint must therefore never miss a change. A false
alarm, such as a DuckDB version with another hash function, only costs one training run.
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

from relsql.database.relsql_schema import in_schema_sql, relsql_schema
from relsql.schema.contents import table_content
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.tasks.task import Task
from relsql.training.options import TrainOptions
from relsql.training.pretraining.weights import read_manifest
from relsql.version import __version__

TRAINING_SOURCES = (
    *("relsql/schema", "relsql/tasks", "relsql/text", "relsql/gather", "relsql/nn", "relsql/training", "exporters"),
    *("relsql/evaluation/metrics", "relsql/evaluation/screening.py", "relsql/evaluation/uncertainty.py"),
    *("relsql/database/queries", "relsql/sql_text.py"),
)
"""Folders and files whose code can change a trained model: the code of training, the metrics and statistics by which it
chooses, and the code that writes its queries. An edit elsewhere, such as in the server, causes no retraining."""

_PROPOSALS = "relsql/schema/discovery"
"""Excluded: accepted proposals become declarations, which the fingerprint covers as part of the schema."""


@dataclass(frozen=True, slots=True)
class TrainingFingerprint:
    """A digest of everything that a model is trained from, and the number of tables and rows."""

    sha256: str
    tables: int
    rows: int


def training_fingerprint(
    con: duckdb.DuckDBPyConnection, catalog: str, task: Task, options: TrainOptions
) -> TrainingFingerprint:
    """The fingerprint of training a model of a task, computed from the committed rows that `con` sees.

    The digest covers all columns of all tables that training may read: tables that links connect with the entity table,
    tables with a time column, because the first and last event bound the labels, and tables that the label query names.
    Other tables are left out, so that scores written to the database do not cause retraining.

    Args:
        con: a connection to the database.
        catalog: its name.
        task: the task.
        options: the training options; all of them count except `threads`. For pre-trained weights, their content counts
            and not the path of their folder.

    Raises:
        RelsqlError: there are no such pre-trained weights, or they are damaged.
    """
    query = label_text(con, catalog, task)
    schema = _part_read(read_schema(con, catalog), task, query)
    contents = {key: table_content(con, catalog, table) for key, table in schema.tables.items()}
    chosen = asdict(options)
    # The default thread count depends on the machine, so it is ignored.
    del chosen["threads"], chosen["pretrained"]
    parts = {
        "contents": contents,
        "schema": schema,
        "task": replace(task, description=None),
        "label query": query,
        "options": chosen,
        "encoder": _files_digest(Path(options.encoder)),
        "pretrained": read_manifest(options.pretrained).digest if options.pretrained else None,
        "code": _code_digest(),
        "versions": library_versions(),
    }
    digest = hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
    return TrainingFingerprint(digest, len(contents), sum(int(content[0]) for content in contents.values()))


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that determine the result."""
    found = {"python": platform.python_version()}
    libraries = "duckdb torch transformers torch-geometric lightgbm onnxruntime tokenizers tiktoken pyarrow"
    for package in libraries.split():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def label_text(con: duckdb.DuckDBPyConnection, catalog: str, task: Task) -> str:
    """The label query, followed by the definitions of all views and macros that it uses, directly or indirectly."""
    query = f"""SELECT view_name, sql FROM system.main.duckdb_views()
                WHERE database_name = $catalog AND NOT {in_schema_sql(relsql_schema(con, catalog))} AND NOT internal
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
    """True if SQL may name a relation or macro; a match in a comment or a column name also counts."""
    written = re.escape(name.replace('"', '""'))
    return re.search(rf"(?<!\w){written}(?!\w)", text, re.IGNORECASE) is not None


@cache
def _code_digest() -> str:
    """SHA-256 of the `TRAINING_SOURCES`, because two builds between releases share a version number."""
    digest = hashlib.sha256(__version__.encode())
    for path, name in training_sources():
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def training_sources() -> list[tuple[Path, str]]:
    """The source files that the fingerprint covers, each with its name from the top level, ordered by name."""
    found = []
    for source in TRAINING_SOURCES:
        package, _, inside = source.partition("/")
        top = Path(str(files(package)))
        for path in [top / inside] if inside.endswith(".py") else (top / inside).rglob("*.py"):
            name = f"{package}/{path.relative_to(top).as_posix()}"
            if not name.startswith(f"{_PROPOSALS}/"):
                found.append((path, name))
    return sorted(found, key=lambda source: source[1])


def _files_digest(folder: Path) -> str | None:
    """SHA-256 of the files of a pre-trained encoder; None if it is not a folder."""
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()
