"""Import a RelBench 3 data set into a new DuckDB file, with its keys, links, time columns and tasks.

`relbench` finds the data set (a folder, or a hub name that it downloads) and reads its manifests; DuckDB always reads
the parquet files. With pandas, nullable integers would become floats and times would change their unit; DuckDB keeps
the types and streams tables larger than memory. Rows after the test timestamp are imported too: relsql hides them by
`as_of`, and test labels need them.

The file is written under a temporary name and renamed when complete, so that a failed import leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from relsql.database.connections import transaction
from relsql.database.engine_errors import first_line
from relsql.database.names import current_catalog
from relsql.errors import DatabaseError, MissingExtraError, RelsqlError, SchemaError, TaskError
from relsql.integrations.new_database import ImportReport, Progress, built_beside, count_rows, require_free
from relsql.schema.checks import key_counts, link_counts
from relsql.schema.declared.declare import declare_link, declare_table
from relsql.schema.tables import Column, Link, Schema, Table
from relsql.schema.types import INTEGER_TYPES, TIME_TYPES, type_family
from relsql.sql_text import ident, literal
from relsql.tasks.fields import as_timestamp
from relsql.tasks.stored_tasks import save_task
from relsql.tasks.task import Task

if TYPE_CHECKING:
    from relbench.load import RelBenchDataset


def import_dataset(
    source: str, path: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Create a DuckDB file from a RelBench 3 data set.

    Args:
        source: a folder with `manifest.yaml`, or a hub name such as `org/repo/name`.
        path: the file to create.
        overwrite: replace an existing file, once the new one is complete.
        progress: called before each table is written.

    Raises:
        MissingExtraError: relbench is not installed.
        DatabaseError: the file exists, cannot be written or is locked, or the data set cannot be loaded.
    """
    path = Path(path)
    require_free(path, overwrite)
    dataset = _load(source)
    tables = dataset.manifest.tables
    for name in tables:
        if not (dataset.db_dir / f"{name}.parquet").is_file():
            raise DatabaseError(f"data set '{source}' lacks the file db/{name}.parquet", expected="one per table")
    with built_beside(path) as con:
        work = _Import(con, current_catalog(con), dataset)
        work.read_sources()
        work.check()
        for done, name in enumerate(work.order):
            if progress:
                progress(name, done, len(tables))
            work.create(name)
        with transaction(con):
            work.declare()
            saved, skipped = _save_tasks(con, work.catalog, dataset)
        if progress:
            progress("", len(tables), len(tables))
        counts = tuple((name, count_rows(con, name)) for name in tables)
    return ImportReport(
        str(path),
        counts,
        tuple(str(link) for link in work.constrained),
        tuple(str(link) for link in work.declared),
        saved,
        skipped,
        tuple(work.problems),
    )


def _load(source: str) -> RelBenchDataset:
    try:
        import relbench
    except ImportError as error:
        raise MissingExtraError.for_extra("bench", "importing a RelBench data set") from error
    try:
        return relbench.load_dataset(source)
    except Exception as error:  # relbench and the hub's client raise many unrelated exceptions.
        reason = first_line(error) or type(error).__name__
        raise DatabaseError(
            f"data set '{source}' cannot be loaded: {reason}",
            expected="a RelBench 3 folder with manifest.yaml, or a hub name such as org/repo/name",
        ) from error


