"""The rows of the speed benchmark on rel-f1: a real database with eight link paths, and the model `dnf`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from benchmarks.data.problems import database_file
from benchmarks.speed.report import Measured
from benchmarks.speed.rows import Row, counting, gather_sql, prepare_attach, rows_read
from benchmarks.speed.timing import Work, timed
from relsql.database.connections import open_database
from relsql.database.names import current_catalog
from relsql.gather.sql.latest_rows import AS_OF, ENTITY
from relsql.registry.models import active_card, read_models
from relsql.training.options import TrainOptions
from udfs.attach import connect

DATASET = "rel-f1"
TASK = "driver-dnf"
MODEL = "dnf"
ALL = f"SELECT count(predict_{MODEL}(driverId)) FROM drivers"
BATCH = f"SELECT count(score) FROM predict_{MODEL}_batch()"
ONE = f"SELECT count(predict_{MODEL}(1))"
SEEDS = f'SELECT DISTINCT driverId AS {ENTITY}, CAST("date" AS TIMESTAMP) AS {AS_OF} FROM results'
"""Every driver at the date of each of their races."""


def train_formula1(folder: Path, options: TrainOptions | None = None) -> Path:
    """A copy of the imported data set with the model `dnf`; an existing copy is reused."""
    # Imported here, so that the timed processes do not load torch.
    from relsql.training.train import train

    path = folder / f"model-{DATASET}.duckdb"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(database_file(DATASET, folder.parent), path)
    with closing(open_database(path)) as con:
        if not read_models(con, current_catalog(con)):
            train(con, TASK, name=MODEL, options=options)
    return path


def measure_formula1(folder: Path, threads: Sequence[int], repeats: int) -> Iterator[Measured]:
    """All rows of rel-f1, with each number of threads."""
    path = train_formula1(folder)
    with closing(open_database(path, read_only=True)) as con:
        [(drivers,)] = con.execute("SELECT count(*) FROM drivers").fetchall()
    rows = {
        "gather": Row(prepare_seeds, (MODEL, SEEDS)),
        "all drivers": Row(prepare_live, (ALL,)),
        "batch": Row(prepare_live, (BATCH,)),
        "one driver": Row(prepare_live, (ONE,), share=4),
        "attach": Row(prepare_attach),
    }
    for count in threads:
        for name, row in rows.items():
            often = max(1, round(repeats * row.share))
            timing = timed(row.prepare, path, path, count, *row.arguments, repeats=often)
            yield Measured(DATASET, drivers, count, name, timing)


def prepare_live(model: Path, data: Path, threads: int, query: str) -> Work:
    """A query that calls the functions of the models in the same database."""
    return counting(_connect(data, threads), query)


def prepare_seeds(model: Path, data: Path, threads: int, name: str, seeds: str) -> Work:
    """The gather query of a model for given seeds, in the form that training uses; its whole result is read."""
    con = _connect(data, threads)
    catalog = current_catalog(con)
    card = active_card(con, catalog, name)
    return counting(con, rows_read(gather_sql(card, catalog, seeds, messages=False, many_moments=True)))


def _connect(path: Path, threads: int) -> duckdb.DuckDBPyConnection:
    con = connect(path, read_only=True)
    con.execute(f"SET threads = {threads}")
    con.execute("SET enable_progress_bar = false")
    return con
