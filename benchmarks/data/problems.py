"""The problems of the accuracy benchmark: a task of a RelBench data set in one of two regimes.

The regime determines how much of the database a seed (entity, as_of) may see:

    seed-time   all rows with time <= as_of: a live database
    frozen      rows with time <= the split's first timestamp, even if as_of is much later: RelBench's `get_db()`

A data set is imported once into a cache folder, as a DuckDB file with keys, links, time columns and tasks.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from relsql.database.connections import use_catalog
from relsql.errors import DatabaseError, nearest
from relsql.integrations.import_relbench import import_dataset
from relsql.schema.reading import read_schema
from relsql.schema.tables import Schema
from relsql.sql_text import ident, literal
from relsql.tasks.labels.frozen_database import frozen_database
from relsql.tasks.labels.label_table import default_splits, label_table
from relsql.tasks.regime import REGIMES, Regime
from relsql.tasks.splits import SPLITS, Split
from relsql.tasks.stored_tasks import read_task, read_tasks
from relsql.tasks.task import Task

__all__ = ["REGIMES", "Problem", "Regime", "database_file", "list_datasets", "list_tasks", "load_problem"]

DEFAULT_CACHE = Path(".bench")

_DATABASE = "database"


@dataclass(frozen=True)
class Problem:
    """One task in one regime, with its labels.

    Attributes:
        dataset: folder name below the data folder.
        task: the task, with both split timestamps set.
        regime: `seed-time` or `frozen`.
        path: DuckDB file with the whole imported database.
        schema: its schema, without the columns that the task removes.
        labels: by split the columns entity, as_of (timestamp[us]) and label (int64 0 or 1, or float64), sorted by
            (as_of, entity), computed over the whole database.
    """

    dataset: str
    task: Task
    regime: Regime
    path: Path
    schema: Schema
    labels: dict[Split, pa.Table]

    @property
    def regimes_coincide(self) -> bool:
        """True if no val or test label is after its split's first timestamp, so that both regimes are the same."""
        return all(self.labels[split]["as_of"][-1].as_py() <= self._first_timestamp(split) for split in SPLITS[1:])

    def targets(self, split: Split) -> npt.NDArray[np.float64]:
        """The labels of a split as float64 [labels]."""
        return np.asarray(self.labels[split]["label"]).astype(np.float64)

    @contextmanager
    def open(self, split: Split) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
        """Open the database with the rows that seeds of `split` may see.

        Readers have to restrict themselves to rows with time <= as_of. The connection is writable only in its temporary
        schema, and rows after the cut cannot be reached from it.

        Yields:
            The connection and the catalog with the tables. Seed-time, and train in both regimes: the whole database.
            Frozen val and test: timed tables end at the split's first timestamp, inclusive; others are whole.
        """
        with closing(_connect(self.path)) as con:
            if self.regime == "seed-time" or split == "train":
                yield con, _DATABASE
                return
            cut = self._first_timestamp(split)
            with frozen_database(con, _DATABASE, read_schema(con, _DATABASE), cut) as frozen:
                use_catalog(con, frozen)
                con.execute(f"DETACH {ident(_DATABASE)}")
                try:
                    yield con, frozen
                finally:
                    # The current database cannot be detached.
                    use_catalog(con, "memory")

    def _first_timestamp(self, split: Split) -> datetime.datetime:
        first = self.task.val_timestamp if split == "val" else self.task.test_timestamp
        assert first is not None
        return first


def data_folder() -> Path:
    """The folder with the RelBench 3 data sets: `$RELSQL_DATA`, or `shared/data` beside the repository.

    Raises:
        DatabaseError: the folder does not exist.
    """
    path = Path(os.environ.get("RELSQL_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not path.is_dir():
        raise DatabaseError(
            f"there is no data folder '{path}'", fix="export RELSQL_DATA=FOLDER with RelBench data sets"
        )
    return path


def dataset_folder(dataset: str) -> Path:
    """The folder of one data set.

    Raises:
        DatabaseError: the folder does not exist.
    """
    folder = data_folder() / dataset
    if not (folder / "manifest.yaml").is_file():
        raise DatabaseError(f"data set '{dataset}' does not exist", expected=nearest(dataset, list_datasets()))
    return folder


def list_datasets() -> tuple[str, ...]:
    """Names of all data sets, sorted."""
    return tuple(sorted(manifest.parent.name for manifest in data_folder().glob("*/manifest.yaml")))


def list_tasks(dataset: str, cache: Path = DEFAULT_CACHE) -> tuple[str, ...]:
    """Names of the binary and regression tasks over time, sorted: those that the baselines can answer too."""
    with closing(_connect(database_file(dataset, cache))) as con:
        tasks = read_tasks(con, _DATABASE).items()
    return tuple(name for name, task in tasks if (task.is_binary or task.is_regression) and not task.asked.own_time)


def load_problem(dataset: str, task: str, regime: Regime, cache: Path = DEFAULT_CACHE) -> Problem:
    """Import the data set if necessary, and compute the labels of all splits.

    Raises:
        DatabaseError: there is no such data set. TaskError: there is no such task.
    """
    path = database_file(dataset, cache)
    with closing(_connect(path)) as con:
        schema = read_schema(con, _DATABASE)
        chosen = default_splits(con, _DATABASE, schema, read_task(con, _DATABASE, task))
        labels = {split: label_table(con, _DATABASE, schema, chosen, split).table for split in SPLITS}
    return Problem(dataset, chosen, regime, path, schema.without_columns(chosen.remove_columns), labels)


def cache_folder(path: Path) -> Path:
    """Create a folder that is ignored by version control, wherever it is; returns it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / ".gitignore").write_text("*\n")
    return path


def database_file(dataset: str, cache: Path = DEFAULT_CACHE) -> Path:
    """The DuckDB file of a data set, which is imported if there is no file or the data set is newer."""
    folder, path = dataset_folder(dataset), Path(cache) / f"{dataset}.duckdb"
    newest = max(file.stat().st_mtime for file in folder.rglob("*") if file.is_file())
    if not path.exists() or path.stat().st_mtime < newest:
        cache_folder(path.parent)
        import_dataset(str(folder), path, overwrite=True)
    return path


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection in memory, with the file attached read-only so that several processes can share it."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"ATTACH {literal(str(path))} AS {ident(_DATABASE)} (READ_ONLY)")
    use_catalog(con, _DATABASE)
    return con
