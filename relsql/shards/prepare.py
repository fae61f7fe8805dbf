"""What the parts share, computed once into a folder: the model, messages of all hubs, and the divided tables.

model.duckdb       the model and its row embeddings, views over the files of tables that every part reads whole,
                   and tables `relsql_shared.*`: messages of hubs, the newest event, tables whose times are computed
divided/0/...      a folder for each divided table, with a folder for each part
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from relsql.bundles.bundle import Bundle, read_bundle
from relsql.bundles.import_model import store_bundle
from relsql.database.connections import open_database, transaction
from relsql.database.cursors import task_cursor
from relsql.database.drafts import complete_draft, draft_path, drafted_folder
from relsql.database.engine_errors import database_error, first_line
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError
from relsql.gather.sql.query import Gather
from relsql.registry.cards.card import ModelCard
from relsql.registry.models import active_card
from relsql.schema.checks import check_primary_key
from relsql.schema.declared.restate import restate, stored_tables
from relsql.schema.relations import relation_sql
from relsql.schema.tables import Table
from relsql.shards.division import PART, Division, divided_tables, whole_tables
from relsql.shards.shard_request import ShardRequest
from relsql.shards.table_files import require_columns
from relsql.sql_text import ident, literal, qualified
from udfs.attach import load_scorer, register_functions

_MODEL = "model.duckdb"
_CATALOG, _SHARED = "prepared", "relsql_shared"


def prepare(request: ShardRequest, threads: int | None = None) -> None:
    """Write the folder that the parts read, unless it is there; it appears when it is complete.

    Args:
        request: the request.
        threads: threads of DuckDB; default: all cores.

    Raises:
        ArtifactError: the bundle is damaged. SchemaDriftError, SchemaError: the tables are not those of the model.
        DatabaseError: files cannot be read or written.
    """
    if request.prepared.exists():
        return
    bundle = read_bundle(request.bundle.path)
    try:
        with _files_explained(request), drafted_folder(request.prepared, lambda: _require_absent(request)) as draft:
            _write(request, bundle, draft, threads)
    except _ThereAlready:
        pass


def _write(request: ShardRequest, bundle: Bundle, draft: Path, threads: int | None) -> None:
    """Write all that the parts share into a folder."""
    database, schema = draft_path(draft / _MODEL), request.card.schema
    with closing(open_database(database, must_exist=False)) as con:
        _configure(con, threads)
        catalog = current_catalog(con)
        request.tables.create_views(con, stored_tables(schema))
        with task_cursor(con, catalog) as cursor:
            with transaction(cursor):
                restate(cursor, catalog, schema)
                require_columns(cursor, catalog, request.card, request.tables.folder)
                store_bundle(cursor, catalog, bundle, request.card.name, request.card.version)
            _compute(cursor, catalog, request, draft)
        complete_draft(con, database, draft / _MODEL)


class _ThereAlready(Exception):
    """Another process has prepared the same folder meanwhile."""


def _require_absent(request: ShardRequest) -> None:
    if request.prepared.exists():
        raise _ThereAlready


def _compute(con: duckdb.DuckDBPyConnection, catalog: str, request: ShardRequest, draft: Path) -> None:
    """Write messages, computed tables and divided tables."""
    card = active_card(con, catalog, request.card.name)
    check_primary_key(con, catalog, card.entity, card.entity.primary_key)
    register_functions(con, load_scorer(con, catalog, card))
    con.execute(f"CREATE SCHEMA {ident(_SHARED)}")
    moment = f"SELECT {literal(request.as_of)} AS _as_of"
    for name, query in card.gather(catalog).given_queries(moment).items():
        con.execute(f"CREATE TABLE {qualified(catalog, _SHARED, name)} AS {query}")
    for table in whole_tables(card.rows):
        if _is_computed(table):
            source = relation_sql(table, catalog, arrays_as_text=True)
            con.execute(f"CREATE TABLE {qualified(catalog, _SHARED, table.key)} AS FROM {source}")
    division = Division(card.rows, catalog, request.shards)
    (draft / "divided").mkdir()
    for key, folder in _folders(card, draft).items():
        target = f"{literal(str(folder))} (FORMAT parquet, PARTITION_BY ({PART}))"
        con.execute(f"COPY ({division.rows_sql(key, request.as_of)}) TO {target}")


def _is_computed(table: Table) -> bool:
    """True if reading a table takes more than a scan of its files."""
    return table.row_time is not None or bool(table.values_of)


def _folders(card: ModelCard, prepared: Path) -> Mapping[str, Path]:
    """The folder of each divided table."""
    return {key: prepared / "divided" / str(i) for i, key in enumerate(sorted(divided_tables(card.rows)))}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared folder, attached to a connection.

    Attributes:
        folder: the folder.
        catalog: the name of the attached database.
        card: the card of the model in it.
        shards: number of parts.
    """

    folder: Path
    catalog: str
    card: ModelCard
    shards: int

    def gather(self, part: int) -> Gather:
        """The gather of a part: over its own rows, the tables that are whole, and what many seeds share."""
        gather = self.card.gather(self.catalog)
        names = gather.given_queries("SELECT NULL AS _as_of")
        gather = gather.with_given({name: qualified(self.catalog, _SHARED, name) for name in names})
        return replace(gather, rows=replace(gather.rows, sources=self._sources(part)))

    def where(self, part: int) -> str:
        """The condition that an entity is in a part."""
        return Division(self.card.rows, self.catalog, self.shards).is_in_part_sql("relsql_entity", part)

    def _sources(self, part: int) -> dict[str, str]:
        """The relation to read instead of the view of a table's files, by table."""
        whole = (table for table in whole_tables(self.card.rows) if _is_computed(table))
        sources = {table.key: qualified(self.catalog, _SHARED, table.key) for table in whole}
        for key, folder in _folders(self.card, self.folder).items():
            files = sorted((folder / f"{PART}={part}").glob("*.parquet"))
            sources[key] = _rows_of(files) if files else _no_rows(self.card.schema.table(key))
        return sources