class _Import:
    """One import: the sources as temporary views, the possible constraints, and the tables written so far."""

    def __init__(self, con: duckdb.DuckDBPyConnection, catalog: str, dataset: RelBenchDataset) -> None:
        self.con = con
        self.catalog = catalog
        self.dataset = dataset
        self.specs = dataset.manifest.tables
        self.sources: dict[str, Table] = {}
        self.keys: dict[str, str] = {}
        self.constrained: list[Link] = []
        self.declared: list[Link] = []
        self.problems: list[str] = []
        self.order: list[str] = []

    def read_sources(self) -> None:
        """Create a temporary view per table, in which keys have their final types."""
        for name in self.specs:
            file = literal(str(self.dataset.db_dir / f"{name}.parquet"))
            self.con.execute(f"CREATE TEMP VIEW {ident(_raw(name))} AS SELECT * FROM read_parquet({file})")
        for name, spec in self.specs.items():
            types = self._column_types(name)
            for column in (spec.pkey, spec.time_col, *spec.fkeys):
                if column and column not in types:
                    raise SchemaError(
                        f"table '{name}' has no column '{column}', which the manifest names",
                        expected=f"one of: {', '.join(types)}",
                    )
            if spec.pkey:
                types[spec.pkey] = self._key_type(name, spec.pkey, types[spec.pkey])
            columns = tuple(Column(column, type_) for column, type_ in types.items())
            self.sources[name] = Table(_source(name), columns, schema_name="main")
        for name, spec in self.specs.items():
            for column, parent in spec.fkeys.items():
                self._adopt_parent_type(name, column, parent)
        for name, table in self.sources.items():
            casts = ", ".join(f"{ident(c.name)}::{c.type} AS {ident(c.name)}" for c in table.columns)
            self.con.execute(f"CREATE TEMP VIEW {ident(table.name)} AS SELECT {casts} FROM {ident(_raw(name))}")

    def _column_types(self, name: str) -> dict[str, str]:
        rows = self.con.execute(f"DESCRIBE SELECT * FROM {ident(_raw(name))}").fetchall()
        # A column without any value may have no type.
        return {row[0]: "INTEGER" if row[1] == '"NULL"' else row[1] for row in rows}

    def _key_type(self, name: str, column: str, type_: str) -> str:
        """BIGINT for a float column with only whole values: pandas turns integers with missing values into floats."""
        whole = type_ in ("DOUBLE", "FLOAT") and self._fits(name, column, "BIGINT")
        return "BIGINT" if whole else type_

    def _fits(self, name: str, column: str, type_: str) -> bool:
        cast = f"TRY_CAST({ident(column)} AS {type_})"
        query = f"SELECT system.main.count_star() FROM {ident(_raw(name))} WHERE {ident(column)} IS NOT NULL AND "
        row = self.con.execute(f"{query} ({cast} IS NULL OR {cast} <> {ident(column)})").fetchall()[0]
        return row == (0,)

    def _adopt_parent_type(self, name: str, column: str, parent: str) -> None:
        spec, table = self.specs.get(parent), self.sources[name]
        mine = table.column(column).type
        wanted = self._key_type(name, column, mine)
        if spec and spec.pkey:
            theirs = self.sources[parent].column(spec.pkey).type
            # DuckDB's foreign keys require equal types, not just comparable ones.
            if self._is_null(name, column) or (
                theirs in INTEGER_TYPES and wanted in INTEGER_TYPES and self._fits(name, column, theirs)
            ):
                wanted = theirs
        columns = tuple(Column(c.name, wanted) if c.name == column else c for c in table.columns)
        self.sources[name] = replace(table, columns=columns)

    def _is_null(self, name: str, column: str) -> bool:
        row = self.con.execute(f"SELECT system.main.count({ident(column)}) FROM {ident(_raw(name))}").fetchall()[0]
        return row == (0,)

    def check(self) -> None:
        """Determine which keys and links the data allow as constraints, and the order in which tables are created."""
        for name, spec in self.specs.items():
            if spec.pkey:
                problem = key_counts(self.con, "temp", self.sources[name], (spec.pkey,)).problem
                if problem:
                    self.problems.append(f"{name}({spec.pkey}) is not a primary key: {problem}")
                else:
                    self.keys[name] = spec.pkey
        links = [link for name in self.specs for link in self._links(name)]
        allowed = [link for link in links if self._allows_constraint(link)]
        self.order, broken = _dependency_order(list(self.specs), allowed)
        for link in links:
            in_constraint = link in allowed and link not in broken
            (self.constrained if in_constraint else self.declared).append(link)

    def _links(self, name: str) -> Iterator[Link]:
        for column, parent in self.specs[name].fkeys.items():
            text = f"{name}({column}) -> {parent}"
            if parent not in self.keys:
                self.problems.append(f"{text} is not a link: '{parent}' has no primary key")
                continue
            link = Link(name, (column,), parent, (self.keys[parent],))
            mine, theirs = (self.sources[t].column(c).type for t, c in ((name, column), (parent, self.keys[parent])))
            if type_family(mine) != type_family(theirs):
                self.problems.append(
                    f"{text} is not a link: '{column}' is {mine}, but '{self.keys[parent]}' is {theirs}"
                )
            else:
                yield link

    def _allows_constraint(self, link: Link) -> bool:
        schema = Schema({link.child: self.sources[link.child], link.parent: self.sources[link.parent]})
        counts = link_counts(self.con, "temp", schema, link)
        if counts.dangling:
            self.problems.append(
                f"{link}: {counts.dangling:,} of {counts.rows:,} keys dangle (for example {counts.example}), "
                "so the link is declared without a constraint"
            )
        types = {schema.tables[t].column(c[0]).type for t, c in _ends(link)}
        return not counts.dangling and counts.null_keys < counts.rows and len(types) == 1

    def create(self, name: str) -> None:
        """Create one table with its constraints and insert its rows in the order of its file."""
        table = self.sources[name]
        parts = [f"{ident(column.name)} {column.type}" for column in table.columns]
        if name in self.keys:
            parts.append(f"PRIMARY KEY ({ident(self.keys[name])})")
        for link in self.constrained:
            if link.child == name:
                key = f"{ident(link.parent)} ({ident(link.parent_columns[0])})"
                parts.append(f"FOREIGN KEY ({ident(link.child_columns[0])}) REFERENCES {key}")
        target = f"{ident(self.catalog)}.main.{ident(name)}"
        self.con.execute(f"CREATE TABLE {target} ({', '.join(parts)})")
        self.con.execute(f"INSERT INTO {target} SELECT * FROM {ident(table.name)}")

    def declare(self) -> None:
        """Store the time columns, and the links that have no constraint."""
        for name, spec in self.specs.items():
            type_ = self.sources[name].column(spec.time_col).type if spec.time_col else None
            if type_ in TIME_TYPES:
                declare_table(self.con, self.catalog, name, time_column=spec.time_col)
            elif spec.time_col:
                self.problems.append(f"{name}({spec.time_col}) is not a time column: its type is {type_}")
        for link in self.declared:
            declare_link(self.con, self.catalog, link)