def _rows_of(files: list[Path]) -> str:
    listed = ", ".join(literal(str(file)) for file in files)
    return f"read_parquet([{listed}], hive_partitioning = false)"


def _no_rows(table: Table) -> str:
    columns = ", ".join(f"CAST(NULL AS {column.type}) AS {ident(column.name)}" for column in table.columns)
    return f"(SELECT {columns} WHERE false)"


def _configure(con: duckdb.DuckDBPyConnection, threads: int | None) -> None:
    con.execute("SET autoinstall_known_extensions = false")
    if threads:
        con.execute(f"SET threads = {threads}")


@contextmanager
def opened(request: ShardRequest, threads: int | None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Prepared]]:
    """A connection to what `prepare` wrote, with the functions of the model."""
    with duckdb.connect() as con:
        _configure(con, threads)
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"ATTACH {literal(str(request.prepared / _MODEL))} AS {ident(_CATALOG)} (READ_ONLY)")
        card = active_card(con, _CATALOG, request.card.name)
        register_functions(con, load_scorer(con, _CATALOG, card))
        yield con, Prepared(request.prepared, _CATALOG, card, request.shards)


@contextmanager
def _files_explained(request: ShardRequest) -> Iterator[None]:
    """Turn errors about the files into a DatabaseError that names both folders.

    Raises:
        DatabaseError: files cannot be read or written.
    """
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException, OSError) as error:
        problem = database_error(error)
        raise problem or DatabaseError(
            f"the parts of '{request.tables.folder}' could not be written to '{request.into}': {first_line(error)}",
            expected="Parquet files that can be read, and enough disk space",
            fix="free some disk space or write the files anew, then run the same command again",
        ) from error