def _raw(name: str) -> str:
    return f"relsql_raw_{name}"


def _source(name: str) -> str:
    return f"relsql_source_{name}"


def _ends(link: Link) -> tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]]:
    return (link.child, link.child_columns), (link.parent, link.parent_columns)


def _dependency_order(names: list[str], links: list[Link]) -> tuple[list[str], list[Link]]:
    """Order tables so that parents come first.

    Returns:
        The order, and the links that close a cycle or reference their own table, which cannot be constraints.
    """
    order: list[str] = []
    waiting, open_links = list(names), [link for link in links if link.child != link.parent]
    broken = [link for link in links if link.child == link.parent]
    while waiting:
        blocked = {link.child for link in open_links if link.parent in waiting}
        # In a cycle the first table is created before its parents.
        name = next((name for name in waiting if name not in blocked), waiting[0])
        broken += [link for link in open_links if link.child == name and link.parent in waiting]
        open_links = [link for link in open_links if link.child != name]
        waiting.remove(name)
        order.append(name)
    return order, broken


def _save_tasks(
    con: duckdb.DuckDBPyConnection, catalog: str, dataset: RelBenchDataset
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Store the forecast tasks with the data set's split timestamps.

    Returns:
        The names of the stored tasks, and (name, reason) of the others.
    """
    manifest = dataset.manifest
    saved: list[str] = []
    skipped: list[tuple[str, str]] = []
    for name in dataset.get_task_names():
        try:
            task = Task.from_manifest(_task_manifest(dataset, name))
            val, test = (as_timestamp(getattr(manifest, key), name, key) for key in ("val_timestamp", "test_timestamp"))
            save_task(con, catalog, replace(task, val_timestamp=val, test_timestamp=test))
            saved.append(task.name)
        except TaskError as error:
            skipped.append((name, str(error)))
    return tuple(saved), tuple(skipped)


def _task_manifest(dataset: RelBenchDataset, name: str) -> dict[str, Any]:
    """The fields of a task's manifest, from the data set's folder or, for tasks hosted elsewhere, from the hub."""
    from relbench import hf
    from relbench.manifest import TaskManifest

    local = dataset.dataset_dir / "tasks" / name / "manifest.yaml"
    file: Path | None = local
    try:
        if not local.exists():
            file = hf.download_task_manifest(dataset.manifest.name, name)
        if file is None:
            raise TaskError(f"task '{name}' has no manifest")
        return dict(TaskManifest.load(file).to_dict())
    except RelsqlError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and file == local:
            raise  # A failing disk is not a problem of the task, so the import must stop instead of skipping the task.
        raise TaskError(f"task '{name}' has no readable manifest: {error}") from error
